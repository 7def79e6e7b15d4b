"""Samples folded into series: the window that is being filled, and what it becomes.

A series is its name and tags in one string, "name NUL key NUL value ...", because Python hashes a string once
and no accepted line contains NUL. The dictionary that holds it says its type.

Promises: every sample is folded into its own series or, beyond `max_series` of one window, into the series
OVERFLOW of its type, and counted there; sums cannot overflow (see rules.MAX_VALUE); closing a window costs 2 to
40 ms for 10,000 to 100,000 series: counters are added up and statistics made by whoever looks at `Closed`, on another
thread.

Does not promise to keep anything over a restart: gauges begin anew, unless they are handed on (carried.py).
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from collector.carried import NOTHING_HELD, Held
from collector.culprits import Culprits
from collector.distinct import Distinct
from collector.known import Adds, Cell, Count, Known, Sums, came
from collector.notices import Notices
from collector.rules import example
from collector.sketch import Distribution
from collector.statsd import Dialect, Kind
from spool.batch import Point

ADDED_UP = 4
"""Lines at a time; more than one, because several dialects may have something to add up at once."""
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


Shape = tuple[Kind, str, float]
"""What a line is but for its value: kind, series, sample rate. A plain tuple, because one is made for each new line."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A window's content, no longer written to by anybody.

    `places` is how many series it may have at most, and `name_bytes` what their names take: to ask for how many there
    are adds up what was counted. `examples`: the first line that was rejected for a reason (rules.example), where
    there is one to show.
    """

    cells: Mapping[str, Cell]
    gauges: Mapping[str, float]
    timers: Mapping[str, Distribution]
    sets: Mapping[str, Distinct]
    notices: Sequence[Point]
    datagrams: int
    lines: int
    accepted: int
    rejected: Mapping[str, int]
    overflowed: int
    places: int = 0
    name_bytes: int = 0
    counts: int = 0
    overflowed_by: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)

    @property
    def counters(self) -> dict[str, float]:
        """The sum of each counter."""
        return {series: cell[0] for series, cell in self.cells.items()}

    @property
    def series(self) -> int:
        """Series of clients in this window."""
        return len(self.cells) + len(self.gauges) + len(self.timers) + len(self.sets)

    def __len__(self) -> int:
        """How many points there are."""
        return len(self.notices) + self.series

    def points(self, quantiles: Sequence[float], first: int = 0, last: int = sys.maxsize) -> Iterator[Point]:
        """The notices, then one point per series; those from `first` to before `last`, made as they are asked for."""
        kinds: tuple[tuple[str, Mapping[str, Any], Callable[[Any], dict[str, Any]]], ...] = (
            ("counter", self.cells, lambda cell: {"value": cell[0]}),
            ("gauge", self.gauges, lambda value: {"value": value}),
            ("timer", self.timers, lambda distribution: distribution.summary(quantiles)),
            ("set", self.sets, lambda members: members.summary()),
        )
        yield from self.notices[max(first, 0) : max(last, 0)]
        first, last = first - len(self.notices), last - len(self.notices)
        for kind, held, values_of in kinds:
            for series, content in islice(held.items(), max(first, 0), max(last, 0)):
                name, tags = series_parts(series)
                yield Point(name, kind, tags, values_of(content))
            first, last = first - len(held), last - len(held)


_NEW: Mapping[Kind, Callable[[], Any]] = {"counter": lambda: [0.0], "timer": Distribution, "set": Distinct}
_MERGE: Mapping[Kind, Callable[[Any, Any], None]] = {
    "counter": lambda cell, more: cell.__setitem__(0, cell[0] + more[0]),
    "timer": Distribution.merge,
    "set": Distinct.merge,
}


class Aggregate:
    """The window that is being filled. Belongs to the receive loop's thread.

    `max_series` bounds series per window, held gauges included. A gauge is reported again in each window
    until `gauge_expiry_s` after its last sample; None means for ever.

    `datagrams` and `lines` (blank ones too) are counted by whoever fills it. What `known` points at takes samples
    without a call; `gauges` may be assigned to directly where the gauge is held or has had a sample in this window.
    """

    def __init__(self, max_series: int, gauge_expiry_s: float | None = None, held: Held = NOTHING_HELD) -> None:
        self._max_series = max_series
        self._gauge_expiry_s = gauge_expiry_s
        self._held = dict(held.gauges)  # gauges as of the last window's end
        self._last_at = dict(held.sampled_at) if gauge_expiry_s is not None else {}
        self.known: defaultdict[Dialect, Known] = defaultdict(Known)
        self._counted: set[str] = set()  # counters that have a place: they came, or may come again
        self._counted_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self.datagrams = self.lines = 0
        self.notices = Notices()
        self.repeated: Cell = [0]  # lines that change nothing any more
        self.gauges: dict[str, float] = {}
        self._held_as: dict[Kind, dict[str, Any]] = {kind: {} for kind in _NEW}
        self._blank: Cell = [0]
        self._rejected: dict[str, Cell] = {}
        self._examples: dict[str, str] = {}
        self._overflowed = 0
        self._culprits = Culprits()
        self._others = self._others_bytes = 0  # series that came and are neither counters nor held
        self._parts: list[tuple[dict[bytes, Count], Adds]] = []
        self._unseen_forgotten = False

    def not_taken(self, reason: str | None, line: bytes = b"") -> Cell:
        """The cell that counts lines rejected for a reason, or blank ones (None). The first `line` of a reason is kept
        as its example; later ones are not looked at.
        """
        if reason is None:
            return self._blank
        cell = self._rejected.get(reason)
        if cell is None:
            cell = self._rejected[reason] = [0]
            if line:
                self._examples.setdefault(reason, example(line))
        return cell

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
        if target is None and self.admit(kind, series):
            target = held[series] = _NEW[kind]()
        to = held.setdefault(self._without_room(series), _NEW[kind]()) if target is None else target
        if kind == "counter":
            to[0] += value / rate
        elif kind == "timer":
            to.add(value, 1.0 / rate)
        else:
            to.add(value)
        return target

    def absorb(self, closed: Closed) -> None:
        """Take what was folded elsewhere, gauges and notices excepted; its content belongs to this window from then on.

        A series for which there is no room counts as one overflowed sample, however many it had.
        """
        contents: tuple[tuple[Kind, Mapping[str, Any]], ...] = (
            ("counter", closed.cells),
            ("timer", closed.timers),
            ("set", closed.sets),
        )
        for kind, folded in contents:
            held, merge = self._held_as[kind], _MERGE[kind]
            for series, content in folded.items():
                target = held.get(series)
                if target is None:
                    if series == OVERFLOW or self.admit(kind, series):
                        held[series] = content
                        continue
                    target = held.setdefault(self._without_room(series), _NEW[kind]())
                merge(target, content)
        self.datagrams += closed.datagrams
        self.lines += closed.lines
        self._overflowed += closed.overflowed
        self._culprits.absorb(closed.overflowed_by)
        for reason, lines in closed.rejected.items():
            self.not_taken(reason)[0] += lines
        self._examples = {**closed.examples, **self._examples}

    def admit(self, kind: Kind, series: str) -> bool:
        """Whether there is a place for a series that has had no sample in this window; it is taken then."""
        if kind == "counter" and series in self._counted:
            return True
        if not self._room() and not self._unseen_forgotten:
            self._forget_unseen()
        if not self._room():
            return False
        if kind == "counter":
            self._counted.add(series)
            self._counted_bytes += len(series)
        else:
            self._others += 1
            self._others_bytes += len(series)
        return True

    def _room(self) -> int:
        return max(0, self._max_series - len(self._held) - len(self._counted) - self._others)

    def _forget_unseen(self) -> None:
        """Take back the places of counters that did not come in this window."""
        self._unseen_forgotten = True
        self._counted = set(self._held_as["counter"]) - {OVERFLOW}
        for counted, adds in self._parts:
            self._counted |= {adds[line][0] for line, count in counted.items() if came(count)}
        for known in self.known.values():
            known.forget_unseen()
            self._counted |= known.counters()
        self._counted_bytes = sum(map(len, self._counted))

    def _without_room(self, series: str) -> str:
        """The series that takes a sample of one for which there is no room; counts it."""
        self._overflowed += 1
        self._culprits.note(series)
        return OVERFLOW

    def gauge(self, series: str, value: float, delta: bool) -> str | None:
        """Set a gauge, or move it by `value`; one that is not known moves from 0. Returns what `add` does.

        OVERFLOW, in which a worker counted what had no room there, has a place of its own.
        """
        known = series in self.gauges or series in self._held or series == OVERFLOW or self.admit("gauge", series)
        to = series if known else self._without_room(series)
        if delta:
            value += self.gauges.get(to, self._held.get(to, 0.0))
        self.gauges[to] = value
        return series if known else None

    def held(self) -> Held:
        """The gauges that the next window begins with."""
        return Held(self._held, self._last_at)

    def clear(self, known: Known) -> None:
        """Know nothing of a dialect any more; what was counted stays in this window."""
        self._parts.append(known.clear())

    def add_up_some(self) -> None:
        """Add up a little of what was counted before a `clear`; to be called for each line that is learned anew.

        So it is gone before the next `clear`, and nobody waits. Kept until the window ends, it would fill the memory
        where a client has ever new lines for few counters: `hits:1|c|T1764000000`.
        """
        if not self._parts:
            return
        counted, adds = self._parts[-1]
        for _ in range(min(len(counted), ADDED_UP)):
            line, count = counted.popitem()
            if times := came(count):
                series, amount = adds[line]
                self._held_as["counter"].setdefault(series, [0.0])[0] += amount * times
        if not counted:
            self._parts.pop()

    def close(self, end: float) -> Closed:
        """End the window at `end` (Unix seconds) and begin an empty one; gauges stay."""
        self._held.update(self.gauges)
        self._held.pop(OVERFLOW, None)
        expired: list[str] = []
        if self._gauge_expiry_s is not None:
            self._last_at.update(dict.fromkeys(self.gauges, end))
            # A clock set back makes ages negative; those gauges wait until it has caught up.
            expired = [each for each, at in self._last_at.items() if end - at >= self._gauge_expiry_s]
            for each in expired:
                del self._last_at[each]
                self._held.pop(each, None)
        self._parts += [known.end(self.lines, bool(self._held), expired) for known in self.known.values()]
        rejected = {str(reason): int(cell[0]) for reason, cell in self._rejected.items()}
        lines = self.lines - int(self._blank[0])
        accepted = lines - sum(rejected.values())
        gauges = self._held | self.gauges
        closed = Closed(
            cells=Sums(self._parts, self._held_as["counter"]),
            gauges=gauges,
            timers=self._held_as["timer"],
            sets=self._held_as["set"],
            notices=self.notices.points(),
            datagrams=self.datagrams,
            lines=lines,
            accepted=accepted,
            rejected=rejected,
            overflowed=self._overflowed,
            places=min(len(self._counted) + self._others, accepted) + len(gauges),
            name_bytes=self._counted_bytes + self._others_bytes,
            counts=sum(len(counted) for counted, _ in self._parts),
            overflowed_by=self._culprits.top(),
            examples={str(reason): line for reason, line in self._examples.items()},
        )
        self._begin()
        return closed
