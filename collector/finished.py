"""A window whose time is over, on its way from the receive loop to the spool. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import attrgetter
from typing import cast, overload

from collector.aggregate import Closed
from collector.selfmetrics import Circumstances, self_points
from collector.window import Bounds
from spool.batch import Point, Window

_SERIES_BYTES = 600  # measured: a series of counters or gauges is less, a timer's sketch more
_NUMBER_BYTES = 100  # a value, a bucket, a member of a set, a count
MEASURED = 10_000
"""Timers and sets that are looked at one by one to know what a window takes: 2 ms. Of more, each line may have left a
number."""
PIECE = 16
"""Points that are made between two pauses; those of full timers take most of a millisecond."""


def _size_bytes(closed: Closed) -> int:
    """Series and notices, and the numbers that they are made of."""
    numbers = min(closed.accepted, 10**6)
    if len(closed.timers) + len(closed.sets) <= MEASURED:
        made_of = map(attrgetter("numbers"), chain(closed.timers.values(), closed.sets.values()))
        numbers = min(numbers, sum(made_of, closed.counts))
    points = closed.places + len(closed.notices)
    return 4_096 + closed.name_bytes + _SERIES_BYTES * points + _NUMBER_BYTES * numbers


@dataclass(frozen=True, slots=True)
class Finished:
    """A window as the receive loop hands it over. `size_bytes`: estimated memory, as `_size_bytes` says."""

    bounds: Bounds
    closed: Closed
    around: Circumstances
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_bytes", _size_bytes(self.closed))

    def window(self, points: Sequence[Point]) -> Window:
        """The spool's form, its sequence number not yet given."""
        return Window(
            seq=0,
            start=self.bounds.start,
            end=self.bounds.end,
            points=points,
            series=self.closed.series,
            datagrams=self.closed.datagrams,
            lines=self.closed.lines,
            accepted=self.closed.accepted,
            rejected=self.closed.rejected,
            dropped=self.around.kernel_drops,
            overflowed=self.closed.overflowed,
            partial=self.bounds.partial,
        )

    def counted(self) -> Window:
        """The same for a row of `losses`, which tells how many points it had; a range is a sequence of that length."""
        return self.window(cast("Sequence[Point]", range(len(self.closed))))


class Points(Sequence[Point]):
    """A window's points, made when they are asked for, so that only those of one batch take memory at a time."""

    def __init__(
        self, finished: Finished, quantiles: Sequence[float], pause: Callable[[], None] = lambda: None
    ) -> None:
        self._own = self_points(finished.closed, finished.around)
        self._closed, self._quantiles, self._pause = finished.closed, quantiles, pause

    def __len__(self) -> int:
        return len(self._own) + len(self._closed)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> list[Point]: ...
    def __getitem__(self, index: int | slice) -> Point | list[Point]:
        if isinstance(index, int):
            return self[index : index + 1][0]
        first, last, _ = index.indices(len(self))
        own = len(self._own)
        points = self._own[first:last]
        made = self._closed.points(self._quantiles, first - own, last - own)
        while piece := list(islice(made, PIECE)):
            points += piece
            self._pause()
        return points
