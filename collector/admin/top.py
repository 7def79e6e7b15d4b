"""`holdfast-collector top`: what comes in, by name, live in the terminal.

Reads the spool and nothing else, so that it works without the admin port, also beside a collector that hangs, and costs
the collector nothing. It looks each half second whether a window has been committed; nothing stays open meanwhile.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from collector.admin.busiest import ORDERS, RECENT, Name, Snapshot, as_object, ordered, screen, snapshot
from spool.batch import Point, decode, points_of
from spool.config import load, spool_dir
from spool.errors import HoldfastError, SpoolMissing
from spool.heartbeat import heartbeats
from spool.human import count
from spool.output import Column, aligned, printable
from spool.reader import SpoolReader
from spool.shell import named_config

EVERY_S = 0.5
MOST_BATCHES = 20
"""Of a window that are looked into: 100,000 series. What is beyond is in no row, and said."""
_OPEN, _CLOSE, _HOME, _REST, _LINE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[J", "\x1b[K"

COLUMNS = (
    Column("NAME", lambda row: row["of"].name),
    Column("TYPE", lambda row: row["of"].type),
    Column("SERIES", lambda row: count(row["of"].series), right=True),
    Column("PER SECOND", lambda row: "" if row["of"].per_s is None else f"{row['of'].per_s:,.1f}", right=True),
    Column("VALUE", lambda row: row["of"].value),
)


class NothingYet(HoldfastError):
    """The spool has no window."""


@click.command()
@click.option("--once", is_flag=True, help="Print one snapshot and end; so it does where stdout is no terminal.")
@click.option("--by", type=click.Choice(ORDERS), default="rate", show_default=True, help="What comes first.")
@click.option("--limit", "-n", type=click.IntRange(min=1), help="At most so many names; default: a screenful, or 20.")
@click.option("--json", "as_json", is_flag=True, help="One snapshot as one JSON object with stable keys.")
def top(*, once: bool, by: str, limit: int | None, as_json: bool) -> None:
    """Show the busiest names, rates, types, rejected lines and drops, window by window. Ctrl-C ends it.

    Keys of --json: window, series, lines, accepted, rejected, rejected_by, kernel_drops, overflowed, overflowed_by,
    windows_waiting, names (name, type, series, per_s).
    """
    directory = spool_dir(load(named_config()))
    if as_json:
        shown, reasons, beat = _look(directory, None)
        click.echo(json.dumps(as_object(shown, reasons, beat, by, limit or 20), ensure_ascii=False))
    elif once or not sys.stdout.isatty():
        shown, reasons, beat = _look(directory, None)
        for line in _lines(shown, reasons, beat, ordered(shown.names, by)[: limit or 20]):
            click.echo(line)
    else:
        _live(directory, by, limit)


def _look(directory: Path, before: Snapshot | None) -> tuple[Snapshot, Mapping[str, int], Mapping[str, Any]]:
    """The newest window, why lines of it were rejected, and the collector's heartbeat. Raises NothingYet.

    The window's points are read only if it is not the one seen `before`.
    """
    with SpoolReader(directory) as spool:
        windows = spool.windows(RECENT)
        if not windows:
            raise NothingYet(f"{directory}: no window has been committed yet. Is the collector running?")
        newest = windows[0]
        beat = heartbeats(directory).get("collector", {})
        if before is None or before.window["seq"] != newest["seq"]:
            before = snapshot(windows, _points(spool, newest))
    return before, json.loads(newest["rejected_by"]), beat


def _points(spool: SpoolReader, window: Mapping[str, Any]) -> Iterator[Point]:
    first, last = window["first_batch"], window["last_batch"]
    for header in spool.headers_after(first - 1, min(last - first + 1, MOST_BATCHES)):
        yield from points_of(decode(spool.batch(header.id).payload))


def _lines(shown: Snapshot, reasons: Mapping[str, int], beat: Mapping[str, Any], names: list[Name]) -> Iterator[str]:
    yield from map(printable, screen(shown, reasons, beat, time.time()))
    if shown.window["last_batch"] - shown.window["first_batch"] >= MOST_BATCHES:
        yield f"{'':<10} names are those of the first {MOST_BATCHES} batches of this window"
    yield ""
    yield from aligned([{"of": each} for each in names], COLUMNS)


def _live(directory: Path, by: str, limit: int | None) -> None:
    """Draw again and again, until Ctrl-C; the terminal is afterwards as it was."""
    shown: Snapshot | None = None
    sys.stdout.write(_OPEN)
    try:
        while True:
            width, height = shutil.get_terminal_size()
            try:
                shown, reasons, beat = _look(directory, shown)
                lines = list(_lines(shown, reasons, beat, ordered(shown.names, by)[: limit or height]))
            except (NothingYet, SpoolMissing) as error:
                lines = [str(error)]
            drawn = [line[:width] + _LINE for line in lines[: height - 1]]
            sys.stdout.write(_HOME + "\n".join(drawn) + "\n" + _REST)
            sys.stdout.flush()
            time.sleep(EVERY_S)
    except KeyboardInterrupt:
        pass  # how it is ended
    finally:
        sys.stdout.write(_CLOSE)
        sys.stdout.flush()
