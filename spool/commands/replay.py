"""`holdfast replay`: the plan, and with --apply the doing, of sending batches again."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from spool.batch import State
from spool.commands.changing import NOT_DONE, Progress, apply_option
from spool.commands.completing import batches, completing
from spool.commands.options import BATCH, time_range, user
from spool.commands.options import destination as destination_option
from spool.commands.place import Place
from spool.delivery import DeliveryReader
from spool.human import clock, count, counted, span
from spool.output import as_json
from spool.reader import SpoolReader
from spool.replay import SETTLED, Plan, apply, between, plans, settled_again


@click.command()
@click.argument("batch_ids", metavar="[ID]...", nargs=-1, type=BATCH, shell_complete=completing(batches))
@time_range("windows that ended")
@destination_option("Only to this destination.")
@click.option(
    "--state",
    type=click.Choice([*(str(each) for each in SETTLED), "all"]),
    default="all",
    show_default=True,
    help="Only batches in this state there.",
)
@click.option(
    "--as-new",
    is_flag=True,
    help="Under new keys, for a server that lost the data and kept the keys. One that has the data counts it twice.",
)
@apply_option
@click.option("--wait", is_flag=True, help="With --apply: stay until all are settled again, showing how far it is.")
@click.option("--json", "as_object", is_flag=True, help="The plans as one JSON object with stable keys.")
@click.pass_context
def replay(
    context: click.Context,
    *,
    batch_ids: tuple[int, ...],
    since: float | None,
    until: float | None,
    destination: str | None,
    state: str,
    as_new: bool,
    do_it: bool,
    wait: bool,
    as_object: bool,
) -> None:
    """Send batches again: those named by ID, or those of a time range.

    Prints what would be sent to which destination and does it with --apply. Keys and bytes stay the same, so a server
    that has a batch already counts it once. --as-new is for one that for this reason does not take what it lost: its
    data went, its keys did not. --wait ends with 1 if a batch was not acknowledged.

    What the server makes of a batch that it has, and of points that old, is said beside each plan, as far as the
    destination's protocol tells.

    Keys of --json: applied, as_new, and plans with destination, batches, points, first_start, last_end, by_state,
    unsent, held, too_old, terms (again, old, takes_s), doubtful, sent_again.
    """
    place = context.ensure_object(Place)
    if bool(batch_ids) == (since is not None or until is not None):
        raise click.UsageError("Say which batches: by ID, or by --since and --until (one of the two ways).")
    of = SETTLED if state == "all" else (State(state),)
    with place.opened(destination) as (spool, deliveries):
        if as_new and len(deliveries) != 1:
            raise click.UsageError("--as-new is for one destination: say which, by --destination.")
        bounds = (-math.inf if since is None else since, math.inf if until is None else until)
        headers = [spool.header(each) for each in set(batch_ids)] if batch_ids else between(spool, *bounds)
        limits = {name: place.whole(f"destination.{name}", "max_age_s") for name in deliveries}
        found = plans(headers, deliveries, of, limits, place.clock())
        spool_id = spool.spool_id
    if not as_object:
        for plan in found:
            _print_plan(plan, len(headers), as_new, limits[plan.destination], place.clock())
    done = {}
    if do_it:
        with Progress(place, sum(len(plan.ids) for plan in found), as_object=as_object) as progress:

            def told(batches: int) -> None:
                progress(progress.done + batches)

            for plan in found:
                done[plan.destination] = (
                    apply(place.directory, spool_id, plan, of, place.clock(), user(), told, as_new) if plan.ids else 0
                )
    if as_object:
        click.echo(
            as_json({"applied": do_it, "as_new": as_new, "plans": [_as_row(plan, done) for plan in found]}, indent=2)
        )
    elif do_it:
        for name, batches in done.items():
            click.echo(f"{name}: {counted(batches, 'batch', 'batches')} will be sent again")
    else:
        click.echo(NOT_DONE)
    if do_it and wait:
        _wait(place, [plan for plan in found if plan.ids], context, as_object)


def _as_row(plan: Plan, done: dict[str, int]) -> dict[str, Any]:
    row = asdict(plan)
    return row | {"batches": len(row.pop("ids")), "sent_again": done.get(plan.destination, 0)}


def _print_plan(plan: Plan, selected: int, as_new: bool, max_age_s: float | None, now: float) -> None:
    again = "would be sent as new, under new keys" if as_new else "would be sent again"
    states = ", ".join(f"{count(number)} {state}" for state, number in plan.by_state.items())
    click.echo(
        f"{plan.destination}: {count(len(plan.ids))} of {counted(selected, 'batch', 'batches')}"
        f" ({counted(plan.points, 'point', 'points')})" + (f" {again}: {states}" if states else f" {again}")
    )
    if plan.first_start is not None and plan.last_end is not None:
        click.echo(f"  collected {clock(plan.first_start, now)} to {clock(plan.last_end, now)}")
    if plan.unsent or plan.held:
        click.echo(f"  left as they are: {count(plan.unsent)} unsent, {count(plan.held)} held")
    if plan.too_old and max_age_s is not None:
        click.echo(
            f"  note: {count(plan.too_old)} of them are older than {span(max_age_s)}"
            f" ([destination.{plan.destination}] max_age_s) and would expire unsent"
        )
    if plan.terms is not None and plan.ids:
        twice = "sent twice under one key" if as_new else "sent twice"
        click.echo(f"  there a batch {twice} {plan.terms.again}; old points {plan.terms.old}")
        if plan.doubtful:
            age = f"older than {span(plan.terms.takes_s)}" if plan.terms.takes_s else "no longer new"
            click.echo(f"  note: {count(plan.doubtful)} of them are {age}: the server may not take them")


def _wait(place: Place, waiting: Sequence[Plan], context: click.Context, as_object: bool) -> None:
    total = sum(len(plan.ids) for plan in waiting)
    settled: dict[str, int] = {}
    with Progress(place, total, "batches settled again", as_object) as progress:
        while sum(settled.values()) < total:
            settled = _settled(place, waiting)
            progress(sum(settled.values()))
            if progress.done < total:
                place.wait(1.0)
    click.echo(", ".join(f"{count(number)} {state}" for state, number in settled.items()), err=True)
    if set(settled) - {str(State.ACKNOWLEDGED)}:
        context.exit(1)


def _settled(place: Place, waiting: Sequence[Plan]) -> dict[str, int]:
    total: dict[str, int] = {}
    with SpoolReader(place.directory) as spool:
        for plan in waiting:
            with DeliveryReader(place.directory, plan.destination) as delivery:
                for state, number in settled_again(delivery, spool, plan.ids).items():
                    total[state] = total.get(state, 0) + number
    return total
