"""The pictures of a spool: what its files say about backlog, lateness, rate and deliveries over time, as charts.

The same chart is drawn by `holdfast plot` in a terminal or a file and by the page in Datasette, so they cannot differ.
Reads through the readers that it is given, a bounded statement at a time; draws nothing itself (plot.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from spool import ticks
from spool.batch import State
from spool.delivery import DeliveryReader
from spool.human import amount, count, counted, moment, span
from spool.plot import Chart, Dot
from spool.reader import Header, SpoolReader
from spool.replay import between

MANY = 100_000
MINUTE_S = 60.0

Bounds = tuple[float, float]
Ticks = Callable[[float, float], Sequence[float]]


def backlog(name: str, delivery: DeliveryReader | None, bounds: Bounds, now: float) -> Chart:
    """Unsent batches of destination `name` at the end of each minute within `bounds` (Unix seconds)."""
    dots = [(float(each["minute"]), float(each["unsent_batches"])) for each in _minutes(delivery, bounds)]
    return _area(f"{name}: unsent batches", dots, bounds, now, count, _whole(ticks.numbers))


def latency(name: str, delivery: DeliveryReader | None, bounds: Bounds, now: float) -> Chart:
    """How old the oldest unsent batch of `name` was at the end of each minute, seconds."""
    dots = [(float(each["minute"]), _late_s(each)) for each in _minutes(delivery, bounds)]
    return _area(f"{name}: age of the oldest unsent batch", dots, bounds, now, span, _whole(ticks.spans))


def rate(spool: SpoolReader, bounds: Bounds, now: float) -> Chart:
    """Lines received per second, window by window."""
    dots = [
        (each["window_end"], each["lines"] / (each["window_end"] - each["window_start"]))
        for each in reversed(spool.windows(MANY, since=bounds[0]))
        if each["window_end"] <= bounds[1] and each["window_end"] > each["window_start"]
    ]
    return _area("lines/s received", dots, bounds, now, amount)


def deliveries(name: str, spool: SpoolReader, delivery: DeliveryReader | None, bounds: Bounds, now: float) -> Chart:
    """A dot for each acknowledged batch: when it was collected across, when it was acknowledged upwards.

    A diagonal is live delivery, a rising wall the end of an outage, an empty column a loss or what is still unsent.
    """
    dots = _delivered(between(spool, *bounds), delivery)
    high = max([bounds[1], *(y for _, y in dots)])
    title = f"{name}: when collected (across) and when acknowledged (up), {counted(len(dots), 'batch', 'batches')}"
    label = partial(moment, now=now)
    return Chart(
        title,
        dots,
        bounds,
        label,
        label,
        filled=False,
        y_low=bounds[0],
        y_high=high,
        y_ticks=ticks.instants,
        desc="A diagonal is live delivery, a rising wall the end of an outage, an empty column what has not arrived.",
    )


def _area(
    what: str,
    dots: Sequence[Dot],
    bounds: Bounds,
    now: float,
    label: Callable[[float], str],
    y_ticks: Ticks = ticks.numbers,
) -> Chart:
    title = f"{what}, max {label(max(y for _, y in dots))}, now {label(max(dots)[1])}" if dots else what
    return Chart(title, dots, bounds, partial(moment, now=now), label, y_ticks=y_ticks)


def _whole(y_ticks: Ticks) -> Ticks:
    """Only whole numbers, for batches and seconds, which nobody counts in halves."""
    return lambda low, high: sorted({float(round(each)) for each in y_ticks(low, high)})


def _minutes(delivery: DeliveryReader | None, bounds: Bounds) -> list[dict[str, Any]]:
    found = [] if delivery is None else delivery.minutes(bounds[0], limit=MANY)
    return [each for each in found if each["minute"] <= bounds[1]]


def _late_s(minute: Mapping[str, Any]) -> float:
    oldest = minute["oldest_unsent_at"]
    return 0.0 if oldest is None else max(0.0, minute["minute"] + MINUTE_S - oldest)


def _delivered(headers: Sequence[Header], delivery: DeliveryReader | None) -> list[Dot]:
    if delivery is None or not headers:
        return []
    at = delivery.states_since(State.ACKNOWLEDGED, headers[0].id, headers[-1].id)
    return [(each.window_end, at[each.id]) for each in headers if math.isfinite(at.get(each.id, math.nan))]
