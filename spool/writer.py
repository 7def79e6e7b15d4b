"""The collector's side of the spool: windows in, one transaction each. The only code that writes spool.db.

Promises: what `commit` returned for survives SIGKILL and power loss (WAL, synchronous=FULL). What it raised for
left nothing behind, and the same window can be committed again. Sequence numbers and ids never repeat.

Not promised: use from two threads at once, or by two processes: `open` takes a lock that keeps a second one out.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from spool.batch import Batch, Window, encode, split
from spool.connection import FILE, lock, make_directory, open_writer, translated, write
from spool.retention import Loss
from spool.schema import SPOOL_STEPS, migrate

BUSY_S = 1.0
"""How long a commit waits for a lock that by rights nobody holds; then the window stays in memory."""


class SpoolWriter:
    """An open spool.db, held by this process alone."""

    def __init__(self, directory: Path, host: str, connection: sqlite3.Connection, held: IO[str]) -> None:
        self.directory, self.host = directory, host
        self.path = directory / FILE
        self._connection, self._lock = connection, held
        self.spool_id = self._identity()

    @classmethod
    def open(cls, directory: Path, host: str) -> "SpoolWriter":
        """Open the spool in `directory`, making folder, file and schema where they are not there.

        Raises SpoolUnusable (wrong owner, schema from the future, second collector), SpoolDamaged or SpoolBusy.
        """
        make_directory(directory)
        held = lock(directory, "collector")
        try:
            connection = open_writer(directory / FILE, BUSY_S)
            try:
                migrate(connection, directory / FILE, SPOOL_STEPS)
                return cls(directory, host, connection, held)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            held.close()
            raise

    def _identity(self) -> str:
        with write(self._connection, self.path) as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('spool_id', ?)", (secrets.token_hex(8),))
            db.execute("INSERT OR REPLACE INTO meta VALUES ('host', ?)", (self.host,))
            return str(db.execute("SELECT value FROM meta WHERE name = 'spool_id'").fetchone()[0])

    def next_window_seq(self) -> int:
        """The first sequence number that no window of this spool has had, kept or lost."""
        query = (
            "SELECT max(ifnull((SELECT max(seq) FROM windows), 0), ifnull((SELECT max(last_window) FROM losses), 0))"
        )
        with translated(self.path):
            return int(self._connection.execute(query).fetchone()[0]) + 1

    def commit(self, window: Window, committed_at: float) -> list[Batch]:
        """Encode `window` into batches and store them with its `windows` row in one transaction.

        Returns the batches, oldest id first. Raises SpoolBusy (lock, full disk, I/O error) with nothing written.
        """
        # AUTOINCREMENT keeps the highest id ever used, so an id is known before the row is there.
        with translated(self.path):
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
        first = (row[0] if row else 0) + 1
        batches = [
            encode(self.spool_id, number, self.host, window, points, committed_at)
            for number, points in enumerate(split(window.points), start=first)
        ]
        with write(self._connection, self.path) as db:
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
                + (sum(window.rejected.values()), json.dumps(dict(window.rejected), sort_keys=True))
                + (window.dropped, window.overflowed, int(window.partial)),
            )
        return batches

    def shed(self, windows: Sequence[Window], at: float, reason: str) -> None:
        """Record windows that could not be kept in memory until they could be committed: one row of `losses` each."""
        with write(self._connection, self.path) as db:
            db.executemany(
                "INSERT INTO losses (at, reason, first_window, last_window, window_start, window_end, batches, points,"
                " lines, unsent_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, '[]')",
                [(at, reason, w.seq, w.seq, w.start, w.end, len(w.points), w.lines) for w in windows],
            )

    def evict(self, losses: Sequence[Loss], ids: Sequence[int], at: float) -> None:
        """Delete the batches `ids` and write the `losses` rows that tell of it, in one transaction.

        A window's lines are counted with its first batch. What to delete is decided in retention.py; evict.py calls
        this in small chunks. Raises SpoolBusy with nothing changed.
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

    def pages_bytes(self) -> tuple[int, int]:
        """Bytes of spool.db in use, and bytes in it that are free: the next commit takes those first."""
        with translated(self.path):
            size, pages, free = (
                self._connection.execute(f"PRAGMA {each}").fetchone()[0]
                for each in ("page_size", "page_count", "freelist_count")
            )
        return (pages - free) * size, free * size

    def give_back(self, size_bytes: int) -> None:
        """Cut about `size_bytes` of free pages off spool.db; the file shrinks at the next checkpoint."""
        with translated(self.path):
            size = self._connection.execute("PRAGMA page_size").fetchone()[0]
            # Each step frees one page, and only executescript steps to the end: execute stops after the first,
            # since the statement has no columns. It is a transaction of its own.
            self._connection.executescript(f"PRAGMA incremental_vacuum({size_bytes // size})")

    def checkpoint(self) -> None:
        """Move the WAL into spool.db and cut it to nothing if no reader stands in the way; never waits for one."""
        with translated(self.path):
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")

    def forget_windows(self, before: float) -> None:
        """Delete rows of `windows` and `losses` from before `before` (Unix seconds), of the oldest 1,000 of each.

        What the newest sequence number is told from stays, however old.
        """
        newest = self.next_window_seq() - 1
        with write(self._connection, self.path) as db:
            for table, row, at, seq in (
                ("windows", "seq", "committed_at", "seq"),
                ("losses", "id", "at", "last_window"),
            ):
                db.execute(
                    f"DELETE FROM {table} WHERE {row} IN (SELECT {row} FROM {table} ORDER BY {row} LIMIT 1000)"
                    f" AND {at} < ? AND {seq} < ?",
                    (before, newest),
                )

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._connection.close()
        self._lock.close()
