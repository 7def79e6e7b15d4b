"""A consistent copy of a spool that is being written to: a folder that can be looked into, or put to work.

Promises: each file is copied as of one instant, by SQLite's backup, STEP_PAGES at a time with a pause after each.
A copy reads, and a reader of a WAL file never delays its writer; what it does is keep the log from being cut while it
lasts. Delivery files are copied before spool.db, so that no batch passes for delivered that is yet to come: what was
acknowledged in between is sent once more under its key. Of what was settled and evicted in between the states are
taken over at the end, or the copy would miss it.

The copy has an identity of its own: a new spool_id, in all its files. The original goes on and uses the next ids; a
copy that is put to work later uses them too, for other batches, and must not do so under the same keys. What is in it
keeps the keys it has.

Not promised: one instant for all files, heartbeats, set-aside files, dumps.
"""

import secrets
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from spool.connection import FILE, attach, make_directory, open_reader, translated, write
from spool.delivery import destinations_on_disk, file_name
from spool.errors import SpoolMissing, SpoolUnusable

STEP_PAGES = 256
"""1 MiB with the usual pages."""

Tell = Callable[[int, int], None]
"""Hears how many pages are copied, and of how many."""


def backup(directory: Path, target: Path, tell: Tell, pause: Callable[[], None]) -> str:
    """Copy the spool in `directory` into the new folder `target`. Returns the spool_id of the copy.

    `pause` is called between steps. Raises SpoolUnusable if `target` is there already or within the spool,
    SpoolMissing without one, SpoolBusy for a full disk. Whatever stops it, what it made so far is removed again.
    """
    if target.exists():
        raise SpoolUnusable(f"{target}: is there already. A backup makes its folder; name another.")
    if target.resolve().is_relative_to(directory.resolve()):
        raise SpoolUnusable(
            f"{target}: is within the spool's folder, where it would count for max_bytes and push out what is held."
            " Name another."
        )
    if not (directory / FILE).exists():
        raise SpoolMissing(f"{directory / FILE}: no such file; there is nothing to back up.")
    make_directory(target)
    names = [*(file_name(each) for each in destinations_on_disk(directory)), FILE]
    spool_id = secrets.token_hex(8)
    made: list[Path] = []
    try:
        pages = sum(_pages(directory / name) for name in names)
        before = 0
        for name in names:
            made.append(target / name)
            before += _copy(directory / name, target / name, partial(_told, tell, before, pages), pause)
        for name in names[:-1]:
            _take_over(directory / name, target / name, target / FILE)
        _identities(made, spool_id)
    except BaseException:
        for path in made:
            for ending in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        target.rmdir()
        raise
    return spool_id


def _told(tell: Tell, before: int, pages: int, done: int) -> None:
    tell(before + done, pages)


def _pages(path: Path) -> int:
    connection = open_reader(path)
    try:
        with translated(path):
            return int(connection.execute("PRAGMA page_count").fetchone()[0])
    finally:
        connection.close()


def _copy(source: Path, target: Path, tell: Callable[[int], None], pause: Callable[[], None]) -> int:
    """Copy one file. Returns its pages."""
    reader = open_reader(source)
    try:
        with translated(target):
            writer = sqlite3.connect(target, isolation_level=None)
            try:
                pages = 0

                def step(_status: int, remaining: int, total: int) -> None:
                    nonlocal pages
                    pages = total
                    tell(total - remaining)
                    pause()

                # One snapshot for all steps: without it, each commit makes the backup begin again, and a spool
                # that takes longer to copy than a window lasts would never be done.
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
                reader.backup(writer, pages=STEP_PAGES, progress=step)
                target.chmod(0o600)
                return pages
            finally:
                writer.close()
    finally:
        reader.close()


def _take_over(source: Path, copy: Path, spool: Path) -> None:
    """States that came meanwhile of what went from the spool meanwhile."""
    connection = sqlite3.connect(copy, isolation_level=None, uri=True)
    try:
        with translated(copy):
            connection.execute("ATTACH ? AS spool", (str(spool),))
        try:
            attach(connection, source, "live")
            with write(connection, copy) as db:
                db.execute(
                    "INSERT OR IGNORE INTO main.states SELECT * FROM live.states WHERE batch NOT IN"
                    " (SELECT id FROM spool.batches)"
                    " AND batch <= (SELECT seq FROM spool.sqlite_sequence WHERE name = 'batches')"
                    " AND (SELECT value FROM live.meta WHERE name = 'spool_id')"
                    " = (SELECT value FROM spool.meta WHERE name = 'spool_id')"
                )
        except SpoolUnusable:  # its shipper has set it aside
            return
    finally:
        connection.close()


def _identities(files: list[Path], spool_id: str) -> None:
    """Give the copy its own spool_id; a delivery file of another spool stays another spool's."""
    spool = files[-1]
    own = _meta(spool)
    for path in files:
        if _meta(path) == own:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                with write(connection, path) as db:
                    db.execute("UPDATE meta SET value = ? WHERE name = 'spool_id'", (spool_id,))
            finally:
                connection.close()


def _meta(path: Path) -> str | None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with translated(path):
            row = connection.execute("SELECT value FROM meta WHERE name = 'spool_id'").fetchone()
            return str(row[0]) if row else None
    finally:
        connection.close()
