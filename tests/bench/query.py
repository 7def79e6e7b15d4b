"""How long an operator waits on a large spool: `python -m tests.bench.query [BATCHES]`, of 5,000 points each.

800 batches are 4 million points. Beside the commands' own queries, the time to decompress and parse the same payloads
with gzip and json alone. Seconds; the ratio is to that.
"""

import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import spool.writer
from spool.batch import Batch, batch_key, encode
from spool.query import ask
from spool.reader import SpoolReader
from spool.writer import SpoolWriter
from tests.bench.measure import table, window

POINTS = 5_000
QUERIES = {
    "sum by name over all points": "SELECT name, sum(value) FROM points WHERE stat = 'value' GROUP BY 1",
    "one series over all points": "SELECT ts, value FROM points WHERE name = 'service.requests.1' AND"
    ' tags = \'{"env":"prod","host":"web-1","route":"r0","shard":"0"}\'',
    "recent_points (100 batches)": "SELECT name, sum(value) FROM recent_points GROUP BY 1",
    "windows of the last hour": "SELECT count(*), sum(lines) FROM windows WHERE window_end > 1000",
}


def filled(place: Path, batches: int) -> None:
    """A spool of so many batches with the same points; only the keys differ."""
    like = window(1, POINTS, random.Random(1))
    batch = encode("id", 1, "host-1", like, like.points, 10.0)

    def take(spool_id: str, batch_id: int, *_: object) -> Batch:
        ends = batch_id * 10.0
        return replace(batch, id=batch_id, key=batch_key(spool_id, batch_id), window_start=ends - 10, window_end=ends)

    spool.writer.encode = take  # type: ignore[assignment]
    writer = SpoolWriter.open(place, "host-1")
    for seq in range(1, batches + 1):
        writer.commit(replace(like, seq=seq), seq * 10.0)
    writer.close()


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """One row per query."""
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        filled(place, batches)

        def bare(limit: int) -> None:
            with SpoolReader(place) as reader:
                for header in reader.headers_before(None, limit):
                    json.loads(gzip.decompress(reader.batch(header.id).payload))

        floors = {"all": seconds(lambda: bare(batches)), "recent": seconds(lambda: bare(100)), "windows": 0.0}
        rows: list[tuple[object, ...]] = [(f"gzip and json alone, {batches} batches", floors["all"], 1.0)]
        for name, sql in QUERIES.items():
            taken = seconds(lambda sql=sql: ask(place, [], sql, {}, 10_000_000))  # type: ignore[misc]
            floor = floors["recent" if "recent" in name else "windows" if "windows" in name else "all"]
            rows.append((name, taken, taken / floor if floor else "-"))
    print(f"{batches * POINTS:,} points")
    table(("query", "seconds", "ratio"), rows)


if __name__ == "__main__":
    main()
