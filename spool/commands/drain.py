"""`holdfast drain`: wait until everything collected so far is settled everywhere, or say what is left and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from spool.batch import State
from spool.commands.changing import Progress, json_option
from spool.commands.options import destination as destination_option
from spool.commands.options import length_s
from spool.commands.place import Place
from spool.connection import runs
from spool.delivery import DeliveryReader
from spool.errors import SpoolMissing
from spool.human import clock, count, counted, span
from spool.output import as_json, printable
from spool.reader import SpoolReader

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Left:
    """What one destination still owes of the batches that were there when the command began."""

    destination: str
    unsent: int
    held: int
    dead: int
    expired: int
    why: str

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.unsent and not self.held


@click.command()
@click.option(
    "--deadline", default="10m", show_default=True, callback=length_s, metavar="LENGTH", help="Wait so long at most."
)
@destination_option("Only for this destination.")
@json_option("drained, through, destinations with unsent, held, dead, expired, why")
@click.pass_context
def drain(context: click.Context, *, deadline: float, destination: str | None, as_object: bool) -> None:
    """Wait until every batch held now is settled at every destination: before a host is taken out of service.

    Stop the collector first (it commits the window it is in), leave the shippers running. Changes nothing. Ends with 1
    if the deadline comes first, and says what is left and why.
    """
    place = context.ensure_object(Place)
    names = place.names(destination) if destination else place.config.destinations()
    give_up_at = place.clock() + deadline
    with SpoolReader(place.directory) as spool:
        newest = spool.extent()["last_id"] or 0
    if runs(place.directory, "collector"):
        click.echo("holdfast: the collector runs; what it collects from now on is not waited for", err=True)
    left = _left(place, names, newest)
    total = sum(each.unsent for each in left)
    with Progress(place, total, as_object=as_object) as progress:
        # Held batches wait for an operator, and not in vain for a deadline.
        while any(each.unsent for each in left) and place.clock() < give_up_at:
            place.wait(POLL_S)
            left = _left(place, names, newest)
            progress(total - sum(each.unsent for each in left))
    drained = all(each.settled for each in left)
    if as_object:
        rows = [asdict(each) for each in left]
        click.echo(as_json({"drained": drained, "through": newest, "destinations": rows}, indent=2))
    else:
        for each in left:
            click.echo(_line(each))
    context.exit(0 if drained else 1)


def _line(left: Left) -> str:
    others = [
        f"{count(number)} {word}"
        for number, word in ((left.held, "held"), (left.dead, "dead"), (left.expired, "expired"))
        if number
    ]
    state = f"{counted(left.unsent, 'batch', 'batches')} unsent" if left.unsent else "drained"
    if left.held and not left.unsent:
        state = "nothing unsent"
    return printable(f"{left.destination}: " + ", ".join([state, *others]) + (f": {left.why}" if left.why else ""))


def _left(place: Place, names: Sequence[str], newest: int) -> list[Left]:
    return [_of(place, name, newest) for name in names]


def _of(place: Place, name: str, newest: int) -> Left:
    with SpoolReader(place.directory) as spool:
        everything = spool.extent()["batches"]
    try:
        with SpoolReader(place.directory, name) as beside, DeliveryReader(place.directory, name) as delivery:
            if delivery.spool_id() not in (None, beside.spool_id):
                return Left(name, everything, 0, 0, 0, f"{delivery.path} belongs to another spool")
            unsent = beside.unsent_through(newest)
            states = beside.settled_counts()
            why = _why(place, name, delivery.condition(), states) if unsent or states.get(State.HELD) else ""
    except SpoolMissing:
        return Left(name, everything, 0, 0, 0, f"its shipper has never run: holdfast-shipper run --destination {name}")
    return Left(name, unsent, states.get(State.HELD, 0), states.get(State.DEAD, 0), states.get(State.EXPIRED, 0), why)


def _why(place: Place, name: str, condition: Any, states: Mapping[str, int]) -> str:
    now = place.clock()
    if not runs(place.directory, f"shipper-{name}"):
        return f"no shipper runs for {name}"
    if condition.parked_since is not None:
        return f"parked since {clock(condition.parked_since, now)}: {condition.parked_reason or 'no reason kept'}"
    if condition.failures:
        in_s = "" if condition.next_try_at is None else f", next try in {span(max(0.0, condition.next_try_at - now))}"
        return f"{counted(condition.failures, 'attempt', 'attempts')} in a row failed{in_s}: {condition.last_error}"
    if states.get(State.HELD):
        return "`holdfast release --all --apply` lets held batches go"
    return "its shipper was still sending"
