"""What a window knows of lines that came before, so that the next such line costs one look-up.

    api.hits:1|c      counted whole; what it adds is known, and multiplied when somebody looks at the sums
    api.lat:12|ms     known without its number, by what follows and then by name: the list that takes it
    api.hits:|c       counted whole; how often it is rejected is a cell's

That a line is only counted spares the look at its counter: processors wait for memory. And it is added up when the
window is looked at first, on another thread, not when it ends: 100,000 sums would keep the sockets waiting.

Promises: ending a window costs milliseconds for 100,000 lines; what was counted and handed out is not written to any
more, and what a line adds never changes.
"""

from collections.abc import Collection, ItemsView, Iterator, Mapping, Sequence
from typing import Any

Cell = list[float]
"""One number that is added to, without a look-up by those who hold it."""

Adds = Mapping[bytes, tuple[str, float]]
"""What a line adds, each time, to the counter of that name."""

Ending = tuple[str, dict[bytes, Any], float]
"""What lines that end alike do with their numbers: "counter", "gauge", "values" or "weighted"; for each name the cell,
the gauge's series, the list of a Distribution or the Distribution that takes it; a counter's rate, a value's weight."""


class Known:
    """Lines of one dialect. Filled by a Tally.

    `times`: how often a whole line came in this window; `adds`: what it adds each time, to the counter of that name;
    `cells`: or to which cell it adds 1.
    `endings`: what follows a line's number (type, rate, tags) -> what is done with it, by name.

    What is known of counters that are only counted, and of gauges, is good for later windows too. The dictionaries are
    others after each call.
    """

    def __init__(self) -> None:
        self.times: dict[bytes, int] = {}
        self.adds: dict[bytes, tuple[str, float]] = {}
        self.cells: dict[bytes, Cell] = {}
        self.endings: dict[bytes, Ending] = {}
        self._learned = 0

    def __len__(self) -> int:
        return len(self.times) + self._learned

    def learn(self, name: bytes, following: bytes, kind: str, target: Any, factor: float = 1.0) -> None:
        """Know where a number goes that stands between these; see Ending."""
        _, names, _ = self.endings.setdefault(following, (kind, {}, factor))
        self._learned += name not in names
        names[name] = target

    def end(self, gauges: Collection[str]) -> tuple[Mapping[bytes, int], Adds]:
        """What was counted. Begins anew with what is good for the next window: it has these `gauges`."""
        for line, cell in self.cells.items():
            cell[0] += self.times.pop(line)
        counted = self.times, self.adds
        self.times, self.cells = dict.fromkeys(self.times, 0), {}
        endings, self.endings, self._learned = self.endings, {}, 0
        for following, (kind, names, factor) in endings.items():
            if kind == "gauge" and (held := {name: series for name, series in names.items() if series in gauges}):
                self.endings[following] = kind, held, factor
                self._learned += len(held)
        return counted

    def clear(self) -> tuple[Mapping[bytes, int], Adds]:
        """What was counted. Knows nothing any more."""
        counted = self.end(())
        self.times, self.adds = {}, {}
        return counted

    def forget_unseen(self) -> None:
        """Know no more than what came in this window."""
        self.times = {line: times for line, times in self.times.items() if times}
        self.adds = {line: what for line, what in self.adds.items() if line in self.times}

    def counters(self) -> set[str]:
        """Counters to which a known line adds."""
        return {to for to, _ in self.adds.values()}


class Sums(Mapping[str, Cell]):
    """Counters of a window: what was counted, and what was added to cells. Added up when it is looked at first."""

    def __init__(self, counted: Sequence[tuple[Mapping[bytes, int], Adds]], cells: Mapping[str, Cell]) -> None:
        self._counted, self._cells = counted, cells
        self._sums: dict[str, Cell] | None = None

    def _added(self) -> dict[str, Cell]:
        # Two threads may come here at once (committer, admin port): each adds up by itself, and to the same. That is
        # why what was counted is taken before the look at the sums: while there are none, it is still there.
        counted, sums = self._counted, self._sums
        if sums is None:
            sums = {series: [cell[0]] for series, cell in self._cells.items()}
            for times, adds in counted:
                for line, came in times.items():
                    if came:
                        to, amount = adds[line]
                        sums.setdefault(to, [0.0])[0] += amount * came
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
