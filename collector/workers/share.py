"""What one of several workers takes of a window, in a form in which shares can be merged (merge.py).

Counters, timers, sets and notices merge as they are. A gauge is the outcome of an order, and the order is that of
several processes. So a share says of each gauge what it was set to last and when, and by what it was moved since:

    g:10     g:+3     g:20     g:-1            set to 20 at 14:00:03.2, moved by -1, last at 14:00:07.9
    ---------------   ----     ----
    forgotten         set      moved

Instants are of the monotonic clock, which the processes of one host share. A worker looks at it once a turn, after it
has folded: what it took in one turn has one instant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collector.aggregate import Aggregate, Closed
from collector.known import came
from collector.notices import Notice, Notices

Change = tuple[float, float]
"""A number, and when."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a worker took since its last share. `taken`: lines since its start.

    `closed` is without gauges and notices. `moves` of a gauge are those after the last of `sets`. Of each notice it is
    known how often it was said, and when last.
    """

    closed: Closed
    sets: Mapping[str, Change]
    moves: Mapping[str, Change]
    notices: Sequence[tuple[Notice, int, float]]
    taken: int


class _Notices(Notices):
    """Notices that know when each was said last."""

    def __init__(self) -> None:
        super().__init__()
        self._at: dict[Notice, float] = {}
        self._of_this_turn: list[Notice] = []

    def take(self, notice: Notice, times: int = 1) -> bool:
        taken = super().take(notice, times)
        if taken:
            self._of_this_turn.append(notice)
        return taken

    def turned(self, at: float) -> None:
        """A turn has ended, now."""
        self._at |= dict.fromkeys(self._of_this_turn, at)
        self._of_this_turn.clear()

    def with_times(self) -> list[tuple[Notice, int, float]]:
        """Each with how often it came, and when last."""
        return [(notice, times, self._at[notice]) for notice, times in self.said()]


class Sharing(Aggregate):
    """An Aggregate that gives shares away, and holds no gauge beyond that."""

    def __init__(self, max_series: int) -> None:
        super().__init__(max_series)
        self._given = 0  # lines

    def _begin(self) -> None:
        super()._begin()
        self.notices: _Notices = _Notices()
        self._sets: dict[str, float] = {}
        self._set_at: dict[str, float] = {}
        self._moves: dict[str, Change] = {}
        self._moving: dict[str, float] = {}  # in this turn, before a gauge was set in it

    def gauge(self, series: str, value: float, delta: bool) -> str | None:
        """See Aggregate. `gauges` are those that were set in this turn."""
        known = series in self.gauges or series in self._sets or series in self._moves or series in self._moving
        to = series if known or self.admit("gauge", series) else self._without_room(series)
        if not delta:
            self.gauges[to] = value
        elif to in self.gauges:
            self.gauges[to] += value
        else:
            self._moving[to] = self._moving.get(to, 0.0) + value
        return series if to == series else None

    def turned(self, at: float) -> None:
        """A turn has ended, now."""
        for moves in (self._moves, self._moving):
            for series in moves.keys() & self.gauges.keys():
                del moves[series]
        for series, by in self._moving.items():
            self._moves[series] = self._moves.get(series, (0.0, at))[0] + by, at
        self._moving.clear()
        self.notices.turned(at)
        self._sets |= self.gauges
        self._set_at |= dict.fromkeys(self.gauges, at)
        self.gauges.clear()

    @property
    def taken(self) -> int:
        """Lines since the start. Of blank ones, those of spaces count until the share is given."""
        empty = int(self._blank[0]) + sum(map(came, (each.counted.get(b"") for each in self.known.values())))
        return self._given + self.lines - empty

    def give(self) -> Share:
        """All that was taken since the last time; begins anew. To be called between turns."""
        sets = {series: (value, self._set_at[series]) for series, value in self._sets.items()}
        moves, notices = self._moves, self.notices.with_times()
        closed = self.close(0.0)
        self._given += closed.lines
        return Share(closed, sets, moves, notices, self._given)
