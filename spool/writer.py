"""The collector's side of the spool: windows in, one transaction each. The only code that writes spool.db.

Promises: what `commit` returned for survives SIGKILL and power loss (WAL, synchronous=FULL). What it raised for
left nothing behind, and the same window can be committed again. Sequence numbers and ids never repeat.

Not promised: use from two threads at once, or by two processes: `open` takes a lock that keeps a second one out.
"""

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import IO

from spool.aside import set_aside
from spool.batch import Batch, Window, encode, split
from spool.checkpoint import Checkpointer, log_bytes
from spool.connection import (
    FILE,
    inode,
    lock,
    look_for_damage,
    make_directory,
    open_reader,
    open_writer,
    translated,
    write,
)
from spool.errors import HoldfastError, SpoolDamaged, SpoolMissing
from spool.ledger import ranges
from spool.retention import Loss
from spool.schema import SPOOL_STEPS, migrate

BUSY_S = 1.0
"""How long a commit waits for a lock that by rights nobody holds; then the window stays in memory."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's wish, for the row of `changes` that tells of it."""

    who: str
    command: str


CHECK_S = 0.5
"""How long a file is looked at after an unclean stop, before reception begins: about 1 GiB from memory."""


_JSON = json.JSONEncoder(sort_keys=True).encode  # json.dumps makes an encoder each time

NUMBERS = ("spool_id", "last_batch", "last_window")


@dataclass(frozen=True, slots=True)
class Heir:
    """What a new file takes over from one that is gone: its identity, and the highest numbers that were ever used."""

    spool_id: str | None = None
    last_batch: int = 0
    last_window: int = 0


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """On a whole file our own SQL fails only for what connection.py knows; anything else is damage."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a bug here
    except sqlite3.DatabaseError as error:
        raise SpoolDamaged(f"{path}: {error}. The collector sets a damaged spool aside.") from error


class SpoolWriter:
    """An open spool.db, held by this process alone."""

    def __init__(
        self, directory: Path, host: str, connection: sqlite3.Connection, held: IO[str], heir: Heir | None = None
    ) -> None:
        self.directory, self.host = directory, host
        self.path = directory / FILE
        self._connection, self._lock = connection, held
        self._checkpointer = Checkpointer(connection, self.path)
        self._overwrites = connection.execute("PRAGMA secure_delete").fetchone()[0] == 1
        self._last_batch: int | None = None  # as sqlite_sequence has it; None: to be read there
        self.spool_id = self._identity(heir or Heir())
        self._inode = inode(self.path)

    @classmethod
    def open(cls, directory: Path, host: str) -> "SpoolWriter":
        """Open the spool in `directory`, making folder, file and schema where they are not there.

        Raises SpoolUnusable (wrong owner, schema from the future, second collector), SpoolDamaged or SpoolBusy.
        """
        make_directory(directory)
        held = lock(directory, "collector")
        try:
            return cls.locked(directory, host, held)
        except BaseException:
            held.close()
            raise

    @classmethod
    def locked(cls, directory: Path, host: str, held: IO[str], heir: Heir | None = None) -> "SpoolWriter":
        """The same for who has the collector's lock; the lock stays with the caller until this returns.

        A new file goes on where `heir` says. One that was not closed cleanly is looked at for CHECK_S first.
        """
        path = directory / FILE
        unclean = log_bytes(path) > 0
        if unclean and path.is_file():
            # Read only: a writer's connection would move the WAL into the file when it is closed, damage and all.
            reader = open_reader(path)
            try:
                look_for_damage(reader, path, CHECK_S)
            finally:
                reader.close()
        connection = open_writer(path, BUSY_S)
        try:
            migrate(connection, path, SPOOL_STEPS)
            with _whole(path):
                return cls(directory, host, connection, held, heir)
        except BaseException:
            connection.close()
            raise

    def _identity(self, heir: Heir) -> str:
        with write(self._connection, self.path) as db:
            named = db.execute("SELECT 1 FROM meta WHERE name = 'spool_id'").fetchone()
            if not named and db.execute("SELECT 1 FROM batches").fetchone():
                raise SpoolDamaged(f"{self.path}: has batches and does not say which spool it is.")
            spool_id = heir.spool_id or secrets.token_hex(8)
            db.execute("INSERT OR IGNORE INTO meta VALUES ('spool_id', ?)", (spool_id,))
            if heir.last_batch:
                raise_ids(db, heir.last_batch)
            db.execute("INSERT OR REPLACE INTO meta VALUES ('host', ?)", (self.host,))
            found = str(db.execute("SELECT value FROM meta WHERE name = 'spool_id'").fetchone()[0])
            if not re.fullmatch("[0-9a-f]{16}", found):
                raise SpoolDamaged(f"{self.path}: says that it is spool {found!r}, which is no identity.")
            return found

    def next_window_seq(self) -> int:
        """The first sequence number that no window of this spool has had, kept or lost."""
        query = (
            "SELECT max(ifnull((SELECT max(seq) FROM windows), 0), ifnull((SELECT max(last_window) FROM losses), 0))"
        )
        with _whole(self.path), translated(self.path):
            return int(self._connection.execute(query).fetchone()[0]) + 1

    def last_batch(self) -> int:
        """The highest id that a batch of this spool ever had; 0 if there was none."""
        # AUTOINCREMENT keeps it, so an id is known before its row is there.
        if self._last_batch is None:
            with _whole(self.path), translated(self.path):
                row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
            self._last_batch = int(row[0]) if row else 0
        return self._last_batch

    def numbers(self) -> dict[str, int | str]:
        """What a file that takes this one's place must know, by NUMBERS; kept in the collector's heartbeat."""
        found = (self.spool_id, self.last_batch(), self.next_window_seq() - 1)
        return dict(zip(NUMBERS, found, strict=True))

    def commit(self, window: Window, committed_at: float, pause: Callable[[], None] = lambda: None) -> list[Batch]:
        """Encode `window` into batches and store them with its `windows` row in one transaction.

        `pause` is called between small pieces of the encoding, before the transaction.
        Returns the batches, oldest id first. Raises SpoolBusy (lock, full disk, I/O error) with nothing written, and
        SpoolMissing if somebody has removed or replaced the file: what is written into it then, nobody will ever read.
        """
        if self._inode != inode(self.path):
            raise SpoolMissing(f"{self.path}: is no longer the file that was opened. Who removed it? Open it anew.")
        first = self.last_batch() + 1
        batches = [
            encode(self.spool_id, number, self.host, window, points, committed_at, pause)
            for number, points in enumerate(split(window.points), start=first)
        ]
        with _whole(self.path), write(self._connection, self.path) as db:
            db.executemany(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        b.id,
                        b.key,
                        b.window_start,
                        b.window_end,
                        b.window_seq,
                        b.committed_at,
                        b.points,
                        b.series,
                    )
                    + (b.raw_bytes, b.payload, b.sha256)
                    for b in batches
                ],
            )
            db.execute(
                "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (window.seq, window.start, window.end, committed_at, batches[0].id, batches[-1].id)
                + (len(window.points), window.series, window.datagrams, window.lines, window.accepted)
                + (sum(window.rejected.values()), _JSON(dict(window.rejected)) if window.rejected else "{}")
                + (window.dropped, window.overflowed, int(window.partial)),
            )
        self._last_batch = batches[-1].id
        self._checkpointer.after_commit()
        return batches

    def shed(self, windows: Sequence[Window], at: float, reason: str) -> None:
        """Record windows that could not be kept in memory until they could be committed: one row of `losses` each."""
        with write(self._connection, self.path) as db:
            db.executemany(
                "INSERT INTO losses (at, reason, first_window, last_window, window_start, window_end, batches, points,"
                " lines, unsent_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, '[]')",
                [(at, reason, w.seq, w.seq, w.start, w.end, len(w.points), w.lines) for w in windows],
            )

    def evict(self, losses: Sequence[Loss], ids: Sequence[int], at: float, asked: Asked | None = None) -> None:
        """Delete the batches `ids` and write the `losses` rows that tell of it, in one transaction.

        A window's lines are counted with its first batch. What to delete is decided in retention.py; evict.py calls
        this in small chunks. `asked` is who wanted it, if not the limits. Raises SpoolBusy with nothing changed.
        """
        with write(self._connection, self.path) as db:
            db.executemany(
                "INSERT INTO losses (at, reason, first_batch, last_batch, first_window, last_window, window_start,"
                " window_end, batches, points, unsent_at, lines) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                " (SELECT ifnull(sum(lines), 0) FROM windows"
                " WHERE seq BETWEEN ? AND ? AND first_batch BETWEEN ? AND ?))",
                [
                    (
                        at,
                        str(each.reason),
                        each.first_batch,
                        each.last_batch,
                        each.first_window,
                        each.last_window,
                    )
                    + (
                        each.window_start,
                        each.window_end,
                        each.batches,
                        each.points,
                        json.dumps(each.unsent_at),
                    )
                    + (each.first_window, each.last_window, each.first_batch, each.last_batch)
                    for each in losses
                ],
            )
            db.executemany("DELETE FROM batches WHERE id = ?", [(each,) for each in ids])
            if asked is not None:
                _note_change(db, at, asked, ids)

    def adopt(self, batches: Sequence[Batch], at: float, asked: Asked) -> list[Batch]:
        """Store batches that another spool committed: their keys, windows and bytes as they are, with ids of ours.

        One transaction, as one window of this spool in which nothing was received: so ages count from `at`, and what
        is held still adds up. A key that is here already is left out. A key of ours that we have yet to give was given
        before this spool was put back from an older copy: ids go on above. Returns what was stored. Raises SpoolBusy.
        """
        seq, self._last_batch = self.next_window_seq(), None
        given = [each.key.rpartition("-")[2] for each in batches if each.key.startswith(f"{self.spool_id}-")]
        with write(self._connection, self.path) as db:
            raise_ids(db, max((int(each) for each in given if each.isdecimal() and len(each) < 16), default=0))
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
            new = {
                each.key: each
                for each in batches
                if not db.execute("SELECT 1 FROM batches WHERE key = ?", (each.key,)).fetchone()
            }
            adopted = [
                replace(each, id=number, window_seq=seq, committed_at=at)
                for number, each in enumerate(new.values(), start=(row[0] if row else 0) + 1)
            ]
            if not adopted:
                return []
            db.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(astuple, adopted))
            ids = [each.id for each in adopted]
            db.execute(
                "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '{}', 0, 0, 1)",
                (seq, at, at, at, ids[0], ids[-1])
                + (sum(each.points for each in adopted), max(each.series for each in adopted)),
            )
            _note_change(db, at, asked, ids)
        return adopted

    def pages_bytes(self) -> tuple[int, int]:
        """Bytes of spool.db in use, and bytes in it that are free: the next commit takes those first."""
        with translated(self.path):
            size, pages, free = (
                self._connection.execute(f"PRAGMA {each}").fetchone()[0]
                for each in ("page_size", "page_count", "freelist_count")
            )
        return (pages - free) * size, free * size

    def overwrite_deleted(self, may: bool) -> None:
        """Whether deletions may overwrite what they delete, as Debian's SQLite does: the log grows by as much then.

        It keeps a salvage from finding again what was evicted, should the list of free pages be lost. A full disk has
        no room for it.
        """
        with translated(self.path):
            self._connection.execute(f"PRAGMA secure_delete = {'ON' if may and self._overwrites else 'FAST'}")

    def give_back(self, size_bytes: int) -> None:
        """Cut about `size_bytes` of free pages off spool.db; the file shrinks at the next checkpoint."""
        with translated(self.path):
            size = self._connection.execute("PRAGMA page_size").fetchone()[0]
            # Each step frees one page, and only executescript steps to the end: execute stops after the first,
            # since the statement has no columns. It is a transaction of its own.
            self._connection.executescript(f"PRAGMA incremental_vacuum({size_bytes // size})")

    def checkpoint(self) -> None:
        """Move the WAL into spool.db and cut it to nothing if no reader stands in the way; never waits for one."""
        self._checkpointer.close()  # what it has begun must not find everything moved: see checkpoint.py
        with translated(self.path):
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")

    def forget_windows(self, before: float) -> None:
        """Delete rows of `windows` and `losses` from before `before` (Unix seconds), of the oldest 1,000 of each.

        What is left adds up: no window goes before its batches or before an older window, and no loss before the
        windows that it tells of. What the newest sequence number is told from stays, however old.
        """
        newest = self.next_window_seq() - 1
        with write(self._connection, self.path) as db:
            db.execute(
                "DELETE FROM windows WHERE seq IN (SELECT seq FROM windows ORDER BY seq LIMIT 1000) AND seq < min(?,"
                " ifnull((SELECT seq FROM windows WHERE committed_at >= ? ORDER BY seq LIMIT 1), ?),"
                " ifnull((SELECT seq FROM windows WHERE last_batch >= (SELECT min(id) FROM batches)"
                " ORDER BY seq LIMIT 1), ?))",
                (newest, before, newest, newest),
            )
            db.execute(
                "DELETE FROM losses WHERE id IN (SELECT id FROM losses ORDER BY id LIMIT 1000) AND at < ?"
                " AND last_window < ifnull((SELECT min(seq) FROM windows), ?)",
                (before, newest),
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction on spool.db, for salvage.py. Raises SpoolBusy or SpoolDamaged with nothing written."""
        self._last_batch = None
        with _whole(self.path), write(self._connection, self.path) as db:
            yield db

    def look_for_damage(self) -> bool:
        """Look at the file for CHECK_S; False if that was too short to see all of it. Raises SpoolDamaged."""
        reader = open_reader(self.path)  # what this connection has in its cache tells nothing of the disk
        try:
            return look_for_damage(reader, self.path, CHECK_S)
        finally:
            reader.close()

    def close(self) -> None:
        """Close the file and give up the lock. It leaves no WAL, or an empty one: the sign of a clean stop."""
        self._checkpointer.close()
        with suppress(HoldfastError, sqlite3.Error):
            self.checkpoint()
        self._connection.close()
        self._lock.close()

    def set_aside(self, at: float) -> Path:
        """Give a damaged file up: close it as it is, rename it, give up the lock. Returns where it is now."""
        self._checkpointer.close()
        self._connection.close()
        try:
            return set_aside(self.path, at)
        finally:
            self._lock.close()


def raise_ids(db: sqlite3.Connection, last_batch: int) -> None:
    """Let the ids of batches go on above `last_batch`."""
    db.execute(
        "INSERT INTO sqlite_sequence SELECT 'batches', 0 WHERE NOT EXISTS"
        " (SELECT 1 FROM sqlite_sequence WHERE name = 'batches')"
    )
    db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'batches'", (last_batch,))


def _note_change(db: sqlite3.Connection, at: float, asked: Asked, ids: Sequence[int]) -> None:
    db.execute(
        "INSERT INTO changes (at, who, command, batches, first_batch, last_batch, ids) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (at, asked.who, asked.command, len(ids), min(ids), max(ids), ranges(ids)),
    )
