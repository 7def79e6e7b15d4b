"""Plugin for sqlite-utils: `batch_json` in its connections, so that it can read the views `points`.

    sqlite-utils query data/spool/spool.db "select name, sum(value) from recent_points group by 1" -t

Imports only the hook marker when loaded: a plugin that fails at load stops every sqlite-utils command. It changes
nothing else about a connection, no PRAGMA and no time limit, because the connection is not ours.
"""

import sqlite3

from sqlite_utils import hookimpl


@hookimpl
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Register `batch_json(payload)`."""
    # Imported here: whatever went wrong with it must not keep sqlite-utils from starting.
    from spool.batch_sql import batch_json  # noqa: PLC0415

    conn.create_function("batch_json", 1, batch_json, deterministic=True)
