"""`holdfast hangs`: what was kept of uploads and processes that got stuck (spool/hangfile.py)."""

from dataclasses import asdict
from pathlib import Path

import click

from spool.commands.completing import completing
from spool.commands.completing import hangs as kept_hangs
from spool.commands.place import Place
from spool.errors import HoldfastError
from spool.hangfile import read
from spool.human import clock
from spool.output import Column, Form, Row, print_rows, row_options
from spool.reader import SpoolReader

FOLDER = "hangs"
"""In the spool's folder; the file of a running process is empty while nothing ever hung."""


class UnknownHang(HoldfastError):
    """A file that is not there."""

    exit_code = 2


@click.command()
@click.argument("name", required=False, shell_complete=completing(kept_hangs))
@row_options
@click.pass_obj
def hangs(place: Place, name: str | None, form: Form) -> None:
    """List what was kept of hung attempts and processes, newest first; with NAME, print that one.

    The list: when, who, in which phase, how it ended, and the newest frame of the main thread where the process had
    to be ended. Keys: name, at (Unix seconds of the last write), bytes, who, phase, ended, where; with NAME also text.
    """
    with SpoolReader(place.directory):
        rows = kept(place.directory)
    if name is not None:
        chosen = [row for row in rows if row["name"] == name]
        if not chosen:
            raise UnknownHang(f"{place.directory / FOLDER}: holds no dump {name!r}. `holdfast hangs` lists them.")
        if form.name == "text":
            click.echo(chosen[0]["text"], nl=False)
        else:
            print_rows(chosen, form)
        return
    listed = [{key: value for key, value in row.items() if key != "text"} for row in rows]
    if not print_rows(listed, form, hang_columns(place.clock())) and form.name == "text":
        click.echo("holdfast: no hang has been recorded", err=True)


def kept(directory: Path) -> list[Row]:
    """What is kept in the spool in `directory`, newest first, each with its whole text."""
    rows = [_row(path) for path in (directory / FOLDER).glob("*.txt") if path.stat().st_size]
    return sorted(rows, key=lambda row: row["at"], reverse=True)


def _row(path: Path) -> Row:
    text, facts = path.read_text(encoding="utf-8", errors="backslashreplace"), path.stat()
    return {
        "name": path.name,
        "at": facts.st_mtime,
        "bytes": facts.st_size,
        **asdict(read(path.name, text)),
        "text": text,
    }


def hang_columns(now: float) -> list[Column]:
    """The columns of the text form."""
    return [
        Column("WHEN", lambda row: clock(row["at"], now)),
        Column("WHO", lambda row: row["who"] or "-"),
        Column("PHASE", lambda row: row["phase"] or "-"),
        Column("ENDED", lambda row: row["ended"] or "-"),
        Column("IN", lambda row: row["where"] or "-"),
        Column("NAME", lambda row: row["name"]),
    ]
