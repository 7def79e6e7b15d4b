"""`holdfast dead`: batches that a destination will never take, and what an operator decides about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from spool.batch import State
from spool.commands.batches import show as show_batch
from spool.commands.changing import apply_option, change_each, json_option, tell_each
from spool.commands.completing import batches_in, completing
from spool.commands.options import BATCH, user
from spool.commands.options import destination as destination_option
from spool.commands.options import limit as limit_option
from spool.commands.place import Place, known
from spool.delivery import Delivery
from spool.errors import HoldfastError, UnknownBatch
from spool.human import clock, count
from spool.output import Column, Form, print_rows, row_options
from spool.reader import SpoolReader
from spool.shell import Program

MOST = 1_000_000
DEAD = completing(batches_in(State.DEAD))

batch_ids_argument = click.argument("batch_ids", metavar="[ID]...", nargs=-1, type=BATCH, shell_complete=DEAD)
everything_option = click.option("--all", "everything", is_flag=True, help="All that are dead.")


class NotDead(HoldfastError):
    """A batch that is asked about here and has another state."""

    exit_code = 2


@click.group(cls=Program)
def dead() -> None:
    """List, show, requeue or drop dead batches: those that a destination refused for good."""


@dead.command("list")
@destination_option("Only those of this destination.")
@limit_option(50, "batches")
@row_options
@click.pass_obj
def list_dead(place: Place, *, destination: str | None, limit: int, form: Form) -> None:
    """List dead batches, newest first, with the server's words.

    Keys: destination, batch, at, attempt, reason, window_start, window_end, points, held (whether the spool still holds
    it).
    """
    with place.opened(destination) as (spool, deliveries):
        rows = [
            {"destination": name, **row, **_collected(spool, row["batch"])}
            for name, delivery in known(deliveries)
            for row in delivery.state_rows(State.DEAD, limit)
        ]
    rows = sorted(rows, key=lambda row: row["batch"], reverse=True)[:limit]
    shown = [{name: value for name, value in row.items() if name != "state"} for row in rows]
    if not print_rows(shown, form, _columns(place.clock())) and form.name == "text":
        click.echo("holdfast: no dead batches", err=True)


def _collected(spool: SpoolReader, batch_id: int) -> dict[str, Any]:
    try:
        header = spool.header(batch_id)
    except UnknownBatch:
        return {"window_start": None, "window_end": None, "points": None, "held": False}
    return {
        "window_start": header.window_start,
        "window_end": header.window_end,
        "points": header.points,
        "held": True,
    }


def _columns(now: float) -> list[Column]:
    return [
        Column("ID", lambda row: str(row["batch"]), right=True),
        Column("COLLECTED", lambda row: clock(row["window_end"], now) if row["held"] else "evicted"),
        Column("POINTS", lambda row: count(row["points"]) if row["held"] else "-", right=True),
        Column("AT", lambda row: row["destination"]),
        Column("DEAD SINCE", lambda row: clock(row["at"], now)),
        Column("REASON", lambda row: row["reason"] or ""),
    ]


@dead.command("show")
@click.argument("batch_id", metavar="ID", type=BATCH, shell_complete=DEAD)
@click.option("--points", "with_points", is_flag=True, help="Also the points in it.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object, as `holdfast show --json` prints it.")
@click.pass_context
def show_dead(context: click.Context, *, batch_id: int, with_points: bool, as_object: bool) -> None:
    """Show one dead batch, the attempts that led there, and what can be done."""
    place = context.ensure_object(Place)
    with place.opened() as (_, deliveries):
        states = {name: delivery.state_row(batch_id) for name, delivery in known(deliveries)}
    at = [name for name, row in states.items() if row and row["state"] == State.DEAD]
    if not at:
        raise NotDead(f"batch {batch_id} is dead nowhere. `holdfast explain {batch_id}` says where it stands.")
    context.invoke(show_batch, batch_id=batch_id, with_points=with_points, raw=False, as_object=as_object)
    if not as_object:
        click.echo(f"Next: nothing by itself. `holdfast dead requeue {batch_id} --apply` sends it to {', '.join(at)}")
        click.echo(f"again; `holdfast dead drop {batch_id} --apply` gives it up for good.")


@dead.command()
@batch_ids_argument
@everything_option
@destination_option("Only at this destination.")
@apply_option
@json_option("applied, batches by destination")
@click.pass_obj
def requeue(
    place: Place,
    *,
    batch_ids: tuple[int, ...],
    everything: bool,
    destination: str | None,
    do_it: bool,
    as_object: bool,
) -> None:
    """Make dead batches unsent, after what was wrong with them at the server has been put right.

    Those that are evicted by now cannot be sent; they stay as they are.
    """

    found = _chosen(place, batch_ids, everything, destination)
    with SpoolReader(place.directory) as spool:
        chosen = {name: spool.held_among(ids) for name, ids in found.items()}
    if do_it:

        def again(delivery: Delivery, ids: Sequence[int]) -> int:
            return delivery.make_unsent(ids, place.clock(), user(), "dead requeue", [State.DEAD])

        change_each(place, chosen, again, as_object)
    tell_each("will be sent again" if do_it else "would be sent again", chosen, do_it, as_object)


@dead.command()
@batch_ids_argument
@everything_option
@destination_option("Only at this destination.")
@apply_option
@json_option("applied, batches by destination")
@click.pass_obj
def drop(
    place: Place,
    *,
    batch_ids: tuple[int, ...],
    everything: bool,
    destination: str | None,
    do_it: bool,
    as_object: bool,
) -> None:
    """Give dead batches up: they are expired from then on, with your name in the reason.

    Their data stay in the spool until max_age_dead_s and become a row of `holdfast losses` when they go. Until then
    `holdfast replay` can still send them.
    """

    chosen = _chosen(place, batch_ids, everything, destination)
    if do_it:
        change_each(place, chosen, lambda delivery, ids: delivery.give_up(ids, place.clock(), user()), as_object)
    tell_each("dropped" if do_it else "would be dropped", chosen, do_it, as_object)


def _chosen(
    place: Place, batch_ids: tuple[int, ...], everything: bool, destination: str | None
) -> Mapping[str, list[int]]:
    """The ids that are dead at each destination. Raises NotDead if one was named that is dead at none."""
    if bool(batch_ids) == everything:
        raise click.UsageError("Say which batches: by ID, or --all.")
    with place.opened(destination) as (_, deliveries):
        dead_at = {
            name: sorted(row["batch"] for row in delivery.state_rows(State.DEAD, MOST))
            for name, delivery in known(deliveries)
        }
    if everything:
        return dead_at
    chosen = {name: sorted(set(batch_ids).intersection(ids)) for name, ids in dead_at.items()}
    others = set(batch_ids).difference(*chosen.values())
    if others:
        raise NotDead(f"not dead: {', '.join(map(str, sorted(others)))}. `holdfast dead list` shows what is.")
    return chosen
