"""Any question in SQL over a whole spool: spool.db and every delivery file, read-only, as one database.

`main` is spool.db with its tables and views. Each table of the delivery files (attempts, states, minutes, condition,
changes) is a temporary view over all destinations with a column `destination` in front, empty if there is none yet.
In `changes` are those made to spool.db, too, with no destination.

Promises: a statement can only read. The files are opened `mode=ro`, and an authorizer refuses everything but SELECT,
also ATTACH, which could make a file. Rows are in memory before the caller sees the first: nothing stays open while
they are printed. Not promised: one instant; each file has its own snapshot. While a long statement runs, the spool's
write-ahead log cannot be cut; commits go on.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spool.batch_sql import batch_json
from spool.connection import FILE, attach, open_reader, translated
from spool.delivery import DeliveryReader, destinations_on_disk, file_name
from spool.errors import HoldfastError
from spool.reader import SpoolReader
from spool.schema import DELIVERY_STEPS, SPOOL_STEPS, check, empty

VIEWS = ("attempts", "states", "minutes", "condition", "changes")
"""The tables of each delivery file that become views over all of them."""

MOST_DESTINATIONS = 10
"""SQLite's limit of attached files as it is usually compiled."""

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_LOOKS = {"table_info", "table_xinfo", "table_list", "index_list"}
"""PRAGMAs that only look: how one learns a table's columns."""

_THEIRS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
}
"""SQLite's errors that are about the statement and not about the file."""


class QueryError(HoldfastError):
    """SQL that SQLite did not accept or that was interrupted."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """The first rows of a statement, and whether it had more."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool


def ask(directory: Path, destinations: Sequence[str], sql: str, parameters: Mapping[str, str], limit: int) -> Answer:
    """Run one SELECT over the spool in `directory` and give its first `limit` rows.

    `destinations` are those with a delivery file of this spool. Raises QueryError for what SQLite refuses, and
    SpoolMissing, SpoolUnusable or SpoolDamaged. Ctrl-C ends it with KeyboardInterrupt.
    """
    path = directory / FILE
    if len(destinations) > MOST_DESTINATIONS:
        raise QueryError(f"{directory}: SQLite joins at most {MOST_DESTINATIONS} files; choose with --destination.")
    connection = open_reader(path)
    try:
        check(connection, path, SPOOL_STEPS)
        connection.create_function("batch_json", 1, batch_json, deterministic=True)
        join(connection, directory, destinations)
        # Used once before the authorizer is there: setting these functions up looks like creating a table to it.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").close()
        connection.set_authorizer(_read_only)
        return _run(connection, path, sql, parameters, limit)
    finally:
        connection.close()


def joinable(directory: Path) -> list[str]:
    """The destinations whose delivery files can be read and belong to the spool in `directory`."""
    found = []
    with SpoolReader(directory) as spool:
        for name in destinations_on_disk(directory)[:MOST_DESTINATIONS]:
            try:
                with DeliveryReader(directory, name) as delivery:
                    if delivery.spool_id() in (None, spool.spool_id):
                        found.append(name)
            except HoldfastError:  # damaged, or from a newer Holdfast: its shipper will say so
                continue
    return found


def join(connection: sqlite3.Connection, directory: Path, destinations: Sequence[str]) -> None:
    """Let a connection to spool.db see the delivery files of `destinations`, read-only, as the views VIEWS.

    The connection must understand `file:` addresses. Raises what SQLite says of the files, as our errors.
    """
    path = directory / FILE
    for number, name in enumerate(destinations):
        attach(connection, directory / file_name(name), f"delivery_{number}")
    with translated(path):
        for view, columns in _columns().items():
            names = ", ".join(columns)
            arms = [f"SELECT NULL AS destination, {', '.join(f'NULL AS {each}' for each in columns)} WHERE 0"]
            if view == "changes":  # those of the spool itself belong to no destination
                arms.append(f"SELECT NULL, {names} FROM main.changes")
            arms += [
                f"SELECT {_quoted(name)}, {names} FROM delivery_{number}.{view}"
                for number, name in enumerate(destinations)
            ]
            connection.execute(f"CREATE TEMP VIEW {view} AS {' UNION ALL '.join(arms)}")


def _quoted(name: str) -> str:
    # Ours need no care, see config.NAME; but anybody may have put a delivery-*.db into the folder.
    return "'" + name.replace("'", "''") + "'"


def _columns() -> dict[str, list[str]]:
    """The columns of each of VIEWS, asked of an empty delivery file in memory."""
    with closing(empty(DELIVERY_STEPS)) as made:
        return {view: [row[1] for row in made.execute(f"PRAGMA table_info({view})")] for view in VIEWS}


def _read_only(action: int, first: str | None, second: str | None, _schema: str | None, _by: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if first in _LOOKS else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _run(connection: sqlite3.Connection, path: Path, sql: str, parameters: Mapping[str, str], limit: int) -> Answer:
    # Python looks at signals only between its own instructions: without this, Ctrl-C waits for SQLite.
    connection.set_progress_handler(lambda: 0, 100_000)
    with translated(path):
        try:
            cursor = connection.execute(sql, parameters)
            try:
                rows = cursor.fetchmany(limit + 1)
                names = [each[0] for each in cursor.description or ()]
            finally:
                cursor.close()
        except UnicodeEncodeError:
            raise QueryError("SQL: has bytes that are no UTF-8, in the statement or in a value.") from None
        except (sqlite3.Error, sqlite3.Warning) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
            if code == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error
            if code == sqlite3.SQLITE_AUTH:
                raise QueryError(f"SQL: {error}: this command only reads, so only SELECT is allowed.") from error
            if code in _THEIRS:
                text = str(error).rstrip(".")
                raise QueryError(f"SQL: {text}. `holdfast query --help` lists tables and views.") from error
            raise
    if not names:
        raise QueryError("SQL: no statement that gives rows. `holdfast query --help` lists tables and views.")
    return Answer(names, rows[:limit], len(rows) > limit)
