"""What the spool takes on the disk: `python -m tests.bench.spool_size [WINDOWS]`.

Bytes of spool.db per point after so many windows (60) have been committed and checkpointed, for several numbers of
series and kinds. The bar is 25 bytes per point at 1,000 series of counters and gauges; a timer's point carries ten
numbers and a sketch.
"""

import random
import sys
import tempfile
from pathlib import Path

from spool.batch import MAX_POINTS
from spool.writer import SpoolWriter
from tests.bench.measure import MIXED, table, window

KINDS = {"counters, gauges": ("counter", "gauge"), "one in four a timer": MIXED, "timers": ("timer",)}


def main() -> None:
    """One row per number of series and kind."""
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    rows = []
    for series in (100, 1_000, MAX_POINTS):
        for name, kinds in KINDS.items():
            if series == MAX_POINTS and name == "timers":
                continue
            with tempfile.TemporaryDirectory() as place:
                writer = SpoolWriter.open(Path(place), "host-1")
                chance, raw = random.Random(1), 0
                for seq in range(1, windows + 1):
                    raw += sum(each.raw_bytes for each in writer.commit(window(seq, series, chance, kinds), seq * 10.0))
                writer.close()
                size = (Path(place) / "spool.db").stat().st_size
            points = windows * series
            rows.append((series, name, size, size / points, raw / points, raw / size))
    table(("series", "kinds", "bytes", "per point", "JSON per point", "ratio"), rows)
    bar = next(row[3] for row in rows if row[:2] == (1_000, "counters, gauges"))
    print(f"\n{bar:.1f} bytes per point at 1,000 series (bar 25)")


if __name__ == "__main__":
    main()
