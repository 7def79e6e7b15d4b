"""Rows of points as series over time, and what is made of the values of a series within each span of time. Pure.

    --agg 1m:avg      the average of each minute
    --agg 1h:rate     the sum of each hour, per second

Spans are multiples of their length since 1970 (UTC), open at the beginning and closed at the end, so that a window
belongs to the span in which it ends; a span is named by its end, as a window is. What is averaged are the values of
windows, one for each: the average of a p99 is no percentile of anything. The span that goes on now has only what came
so far.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from spool.timewords import length_s

Row = Mapping[str, Any]
Value = tuple[float, float]
"""An instant (Unix seconds) and what was measured."""

WAYS: Mapping[str, Callable[[Sequence[float], float], float]] = {
    "avg": lambda values, _: sum(values) / len(values),
    "sum": lambda values, _: sum(values),
    "rate": lambda values, span_s: sum(values) / span_s,
    "min": lambda values, _: min(values),
    "max": lambda values, _: max(values),
    "count": lambda values, _: float(len(values)),
    "first": lambda values, _: values[0],
    "last": lambda values, _: values[-1],
}
"""What is made of the values of a span, oldest first, and its length in seconds."""


@dataclass(frozen=True, slots=True)
class Agg:
    """Spans of `span_s` seconds, and the way (one of WAYS) in which their values become one."""

    span_s: float
    way: str

    @classmethod
    def parsed(cls, text: str) -> "Agg":
        """LENGTH:WAY, as in 1m:avg. Raises ValueError that says what is allowed."""
        length, _, way = text.partition(":")
        if way not in WAYS:
            raise ValueError(f"{text!r}: allowed is LENGTH:HOW, as 1m:avg; HOW is one of {', '.join(WAYS)}")
        span_s = length_s(length)
        if span_s <= 0:
            raise ValueError(f"{text!r}: a span of time has a length above 0")
        return cls(span_s, way)

    def span_end(self, at: float) -> float:
        """The end of the span that the instant `at` belongs to."""
        return math.ceil(at / self.span_s) * self.span_s

    def of(self, values: Sequence[Value]) -> list[Value]:
        """`values`, oldest first, as one value for each span that has any."""
        spans: dict[float, list[float]] = {}
        for at, value in values:
            spans.setdefault(self.span_end(at), []).append(value)
        return [(end, WAYS[self.way](within, self.span_s)) for end, within in spans.items()]


@dataclass(frozen=True, slots=True)
class Series:
    """One statistic of one series of points: its values, oldest first."""

    name: str
    type: str
    tags: Mapping[str, str]
    stat: str
    values: Sequence[Value]

    @property
    def title(self) -> str:
        """Name, tags and statistic: "api.lat env:prod p99"; the statistic `value` goes without saying."""
        return " ".join(filter(None, [self.name, tags_text(self.tags), self.stat if self.stat != "value" else ""]))


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as a person reads them: env:prod,canary."""
    return ",".join(f"{tag}:{value}" if value else tag for tag, value in tags.items())


def series_of(rows: Iterable[Row], agg: Agg | None = None) -> list[Series]:
    """The series that `rows` (pointrows.py) belong to, by name, tags and statistic; with `agg`, a value per span."""
    found: dict[tuple[str, str, str, str], tuple[Mapping[str, str], list[Value]]] = {}
    for row in rows:
        key = row["name"], tags_text(dict(sorted(row["tags"].items()))), row["type"], row["stat"]
        found.setdefault(key, (row["tags"], []))[1].append((row["ts"], row["value"]))
    series = []
    for (name, _, kind, stat), (tags, values) in sorted(found.items(), key=itemgetter(0)):
        values.sort(key=itemgetter(0))
        series.append(Series(name, kind, tags, stat, agg.of(values) if agg else values))
    return series


def rows_of(series: Iterable[Series]) -> list[dict[str, Any]]:
    """A row for each value: ts, name, type, tags, stat, value; newest first, then by series."""
    rows = [
        {"ts": at, "name": each.name, "type": each.type, "tags": each.tags, "stat": each.stat, "value": value}
        for each in series
        for at, value in each.values
    ]
    return sorted(rows, key=lambda row: -row["ts"])
