"""Readings become the lines of a chart: what one step of time says of its windows, and of several series.

A step may hold many windows, and one number has to stand for them:

    value of a counter, count and sum of a timer   per second, over the step
    min                                            the lowest of the windows
    value of a gauge, mean, stddev                 the mean of the windows
    max, percentiles, value of a set               the highest of the windows: percentiles cannot be averaged, and
                                                   ten bad seconds are not made good by a quiet hour

Several series become a line each, or one line of their sums or of the highest of them. Counters become a sum where
nobody chose, everything else lines. Pure.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from spool.plot import Dot, Line

LINES_MOST = 6
"""Colours and dashes that can be told apart."""

PER_SECOND, LOWEST, MEAN, HIGHEST = "the rate per second", "the lowest value", "the mean", "the highest value"
COMBINED: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max}

_QUANTILE = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of one host: its row in the database, and its tags as canonical JSON text."""

    id: int
    host: str
    type: str
    tags: str

    def has(self, tags: Iterable[tuple[str, str]]) -> bool:
        """Whether all of these tags are among its own."""
        own = json.loads(self.tags)
        return all(own.get(key) == value for key, value in tags)


@dataclass(frozen=True, slots=True)
class Steps:
    """The time that is looked at: after `low` up to `high`, in steps of `step_s` that end at `high` (Unix seconds)."""

    low: float
    high: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the windows that ended within one step say of one statistic."""

    series: int
    stat: str
    step_end: float
    windows: int
    sum: float
    min: float
    max: float

    def value(self, how: str, step_s: float) -> float:
        """The number that stands for the windows."""
        if how == PER_SECOND:
            return self.sum / step_s
        return self.sum / self.windows if how == MEAN else self.min if how == LOWEST else self.max


def how(kind: str, stat: str) -> str:
    """Which number stands for several windows of this statistic of that type of point."""
    if (kind, stat) in (("counter", "value"), ("timer", "count"), ("timer", "sum")):
        return PER_SECOND
    if stat == "min":
        return LOWEST
    return MEAN if stat in ("mean", "stddev") or (kind, stat) == ("gauge", "value") else HIGHEST


def shown(stats: Sequence[str], wanted: str, series: int) -> list[str]:
    """Which of a metric's `stats` are drawn: the one wanted, else of a timer its highest percentile, and with it the
    lowest where there is but one series; else the first."""
    if wanted in stats:
        return [wanted]
    quantiles = sorted((float(found[1]), each) for each in stats if (found := _QUANTILE.fullmatch(each)))
    if quantiles:
        return list(dict.fromkeys([quantiles[-1][1], quantiles[0][1]][: 2 if series == 1 else 1]))
    return ["value"] if "value" in stats else list(stats[:1])


def lines(readings: Iterable[Reading], wanted: Sequence[Series], step_s: float, together: str = "") -> list[Line]:
    """A line per series and statistic, those that reach highest first; or `together` (sum, max) one per statistic."""
    named = {each.id: each for each in wanted}
    found: dict[tuple[int, str], list[Dot]] = {}
    for each in readings:
        dot = (each.step_end, each.value(how(named[each.series].type, each.stat), step_s))
        found.setdefault((each.series, each.stat), []).append(dot)
    if together in COMBINED:
        by_stat: dict[str, list[list[Dot]]] = {}
        for (_, stat), dots in found.items():
            by_stat.setdefault(stat, []).append(dots)
        name = f"{'sum' if together == 'sum' else 'highest'} of {len(wanted)} series"
        return [
            Line(name if stat == "value" else f"{stat}, {name}", _combined(each, together))
            for stat, each in by_stat.items()
        ]
    several = len({stat for _, stat in found}) > 1
    found_lines = [
        Line(label(named[series], wanted, stat if several else ""), dots) for (series, stat), dots in found.items()
    ]
    return sorted(found_lines, key=lambda line: max(y for _, y in line.dots), reverse=True)


def label(one: Series, among: Sequence[Series], stat: str = "") -> str:
    """What tells a series from the others: its host, its tags, the statistic, as far as they differ."""
    parts = [one.host] if len({each.host for each in among}) > 1 else []
    if len({each.tags for each in among}) > 1:
        parts.append(tags_text(one.tags) or "no tags")
    return ", ".join([*parts, stat] if stat or not parts else parts) or one.host


def tags_text(tags: str) -> str:
    """Tags as a person writes them: env=prod, canary."""
    return ", ".join(f"{key}={value}" if value else key for key, value in json.loads(tags).items())


def _combined(lines_of_dots: Iterable[Sequence[Dot]], together: str) -> list[Dot]:
    at: dict[float, list[float]] = {}
    for instant, value in chain.from_iterable(lines_of_dots):
        at.setdefault(instant, []).append(value)
    return [(instant, COMBINED[together](values)) for instant, values in sorted(at.items())]
