"""A batch that is too large for a server goes in parts. Pure; what is known of the parts ends with the process.

    the batch    9f3c...-8841            its 5000 points, as stored
    its parts    9f3c...-8841/1-2500     9f3c...-8841/2501-5000
                              ------
                              the points in it, counted from 1

A part is a document like the batch's, with another key and fewer points. Parts are halves, halves of halves, and so on
down to one point, so any two are apart or one holds the other; the same part always has the same key and the same text.
A receiver that knows a part, or what holds it, has its points already: that keeps "exactly once" true when a limit is
changed, or forgotten by a restart, in the middle of a batch (shipper/receiver/store.py).

A batch is acknowledged when all its points are. What was refused for good is tried once more at the end, if the server
took something in between; where it is refused again, the batch is dead and its reason names it. Where nothing was
taken, the batch is refused like any other, and where one part after the other is refused, it is the server that is
wrong: the destination parks.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from shipper.outcome import Judged, Outcome, Verdict, by_batch
from shipper.rewritten import rewritten
from shipper.trouble import REFUSALS_TO_PARK
from spool.batch import Batch, decode
from spool.ledger import Settled, State

REASONS_MOST = 5
"""Refusals that a dead batch's reason quotes; the others are counted."""


def part_of(batch: Batch, first: int, last: int) -> Batch:
    """The points `first` to `last` of `batch`, counted from 1, as a batch of its own with the same id.

    Raises PayloadError if the payload of `batch` cannot be read.
    """
    document = decode(batch.payload)
    document["key"] = f"{batch.key}/{first}-{last}"
    document["points"] = document["points"][first - 1 : last]
    return rewritten(batch, document)


@dataclass(slots=True)
class _Cut:
    """A batch in parts. `pending` are the parts to send, the one under way first; `doubtful` were refused once."""

    key: str
    pending: list[tuple[int, int]]
    points: int
    taken_points: int = 0
    refused_in_a_row: int = 0
    doubtful: dict[tuple[int, int], str] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    last_round: bool = False


class Parts:
    """The batches of one destination that go in parts, by id."""

    def __init__(self) -> None:
        self._cuts: dict[int, _Cut] = {}

    def batches(self) -> AbstractSet[int]:
        """The ids of those batches. Each part goes alone in its request."""
        return self._cuts.keys()

    def next(self, batch: Batch) -> Batch:
        """The part of `batch` to send next: all of it, if it does not go in parts. Raises PayloadError."""
        cut = self._cuts.get(batch.id)
        if cut is None:
            return batch
        if cut.key != batch.key:  # it goes as new by now: what was taken of it before does not count
            del self._cuts[batch.id]
            return batch
        return part_of(batch, *cut.pending[0])

    def halve(self, batch: Batch) -> None:
        """The part to send next is too large: two halves take its place. It has more than one point."""
        cut = self._cuts.setdefault(batch.id, _Cut(batch.key, [(1, batch.points)], batch.points))
        first, last = cut.pending[0]
        middle = (first + last) // 2
        cut.pending[0:1] = [(first, middle), (middle + 1, last)]

    def judge(self, sent: Batch, verdict: Verdict) -> Judged:
        """What a verdict on `sent`, which is what `next` gave, means for the batch."""
        if verdict.outcome is Outcome.SPLIT and sent.points > 1:
            self.halve(sent)
            return Judged(Outcome.SPLIT, verdict.reason)
        if verdict.outcome is Outcome.SPLIT:
            verdict = replace(verdict, outcome=Outcome.DEAD)
        if verdict.outcome is Outcome.EXPIRED:  # what is too old is so with all its points
            self._cuts.pop(sent.id, None)
        if sent.id not in self._cuts:
            return by_batch(verdict, [sent])
        taken = sent.key in verdict.acknowledged
        why = verdict.refused.get(sent.key) or (verdict.reason if verdict.outcome is Outcome.DEAD else None)
        if not taken and why is None:
            return Judged(verdict.outcome, verdict.reason)
        cut = self._cuts[sent.id]
        first, last = cut.pending.pop(0)
        if taken:
            cut.taken_points += sent.points
            cut.refused_in_a_row = 0
        else:
            cut.refused_in_a_row += 1
            (cut.refused if cut.last_round else cut.doubtful)[first, last] = (
                f"{_named(sent, first, last)} refused: {why}"
            )
        by_now = frozenset([sent.id] if taken else [])
        return self._so_far(sent.id, cut, Judged(verdict.outcome, verdict.reason, taken=by_now))

    def _so_far(self, batch_id: int, cut: _Cut, judged: Judged) -> Judged:
        """`judged`, with what follows for the whole batch."""
        if cut.refused_in_a_row >= REFUSALS_TO_PARK:
            del self._cuts[batch_id]
            return replace(judged, outcome=Outcome.PARK)
        if not cut.pending and cut.doubtful and cut.taken_points and not cut.last_round:
            cut.pending, cut.last_round = list(cut.doubtful), True
        if cut.pending:
            return judged
        del self._cuts[batch_id]
        if not cut.taken_points:
            return replace(judged, refused={batch_id: _reason(cut.doubtful)})
        if not cut.refused:
            return replace(judged, settled={batch_id: Settled(State.ACKNOWLEDGED)})
        points = sum(last - first + 1 for first, last in cut.refused)
        dead = f"{points} of {cut.points} points refused, the others acknowledged: {_reason(cut.refused)}"
        return replace(judged, settled={batch_id: Settled(State.DEAD, dead)})


def _named(sent: Batch, first: int, last: int) -> str:
    if first < last:
        return f"points {first}-{last}"
    return f"point {first} ({decode(sent.payload)['points'][0]['name'][:100]})"


def _reason(refused: Mapping[tuple[int, int], str]) -> str:
    more = len(refused) - REASONS_MOST
    return "; ".join([refused[each] for each in sorted(refused)][:REASONS_MOST]) + (
        f"; and {more} more" if more > 0 else ""
    )
