"""What a window knows of lines that came before, so that the next such line costs one look-up.

    api.hits:1|c      counted whole; what it adds is known, and multiplied when somebody looks at the sums
    api.lat:12|ms     known without its number, by what follows and then by name: the list that takes it
    api.hits:|c       counted whole; how often it is rejected is a cell's

That a line is only counted spares the look at its counter: processors wait for memory. A Count is counted in place,
where a number in a dictionary would be made anew and stored each time (a fifth of all that a line costs, at full rate).
And it is added up when the window is looked at first, on another thread, not when it ends: 100,000 sums would keep the
sockets waiting.

Promises: ending a window costs some 20 ms for 100,000 lines, and 50 to 100 for as many gauges with tags of their own of
which some expire. Counts that were handed out are not written to any more, and what a line adds never changes. A window
hands out counts of at most twice as many lines as came in it: what is kept while the spool refuses is bounded by that.
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


def came(count: "Count | None") -> int:
    """How often that was."""
    return 0 if count is None else MOST - length_hint(count)


class Known:
    """Lines of one dialect. Filled by a Tally.

    `counted`: a whole line -> how often it came in this window; `adds`: what it adds each time, to the counter of that
    name; `cells`: or to which cell it adds 1.
    `endings`: what follows a line's number (type, rate, tags) -> what is done with it, by name.

    What is known of counters that are only counted, and of gauges, is good for later windows too. The dictionaries may
    be others after each call.
    """

    def __init__(self) -> None:
        self.counted: dict[bytes, Count] = {}
        self.adds: dict[bytes, tuple[str, float]] = {}
        self.cells: dict[bytes, Cell] = {}
        self.endings: dict[bytes, Ending] = {}
        self._gauges: dict[bytes, Ending] = {}  # those of `endings` that may live on
        self._learned = self._learned_gauges = 0  # names in them

    def __len__(self) -> int:
        return len(self.counted) + self._learned

    def count(self, line: bytes) -> None:
        """Count a line, this time and each time that it comes."""
        count = self.counted[line] = repeat(None, MOST)
        next(count)

    def learn(self, name: bytes, following: bytes, kind: str, target: Any, factor: float = 1.0) -> None:
        """Know where a number goes that stands between these; see Ending."""
        ending = self.endings.get(following)
        if ending is None:
            ending = self.endings[following] = kind, {}, factor
            if kind == "gauge":
                self._gauges[following] = ending
        _, names, _ = ending
        if name not in names:
            self._learned += 1
            self._learned_gauges += kind == "gauge"
        names[name] = target

    def end(self, lines: int, gauges_stay: bool, expired: Collection[str]) -> tuple[dict[bytes, Count], Adds]:
        """What was counted, in a window of so many `lines`. Begins anew with what is good for the next one.

        That begins with the gauges that had a sample, but for `expired` ones; or with none.
        """
        counted = self._whole()
        if 2 * lines < len(counted):
            counted = self._seen()
            self.counted |= {line: repeat(None, MOST) for line in counted}
        else:
            self.counted = {line: repeat(None, MOST) for line in counted}
        if not gauges_stay:
            self._gauges, self._learned_gauges = {}, 0
        elif expired:
            self._forget_gauges(frozenset(expired))
        self.endings, self._learned = self._gauges.copy(), self._learned_gauges
        return counted, self.adds

    def _whole(self) -> dict[bytes, Count]:
        """Lines that were counted, without those of which a cell is told now."""
        for line, cell in self.cells.items():
            cell[0] += came(self.counted.pop(line))
        self.cells = {}
        return self.counted

    def _forget_gauges(self, expired: frozenset[str]) -> None:
        for following, (_, names, _) in list(self._gauges.items()):
            if not expired.isdisjoint(names.values()):
                for name in [name for name, series in names.items() if series in expired]:
                    del names[name]
                    self._learned_gauges -= 1
                if not names:
                    del self._gauges[following]

    def clear(self) -> tuple[dict[bytes, Count], Adds]:
        """What was counted, for the caller to take apart. Knows nothing any more."""
        counted = self._whole(), self.adds
        self.counted, self.adds, self.endings, self._gauges = {}, {}, {}, {}
        self._learned = self._learned_gauges = 0
        return counted

    def forget_unseen(self) -> None:
        """Count no other lines than those that came in this window."""
        self.counted = self._seen()
        self.adds = {line: what for line, what in self.adds.items() if line in self.counted}

    def _seen(self) -> dict[bytes, Count]:
        return {line: count for line, count in self.counted.items() if came(count)}

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
