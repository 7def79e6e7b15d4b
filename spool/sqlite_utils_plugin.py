"""Plugin for sqlite-utils: `batch_json` in its connections, so that it can read the views `points`; and our commands.

    sqlite-utils query data/spool/spool.db "select name, sum(value) from recent_points group by 1" -t
    sqlite-utils holdfast status

Imports nothing when loaded but what sqlite-utils needs, too: a plugin that fails at load stops all of its commands. It
changes nothing else about a connection, no PRAGMA and no time limit, because the connection is not ours.
"""

import sqlite3

import click
from sqlite_utils import hookimpl


@hookimpl
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Register `batch_json(payload)`."""
    try:
        # Imported here: whatever is missing for it must not keep sqlite-utils from starting.
        from spool.batch_sql import batch_json  # noqa: PLC0415
    except ImportError:  # an installation in pieces: the views then say "no such function", all else works
        return
    conn.create_function("batch_json", 1, batch_json, deterministic=True)


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
