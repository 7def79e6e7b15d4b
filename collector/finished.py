"""A window whose time is over, on its way from the receive loop to the spool. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast, overload

from collector.aggregate import Closed
from collector.selfmetrics import Circumstances, self_points
from collector.window import Bounds
from spool.batch import Point, Window

_SERIES_BYTES = 600  # measured: a series of counters or gauges is less, a timer's sketch more
_LINE_BYTES = 100
PIECE = 16
"""Points that are made between two pauses; those of full timers take most of a millisecond."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A window as the receive loop hands it over."""

    bounds: Bounds
    closed: Closed
    around: Circumstances

    @property
    def size_bytes(self) -> int:
        """Estimated memory: series and notices, and at most one distinct value per line."""
        closed = self.closed
        points = closed.places + len(closed.notices)
        return 4_096 + closed.name_bytes + _SERIES_BYTES * points + _LINE_BYTES * min(closed.accepted, 10**6)

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
