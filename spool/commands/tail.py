"""`holdfast tail`: what happens in the spool, as it happens."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from spool.commands.options import destination as destination_option
from spool.commands.options import limit as limit_option
from spool.commands.place import Place
from spool.human import clock
from spool.output import as_json, printable
from spool.tail import Happening, Tail, follow

EVERY_S = 0.5
_COLOURS = {"failed": "yellow", "parked": "yellow", "dead": "red", "expired": "red", "lost": "red"}


@click.command()
@click.option("--follow", "-f", "followed", is_flag=True, help="Go on until Ctrl-C, showing what happens.")
@limit_option(10, "things that have happened already")
@destination_option("Only what concerns this destination, and the spool itself.")
@click.option("--json", "as_object", is_flag=True, help="JSON, one object per line, as it happens.")
@click.pass_obj
def tail(place: Place, *, followed: bool, limit: int, destination: str | None, as_object: bool) -> None:
    """Show what happened last: committed, sent, failed, dead, expired, parked, resumed, lost, changed.

    Keys of --json: at (Unix seconds), what, destination, batches (ids: "8841-8850,8852"), text.
    """
    watcher = Tail()

    def look() -> Sequence[Happening]:
        with place.opened(destination) as (spool, deliveries):
            return watcher.look(spool, deliveries)

    for each in look()[-limit:]:
        _print(each, place.clock(), as_object)
    if not followed:
        return
    try:
        for each in follow(look, place.wait, EVERY_S):
            _print(each, place.clock(), as_object)
    except KeyboardInterrupt:
        pass  # how a follower is ended


def _print(each: Happening, now: float, as_object: bool) -> None:
    if as_object:
        click.echo(as_json(asdict(each)))
    else:
        what = click.style(f"{each.what:<9}", fg=_COLOURS.get(each.what))
        where = f" {each.destination}" if each.destination else ""
        ids = each.batches if len(each.batches) <= 24 else each.batches[:21] + "..."
        click.echo(f"{clock(each.at, now)}  {what}{where:<8} {ids:<12} {printable(each.text)}".rstrip())
    sys.stdout.flush()
