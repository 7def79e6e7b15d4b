"""Plugin for Datasette: reads a live spool, with the views `points`, and shows the page at /-/holdfast.

    datasette data/spool/spool.db                  # or: holdfast web

Every connection gets `batch_json`; that of a spool.db also sees the tables of the delivery files beside it, as
`holdfast query` does: attempts, states, minutes, condition, changes, each with its destination. The configuration is
looked for as by every other command, or is named in Datasette's own: {"plugins": {"holdfast": {"config": "FILE"}}}.

Promises: files are opened for reading only, and a delivery file that cannot be read is left out and breaks nothing.
Not promised: that Datasette's own pages go on with a spool that was damaged and replaced; they need a new start. Ours
opens the files each time.
"""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

from datasette import NotFound, Response, hookimpl
from datasette.utils import tilde_decode, tilde_encode

from spool.batch_sql import batch_json
from spool.commands.hangs import kept
from spool.connection import FILE
from spool.errors import HoldfastError
from spool.markup import Html, element
from spool.query import join, joinable
from spool.web.asked import asked
from spool.web.page import POLICY, render, render_problem
from spool.web.report import Report, settings

PATH = "/-/holdfast"
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


@hookimpl
def prepare_connection(conn: sqlite3.Connection, database: str, datasette: Any) -> None:
    """Register `batch_json`; show a spool.db the delivery files beside it."""
    conn.create_function("batch_json", 1, batch_json, deterministic=True)
    directory = _spools(datasette).get(database)
    if directory is not None:
        try:
            join(conn, directory, joinable(directory))
        except HoldfastError:  # whatever it is, the tables of spool.db itself can be read without
            pass


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    """The page of the first spool, that of each, and the text of a dump."""
    return [
        (rf"^{PATH}$", first),
        (rf"^{PATH}/(?P<database>[^/]+)$", page),
        (rf"^{PATH}/(?P<database>[^/]+)/hangs/(?P<name>[^/]+)$", hang),
    ]


@hookimpl
def menu_links(datasette: Any) -> list[dict[str, str]]:
    """The page in Datasette's menu, when a spool is open."""
    return [{"href": datasette.urls.path(PATH), "label": "Holdfast"}] if _spools(datasette) else []


async def first(request: Any, datasette: Any) -> Any:
    """The way to the page of the spool that was opened first, with all that was asked."""
    for name in _spools(datasette):
        return Response.redirect(f"{_address(datasette, name)}{'?' * bool(request.query_string)}{request.query_string}")
    return _html(render_problem(f"No {FILE} is open here. Start Datasette with one: datasette DIR/{FILE}"), 404)


async def page(request: Any, datasette: Any) -> Any:
    """The page of one spool; 503 with the reason while it cannot be read."""
    name, directory = await _seen(request, datasette)
    file = (datasette.plugin_config("holdfast") or {}).get("config")
    words = {each: request.args[each] for each in request.args}

    def made() -> str:
        report = Report(
            directory=directory,
            settings=settings(directory, Path(file) if file else None),
            files=_files(datasette, directory),
            others=[element("a", each, href=_address(datasette, each)) for each in _spools(datasette) if each != name],
            hang=lambda dump: f"{_address(datasette, name)}/hangs/{tilde_encode(dump)}",
            clock=time.time,
            monotonic=time.monotonic,
        )
        return render(report.page(asked(words, report.clock())))

    try:
        # In a thread: the event loop serves others meanwhile.
        return _html(await asyncio.to_thread(made), 200)
    except HoldfastError as error:
        return _html(render_problem(str(error)), 503)


async def hang(request: Any, datasette: Any) -> Any:
    """What was kept of one hang, as it is."""
    _, directory = await _seen(request, datasette)
    name = tilde_decode(request.url_vars["name"])
    for each in await asyncio.to_thread(kept, directory):
        if each["name"] == name:
            return Response.text(each["text"], headers=HEADERS)
    raise NotFound(f"No dump {name!r} is kept.")


async def _seen(request: Any, datasette: Any) -> tuple[str, Path]:
    """The spool that the address names, if this person may see its database."""
    name = tilde_decode(request.url_vars["database"])
    directory = _spools(datasette).get(name)
    if directory is None:
        raise NotFound(f"No spool is open as {name!r}.")
    await datasette.ensure_permissions(request.actor, [("view-database", name), "view-instance"])
    return name, directory


def _spools(datasette: Any) -> dict[str, Path]:
    """The folders of the spools among the open databases, by the database's name."""
    return {
        name: Path(database.path).absolute().parent
        for name, database in datasette.databases.items()
        if database.path is not None and Path(database.path).name == FILE
    }


def _files(datasette: Any, directory: Path) -> list[Html]:
    """The open databases of the spool in `directory`."""
    return [
        element("a", name, href=str(datasette.urls.database(name)))
        for name, database in datasette.databases.items()
        if database.path is not None and Path(database.path).absolute().parent == directory
    ]


def _address(datasette: Any, name: str) -> str:
    return str(datasette.urls.path(f"{PATH}/{tilde_encode(name)}"))


def _html(text: str, status: int) -> Any:
    return Response.html(text, status, headers=HEADERS)
