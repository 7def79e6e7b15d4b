"""What the benchmarks share: windows like those of a host, quantiles of durations, tables on stdout."""

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence

from collector.sketch import Distribution
from spool.batch import Point, Window

MIXED = ("counter", "gauge", "counter", "timer")
QUANTILES = (0.5, 0.9, 0.95, 0.99)


def window(seq: int, points: int, chance: random.Random, kinds: Sequence[str] = MIXED) -> Window:
    """A window of `points` points as they come from a service: names repeat with tags, values differ."""
    made = [_point(number, kinds[number % len(kinds)], chance) for number in range(points)]
    return Window(seq, seq * 10.0 - 10, seq * 10.0, made, series=points)


def _point(number: int, kind: str, chance: random.Random) -> Point:
    tags = {"env": "prod", "host": "web-1", "route": f"r{number // 8 % 50}", "shard": str(number // 400)}
    if kind != "timer":
        value = float(chance.randrange(10_000)) if kind == "counter" else round(chance.uniform(0, 100), 2)
        return Point(f"service.requests.{number % 8}", kind, tags, {"value": value})
    times = Distribution()
    for _ in range(10):
        times.add(round(chance.lognormvariate(3, 0.5), 1))
    return Point(f"service.latency.{number % 8}", kind, tags, times.summary(QUANTILES))


def durations_ms(run: Callable[[int], object], times: int) -> list[float]:
    """How long each of `times` calls took, shortest first."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        run(number)
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the ascending `values` that is at least as large as `share` of them."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns to the right, numbers short."""
    cells = [list(head)] + [[f"{each:.4g}" if isinstance(each, float) else str(each) for each in row] for row in rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
