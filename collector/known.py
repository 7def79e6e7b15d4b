"""What a window knows of lines that came before, so that the next such line costs one look-up.

    api.hits:1|c      counted whole; what it adds is known, and multiplied when somebody looks at the sums
    api.lat:12|ms     known without its number, by what follows and then by name: the list that takes it
    api.hits:|c       counted whole; how often it is rejected is a cell's

That a line is only counted spares the look at its counter: processors wait for memory. A Count is counted in place,
where a number in a dictionary would be made anew and stored each time (a fifth of all that a line costs, at full rate).
And it is added up when the window is looked at first, on another thread, not when it ends: 100,000 sums would keep the
sockets waiting.

Promises: ending a window costs 20 ms for 100,000 lines; what was counted and handed out is not written to any
more, and what a line adds never changes.
"""

from collections.abc import Collection, ItemsView, Iterator, Mapping, Sequence
from itertools import repeat
from operator import length_hint
from typing import Any, TypeAlias

Cell = list[float]
"""One number that is added to, without a look-up by those who hold it."""

Count: TypeAlias = "repeat[None]"
"""Counts how often `next` was called on it: what an iterator over MOST times None has less than those."""
MOST = 1 << 62

Adds = Mapping[bytes, tuple[str, float]]
"""What a line adds, each time, to the counter of that name."""

Ending = tuple[str, dict[bytes, Any], float]
"""What lines that end alike do with their numbers: "counter", "gauge", "values" or "weighted"; for each name the cell,
the gauge's series, the list of a Distribution or the Distribution that takes it; a counter's rate, a value's weight."""


def times(count: "Count | None") -> int:
    """What was counted."""
    return 0 if count is None else MOST - length_hint(count)


class Known:
    """Lines of one dialect. Filled by a Tally.

    `counted`: a whole line -> how often it came in this window; `adds`: what it adds each time, to the counter of that
    name; `cells`: or to which cell it adds 1.
    `endings`: what follows a line's number (type, rate, tags) -> what is done with it, by name.

    What is known of counters that are only counted, and of gauges, is good for later windows too. The dictionaries are
    others after each call.
    """

    def __init__(self) -> None:
        self.counted: dict[bytes, Count] = {}
        self.adds: dict[bytes, tuple[str, float]] = {}
        self.cells: dict[bytes, Cell] = {}
        self.endings: dict[bytes, Ending] = {}
        self._learned = 0

    def __len__(self) -> int:
        return len(self.counted) + self._learned

    def count(self, line: bytes) -> None:
        """Count a line, this time and each time that it comes."""
        count = self.counted[line] = repeat(None, MOST)
        next(count)

    def learn(self, name: bytes, following: bytes, kind: str, target: Any, factor: float = 1.0) -> None:
        """Know where a number goes that stands between these; see Ending."""
        _, names, _ = self.endings.setdefault(following, (kind, {}, factor))
        self._learned += name not in names
        names[name] = target

    def end(self, gauges: Collection[str]) -> tuple[Mapping[bytes, Count], Adds]:
        """What was counted. Begins anew with what is good for the next window: it has these `gauges`."""
        for line, cell in self.cells.items():
            cell[0] += times(self.counted.pop(line))
        counted = self.counted, self.adds
        self.counted, self.cells = {line: repeat(None, MOST) for line in self.counted}, {}
        endings, self.endings, self._learned = self.endings, {}, 0
        for following, (kind, names, factor) in endings.items():
            if kind == "gauge" and (held := {name: series for name, series in names.items() if series in gauges}):
                self.endings[following] = kind, held, factor
                self._learned += len(held)
        return counted

    def clear(self) -> tuple[Mapping[bytes, Count], Adds]:
        """What was counted. Knows nothing any more."""
        counted = self.end(())
        self.counted, self.adds = {}, {}
        return counted

    def forget_unseen(self) -> None:
        """Know no more than what came in this window."""
        self.counted = {line: count for line, count in self.counted.items() if times(count)}
        self.adds = {line: what for line, what in self.adds.items() if line in self.counted}

    def counters(self) -> set[str]:
        """Counters to which a known line adds."""
        return {to for to, _ in self.adds.values()}


class Sums(Mapping[str, Cell]):
    """Counters of a window: what was counted, and what was added to cells. Added up when it is looked at first."""

    def __init__(self, counted: Sequence[tuple[Mapping[bytes, Count], Adds]], cells: Mapping[str, Cell]) -> None:
        self._counted, self._cells = counted, cells
        self._sums: dict[str, Cell] | None = None

    def _added(self) -> dict[str, Cell]:
        # Two threads may come here at once (committer, admin port): each adds up by itself, and to the same. That is
        # why what was counted is taken before the look at the sums: while there are none, it is still there.
        counted, sums = self._counted, self._sums
        if sums is None:
            sums = {series: [cell[0]] for series, cell in self._cells.items()}
            for lines, adds in counted:
                for line, left in zip(lines, map(length_hint, lines.values()), strict=True):
                    if left < MOST:
                        to, amount = adds[line]
                        sums.setdefault(to, [0.0])[0] += amount * (MOST - left)
            self._sums = sums
            self._counted = ()
        return sums

    def __getitem__(self, series: str) -> Cell:
        return self._added()[series]

    def __iter__(self) -> Iterator[str]:
        return iter(self._added())

    def __len__(self) -> int:
        return len(self._added())

    def items(self) -> ItemsView[str, Cell]:
        """See Mapping: without a step of the interpreter for each."""
        return self._added().items()
