"""`holdfast explain`: why a batch is where it is, and what happens next."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from spool.commands.changing import json_option
from spool.commands.completing import batches, completing
from spool.commands.options import BATCH
from spool.commands.place import Place
from spool.delivery import DeliveryReader, within
from spool.errors import UnknownBatch
from spool.explain import Kept, Standing, history, what_next, why
from spool.heartbeat import ended, heartbeats
from spool.human import clock, counted
from spool.ledger import Condition
from spool.output import as_json, printable
from spool.reader import Header, SpoolReader

MOST = 10_000


@click.command()
@click.argument("batch_id", metavar="ID", type=BATCH, shell_complete=completing(batches))
@json_option(
    "batch as in `list`, destinations with destination, state, history, why, next; of one that is gone batch null,"
    " losses, and destinations with the rows of their states"
)
@click.pass_obj
def explain(place: Place, *, batch_id: int, as_object: bool) -> None:
    """Say why a batch is where it is at each destination, and what happens next.

    Also for one that the spool does not hold any more: it was sent everywhere and grew old, or there is a row of
    `holdfast losses` about it. Ends with 2 if there never was such a batch.
    """
    with place.opened() as (spool, deliveries):
        try:
            header = spool.header(batch_id)
        except UnknownBatch:
            _explain_gone(place, spool, batch_id, deliveries, as_object)
            return
        standings = [_standing(place, name, delivery, batch_id) for name, delivery in deliveries.items()]
    limits = place.limits
    kept = Kept(header.window_end, limits.max_age_sent_s, limits.max_age_dead_s, limits.max_age_unsent_s)
    now = place.clock()
    if as_object:
        rows = [
            {
                "destination": each.destination,
                "state": str(each.word),
                "history": list(history(each, now)),
                "why": why(each, now),
                "next": what_next(batch_id, each, kept, now),
            }
            for each in standings
        ]
        click.echo(as_json({"batch": asdict(header), "destinations": rows}, indent=2))
        return
    click.echo(_collected(header, now))
    for each in standings:
        click.echo(f"\n{each.destination}")
        for line in (*history(each, now), why(each, now), "Next: " + what_next(batch_id, each, kept, now)):
            click.echo("  " + printable(line))


def _collected(header: Header, now: float) -> str:
    after_s = header.committed_at - header.window_end
    return (
        f"Batch {header.id}: collected {clock(header.window_start, now)} to {clock(header.window_end, now)}, committed"
        f" {clock(header.committed_at, now)} ({after_s:.1f} s after the window closed),"
        f" {counted(header.points, 'point', 'points')}."
    )


def _standing(place: Place, name: str, delivery: DeliveryReader | None, batch_id: int) -> Standing:
    beat = heartbeats(place.directory).get(f"shipper-{name}")
    silent_s = None if beat is None else place.clock() - float(beat["at"])
    gone = beat is not None and ended(place.directory, f"shipper-{name}", beat, place.clock())
    max_age_s = place.whole(f"destination.{name}", "max_age_s")
    configured = name in place.config.destinations()
    if delivery is None:
        return Standing(name, None, (), (), Condition(), 0, silent_s, max_age_s, configured, ended=gone)
    with SpoolReader(place.directory, name) as beside:
        older = beside.unsent_through(batch_id - 1)
        newest = beside.header(batch_id).window_seq == beside.windows(limit=1)[0]["seq"]
    return Standing(
        name,
        delivery.state_row(batch_id),
        delivery.attempts(batch_id=batch_id, limit=MOST)[::-1],
        [each for each in delivery.changes(limit=MOST)[::-1] if within(batch_id, each["ids"])],
        delivery.condition(),
        older,
        silent_s,
        max_age_s,
        configured,
        newest,
        gone,
    )


def _explain_gone(
    place: Place,
    spool: SpoolReader,
    batch_id: int,
    deliveries: Mapping[str, DeliveryReader | None],
    as_object: bool,
) -> None:
    last = spool.last_id()
    if batch_id > last:
        raise UnknownBatch(f"{spool.path}: there was never a batch {batch_id}; the newest is {last}.")
    losses = spool.losses_of(batch_id)
    states = {name: delivery.state_row(batch_id) if delivery else None for name, delivery in deliveries.items()}
    if as_object:
        click.echo(as_json({"batch": None, "losses": losses, "destinations": states}, indent=2))
        return
    now = place.clock()
    click.echo(f"Batch {batch_id} is not held any more.")
    for row in losses:
        click.echo(printable(f"Lost {clock(row['at'], now)}: {row['reason']}, {_owed(row)}; see `holdfast losses`."))
    if not losses:
        click.echo("No loss is recorded: every destination had it, and it grew older than is kept for replay.")
    for name, state in states.items():
        if state:
            click.echo(
                printable(f"{name}: {state['state']} {clock(state['at'], now)} {state['reason'] or ''}".rstrip())
            )


def _owed(row: Mapping[str, Any]) -> str:
    return "dead or expired" if row["unsent_at"] == "[]" else f"still unsent at {row['unsent_at']}"
