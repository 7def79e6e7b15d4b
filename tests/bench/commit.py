"""How long a commit takes, beside sqlite3 alone: `python -m tests.bench.commit [DIRECTORY]`.

For windows of 100 to 100,000 points: encoding (JSON, gzip, hash); the transaction; and with sqlite3 alone, turn by turn
with it, in files with the same pragmas: an INSERT of the same bytes into a table of one column (`bare`), and of the
same rows into the same tables (`rows`). The ratios are transaction / bare and transaction / rows, by the fastest
tenth, when nobody else was using the disk; the bar of the first is 1.5. What lies between bare and rows are four pages
of indexes, of `windows` and of AUTOINCREMENT, which small windows feel. Milliseconds; `each` is encoding per point in
microseconds; `pause` is the longest that a thread which wakes every half millisecond had to wait while another encoded:
reception is such a thread.
"""

import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import cast

import spool.writer
from spool.batch import Batch, Point, batch_key, split
from spool.connection import FILE, open_writer
from spool.schema import SPOOL_STEPS, migrate
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
        "rows p50",
        "ratio",
        "to rows",
    )
    rows = []
    for points, times in SIZES:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            rows.append(row(Path(place), points, times, chance))
    table(head, rows)
    print(f"\nworst ratio {max(float(each[-2]) for each in rows):.2f} (bar 1.5)")


def row(place: Path, points: int, times: int, chance: random.Random) -> tuple[object, ...]:
    """One size. Encoding is measured alone; then the encoded batches are committed and stored bare, taking turns."""
    writer = SpoolWriter.open(place / "spool", "host-1")
    bare, same = (alone(place / each) for each in ("bare", "rows"))
    bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    migrate(same, place / "rows" / FILE, SPOOL_STEPS)
    encode = spool.writer.encode
    like = window(1, points, chance)
    encoded: list[Batch] = []

    def encode_all(_: int) -> None:
        encoded[:] = [encode("id", 1, "host-1", like, part, like.end) for part in split(like.points)]

    encoding_ms = durations_ms(encode_all, max(3, times // 10))
    payloads = [each.payload for each in encoded]
    empty = replace(like, points=cast("Sequence[Point]", range(points)))  # taking points apart is part of encoding
    windows = [replace(empty, seq=number + 1) for number in range(times)]
    batches = [
        replace(each, id=batch_id, key=batch_key(writer.spool_id, batch_id))
        for batch_id, each in enumerate(encoded * times, start=1)
    ]
    ready, stored = iter(batches), list(map(astuple, batches))

    def take(_spool_id: str, batch_id: int, *_: object) -> Batch:
        batch = next(ready)
        assert batch.id == batch_id
        return batch

    def commit(number: int) -> None:
        writer.commit(windows[number], like.end)

    def insert(_: int) -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany("INSERT INTO t (payload) VALUES (?)", [(payload,) for payload in payloads])
        bare.execute("COMMIT")

    def insert_rows(number: int) -> None:
        own = stored[number * len(encoded) : (number + 1) * len(encoded)]
        counts = (number + 1, like.start, like.end, like.end, own[0][0], own[-1][0], points, points)
        same.execute("BEGIN IMMEDIATE")
        same.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", own)
        same.execute("INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '{}', 0, 0, 0)", counts)
        same.execute("COMMIT")

    contenders = [commit, insert, insert_rows]
    taken_ms: dict[Callable[[int], None], list[float]] = {each: [] for each in contenders}
    spool.writer.encode = take  # type: ignore[assignment]
    try:
        for number in range(times):
            chance.shuffle(contenders)
            for contender in contenders:
                began = time.perf_counter()
                contender(number)
                taken_ms[contender].append(1000 * (time.perf_counter() - began))
    finally:
        spool.writer.encode = encode
        writer.close()
        bare.close()
        same.close()
    committed_ms, bare_ms, rows_ms = (sorted(taken_ms[each]) for each in (commit, insert, insert_rows))
    return (
        *(points, sum(map(len, payloads))),
        *(quantile(encoding_ms, 0.5), quantile(encoding_ms, 0.99), 1000 * quantile(encoding_ms, 0.5) / points),
        longest_pause_ms(lambda: encode_all(0)),
        *(quantile(committed_ms, 0.5), quantile(committed_ms, 0.99)),
        *(quantile(bare_ms, 0.5), quantile(bare_ms, 0.99), quantile(rows_ms, 0.5)),
        *(quantile(committed_ms, 0.1) / quantile(each, 0.1) for each in (bare_ms, rows_ms)),
    )


def alone(folder: Path) -> sqlite3.Connection:
    """A file of its own with the pragmas of spool.db, which go by its name."""
    folder.mkdir()
    return open_writer(folder / FILE, 1.0)


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
