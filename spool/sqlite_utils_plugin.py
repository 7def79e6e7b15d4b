"""Plugin for sqlite-utils: `batch_json` in its connections, so that it can read the views `points`; and our commands.

    sqlite-utils query data/spool/spool.db "select name, sum(value) from recent_points group by 1" -t
    sqlite-utils holdfast status

Imports nothing when loaded but what sqlite-utils needs, too: a plugin that fails at load stops all of its commands. It
changes nothing else about a connection, no PRAGMA and no time limit, because the connection is not ours.

One thing is refused: to write to a spool.db whose collector runs. The collector is its one writer, and a `VACUUM` would
keep its windows waiting for seconds.
"""

import os
import sqlite3
import warnings
from pathlib import Path

import click
from sqlite_utils import hookimpl

# CREATE and DROP change sqlite_master, so they are among the first three.
WRITES = {getattr(sqlite3, f"SQLITE_{each}") for each in ("INSERT", "UPDATE", "DELETE", "REINDEX", "ANALYZE")}


@hookimpl
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Register `batch_json(payload)`; have writes refused where the connection is one to a spool.db in use."""
    try:
        # Imported here: whatever is missing for it must not keep sqlite-utils from starting.
        from spool.batch_sql import batch_json  # noqa: PLC0415
        from spool.connection import FILE, runs  # noqa: PLC0415
    except ImportError:  # an installation in pieces: the views then say "no such function", all else works
        return
    conn.create_function("batch_json", 1, batch_json, deterministic=True)
    cursor = conn.cursor()
    cursor.row_factory = None  # the connection's own may make dicts
    file = Path(os.fsdecode(cursor.execute("PRAGMA database_list").fetchone()[2]))
    if file.name != FILE:
        return

    def allowed(action: int, first: str | None, _: object, database: str | None, __: object) -> int:
        writes = (
            (action in WRITES and database == "main")
            or (action == sqlite3.SQLITE_ALTER_TABLE and first == "main")
            or (action == sqlite3.SQLITE_ATTACH and first == "")  # a VACUUM begins so; VACUUM INTO names its file
            or (action == sqlite3.SQLITE_PRAGMA and first in ("incremental_vacuum", "wal_checkpoint"))
        )
        if not writes or not runs(file.parent, "collector"):
            return sqlite3.SQLITE_OK
        _say(
            f"{file}: its collector runs, and it alone writes this file: it would have to wait. `holdfast prune` makes "
            "room, `holdfast backup` a copy to work on."
        )
        return sqlite3.SQLITE_DENY

    conn.set_authorizer(allowed)


def _say(why: str) -> None:
    """SQLite itself gives no reason, so the command that is running ends with this one; a program is warned."""
    command = click.get_current_context(silent=True)
    if command is None:
        warnings.warn(why, stacklevel=3)
        return

    @command.call_on_close
    def end() -> None:
        raise click.ClickException(why)


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `holdfast`, all words behind which are the operator's command's."""

    # Its --help is the command's own, too, so nothing is read here.
    @cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def holdfast(words: tuple[str, ...]) -> None:
        """Look into a Holdfast spool: status, list, points, replay ..."""
        # Imported here: this runs at every start of sqlite-utils, whatever it is for.
        from spool.cli import cli as ours  # noqa: PLC0415

        ours.main(words, prog_name="sqlite-utils holdfast")
