"""`holdfast web`: the spool in a browser. Finds the files, says where they are, and becomes Datasette (spool/web/)."""

import os
import sys
from importlib.util import find_spec

import click

from spool.commands.place import Place
from spool.connection import FILE
from spool.delivery import file_name
from spool.errors import HoldfastError
from spool.query import joinable


class WebMissing(HoldfastError):
    """Datasette is not installed."""

    exit_code = 2


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="[DATASETTE OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def web(place: Place, words: tuple[str, ...]) -> None:
    """Show the spool in a browser: pictures, losses, hangs and metrics at /-/holdfast, tables and SQL beside it.

    Starts Datasette, read-only, on http://127.0.0.1:8001 with spool.db and the delivery files that can be read; needs
    `pip install '.[web]'` in Holdfast's checkout, by the pip of its environment. Everything else on the command line is
    for it: -p 9000, --open, --root, --setting ...
    Nobody is asked for a password: leave it on loopback, and reach it through ssh -L 8001:127.0.0.1:8001.
    """
    if find_spec("datasette") is None:
        raise WebMissing(
            f"Datasette is not installed here. In Holdfast's checkout do: {sys.executable} -m pip install '.[web]'"
        )
    names = [FILE, *(file_name(each) for each in joinable(place.directory))]
    files = [str((place.directory / each).absolute()) for each in names]
    if place.config.file is not None:  # the page reads it, too
        os.environ["HOLDFAST_CONFIG"] = str(place.config.file.absolute())
    os.execv(sys.executable, [sys.executable, "-m", "datasette", "serve", *files, *words])
