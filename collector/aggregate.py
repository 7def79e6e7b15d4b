"""Samples folded into series: the window that is being filled, and what it becomes.

A series is its name and tags in one string, "name NUL key NUL value ...", because Python hashes a string once
and no accepted line contains NUL. The dictionary that holds it says its type.

Promises: every sample is folded into its own series or, beyond `max_series` of one window, into the series
OVERFLOW of its type, and counted there; sums cannot overflow (see statsd.MAX_VALUE); closing a window costs 2 to
20 ms for 10,000 to 100,000 series (what was counted is added up): the statistics are made by `Closed.points`, on
another thread, whenever and as often as they are asked for.

Does not promise to keep anything over a restart: gauges begin anew.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from collector.distinct import Distinct
from collector.sketch import Distribution
from collector.statsd import Kind, Signs
from spool.batch import Point

OVERFLOW = "holdfast.overflow"
"""Takes samples of new series beyond max_series: counters add, timers and sets mix, a gauge is the last."""


def series_key(name: str, tags: Sequence[tuple[str, str]]) -> str:
    """The string that stands for a series; `tags` sorted by key."""
    return "\0".join((name, *(part for tag in tags for part in tag)))


def series_parts(series: str) -> tuple[str, dict[str, str]]:
    """Name and tags of a series."""
    if "\0" not in series:
        return series, {}
    name, *parts = series.split("\0")
    return name, dict(zip(parts[::2], parts[1::2], strict=True))


class Shape(NamedTuple):
    """What a line is but for its value: a tuple, because one is made for each new line."""

    kind: Kind
    series: str
    rate: float


Cell = list[float]
"""One number that is added to, without a look-up by those who hold it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Lines that a window has had, and what the next such line does. Filled and emptied by a Tally.

    `times`: how often a whole line came since it is known; `adds`: to which cell it adds what, each time.
    `shapes`: a line's name and what follows its number -> its kind; its cell, Distribution or gauge; then the rate of
    a counter or the weight of a timer's value.

    That a line is only counted, and added up once, spares the look at its cell: processors wait for memory.
    """

    times: dict[bytes, int] = field(default_factory=dict)
    adds: dict[bytes, tuple[Cell, float]] = field(default_factory=dict)
    shapes: dict[tuple[bytes, bytes], tuple[Kind, Any, float]] = field(default_factory=dict)

    def settle(self) -> None:
        """Add up what was only counted, and forget everything."""
        for times, (cell, amount) in zip(self.times.values(), self.adds.values(), strict=True):
            cell[0] += amount * times
        for each in (self.times, self.adds, self.shapes):
            each.clear()


@dataclass(frozen=True, slots=True)
class Closed:
    """A window's content, no longer written to by anybody."""

    cells: Mapping[str, Cell]
    gauges: Mapping[str, float]
    timers: Mapping[str, Distribution]
    sets: Mapping[str, Distinct]
    datagrams: int
    lines: int
    accepted: int
    rejected: Mapping[str, int]
    overflowed: int
    name_bytes: int = 0

    @property
    def counters(self) -> dict[str, float]:
        """The sum of each counter."""
        return {series: cell[0] for series, cell in self.cells.items()}

    @property
    def series(self) -> int:
        """Series of clients in this window."""
        return len(self.cells) + len(self.gauges) + len(self.timers) + len(self.sets)

    def points(self, quantiles: Sequence[float], first: int = 0, last: int = sys.maxsize) -> Iterator[Point]:
        """One point per series, those from `first` to before `last`, made as they are asked for."""
        kinds: tuple[tuple[str, Mapping[str, Any], Callable[[Any], dict[str, Any]]], ...] = (
            ("counter", self.cells, lambda cell: {"value": cell[0]}),
            ("gauge", self.gauges, lambda value: {"value": value}),
            ("timer", self.timers, lambda distribution: distribution.summary(quantiles)),
            ("set", self.sets, lambda members: {"value": members.count()}),
        )
        for kind, held, values_of in kinds:
            for series, content in islice(held.items(), max(first, 0), max(last, 0)):
                name, tags = series_parts(series)
                yield Point(name, kind, tags, values_of(content))
            first, last = first - len(held), last - len(held)


_NEW: Mapping[Kind, Callable[[], Any]] = {"counter": lambda: [0.0], "timer": Distribution, "set": Distinct}


class Aggregate:
    """The window that is being filled. Belongs to the receive loop's thread.

    `max_series` bounds series per window, held gauges included. A gauge is reported again in each window
    until `gauge_expiry_s` after its last sample; None means for ever.

    `datagrams` and `lines` (blank ones too) are counted by whoever fills it. What `known` points at takes samples
    without a call; `gauges` may be assigned to directly where the gauge has had a sample in this window.
    """

    def __init__(self, max_series: int, gauge_expiry_s: float | None = None) -> None:
        self._max_series = max_series
        self._gauge_expiry_s = gauge_expiry_s
        self._held: dict[str, float] = {}  # gauges as of the last window's end
        self._last_at: dict[str, float] = {}  # only kept if gauges expire
        self._begin()

    def _begin(self) -> None:
        self.datagrams = self.lines = 0
        self.known: Mapping[Signs, Known] = {"delta": Known(), "value": Known()}
        self.repeated: Cell = [0]  # lines that change nothing any more
        self.gauges: dict[str, float] = {}
        self._held_as: dict[Kind, dict[str, Any]] = {kind: {} for kind in _NEW}
        self._blank: Cell = [0]
        self._rejected: dict[str, Cell] = {}
        self._overflowed = self._name_bytes = 0
        self._room = self._max_series - len(self._held)

    def not_taken(self, reason: str | None) -> Cell:
        """The cell that counts lines rejected for a reason, or blank ones (None)."""
        return self._blank if reason is None else self._rejected.setdefault(reason, [0])

    def reject(self, reason: str, lines: int = 1) -> None:
        """Count lines that are not taken."""
        self.lines += lines
        self.not_taken(reason)[0] += lines

    def add(self, shape: Shape, value: Any, delta: bool = False) -> Any:
        """Take one sample. Returns where the next one of its series may go: a cell, a Distribution, a Distinct, the
        name of a gauge; None if there was no room for a new series, so that each must come here to be counted.
        """
        kind, series, rate = shape
        if kind == "gauge":
            return self.gauge(series, value, delta)
        held = self._held_as[kind]
        target = held.get(series)
        if target is None and self._admit(series):
            target = held[series] = _NEW[kind]()
        to = held.setdefault(OVERFLOW, _NEW[kind]()) if target is None else target
        if kind == "counter":
            to[0] += value / rate
        elif kind == "timer":
            to.add(value, 1.0 / rate)
        else:
            to.add(value)
        return target

    def _admit(self, series: str) -> bool:
        """Whether there is room for a new series; counts the sample if not."""
        if self._room > 0:
            self._room -= 1
            self._name_bytes += len(series)
            return True
        self._overflowed += 1
        return False

    def gauge(self, series: str, value: float, delta: bool) -> str | None:
        """Set a gauge, or move it by `value`; one that is not known moves from 0. Returns what `add` does."""
        admitted = series in self.gauges or series in self._held or self._admit(series)
        to = series if admitted else OVERFLOW
        if delta:
            value += self.gauges.get(to, self._held.get(to, 0.0))
        self.gauges[to] = value
        return series if admitted else None

    def close(self, end: float) -> Closed:
        """End the window at `end` (Unix seconds) and begin an empty one; gauges stay."""
        self._held.update(self.gauges)
        self._held.pop(OVERFLOW, None)
        if self._gauge_expiry_s is not None:
            self._last_at.update(dict.fromkeys(self.gauges, end))
            # A clock set back makes ages negative; those gauges wait until it has caught up.
            expired = [each for each, at in self._last_at.items() if end - at >= self._gauge_expiry_s]
            for each in expired:
                del self._last_at[each]
                self._held.pop(each, None)
        for known in self.known.values():
            known.settle()
        rejected = {str(reason): int(cell[0]) for reason, cell in self._rejected.items()}
        lines = self.lines - int(self._blank[0])
        closed = Closed(
            cells=self._held_as["counter"],
            gauges=self._held | self.gauges,
            timers=self._held_as["timer"],
            sets=self._held_as["set"],
            datagrams=self.datagrams,
            lines=lines,
            accepted=lines - sum(rejected.values()),
            rejected=rejected,
            overflowed=self._overflowed,
            name_bytes=self._name_bytes,
        )
        self._begin()
        return closed
