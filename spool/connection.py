"""The only place that opens SQLite files, and the only way to write to one.

Writers get WAL, synchronous=FULL and no implicit transactions; whatever they do runs inside `write()`, which is
BEGIN IMMEDIATE ... COMMIT. (A deferred BEGIN that reads before it writes fails at once with SQLITE_BUSY_SNAPSHOT,
however long the timeout.) Readers get `mode=ro`: they never create a file, never checkpoint, and hold no snapshot
longer than one method call. `immutable=1` is never used: beside a live writer it returns wrong rows.

SQLite's errors leave this module as ours: SpoolMissing, SpoolBusy, SpoolDamaged, SpoolUnusable.
"""

import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import quote

from spool.errors import SpoolBusy, SpoolDamaged, SpoolMissing, SpoolTaken, SpoolUnusable

APPLICATION_ID = 0x484F4C44  # "HOLD"
"""Our mark in a file; schema.migrate sets it together with the tables."""

FILE = "spool.db"
"""The collector's file in the spool's folder."""

LOG_PAGES, OTHER_LOG_PAGES = 1000, 250
"""The -wal is moved into its file after so many pages: 4 MiB for spool.db, 1 MiB for the small delivery files."""

WAL_LIMIT_BYTES = 16 * 1024 * 1024
"""The -wal file shrinks back to this after a burst, or after a reader that pinned it has gone.

One that is larger is moved into its file beside the commits: see checkpoint.py. So this is also the most that a commit
moves itself: a third of a second at 50 MB/s.
"""

_TEXT = partial(str, encoding="utf-8", errors="replace")
"""How text is read. One byte that the disk changed must not keep the rows beside it from being read: a hash, a key or
an identity that is wrong is noticed where it is compared."""

LOOKS, LOOK_S = 5, 0.01
"""Who starts tries so often for its lock, which somebody may be looking at."""

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's exceptions into ours, naming the file."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes a broken schema in its message, and Python cannot read that
        raise SpoolDamaged(f"{path}: {error}. The collector sets a damaged spool aside when it starts.") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            raise SpoolBusy(f"{path}: {error}. Nothing was written; it will be tried again.") from error
        if code in _DAMAGE:
            raise SpoolDamaged(f"{path}: {error}. The collector sets a damaged spool aside when it starts.") from error
        if code == sqlite3.SQLITE_CANTOPEN:
            _see(path)
        if code in (
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_AUTH,
        ):
            raise SpoolUnusable(
                f"{path}: {error}. A stopped spool can be read only by a user who may write its folder: "
                "run this as the spool's owner."
            ) from error
        raise


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """The same where our own tables are read: a column or a word that is none of ours was changed by the disk."""
    try:
        with translated(path):
            yield
    except sqlite3.ProgrammingError:
        raise  # a bug here
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        who = "The collector sets a damaged spool" if path.name == FILE else "Its shipper sets a damaged file"
        raise SpoolDamaged(f"{path}: {error}. {who} aside when it starts.") from error


def inode(path: Path) -> int | None:
    """Which file `path` names now; None if there is none. A file set aside and its successor differ in this."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def make_directory(directory: Path) -> None:
    """Make the spool's folder (mode 0700) if it is not there. Raises SpoolUnusable with the reason."""
    try:
        missing = [each for each in (directory, *directory.parents) if not each.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in missing:
            _sync_folder(each.parent)  # SQLite syncs the files' names, but not that of the folder they are in
    except FileExistsError:
        raise SpoolUnusable(f"{directory}: is a file; [spool] dir must name a folder.") from None
    except OSError as error:
        raise SpoolUnusable(f"{directory}: cannot be made: {error.strerror}. See [spool] dir.") from None
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SpoolUnusable(
            f"{directory}: not writable for user {os.geteuid()}. Run as its owner, or change [spool] dir."
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(directory: Path, who: str) -> IO[str]:
    """Hold the right to be the one `who` ("collector", "shipper-main") of this spool while the file is open.

    The kernel drops the lock when the process ends, however it ends. Raises SpoolTaken if somebody has it.
    """
    path = directory / f"{who}.lock"
    try:
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise SpoolUnusable(f"{path}: {error.strerror}. Run as the owner of the folder.") from None
    try:
        _lock(file)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "?"
        file.close()
        raise SpoolTaken(f"{directory}: already has a {who} (process {owner}). Stop that one first.") from None
    try:
        file.truncate(0)
        os.write(
            file.fileno(), str(os.getpid()).encode("ascii")
        )  # not into a buffer, which `close` would fail to write
    except OSError:  # the disk is full: the lock holds without its label
        pass
    return file


def _lock(file: IO[str]) -> None:
    """Lock it. Raises BlockingIOError if somebody has it for longer than a look (`runs`)."""
    for left in reversed(range(LOOKS)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(LOOK_S)
        else:
            return


def runs(directory: Path, who: str) -> bool | None:
    """Whether the process `who` of this spool runs: it holds its lock as long as it lives. None if there was never one.

    To look, the lock is shared for some microseconds; creates nothing.
    """
    try:
        with (directory / f"{who}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def open_writer(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open or create `path` for its one writer; waits at most `busy_s` for a lock.

    Afterwards the file is in WAL mode. The schema is not looked at: see schema.migrate.
    """
    with translated(path):
        if path.is_dir():
            raise SpoolUnusable(f"{path}: is a folder; the spool keeps a file there. Move it away.")
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        connection.text_factory = _TEXT
        try:
            _refuse_foreign(connection, path)  # before the next lines change it
            if connection.execute("PRAGMA page_count").fetchone()[0] == 0:  # in an older file it would only write
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _switch_to_wal(connection, path, busy_s)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES if path.name == FILE else OTHER_LOG_PAGES}")
            connection.execute("PRAGMA mmap_size = 0")
            path.chmod(0o600)
        except OSError as error:
            connection.close()
            raise SpoolUnusable(f"{path}: cannot be written: {error.strerror}. Run this as its owner.") from error
        except BaseException:
            connection.close()
            raise
        return connection


def open_beside(path: Path) -> sqlite3.Connection:
    """A second connection to a file that this process has open for writing, for checkpoint.py; it waits for no lock.

    Raises sqlite3.Error.
    """
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _switch_to_wal(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    # The switch does not honour the busy timeout: two first starts at once fail without this loop.
    give_up_at = time.monotonic() + busy_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise SpoolUnusable(
                    f"{path}: the file system has no shared memory for SQLite's WAL. Put [spool] dir on a local disk."
                )
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def open_reader(path: Path, busy_s: float = 5.0) -> sqlite3.Connection:
    """Open an existing file for reading only. Raises SpoolMissing, SpoolUnusable or SpoolDamaged."""
    _see(path)
    with translated(path):
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
        connection.text_factory = _TEXT
        try:
            _refuse_foreign(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def refuse_broken_header(path: Path) -> None:
    """Raise SpoolDamaged if the file has content whose first 100 bytes are not those of one of our files.

    SQLite takes some of their damage for something else: for a file that must not be written, for another encoding.
    Format: https://www.sqlite.org/fileformat2.html#the_database_header
    """
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return
    fixed = header[:16] == b"SQLite format 3\0" and header[18:24] in (b"\1\1\0@  ", b"\2\2\0@  ")
    if not fixed or header[56:60] not in (b"\0\0\0\0", b"\0\0\0\1"):
        raise SpoolDamaged(f"{path}: its header is broken. The collector sets a damaged spool aside when it starts.")


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise SpoolUnusable for the database of another program."""
    # In this order: the mark is committed together with the tables, perhaps between two of these lines.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    if mark != APPLICATION_ID and (tables or version):
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name IN ('batches', 'states')").fetchone():
            raise SpoolDamaged(f"{path}: has our tables and not our mark. The collector sets a damaged spool aside.")
        raise SpoolUnusable(f"{path}: is a database of another program. Move it away; it was not touched.")


def _see(path: Path) -> None:
    """Raise SpoolMissing if there is no such file, SpoolUnusable if it is no file or this user may not know."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpoolUnusable(f"{path}: is not a file; the spool keeps one there. Move it away.")
    except (FileNotFoundError, NotADirectoryError):
        raise SpoolMissing(f"{path}: no such file. Has its process been started? See [spool] dir.") from None
    except OSError as error:
        raise SpoolUnusable(f"{path}: {error.strerror}. Run this as the spool's owner.") from None


def attach(connection: sqlite3.Connection, path: Path, name: str) -> None:
    """Let a reader's statements see a second file, read-only too, as schema `name` (a word of ours, not input)."""
    with translated(path):
        connection.execute(f"ATTACH ? AS {name}", (f"file:{quote(str(path.absolute()))}?mode=ro",))


def look_for_damage(connection: sqlite3.Connection, path: Path, within_s: float) -> bool:
    """SQLite's quick check for at most about `within_s`. False if it did not get to the end in that time.

    Raises SpoolDamaged with what it found.
    """
    # The progress handler of SQLite before 3.41 is not called inside this check; an interrupt is heeded at each page.
    alarm = threading.Timer(min(within_s, threading.TIMEOUT_MAX), connection.interrupt)
    alarm.daemon = True
    alarm.start()
    try:
        with translated(path):
            found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        alarm.cancel()
        alarm.join()
    if found != ["ok"]:
        raise SpoolDamaged(f"{path}: {'; '.join(found)}. The collector sets a damaged spool aside when it starts.")
    return True


@contextmanager
def write(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """One write transaction. On any exception nothing of it remains."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")  # in here, because COMMIT itself can fail: disk full, busy
        except BaseException:
            connection.rollback()  # does nothing where SQLite has rolled back already
            raise
