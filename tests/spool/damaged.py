"""A spool to damage: forty windows, most of them in spool.db, the last ten in its -wal; what a kill leaves behind."""

import random
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from spool.accounts import Losses
from spool.audit import read_books
from spool.batch import Point, State, Window
from spool.delivery import AttemptRow, Condition, Delivery, Settled
from spool.doers import doers
from spool.errand import Done, Errands
from spool.heartbeat import beat
from spool.reader import SpoolReader
from spool.salvage import Replaced, open_spool
from spool.writer import SpoolWriter

WINDOWS = 40
IN_WAL = 10
POINTS = 60


def window(seq: int, points: int = POINTS) -> Window:
    """A window whose payload is larger than a page and has its like nowhere."""
    chance = random.Random(seq)
    values = [Point(f"api.{chance.random()}", "counter", {"n": str(n)}, {"value": float(n)}) for n in range(points)]
    return Window(seq, seq * 10.0, seq * 10.0 + 10, values, series=points, lines=7, accepted=6, rejected={"empty": 1})


def make(directory: Path) -> dict[int, str]:
    """Make the spool as a killed collector leaves it, half of it acknowledged; returns its keys by id."""
    alive = directory.with_name("alive")
    writer = SpoolWriter.open(alive, "web-1")
    keys = {}
    for seq in range(1, WINDOWS + 1):
        keys |= {each.id: each.key for each in writer.commit(window(seq), seq * 10.0 + 10)}
        if seq == WINDOWS - IN_WAL:
            writer.checkpoint()
    delivery = Delivery.open(alive, "main", writer.spool_id)
    settled = {each: Settled(State.ACKNOWLEDGED) for each in range(1, WINDOWS // 2 + 1)}
    delivery.record(attempt(1, WINDOWS // 2), settled, Condition())
    delivery.settle_through(WINDOWS // 2)
    delivery.close()
    beat(alive, "collector", time.time(), "collecting", **writer.numbers())
    shutil.copytree(alive, directory)
    (directory / "collector.lock").unlink()
    writer.close()
    shutil.rmtree(alive)
    return keys


def attempt(first: int, last: int) -> AttemptRow:
    """An attempt that brought the batches from `first` to `last` home."""
    times = (None,) * 7
    return AttemptRow(
        0.0, "live", first, last, last - first + 1, f"{first}-{last}", 1, 1, "ack", "read", 200, None, *times,
        1.0, 0.0, 1, 1, None,
    )  # fmt: skip


@dataclass
class Restarted:
    """What a collector found and did when it was started on a damaged spool."""

    writer: SpoolWriter
    replaced: list[Replaced]
    start_s: float
    errands: list[Done]


def restart(directory: Path) -> Restarted:
    """Start a collector's side on it, and let it save what it can."""
    replaced: list[Replaced] = []
    begun = time.monotonic()
    writer = open_spool(directory, "web-1", time.time(), replaced.append)
    start_s = time.monotonic() - begun
    return Restarted(writer, replaced, start_s, list(do_errands(writer)))


def do_errands(writer: SpoolWriter) -> Iterator[Done]:
    """Do what is asked of the collector until nothing is; gives what is finished."""
    errands = Errands(writer, doers(["main"]))
    while (did := errands.run()) is not None:
        if did[1].finished:
            yield did[1]


def fates(directory: Path, keys: Mapping[int, str]) -> tuple[set[int], set[int], set[int]]:
    """Ids of `keys` that are held under their key and whole; held and rotten; neither held nor told of."""
    whole, rotten = set(), set()
    books = read_books(directory, ["main"])
    losses, main = Losses(books.losses), books.ledgers[0]
    by_key = {key: number for number, key in keys.items()}
    with SpoolReader(directory) as reader:
        for header in reader.headers_after(0, 10_000):
            batch = reader.batch(header.id)
            number = by_key.get(batch.key)
            if number is None:
                continue
            try:
                batch.verified()
                whole.add(number)
            except Exception:  # noqa: BLE001 - the test looks at what is left over
                rotten.add(number)
    untold = {
        each for each in keys if each not in whole | rotten and not losses.has_batch(each) and each not in main.after
    }
    return whole, rotten, untold


def overwrite(path: Path, table: str, assignment: str, row: str) -> None:
    """Leave in the file what SQLite itself would refuse to write, as a bit that changed in a row's header does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (made,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    lax = made.replace("NOT NULL", "").replace("STRICT", "")
    lax = re.sub(r"CHECK \(state IN .*?\)\)", "", lax)
    for sql, change in ((lax, f"UPDATE {table} SET {assignment} WHERE {row}"), (made, "SELECT 1")):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA writable_schema = 1")
            db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, table))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(change)
