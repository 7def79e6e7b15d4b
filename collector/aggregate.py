"""Samples folded into series: the window that is being filled, and what it becomes.

A series is its name and tags in one string, "name NUL key NUL value ...", because Python hashes a string once
and no accepted line contains NUL. The dictionary that holds it says its type.

Promises: every sample is folded into its own series or, beyond `max_series` of one window, into the series
OVERFLOW of its type, and counted there; sums cannot overflow (see statsd.MAX_VALUE); closing a window costs
microseconds to a few milliseconds (gauges are copied), whatever it holds: the statistics are made by
`Closed.points`, on another thread.

Does not promise to keep anything over a restart: gauges begin anew.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collector.distinct import Distinct
from collector.sketch import Distribution
from spool.batch import Point

OVERFLOW = "holdfast.overflow"
"""Takes samples of new series beyond max_series: counters add, timers and sets mix, a gauge is the last."""


def series_key(name: str, tags: Sequence[tuple[str, str]]) -> str:
    """The string that stands for a series; `tags` sorted by key."""
    return "\0".join((name, *(part for tag in tags for part in tag)))


def series_parts(series: str) -> tuple[str, dict[str, str]]:
    """Name and tags of a series."""
    name, *parts = series.split("\0")
    return name, dict(zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Closed:
    """A window's content, no longer written to by anybody."""

    counters: Mapping[str, float]
    gauges: Mapping[str, float]
    timers: Mapping[str, Distribution]
    sets: Mapping[str, Distinct]
    datagrams: int
    lines: int
    accepted: int
    rejected: Mapping[str, int]
    overflowed: int

    @property
    def series(self) -> int:
        """Series of clients in this window."""
        return len(self.counters) + len(self.gauges) + len(self.timers) + len(self.sets)

    def points(self, quantiles: Sequence[float]) -> Iterator[Point]:
        """One point per series, made as they are asked for: timers sort their values here."""
        for series, value in self.counters.items():
            name, tags = series_parts(series)
            yield Point(name, "counter", tags, {"value": value})
        for series, value in self.gauges.items():
            name, tags = series_parts(series)
            yield Point(name, "gauge", tags, {"value": value})
        for series, distribution in self.timers.items():
            name, tags = series_parts(series)
            yield Point(name, "timer", tags, distribution.summary(quantiles))
        for series, members in self.sets.items():
            name, tags = series_parts(series)
            yield Point(name, "set", tags, {"value": members.count()})


class Aggregate:
    """The window that is being filled. Belongs to the receive loop's thread.

    `max_series` bounds series per window, held gauges included. A gauge is reported again in each window
    until `gauge_expiry_s` after its last sample; None means for ever.
    """

    def __init__(self, max_series: int, gauge_expiry_s: float | None = None) -> None:
        self._max_series = max_series
        self._gauge_expiry_s = gauge_expiry_s
        self._held: dict[str, float] = {}  # gauges as of the last window's end
        self._last_at: dict[str, float] = {}  # only kept if gauges expire
        self._begin()

    def _begin(self) -> None:
        self.datagrams = self.lines = self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._counters: dict[str, float] = {}
        self._gauges: dict[str, float] = {}
        self._timers: dict[str, Distribution] = {}
        self._sets: dict[str, Distinct] = {}
        self._overflowed = 0
        self._room = self._max_series - len(self._held)

    def _admit(self, series: str) -> str:
        """The series under which the first sample of a new one goes."""
        if self._room > 0:
            self._room -= 1
            return series
        return OVERFLOW

    def reject(self, reason: str, lines: int = 1) -> None:
        """Count lines that are not taken."""
        self.lines += lines
        self.rejected[reason] += lines

    def count(self, series: str, amount: float, times: int = 1) -> None:
        """Add to a counter; `amount` is scaled by its rate already."""
        try:
            self._counters[series] += amount * times
        except KeyError:
            if (admitted := self._admit(series)) is OVERFLOW:
                self._overflowed += times
            self._counters[admitted] = self._counters.get(admitted, 0.0) + amount * times

    def time(self, series: str, value: float, weight: float, times: int = 1) -> None:
        """Add a value to a timer; it weighs `weight` (1/rate) `times` over."""
        distribution = self._timers.get(series)
        if distribution is None:
            if (admitted := self._admit(series)) is OVERFLOW:
                self._overflowed += times
            distribution = self._timers.setdefault(admitted, Distribution())
        distribution.add(value, weight * times)

    def note(self, series: str, member: str, times: int = 1) -> None:
        """Add a member to a set."""
        members = self._sets.get(series)
        if members is None:
            if (admitted := self._admit(series)) is OVERFLOW:
                self._overflowed += times
            members = self._sets.setdefault(admitted, Distinct())
        members.add(member)

    def gauge(self, series: str, value: float, delta: bool, times: int = 1) -> None:
        """Set a gauge, or move it by `value` `times` over; one that is not known moves from 0."""
        if series not in self._gauges and series not in self._held and (series := self._admit(series)) is OVERFLOW:
            self._overflowed += times
        if delta:
            value = self._gauges.get(series, self._held.get(series, 0.0)) + value * times
        self._gauges[series] = value

    def close(self, end: float) -> Closed:
        """End the window at `end` (Unix seconds) and begin an empty one; gauges stay."""
        self._held.update(self._gauges)
        self._held.pop(OVERFLOW, None)
        if self._gauge_expiry_s is not None:
            self._last_at.update(dict.fromkeys(self._gauges, end))
            # A clock set back makes ages negative; those gauges wait until it has caught up.
            expired = [each for each, at in self._last_at.items() if end - at >= self._gauge_expiry_s]
            for each in expired:
                del self._last_at[each]
                self._held.pop(each, None)
        closed = Closed(
            counters=self._counters,
            gauges=self._held | self._gauges,
            timers=self._timers,
            sets=self._sets,
            datagrams=self.datagrams,
            lines=self.lines,
            accepted=self.accepted,
            rejected={str(reason): count for reason, count in self.rejected.items()},
            overflowed=self._overflowed,
        )
        self._begin()
        return closed
