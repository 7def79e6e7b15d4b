"""`holdfast prune`: make the spool smaller than its limits would, and finish a destination that is no more."""

import time
from dataclasses import asdict
from pathlib import Path

import click

from spool.commands.changing import NOT_DONE, Progress, apply_option, have_done, json_option
from spool.commands.options import destination as destination_option
from spool.commands.options import length_s, size_bytes, user
from spool.commands.place import Place
from spool.connection import lock
from spool.delivery import file_name
from spool.errand import Errand
from spool.errors import HoldfastError
from spool.human import clock, count, counted, size
from spool.output import as_json
from spool.prune import Keep, Sum, given, plan
from spool.reader import SpoolReader
from spool.retention import Standing

NAMES = {Standing.ACKNOWLEDGED: "acknowledged", Standing.DEAD: "dead", Standing.UNSENT: "unsent"}
CONSEQUENCES = {
    Standing.ACKNOWLEDGED: "every destination has them",
    Standing.DEAD: "dead or expired; recorded as losses",
    Standing.UNSENT: "NOT DELIVERED; recorded as losses",
}


@click.command()
@click.option("--keep-age", "age_s", callback=length_s, metavar="LENGTH", help="Keep what is younger: 24h, 7d.")
@click.option("--keep-size", "keep_bytes", callback=size_bytes, metavar="SIZE", help="Keep so much: 500M, 2G.")
@click.option("--unsent", is_flag=True, help="Also what was not delivered. It is lost then, and recorded as such.")
@destination_option("Instead: finish a destination that is not configured any more. Its file is set aside.")
@apply_option
@json_option(
    "applied, plan (by standing: batches, points, payload_bytes, first_start, last_end), done; of a destination:"
    " applied, destination, unsent, file"
)
@click.pass_obj
def prune(
    place: Place,
    *,
    age_s: float | None,
    keep_bytes: int | None,
    unsent: bool,
    destination: str | None,
    do_it: bool,
    as_object: bool,
) -> None:
    """Delete batches by age, or the oldest beyond a size; without --unsent only what is settled everywhere.

    Only the collector writes the spool: it is asked to, or, while none runs, the command does it. What was not
    delivered or dead becomes rows of `holdfast losses` with your name. The newest window always stays.
    """
    if destination is not None:
        if age_s is not None or keep_bytes is not None or unsent:
            raise click.UsageError("--destination sets a file aside and goes with no other choice.")
        _retire(place, destination, do_it, as_object)
        return
    if age_s is None and keep_bytes is None:
        raise click.UsageError("Say what to keep: --keep-age 24h, --keep-size 500M, or both.")
    with SpoolReader(place.directory) as spool:
        through = spool.extent()["last_id"] or 0
    keep = Keep(age_s, keep_bytes, unsent, through)
    found = plan(place.directory, place.config.destinations(), keep)
    total = sum(each.batches for each in found.values())
    if not as_object:
        for standing, each in found.items():
            click.echo(_line(standing, each, place.clock()))
        if not found:
            click.echo("nothing to delete" + ("" if unsent else " among what is settled (--unsent: the rest as well)"))
    done = None
    if do_it and total:
        errand = Errand("prune", user(), place.clock(), given(keep))
        with Progress(place, total, as_object=as_object) as progress:
            done = have_done(place, errand, b"", lambda each: progress(each.so_far.get("batches", 0)))
    if as_object:
        planned = {NAMES[standing]: asdict(each) for standing, each in found.items()}
        click.echo(as_json({"applied": do_it, "plan": planned, "done": done.so_far if done else None}, indent=2))
    elif done:
        batches, points = done.so_far.get("batches", 0), done.so_far.get("points", 0)
        click.echo(f"deleted {counted(batches, 'batch', 'batches')}, {count(points)} points")
    elif total and not do_it:
        click.echo(NOT_DONE)


def _line(standing: Standing, each: Sum, now: float) -> str:
    when = ""
    if each.first_start is not None and each.last_end is not None:
        when = f", collected {clock(each.first_start, now)} to {clock(each.last_end, now)}"
    return (
        f"{NAMES[standing]}: {counted(each.batches, 'batch', 'batches')} ({count(each.points)} points,"
        f" {size(each.payload_bytes)}){when}: {CONSEQUENCES[standing]}"
    )


class StillConfigured(HoldfastError):
    """A destination that cannot be retired yet."""

    exit_code = 2


def _retire(place: Place, name: str, do_it: bool, as_object: bool) -> None:
    """Set the delivery file of a destination aside that is not in the configuration any more."""
    place.names(name)  # raises UnknownDestination
    if name in place.config.destinations():
        raise StillConfigured(
            f"[destination.{name}] is still in the configuration. Take it out and restart the collector and its"
            f" shipper first; before that, `holdfast drain -d {name}` waits until it has got what it is owed."
        )
    path = place.directory / file_name(name)
    if not path.exists():
        raise StillConfigured(f"{path}: no such file; there is nothing to finish.")
    with SpoolReader(place.directory, name) as spool:
        unsent = spool.backlog().batches
    aside = path.with_name(f"{path.name}.retired-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(place.clock()))}")
    if do_it:
        with lock(place.directory, f"shipper-{name}"):  # raises SpoolTaken while its shipper runs
            _set_aside(path, aside)
        (place.directory / f"shipper-{name}.lock").unlink(missing_ok=True)
        (place.directory / f"heartbeat-shipper-{name}.json").unlink(missing_ok=True)
    if as_object:
        click.echo(as_json({"applied": do_it, "destination": name, "unsent": unsent, "file": str(aside)}))
        return
    click.echo(f"{name}: {counted(unsent, 'batch', 'batches')} held here never got there and will not")
    click.echo(f"{path} {'is now' if do_it else 'would become'} {aside.name}")
    if not do_it:
        click.echo(NOT_DONE)


def _set_aside(path: Path, aside: Path) -> None:
    for ending in ("-wal", "-shm"):  # the log first: the file without it would be an older one
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    path.rename(aside)
