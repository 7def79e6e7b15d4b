"""`holdfast hangs`: the stack dumps that processes left when an attempt outlived its deadline."""

from pathlib import Path

import click

from spool.commands.place import Place
from spool.errors import HoldfastError
from spool.human import clock, size
from spool.output import Column, Form, print_rows, row_options
from spool.reader import SpoolReader

FOLDER = "hangs"
"""In the spool's folder; one text file per process, written by faulthandler, empty while nothing ever hung."""


class UnknownHang(HoldfastError):
    """A dump that is not there."""

    exit_code = 2


@click.command()
@click.argument("name", required=False)
@row_options
@click.pass_obj
def hangs(place: Place, name: str | None, form: Form) -> None:
    """List the kept stack dumps of hung attempts, newest first; with NAME, print that one.

    Keys: name, at (Unix seconds of the last write), bytes.
    """
    with SpoolReader(place.directory):
        dumps = _dumps(place.directory / FOLDER)
    if name is None:
        rows = [{"name": path.name, "at": path.stat().st_mtime, "bytes": path.stat().st_size} for path in dumps]
        if not print_rows(rows, form, _columns(place.clock())) and form.name == "text":
            click.echo("holdfast: no hang has been recorded", err=True)
        return
    wanted = [path for path in dumps if path.name == name]
    if not wanted:
        raise UnknownHang(f"{place.directory / FOLDER}: holds no dump {name!r}. `holdfast hangs` lists them.")
    click.echo(wanted[0].read_text(encoding="utf-8", errors="backslashreplace"), nl=False)


def _dumps(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*.txt") if path.stat().st_size]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _columns(now: float) -> list[Column]:
    return [
        Column("NAME", lambda row: row["name"]),
        Column("WRITTEN", lambda row: clock(row["at"], now)),
        Column("SIZE", lambda row: size(row["bytes"]), right=True),
    ]
