"""Whether a spool adds up: what was received, what was committed, and what became of each batch at each destination.

    lines of a window     = accepted + rejected, and the rejected by reason
    points of a window    = points of its batches that are held + points of those that are gone
    a batch that is gone  = settled at every destination, or told of in `losses`

and every state is of a batch that there was, no number of a window is missing, and nothing that is held is passed
over by a destination's `settled_through`.

Pure: the facts are read in audit.py. Not promised: that a batch that is gone was acknowledged where the delivery file
is younger than it; that can no longer be told, and is counted by itself.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from spool.batch import State
from spool.human import counted
from spool.ledger import ranges

SETTLED = (State.ACKNOWLEDGED, State.DEAD, State.EXPIRED)

DAMAGE = "damage"
"""The reason in `losses` of what went with a damaged file."""


class WindowRow(NamedTuple):
    """A row of `windows`; `by_reason` are the rejected lines added up by reason."""

    seq: int
    start: float
    end: float
    first_batch: int
    last_batch: int
    points: int
    lines: int
    accepted: int
    rejected: int
    by_reason: int
    dropped: int


class BatchRow(NamedTuple):
    """A batch that is held."""

    id: int
    window_seq: int
    points: int


class LossRow(NamedTuple):
    """A row of `losses`."""

    reason: str
    first_batch: int | None
    last_batch: int | None
    first_window: int
    last_window: int
    batches: int
    points: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """A destination's states: `before` and `after` the spool itself was read, since the files live on meanwhile.

    `began`: the lowest batch that the file tells of, None while it tells of none.
    """

    name: str
    before: Mapping[int, State] = field(default_factory=dict)
    after: Mapping[int, State] = field(default_factory=dict)
    settled_through: int = 0
    problem: str | None = None
    began: int | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "began", min(self.after, default=None))

    def state(self, batch_id: int) -> State:
        """The batch's state; UNSENT if there is none."""
        return self.after.get(batch_id) or self.before.get(batch_id, State.UNSENT)


@dataclass(frozen=True, slots=True)
class Books:
    """What a spool says about itself. Windows and batches by number; `last_batch` is the highest id ever given."""

    windows: Sequence[WindowRow]
    batches: Sequence[BatchRow]
    losses: Sequence[LossRow]
    ledgers: Sequence[Ledger]
    last_batch: int


class Fate(StrEnum):
    """What became of a batch that is not held, at one destination."""

    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    EXPIRED = "expired"
    LOST = "lost"
    UNTOLD = "untold"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Audit:
    """The result. `problems` do not add up; `attention` does, and is worth a look. `destinations` counts points."""

    problems: tuple[str, ...]
    attention: tuple[str, ...]
    windows: int
    lines: int
    accepted: int
    rejected: int
    dropped: int
    points: int
    destinations: Mapping[str, Mapping[str, int]]

    @property
    def exit_code(self) -> int:
        """0 fine, 1 attention, 2 does not add up."""
        return 2 if self.problems else 1 if self.attention else 0


class Losses:
    """The ranges of batches and windows that `losses` tells of, for looking up."""

    def __init__(self, losses: Iterable[LossRow]) -> None:
        rows = list(losses)
        self._batches = _merged(
            (each.first_batch, each.last_batch)
            for each in rows
            if each.first_batch is not None and each.last_batch is not None
        )
        self._windows = _merged((each.first_window, each.last_window) for each in rows)
        self._damaged = _merged((each.first_window, each.last_window) for each in rows if each.reason == DAMAGE)

    def has_batch(self, batch_id: int) -> bool:
        """Whether some row covers the batch."""
        return _within(self._batches, batch_id)

    def has_windows(self, first: int, last: int) -> bool:
        """Whether rows cover all windows from `first` to `last`."""
        return all(_within(self._windows, each) for each in range(first, last + 1))

    def damaged(self, window_seq: int) -> bool:
        """Whether the window's row went with a damaged file."""
        return _within(self._damaged, window_seq)


def fates(batch_id: int, ledgers: Sequence[Ledger], losses: Losses) -> dict[str, Fate]:
    """What became of a batch that is not held, by destination; MISSING where nothing tells."""
    if losses.has_batch(batch_id):
        return {each.name: Fate.LOST for each in ledgers} or {"": Fate.LOST}
    states = {each.name: each.state(batch_id) for each in ledgers}
    elsewhere = any(state in SETTLED for state in states.values())
    found = {}
    for each in ledgers:
        if states[each.name] in SETTLED:
            found[each.name] = Fate(str(states[each.name]))
        # A destination that has no state at all is new: what others settled may have gone before it was added.
        elif each.problem is not None or (elsewhere if each.began is None else batch_id < each.began):
            found[each.name] = Fate.UNTOLD
        else:
            found[each.name] = Fate.MISSING
    return found or {"": Fate.MISSING}


def audit(books: Books) -> Audit:
    """Compare everything with everything."""
    losses = Losses(books.losses)
    points = {each.name: Counter[str]() for each in books.ledgers}
    held = {each.id: each for each in books.batches}
    for batch in books.batches:
        for ledger in books.ledgers:
            points[ledger.name][str(ledger.state(batch.id))] += batch.points
    problems = [
        *_lines(books.windows),
        *_sequence(books.windows, losses),
        *_batches(books, held, losses, points),
        *_rows_of_losses(books),
        *(problem for ledger in books.ledgers for problem in _states(ledger, books)),
    ]
    return Audit(
        tuple(problems),
        tuple(_attention(books, points)),
        windows=len(books.windows),
        lines=sum(each.lines for each in books.windows),
        accepted=sum(each.accepted for each in books.windows),
        rejected=sum(each.rejected for each in books.windows),
        dropped=sum(each.dropped for each in books.windows),
        points=sum(each.points for each in books.windows),
        destinations={name: dict(counts) for name, counts in points.items()},
    )


def _lines(windows: Sequence[WindowRow]) -> Iterator[str]:
    for each in windows:
        if each.lines != each.accepted + each.rejected:
            yield f"window {each.seq}: {each.lines} lines are not {each.accepted} accepted + {each.rejected} rejected"
        if each.rejected != each.by_reason:
            yield f"window {each.seq}: {each.rejected} lines rejected, {each.by_reason} by reason"


def _sequence(windows: Sequence[WindowRow], losses: Losses) -> Iterator[str]:
    for one, two in pairwise(windows):
        if two.first_batch <= one.last_batch:
            yield f"windows {one.seq} and {two.seq}: both claim batch {two.first_batch}"
        if two.seq > one.seq + 1 and not losses.has_windows(one.seq + 1, two.seq - 1):
            yield f"windows {one.seq + 1} to {two.seq - 1}: neither kept nor lost"


def _batches(
    books: Books, held: Mapping[int, BatchRow], losses: Losses, points: Mapping[str, Counter[str]]
) -> Iterator[str]:
    claimed: set[int] = set()
    for window in books.windows:
        ids = range(window.first_batch, window.last_batch + 1)
        claimed.update(ids)
        present = [held[each] for each in ids if each in held]
        there = sum(each.points for each in present)
        rest = window.points - there
        strangers = [each.id for each in present if each.window_seq != window.seq]
        if strangers:
            yield f"batches {ranges(strangers)}: within window {window.seq}, and say they are not"
        if rest < 0 or (rest > 0 and len(present) == len(ids)):
            yield f"window {window.seq}: {window.points} points committed, its batches hold {there}"
        absent = [each for each in ids if each not in held]
        if not absent:
            continue
        told = {each: fates(each, books.ledgers, losses) for each in absent}
        missing = {name for by_name in told.values() for name, fate in by_name.items() if fate is Fate.MISSING}
        if missing:
            where = ", ".join(sorted(missing - {""})) or "any destination"
            yield f"batches {ranges(absent)} of window {window.seq}: gone, in no row of losses, not settled at {where}"
        for name, counts in points.items():
            # A window's batches go together but for the end of a range: the rest is counted with the worst of them.
            counts[max((by_name[name] for by_name in told.values()), key=list(Fate).index)] += rest
    orphans = [each.id for each in books.batches if each.id not in claimed and not losses.damaged(each.window_seq)]
    if orphans:
        yield f"batches {ranges(orphans)}: held, and in no window"


def _rows_of_losses(books: Books) -> Iterator[str]:
    firsts = [each.first_batch for each in books.windows]
    for each in books.losses:
        if each.first_batch is None or each.last_batch is None or each.reason == DAMAGE or not firsts:
            continue
        begin = max(0, bisect_right(firsts, each.first_batch) - 1)
        over = books.windows[begin : bisect_right(firsts, each.last_batch)]
        if not over or over[0].first_batch > each.first_batch or over[-1].last_batch < each.last_batch:
            continue  # its windows are so long ago that they are forgotten
        inside = [w for w in over if each.first_batch <= w.first_batch and w.last_batch <= each.last_batch]
        least, most = sum(w.points for w in inside), sum(w.points for w in over)
        if each.batches == each.last_batch - each.first_batch + 1 and not least <= each.points <= most:
            yield f"loss of batches {each.first_batch} to {each.last_batch}: {each.points} points, they had {least}"


def _states(ledger: Ledger, books: Books) -> Iterator[str]:
    unknown = [each for each in ledger.before if each > books.last_batch]
    if unknown:
        yield f"{ledger.name}: has states of batches {ranges(unknown)}; the newest batch ever is {books.last_batch}"
    passed = [
        each.id
        for each in books.batches
        if each.id <= ledger.settled_through and each.id not in ledger.before and each.id not in ledger.after
    ]
    if passed:
        yield f"{ledger.name}: batches {ranges(passed)} are unsent and counted as settled: they would never be sent"


def _attention(books: Books, points: Mapping[str, Counter[str]]) -> Iterator[str]:
    losses = [each for each in books.losses if each.batches or each.points or each.reason != DAMAGE]
    if losses:  # a row of damage with neither says which numbers a new file left out
        lost = counted(sum(each.points for each in losses), "point", "points")
        yield f"losses: {lost} in {counted(len(losses), 'row', 'rows')}; see `holdfast losses`"
    dropped = sum(each.dropped for each in books.windows)
    if dropped:
        yield f"the kernel dropped {dropped} datagrams before they were received"
    for ledger in books.ledgers:
        if ledger.problem:
            yield f"{ledger.name}: {ledger.problem}"
        for word in ("dead", "expired"):
            if points[ledger.name][word]:
                yield f"{ledger.name}: {counted(points[ledger.name][word], 'point is', 'points are')} {word}"
        if points[ledger.name]["untold"]:
            went = counted(points[ledger.name]["untold"], "point", "points")
            yield f"{ledger.name}: {went} went before its delivery file began"


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _within(spans: Sequence[tuple[int, int]], number: int) -> bool:
    at = bisect_right(spans, (number, 2**63)) - 1
    return at >= 0 and spans[at][0] <= number <= spans[at][1]
