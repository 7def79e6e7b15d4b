"""Moves the log of spool.db into the file beside the commits, once it has become large.

A log of ordinary length is moved by the commit that makes it LOG_PAGES long, in milliseconds. One that a reader
pinned for minutes may be hundreds of MiB, and moving that takes seconds: then a thread does it over a connection of its
own, and commits go on meanwhile, behind what is being moved.

SQLite before 3.51.3 can damage a file if a checkpoint begins when everything has been moved already, and a commit
starts the log anew during it (https://www.sqlite.org/wal.html, "The WAL-reset bug"). So one begins here only right
after a commit: what that added is not moved yet, and until it is no commit can start the log anew.

Promises: no call waits for a large log to be moved, except `close`, which waits for what is under way to be given up.
Not promised: that a log gets shorter while a reader pins it.
"""

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from spool.connection import LOG_PAGES, WAL_LIMIT_BYTES, open_beside


class Checkpointer:
    """Keeps the log of the file `path`, which `writer` has open, from keeping commits waiting."""

    def __init__(self, writer: sqlite3.Connection, path: Path) -> None:
        self._writer, self._path, self._log = writer, path, f"{path}-wal"
        self._aside: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._large = False
        self._look()  # a process that was killed leaves its log behind

    def after_commit(self) -> None:
        """Begin to move a large log. To be called right after a commit that wrote something, by who made it.

        Raises nothing: the commit stands, and the log can wait for the next one.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        with suppress(sqlite3.Error, RuntimeError):  # RuntimeError: no more threads
            self._look()
            if self._large:
                self._aside = self._aside or open_beside(self._path)
                thread = threading.Thread(target=_move, args=(self._aside,), name="checkpoint", daemon=True)
                thread.start()
                self._thread = thread

    def _look(self) -> None:
        # The log's file stays as long as it was until a commit starts it anew, which cuts it to WAL_LIMIT_BYTES.
        large = _size_bytes(self._log) > WAL_LIMIT_BYTES
        if large is not self._large:
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {0 if large else LOG_PAGES}")
            self._large = large

    def close(self) -> None:
        """Give up what is under way."""
        if self._thread is not None and self._aside is not None:
            while self._thread.is_alive():
                self._aside.interrupt()  # heeded at each page; again, should the thread have been about to begin
                self._thread.join(0.1)
        if self._aside is not None:
            self._aside.close()
        self._aside = self._thread = None


def _move(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # what is wrong with the disk or the file, the next commit will meet and tell
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def log_bytes(path: Path) -> int:
    """The size of the log beside the file `path`; 0 if there is none."""
    return _size_bytes(f"{path}-wal")


def _size_bytes(path: str) -> int:
    # By its end, not by its facts: since Linux 6.13 a file whose times were asked for has them noted anew by the next
    # write, and the sync after that waits for the file system's journal: a fifth of a small commit.
    # https://docs.kernel.org/filesystems/multigrain-ts.html
    try:
        log = os.open(path, os.O_RDONLY)  # SQLite keeps its locks in other files, so closing this one gives none up
    except OSError:
        with suppress(OSError):  # it is there and no descriptor is left: then the price does not matter
            return os.stat(path).st_size  # noqa: PTH116
        return 0
    try:
        return os.lseek(log, 0, os.SEEK_END)
    finally:
        os.close(log)
