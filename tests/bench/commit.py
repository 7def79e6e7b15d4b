"""How long a commit takes, beside sqlite3 alone: `python -m tests.bench.commit [DIRECTORY]`.

For windows of 100 to 100,000 points: encoding (JSON, gzip, hash), the transaction, and a bare INSERT of the same bytes
into a table of one column in a file with the same pragmas, turn by turn with it. The ratio is transaction / bare, by
the fastest tenth, when nobody else was using the disk; the bar is 1.5. Milliseconds; `each` is encoding per point in
microseconds; `pause` is the longest that a thread which wakes every half millisecond had to wait while another encoded:
reception is such a thread.
"""

import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import spool.writer
from spool.batch import Batch, Point, batch_key, split
from spool.connection import open_writer
from spool.writer import SpoolWriter
from tests.bench.measure import durations_ms, quantile, table, window

SIZES = ((100, 400), (1_000, 400), (10_000, 200), (100_000, 20))


def main() -> None:
    """All sizes, one row each."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    chance = random.Random(1)
    head = (
        "points",
        "bytes",
        "encode p50",
        "p99",
        "each us",
        "pause",
        "transaction p50",
        "p99",
        "bare p50",
        "p99",
        "ratio",
    )
    rows = []
    for points, times in SIZES:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            rows.append(row(Path(place), points, times, chance))
    table(head, rows)
    print(f"\nworst ratio {max(float(each[-1]) for each in rows):.2f} (bar 1.5)")


def row(place: Path, points: int, times: int, chance: random.Random) -> tuple[object, ...]:
    """One size. Encoding is measured alone; then the encoded batches are committed and stored bare, taking turns."""
    writer = SpoolWriter.open(place / "spool", "host-1")
    bare = open_writer(place / "bare.db", 1.0)
    bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    encode = spool.writer.encode
    like = window(1, points, chance)
    encoded: list[Batch] = []

    def encode_all(_: int) -> None:
        encoded[:] = [encode("id", 1, "host-1", like, part, like.end) for part in split(like.points)]

    encoding_ms = durations_ms(encode_all, max(3, times // 10))
    payloads = [each.payload for each in encoded]
    ready = itertools.cycle(encoded)
    empty = replace(like, points=cast("Sequence[Point]", range(points)))  # taking points apart is part of encoding

    def take(spool_id: str, batch_id: int, *_: object) -> Batch:
        return replace(next(ready), id=batch_id, key=batch_key(spool_id, batch_id))

    def commit(number: int) -> None:
        writer.commit(replace(empty, seq=number + 1), like.end)

    def insert(_: int) -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany("INSERT INTO t (payload) VALUES (?)", [(payload,) for payload in payloads])
        bare.execute("COMMIT")

    spool.writer.encode = take  # type: ignore[assignment]
    taken_ms: dict[str, list[float]] = {"commit": [], "bare": []}
    try:
        for number in range(times):
            for who in ("commit", "bare") if number % 2 else ("bare", "commit"):
                began = time.perf_counter()
                (commit if who == "commit" else insert)(number)
                taken_ms[who].append(1000 * (time.perf_counter() - began))
    finally:
        spool.writer.encode = encode
        writer.close()
        bare.close()
    committed_ms, bare_ms = sorted(taken_ms["commit"]), sorted(taken_ms["bare"])
    return (
        *(points, sum(map(len, payloads))),
        *(quantile(encoding_ms, 0.5), quantile(encoding_ms, 0.99), 1000 * quantile(encoding_ms, 0.5) / points),
        longest_pause_ms(lambda: encode_all(0)),
        *(quantile(committed_ms, 0.5), quantile(committed_ms, 0.99)),
        *(quantile(bare_ms, 0.5), quantile(bare_ms, 0.99)),
        quantile(committed_ms, 0.1) / quantile(bare_ms, 0.1),
    )


def longest_pause_ms(run: Callable[[], object]) -> float:
    """The median of some runs in another thread: how long a sleep of 0.5 ms took at worst meanwhile."""
    worst = []
    for _ in range(5):
        thread, longest_s = threading.Thread(target=run), 0.0
        thread.start()
        while thread.is_alive():
            began = time.perf_counter()
            time.sleep(0.0005)
            longest_s = max(longest_s, time.perf_counter() - began - 0.0005)
        worst.append(1000 * longest_s)
    return quantile(sorted(worst), 0.5)


if __name__ == "__main__":
    main()
