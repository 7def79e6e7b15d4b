"""`holdfast plot`: backlog, lateness, rate and deliveries over time, as text or SVG."""

import click

from spool import pictures
from spool.commands.drawing import Canvas, draw, drawing
from spool.commands.options import destination as destination_option
from spool.commands.options import time_range
from spool.commands.place import Place, known
from spool.commands.watching import watchable

HOURS_S = 6 * 3600.0


@click.command()
@click.argument("what", type=click.Choice(["backlog", "latency", "rate", "delivery"]))
@time_range("what happened")
@destination_option("This destination; else the first one configured.")
@drawing(height=10)
@click.pass_obj
@watchable
def plot(
    place: Place,
    *,
    what: str,
    since: float | None,
    until: float | None,
    destination: str | None,
    canvas: Canvas,
) -> None:
    """Draw one picture of the last six hours, or of the time asked for.

    backlog: unsent batches at the end of each minute. latency: how late the oldest of them was. rate: lines received
    per second, window by window. delivery: a dot for each batch, collected from left to right, acknowledged later and
    later upwards; a diagonal is live delivery, a rising wall the end of an outage, an empty column a loss.
    """
    now = place.clock()
    end = now if until is None else until
    span_of_time = (end - HOURS_S if since is None else since, end)
    name = place.names(destination)[0] if destination or place.names() else ""
    with place.opened(name or None) as (spool, deliveries):
        delivery = dict(known(deliveries)).get(name)
        match what:
            case "backlog":
                chart = pictures.backlog(name, delivery, span_of_time, now)
            case "latency":
                chart = pictures.latency(name, delivery, span_of_time, now)
            case "rate":
                chart = pictures.rate(spool, span_of_time, now)
            case _:
                chart = pictures.deliveries(name, spool, delivery, span_of_time, now)
    draw([chart], canvas)
