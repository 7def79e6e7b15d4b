"""Opening a delivery file to write it: set up, and refused where it has damage that SQLite does not notice.

A byte that changed in a CREATE statement or in a value of `meta` leaves a file that is whole to SQLite, quick_check
included, and in which nothing works any more; one in the word of a state leaves a batch of which nobody can say where
it stands, and that is never sent:

    CREATE TABLE attempts (... write_ms REAL, ...)      no such column: write_ms, at every attempt
                               -

Who writes the file would meet that at every start. As damage it is set aside, and everything held goes again under the
same keys (aside.py). Not promised: a number that changed into another one is not noticed.
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from spool.connection import open_writer, translated
from spool.errors import SpoolDamaged
from spool.ledger import State, Terms
from spool.schema import DELIVERY_STEPS, empty, migrate

_NUMBERS = ("settled_through", "put_back")
_NEXT = "Its shipper sets it aside and sends everything held again."


def open_sound(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open or create the delivery file `path` for its one writer; waits at most `busy_s` for a lock.

    Raises SpoolUnusable, SpoolBusy, or SpoolDamaged for what cannot be a file that we made.
    """
    connection = open_writer(path, busy_s)
    try:
        migrate(connection, path, DELIVERY_STEPS)
        _refuse_nonsense(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_nonsense(connection: sqlite3.Connection, path: Path) -> None:
    try:
        with translated(path):
            made = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
            # Each by its name, as they are read later: by an index, which has damage of its own.
            value = "SELECT value FROM meta WHERE name = ?"
            numbers = [row for name in _NUMBERS for row in connection.execute(value, (name,))]
            terms = connection.execute(value, ("terms",)).fetchall()
            words = connection.execute("SELECT DISTINCT state FROM states").fetchall()
        for number in numbers:
            int(number[0])
        for text in terms:
            Terms(**json.loads(text[0]))
        for word in words:
            State(word[0])
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise SpoolDamaged(f"{path}: {error}. {_NEXT}") from error
    altered = [name for name, sql in _as_made().items() if (made.get(name) or "").split() != sql.split()]
    if altered:
        raise SpoolDamaged(f"{path}: {', '.join(altered)} is not as it was made. {_NEXT}")


@cache
def _as_made() -> Mapping[str, str]:
    """The CREATE statements as SQLite keeps them, by what they make."""
    with closing(empty(DELIVERY_STEPS)) as made:
        return dict(made.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
