"""`holdfast plot`: backlog, lateness, rate and deliveries over time, as text or SVG."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from spool.batch import State
from spool.commands.options import destination as destination_option
from spool.commands.options import time_range
from spool.commands.place import Place, known
from spool.delivery import DeliveryReader
from spool.human import clock, count, span
from spool.plot import Chart, Dot, svg, text
from spool.reader import Header, SpoolReader
from spool.replay import between

HOURS_S = 6 * 3600.0
MANY = 100_000
MINUTE_S = 60.0


@click.command()
@click.argument("what", type=click.Choice(["backlog", "latency", "rate", "delivery"]))
@time_range("what happened")
@destination_option("This destination; else the first one configured.")
@click.option("--width", type=click.IntRange(10, 500), default=72, show_default=True, help="Characters across.")
@click.option("--height", type=click.IntRange(2, 100), default=10, show_default=True, help="Lines.")
@click.option("--svg", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write an SVG file instead.")
@click.pass_obj
def plot(
    place: Place,
    *,
    what: str,
    since: float | None,
    until: float | None,
    destination: str | None,
    width: int,
    height: int,
    file: Path | None,
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
        chart = _chart(what, name, spool, delivery, span_of_time, now)
    if file is not None:
        file.write_text(svg(chart), encoding="utf-8")
        click.echo(f"holdfast: wrote {file}", err=True)
        return
    for line in text(chart, width, height):
        click.echo(line)
    if not chart.dots:
        click.echo("holdfast: nothing is known about that time", err=True)


def _chart(
    what: str, name: str, spool: SpoolReader, delivery: DeliveryReader | None, bounds: tuple[float, float], now: float
) -> Chart:
    x_label = partial(clock, now=now)
    if what == "rate":
        dots = _rate(spool, bounds)
        return Chart(_title("lines/s received", dots, count), dots, bounds, x_label, count)
    if what == "delivery":
        dots = _delivered(between(spool, *bounds), delivery)
        title = f"{name}: when collected (across) and when acknowledged (up), {count(len(dots))} batches"
        high = max([bounds[1], *(y for _, y in dots)])
        return Chart(title, dots, bounds, x_label, x_label, filled=False, y_low=bounds[0], y_high=high)
    minutes = [] if delivery is None else delivery.minutes(bounds[0], MANY)
    minutes = [each for each in minutes if each["minute"] <= bounds[1]]
    if what == "backlog":
        dots = [(float(each["minute"]), float(each["unsent_batches"])) for each in minutes]
        return Chart(_title(f"{name}: unsent batches", dots, count), dots, bounds, x_label, count)
    dots = [(float(each["minute"]), _late_s(each)) for each in minutes]
    return Chart(_title(f"{name}: age of the oldest unsent batch", dots, span), dots, bounds, x_label, span)


def _title(what: str, dots: Sequence[Dot], label: Any) -> str:
    if not dots:
        return what
    return f"{what}, max {label(max(y for _, y in dots))}, now {label(max(dots)[1])}"


def _late_s(minute: Mapping[str, Any]) -> float:
    oldest = minute["oldest_unsent_at"]
    return 0.0 if oldest is None else max(0.0, minute["minute"] + MINUTE_S - oldest)


def _rate(spool: SpoolReader, bounds: tuple[float, float]) -> list[Dot]:
    return [
        (each["window_end"], each["lines"] / (each["window_end"] - each["window_start"]))
        for each in reversed(spool.windows(MANY, since=bounds[0]))
        if each["window_end"] <= bounds[1] and each["window_end"] > each["window_start"]
    ]


def _delivered(headers: Sequence[Header], delivery: DeliveryReader | None) -> list[Dot]:
    if delivery is None or not headers:
        return []
    at = delivery.states_since(State.ACKNOWLEDGED, headers[0].id, headers[-1].id)
    return [(each.window_end, at[each.id]) for each in headers if math.isfinite(at.get(each.id, math.nan))]
