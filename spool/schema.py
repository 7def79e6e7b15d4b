"""The tables of both kinds of file, and how an older file becomes a newer one.

Each step is a list of statements. A file carries the number of steps it has seen in `PRAGMA user_version`
and our mark in `PRAGMA application_id`; the history is kept by sqlite-utils' migrations. All pending steps run
in one BEGIN IMMEDIATE transaction: a crash in the middle leaves the old schema, and processes that start together
wait for each other instead of failing. A file from a newer Holdfast is refused untouched, and so is one that is not
ours, in connection.py.

What the tables mean is in the docstring of the package.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from spool.connection import APPLICATION_ID, translated, write
from spool.errors import SpoolMissing, SpoolUnusable

CHANGES = """
        CREATE TABLE changes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            command TEXT NOT NULL,
            batches INTEGER NOT NULL,
            first_batch INTEGER,
            last_batch INTEGER,
            ids TEXT NOT NULL
        ) STRICT
        """
"""What operators changed: in a delivery file from the first step on, in spool.db since its second."""

SPOOL_STEPS: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """
        CREATE TABLE batches (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            window_start REAL NOT NULL,
            window_end REAL NOT NULL,
            window_seq INTEGER NOT NULL,
            committed_at REAL NOT NULL,
            points INTEGER NOT NULL,
            series INTEGER NOT NULL,
            raw_bytes INTEGER NOT NULL,
            payload BLOB NOT NULL,
            sha256 TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX batches_by_window_end ON batches (window_end)",
        """
        CREATE TABLE windows (
            seq INTEGER PRIMARY KEY,
            window_start REAL NOT NULL,
            window_end REAL NOT NULL,
            committed_at REAL NOT NULL,
            first_batch INTEGER NOT NULL,
            last_batch INTEGER NOT NULL,
            points INTEGER NOT NULL,
            series INTEGER NOT NULL,
            datagrams INTEGER NOT NULL,
            lines INTEGER NOT NULL,
            accepted INTEGER NOT NULL,
            rejected INTEGER NOT NULL,
            rejected_by TEXT NOT NULL,
            dropped INTEGER NOT NULL,
            overflowed INTEGER NOT NULL,
            partial INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE losses (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            reason TEXT NOT NULL,
            first_batch INTEGER,
            last_batch INTEGER,
            first_window INTEGER NOT NULL,
            last_window INTEGER NOT NULL,
            window_start REAL NOT NULL,
            window_end REAL NOT NULL,
            batches INTEGER NOT NULL,
            points INTEGER NOT NULL,
            lines INTEGER NOT NULL,
            unsent_at TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE VIEW points AS
        SELECT b.id AS batch, b.window_end AS ts, json_extract(p.value, '$.name') AS name,
               json_extract(p.value, '$.type') AS type, json_extract(p.value, '$.tags') AS tags,
               s.key AS stat, s.value AS value
        FROM batches b, json_each(batch_json(b.payload)) p, json_each(p.value) s
        WHERE s.type IN ('integer', 'real')
        """,
        """
        CREATE VIEW recent_points AS
        SELECT b.id AS batch, b.window_end AS ts, json_extract(p.value, '$.name') AS name,
               json_extract(p.value, '$.type') AS type, json_extract(p.value, '$.tags') AS tags,
               s.key AS stat, s.value AS value
        FROM (SELECT id, window_end, payload FROM batches ORDER BY id DESC LIMIT 100) b,
             json_each(batch_json(b.payload)) p, json_each(p.value) s
        WHERE s.type IN ('integer', 'real')
        """,
    ),
    (CHANGES,),
)

# The words of a released step stay as they are, but for white space: a file that has others counts as damaged
# (sound.py). A change is a further step.
DELIVERY_STEPS: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """
        CREATE TABLE states (
            batch INTEGER PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('acknowledged', 'dead', 'expired', 'held')),
            at REAL NOT NULL,
            attempt INTEGER,
            reason TEXT
        ) STRICT
        """,
        """
        CREATE TABLE attempts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            started_at REAL NOT NULL,
            lane TEXT NOT NULL,
            first_batch INTEGER NOT NULL,
            last_batch INTEGER NOT NULL,
            batches INTEGER NOT NULL,
            ids TEXT NOT NULL,
            points INTEGER NOT NULL,
            body_bytes INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            phase TEXT NOT NULL,
            status INTEGER,
            error TEXT,
            dns_ms REAL, connect_ms REAL, tls_ms REAL, write_ms REAL, wait_ms REAL, read_ms REAL, close_ms REAL,
            total_ms REAL NOT NULL,
            overshoot_ms REAL NOT NULL,
            sent_bytes INTEGER NOT NULL,
            received_bytes INTEGER NOT NULL,
            address TEXT
        ) STRICT
        """,
        "CREATE INDEX attempts_by_batch ON attempts (last_batch, first_batch)",
        """
        CREATE TABLE condition (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            failures INTEGER NOT NULL DEFAULT 0,
            next_try_at REAL,
            parked_since REAL,
            parked_reason TEXT,
            last_attempt_at REAL,
            last_ack_at REAL,
            last_error TEXT,
            clock_offset_s REAL
        ) STRICT
        """,
        "INSERT INTO condition (only) VALUES (1)",
        """
        CREATE TABLE minutes (
            minute INTEGER PRIMARY KEY,
            unsent_batches INTEGER NOT NULL,
            unsent_bytes INTEGER NOT NULL,
            oldest_unsent_at REAL,
            acknowledged INTEGER NOT NULL,
            failed INTEGER NOT NULL
        ) STRICT
        """,
        CHANGES,
    ),
    ("CREATE TABLE renewals (batch INTEGER PRIMARY KEY, times INTEGER NOT NULL) STRICT",),
)
DELIVERY_READABLE = 1
"""Readers take a delivery file from this schema on: steps after it only added tables. During an upgrade the collector
must see what is settled before the shipper has started, or it would hold everything for unsent."""


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> None:
    """Bring a file opened for writing up to date. Raises SpoolUnusable for a newer file."""
    _refuse_newer(connection, path, steps)
    if _version(connection, path) == len(steps):
        return
    # Imported here: it costs 60 ms and 16 MB, and only a new or older file needs it.
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    history = Migrations(f"holdfast.{path.stem.split('-')[0]}")

    def add(number: int, statements: Sequence[str]) -> None:
        @history(name=f"{number:04}")
        def _step(db: Database) -> None:
            for statement in statements:
                db.conn.execute(statement)

    for number, statements in enumerate(steps, start=1):
        add(number, statements)
    with write(connection, path):
        history.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")


def empty(steps: Sequence[Sequence[str]]) -> sqlite3.Connection:
    """A file in memory as `steps` make it, to be asked how it is made; the caller's to close."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (each for step in steps for each in step):
        made.execute(statement)
    return made


def check(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]], oldest: int | None = None) -> int:
    """The file's schema, from `oldest` (None: the newest) to the newest.

    Raises SpoolUnusable if the file is from a newer Holdfast, SpoolMissing if its writer has still to set it up.
    """
    _refuse_newer(connection, path, steps)
    version, needed = _version(connection, path), len(steps) if oldest is None else oldest
    if version < needed:
        seen = f"has schema {version}, needed is {needed}" if version else "is empty yet"
        raise SpoolMissing(f"{path}: {seen}. The process that writes it sets it up when it starts.")
    return version


def _refuse_newer(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> None:
    version = _version(connection, path)
    if version > len(steps):
        raise SpoolUnusable(
            f"{path}: has schema {version}, this Holdfast knows {len(steps)}. Install the newer version again; "
            "the file was not touched."
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    with translated(path):
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
