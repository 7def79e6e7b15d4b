"""`holdfast export` and `holdfast import`: batches out of one spool and into another, under their keys."""

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from spool.batch import Batch, decode
from spool.commands.changing import NOT_DONE, Progress, apply_option, have_done, json_option
from spool.commands.options import time_range, user
from spool.commands.place import Place
from spool.errand import Errand
from spool.errors import HoldfastError, PayloadError
from spool.human import clock, count, counted, size
from spool.lineprotocol import lines
from spool.output import as_json, one_of_flags, printable
from spool.reader import SpoolReader
from spool.readings import payload_readings
from spool.replay import between
from spool.survey import folder_bytes
from spool.transfer import Damaged, exported, imported, slices

FILLED = 15 / 16
"""As in retention.py: beyond this part of max_bytes what is held would be evicted to make room."""


class NoRoom(HoldfastError):
    """What is to be imported would push out what is held."""


@click.command()
@time_range("windows that ended")
@one_of_flags(
    "chosen",
    {
        "--nl": "JSON, one document per line. This is the default.",
        "--gzip": "The stored bytes: gzip members, one for each batch.",
        "--lp": "InfluxDB line protocol, one point per line, times in ms.",
    },
)
@click.pass_obj
def export(place: Place, *, since: float | None, until: float | None, chosen: str | None) -> None:
    """Write the stored batches to stdout, oldest first, as every destination gets them.

    A document is what `holdfast show ID --raw` prints. JSON and --gzip are read by `holdfast import`; --gzip gives the
    same bytes, and a fifth of them. --lp is for other programs: the lines that a destination of protocol influx gets.
    Ends with 2 if a batch was left out because its payload is damaged.
    """
    bounds = (-math.inf if since is None else since, math.inf if until is None else until)
    out = sys.stdout.buffer
    batches, damaged = 0, 0
    with SpoolReader(place.directory) as spool:
        total = len(between(spool, *bounds))
    # A bar would be drawn into the data where both go to the terminal.
    with SpoolReader(place.directory) as spool, Progress(place, total, bar=not sys.stdout.isatty()) as progress:
        for number, each in enumerate(exported(spool, *bounds), start=1):
            progress(number)
            if isinstance(each, Damaged):
                damaged += 1
                click.echo(f"holdfast: left out {printable(each.why)}", err=True)
                continue
            batches += 1
            out.write(each if chosen == "gzip" else _lines(each) if chosen == "lp" else _line(each))
    out.flush()
    click.echo(f"holdfast: exported {counted(batches, 'batch', 'batches')}", err=True)
    if damaged:
        raise PayloadError(f"{counted(damaged, 'batch', 'batches')} left out: see above and `holdfast check`.")


def _line(payload: bytes) -> bytes:
    return json.dumps(decode(payload), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _lines(payload: bytes) -> bytes:
    return "".join(lines(payload_readings(payload))).encode()


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@apply_option
@json_option("applied, batches, points, known, damaged, first_start, last_end, imported")
@click.pass_obj
def import_batches(place: Place, *, file: Path, do_it: bool, as_object: bool) -> None:
    """Take in the batches of another spool's export: under their keys, with ids of this one, unsent everywhere.

    For a host whose spool has to be sent by another one. What is here already, by key, is left out. Ends with 2 if
    something in the file is no batch; the others are taken in all the same.
    """
    with SpoolReader(place.directory) as spool, file.open("rb") as opened:
        plan = _Plan(spool, imported(opened))
    if plan.damaged and not plan.batches:
        raise PayloadError(
            f"{file}: is no export: it holds no batch, but {plan.damaged[0].why}. `holdfast export` makes one."
        )
    for found in plan.damaged:
        click.echo(f"holdfast: {printable(f'{found.where}: {found.why}')}", err=True)
    room_bytes = int(place.limits.max_bytes * FILLED) - folder_bytes(place.directory)
    if plan.bytes > room_bytes:
        raise NoRoom(
            f"{file}: holds {size(plan.bytes)}, and [spool] max_bytes leaves room for {size(max(0, room_bytes))}:"
            " importing it would evict what is held. Raise max_bytes, or prune first."
        )
    if not as_object:
        plan.tell(place.clock())
    taken = 0
    if do_it and plan.batches:
        with file.open("rb") as opened, Progress(place, plan.batches, as_object=as_object) as progress:
            for each in slices(batch for batch in imported(opened) if isinstance(batch, Batch)):
                errand = Errand("import", user(), place.clock(), {"name": file.name})
                taken += have_done(place, errand, b"".join(batch.payload for batch in each), _nothing).so_far["batches"]
                progress(progress.done + len(each))
    if as_object:
        click.echo(as_json({"applied": do_it, **plan.as_row(), "imported": taken}, indent=2))
    else:
        click.echo(f"imported {counted(taken, 'batch', 'batches')}" if do_it else NOT_DONE)
    if plan.damaged:
        raise PayloadError(f"{file}: {len(plan.damaged)} of what it holds could not be read as batches: see above.")


def _nothing(_: object) -> None:
    """A slice is done before anybody looks."""


class _Plan:
    """What a file holds, and how much of it the spool has already."""

    def __init__(self, spool: SpoolReader, found: Iterable[Batch | Damaged]) -> None:
        self.batches = self.points = self.known = self.bytes = 0
        self.damaged: list[Damaged] = []
        self.first_start, self.last_end = math.inf, -math.inf
        for each in found:
            if isinstance(each, Damaged):
                self.damaged.append(each)
                continue
            self.batches += 1
            self.points += each.points
            self.bytes += len(each.payload)
            self.known += spool.holds(each.key)
            self.first_start = min(self.first_start, each.window_start)
            self.last_end = max(self.last_end, each.window_end)

    def as_row(self) -> dict[str, object]:
        return {
            "batches": self.batches,
            "points": self.points,
            "known": self.known,
            "damaged": len(self.damaged),
            "first_start": self.first_start,  # infinite without a batch, which JSON has as null
            "last_end": self.last_end,
        }

    def tell(self, now: float) -> None:
        if not self.batches:
            click.echo("nothing to import")
            return
        click.echo(
            f"{counted(self.batches, 'batch', 'batches')} ({count(self.points)} points, {size(self.bytes)}), collected"
            f" {clock(self.first_start, now)} to {clock(self.last_end, now)}; {count(self.known)} of them are here"
        )
