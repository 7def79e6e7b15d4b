"""`holdfast list` and `holdfast show`: which batches are held, where each stands, and what was tried."""

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import click

from spool.batch import Batch, State, decode
from spool.commands.attempts import attempt_columns
from spool.commands.completing import batches, completing
from spool.commands.options import BATCH, time_range
from spool.commands.options import destination as destination_option
from spool.commands.options import limit as limit_option
from spool.commands.place import Place, known
from spool.commands.points import point_columns
from spool.commands.watching import watchable
from spool.delivery import DeliveryReader, within
from spool.errors import PayloadError
from spool.human import ago, clock, count, counted, size, span
from spool.output import Column, Form, Row, aligned, as_json, print_rows, printable, row_options
from spool.pointrows import point_rows
from spool.reader import PAGE, Header, SpoolReader

Deliveries = Mapping[str, DeliveryReader | None]


@click.command("list")
@click.option("--state", type=click.Choice([str(each) for each in State]), help="Only batches in this state.")
@destination_option("Only the states at this destination.")
@time_range("batches collected")
@limit_option(20, "batches")
@row_options
@click.pass_obj
@watchable
def list_batches(
    place: Place,
    *,
    state: str | None,
    destination: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    form: Form,
) -> None:
    """List the batches held, newest first, with the state of each at every destination.

    Keys: id, key, window_start, window_end, window_seq, committed_at, points, series, raw_bytes, payload_bytes; and by
    destination: states, tries, last_error.
    """
    with place.opened(destination) as (spool, deliveries):
        wanted = State(state) if state else None
        rows = list(islice(_held(spool, deliveries, wanted, since, until), limit))
        _add_attempts(rows, deliveries)
    if not print_rows(rows, form, _columns(place.clock(), len(deliveries))) and form.name == "text":
        click.echo("holdfast: no such batches", err=True)


def _held(
    spool: SpoolReader, deliveries: Deliveries, wanted: State | None, since: float | None, until: float | None
) -> Iterator[dict[str, Any]]:
    bounds = (-math.inf if since is None else since, math.inf if until is None else until)
    page = spool.headers_newest(*bounds)
    while page:
        for header, states in zip(page, states_of(page, deliveries), strict=True):
            if wanted is None or wanted in states.values() or (wanted is State.UNSENT and not states):
                yield asdict(header) | {"states": {name: str(each) for name, each in states.items()}}
        page = spool.headers_newest(*bounds, before=page[-1]) if len(page) == PAGE else []


def states_of(page: list[Header], deliveries: Deliveries) -> list[dict[str, State]]:
    """The states by destination of each batch of `page`."""
    first, last = min(each.id for each in page), max(each.id for each in page)
    states = {name: each.states(first, last) if each else {} for name, each in deliveries.items()}
    return [{name: there.get(header.id, State.UNSENT) for name, there in states.items()} for header in page]


def _add_attempts(rows: list[dict[str, Any]], deliveries: Deliveries) -> None:
    for row in rows:
        row["tries"], row["last_error"] = dict.fromkeys(deliveries, 0), dict.fromkeys(deliveries)
    if not rows:
        return
    by_id = sorted(rows, key=lambda row: row["id"])
    ids = [row["id"] for row in by_id]
    for name, delivery in known(deliveries):
        for attempt in reversed(delivery.attempts_over(ids[0], ids[-1])):  # oldest first: the last error stays
            among = slice(bisect_left(ids, attempt["first_batch"]), bisect_right(ids, attempt["last_batch"]))
            for row in by_id[among]:
                if within(row["id"], attempt["ids"]):
                    row["tries"][name] += 1
                    row["last_error"][name] = attempt["error"]


def _columns(now: float, destinations: int) -> list[Column]:
    def by_destination(key: str, missing: str) -> Any:
        def cell(row: Row) -> str:
            values = {name: missing if each in (None, 0) else str(each) for name, each in row[key].items()}
            if destinations > 1:
                return " ".join(f"{name}:{each}" for name, each in values.items() if key != "last_error" or each)
            return next(iter(values.values()), missing)

        return cell

    return [
        Column("ID", lambda row: str(row["id"]), right=True),
        Column("COLLECTED", lambda row: clock(row["window_end"], now)),
        Column("AGE", lambda row: span(now - row["window_end"]), right=True),
        Column("POINTS", lambda row: count(row["points"]), right=True),
        Column("SIZE", lambda row: size(row["payload_bytes"]), right=True),
        Column("STATE", by_destination("states", "")),
        Column("TRIES", by_destination("tries", "0")),
        Column("LAST ERROR", by_destination("last_error", "")),
    ]


@click.command()
@click.argument("batch_id", metavar="ID", type=BATCH, shell_complete=completing(batches))
@click.option("--points", "with_points", is_flag=True, help="Also the points in it.")
@click.option("--raw", is_flag=True, help="Only the payload's JSON, as a destination gets it.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object with stable keys; instants are Unix seconds.")
@click.pass_obj
def show(place: Place, *, batch_id: int, with_points: bool, raw: bool, as_object: bool) -> None:
    """Show one batch: where it stands at each destination, and every attempt that carried it.

    Keys of --json: id, key, window_start, window_end, window_seq, committed_at, points, series, raw_bytes,
    payload_bytes, sha256, damage; states by destination (state, at, attempt, reason); attempts as `attempts` has them;
    rows as `points` has them, with --points. Ends with 2 if the spool holds no such batch or if its payload is damaged.
    """
    with place.opened() as (spool, deliveries):
        batch = spool.batch(batch_id)
        states = {name: (each.state_row(batch_id) if each else None) for name, each in deliveries.items()}
        attempts = [
            {"destination": name, **row} for name, each in known(deliveries) for row in each.attempts(batch_id=batch_id)
        ]
    if raw:
        click.echo(json.dumps(decode(batch.verified()), ensure_ascii=False))
        return
    damage = _damage(batch)
    rows = list(point_rows(batch)) if with_points else []
    if as_object:
        document = {name: getattr(batch, name) for name in Batch.__dataclass_fields__ if name != "payload"}
        document |= {"payload_bytes": len(batch.payload), "damage": damage}
        document["states"] = {name: _state(row) for name, row in states.items()}
        document["attempts"] = attempts
        click.echo(as_json(document | ({"rows": rows} if with_points else {}), indent=2))
    else:
        _print_batch(batch, place.clock())
        for name, row in states.items():
            _print_delivery(name, row, [each for each in attempts if each["destination"] == name], place.clock())
        print_rows(rows, Form(), point_columns(place.clock()))
    if damage:
        raise PayloadError(damage)


def _state(row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if row is None:
        return {"state": str(State.UNSENT), "at": None, "attempt": None, "reason": None}
    return {name: value for name, value in row.items() if name != "batch"}


def _damage(batch: Batch) -> str | None:
    try:
        decode(batch.verified())
    except PayloadError as error:
        return str(error)
    return None


def _print_batch(batch: Batch, now: float) -> None:
    after_s = batch.committed_at - batch.window_end
    click.echo(f"batch      {batch.id}   key {batch.key}   window {batch.window_seq}")
    click.echo(
        f"collected  {clock(batch.window_start, now)} to {clock(batch.window_end, now)} ({ago(batch.window_end, now)})"
    )
    click.echo(f"committed  {clock(batch.committed_at, now)}, {after_s:.3f} s after its window closed")
    click.echo(
        f"holds      {count(batch.points)} points of {count(batch.series)} series, {size(len(batch.payload))}"
        f" ({size(batch.raw_bytes)} unpacked), sha256 {batch.sha256[:12]}"
    )


def _print_delivery(name: str, row: Mapping[str, Any] | None, attempts: list[dict[str, Any]], now: float) -> None:
    state = _state(row)
    when = f" since {clock(state['at'], now)}" if state["at"] is not None else ""
    why = f": {state['reason']}" if state["reason"] else ""
    tried = counted(len(attempts), "attempt", "attempts")
    click.echo(printable(f"{name:<10} {state['state']}{when}{why}, {tried}"))
    for line in aligned(attempts, attempt_columns(now)):
        click.echo("  " + line)
