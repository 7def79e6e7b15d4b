"""Why a batch is where it is at one destination, and what happens next, in sentences. Pure.

It says only what the files say: the batch, its state, its attempts, the destination's condition, who changed what.
Not promised: an estimate of when, beyond the next try that is written down; see the backlog in `holdfast status`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spool.batch import State
from spool.human import clock, count, counted, span
from spool.ledger import Condition

SHOWN_ATTEMPTS = 3
"""Attempts told of at the beginning and at the end of many."""

SILENT_S = 60.0
"""A shipper whose last heartbeat is older sends nothing."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a batch at one destination.

    `state` is its row of `states` (None: unsent), `attempts` those that carried it and `changes` those that named it,
    both oldest first. `older_unsent` are the unsent batches with lower ids, `newest` tells whether it is of the
    newest window, which goes before them. `silent_s` is how long ago the shipper's
    last heartbeat was (None: there is none), `ended` whether it runs no more. `max_age_s` is the
    destination's limit, if it has one.
    """

    destination: str
    state: Row | None
    attempts: Sequence[Row]
    changes: Sequence[Row]
    condition: Condition
    older_unsent: int
    silent_s: float | None
    max_age_s: float | None
    configured: bool = True
    newest: bool = False
    ended: bool = False

    @property
    def runs(self) -> bool:
        """Whether there seems to be a shipper."""
        return self.silent_s is not None and self.silent_s <= SILENT_S and not self.ended

    @property
    def word(self) -> State:
        """The state."""
        return State(self.state["state"]) if self.state else State.UNSENT


@dataclass(frozen=True, slots=True)
class Kept:
    """How long a batch stays: its window's end (Unix seconds), and the limits of the spool in seconds."""

    window_end: float
    max_age_sent_s: float
    max_age_dead_s: float
    max_age_unsent_s: float


def history(at: Standing, now: float) -> Iterator[str]:
    """What was tried and changed, oldest first, a sentence each."""
    attempts = list(enumerate(at.attempts, start=1))
    left_out = len(attempts) - 2 * SHOWN_ATTEMPTS
    if left_out > 0:
        attempts[SHOWN_ATTEMPTS:-SHOWN_ATTEMPTS] = []
    told = [(row["started_at"], _attempt(number, row, now)) for number, row in attempts]
    told += [(row["at"], f"{clock(row['at'], now)}: {row['command']} by {row['who']}.") for row in at.changes]
    for place, (_, sentence) in enumerate(sorted(told, key=lambda each: each[0])):
        yield sentence
        if left_out > 0 and place == SHOWN_ATTEMPTS - 1:
            yield f"... {counted(left_out, 'attempt', 'attempts')} more; see `holdfast attempts --batch`."


def _attempt(number: int, row: Row, now: float) -> str:
    others = f" with {count(row['batches'] - 1)} others" if row["batches"] > 1 else ""
    answer = f" -> {row['status']}" if row["status"] is not None else f", no answer in phase {row['phase']}"
    error = f": {row['error']}" if row["error"] else ""
    return (
        f"Attempt {number}, {clock(row['started_at'], now)}, {row['lane']}{others}{answer}, {row['outcome']} after"
        f" {row['total_ms'] / 1000:.2f} s{error}."
    )


def why(at: Standing, now: float) -> str:
    """One sentence: how it stands, since when, and because of what."""
    if at.state is None:
        return "Unsent: " + _unsent(at, now)
    since, reason = clock(at.state["at"], now), at.state["reason"] or ""
    return {
        State.ACKNOWLEDGED: f"Acknowledged {since}: the server said that it has this key.",
        State.DEAD: f"Dead since {since}: the server will never take these bytes: {reason}.",
        State.EXPIRED: _given_up(at, now) or f"Expired {since}: {reason}.",
        State.HELD: f"Held since {since}: {reason}.",
    }.get(at.word, f"{at.word} since {since}.")


def _given_up(at: Standing, now: float) -> str | None:
    """Of a dead batch that a person dropped: when that was. Its row keeps the instant at which it became dead."""
    if at.state is None or not str(at.state["reason"]).startswith("dropped by "):
        return None
    dropped = max((row["at"] for row in at.changes if row["command"] == "dead drop"), default=None)
    when = "" if dropped is None else f" {clock(dropped, now)}"
    return f"Expired{when}: {at.state['reason']}, since {clock(at.state['at'], now)}."


def _unsent(at: Standing, now: float) -> str:
    condition = at.condition
    if not at.configured:
        return "this destination is not configured any more."
    if condition.parked_since is not None:
        reason = (condition.parked_reason or "no reason kept").rstrip(".")  # a sentence, or a server's words
        return f"the destination is parked since {clock(condition.parked_since, now)}: {reason}."
    if at.silent_s is None:
        return "no shipper has run for this destination."
    if not at.runs:
        silent = span(at.silent_s)
        return f"the shipper ended {silent} ago." if at.ended else f"the shipper has been silent for {silent}."
    if condition.failures:
        failed = counted(condition.failures, "attempt", "attempts")
        return f"{failed} in a row failed, the last with: {condition.last_error}."
    return "its turn has not come yet."


def what_next(batch_id: int, at: Standing, kept: Kept, now: float) -> str:
    """One sentence or two: what happens by itself, and what an operator can do."""
    if at.word is State.ACKNOWLEDGED:
        until = clock(kept.window_end + kept.max_age_sent_s, now)
        return f"nothing. Kept for replay until about {until}: `holdfast replay {batch_id} --apply`."
    if at.word is State.DEAD:
        until = clock(kept.window_end + kept.max_age_dead_s, now)
        return (
            f"nothing, and it goes about {until}. `holdfast dead requeue {batch_id} --apply` once the server would"
            f" take it, or `holdfast dead drop {batch_id} --apply`."
        )
    if at.word is State.EXPIRED:
        again = "" if at.max_age_s is None else f"; older than {span(at.max_age_s)}, it would expire again"
        return f"nothing. `holdfast replay {batch_id} --apply` sends it after all{again}."
    if at.word is State.HELD:
        return f"nothing until `holdfast release {batch_id} --apply`."
    return _sending(at, kept, now)


def _sending(at: Standing, kept: Kept, now: float) -> str:
    condition = at.condition
    if not at.configured:
        return f"nothing. `holdfast prune --destination {at.destination} --apply` sets its file aside."
    if not at.runs:
        return f"it is sent when the shipper runs: holdfast-shipper run --destination {at.destination}."
    parts = []
    if condition.next_try_at is not None:
        wait = f"the next try is in {span(max(0.0, condition.next_try_at - now))}"
        parts.append(wait + (", with one batch; it resumes by itself" if condition.parked_since is not None else ""))
    older = counted(at.older_unsent, "older batch is", "older batches are")
    if at.newest and at.older_unsent and condition.parked_since is None:
        parts.append(f"the newest window goes first, before {counted(at.older_unsent, 'older batch', 'older batches')}")
    else:
        parts.append(f"{older} before it" if at.older_unsent else "it is the next to go")
    limits = [kept.max_age_unsent_s] + ([] if at.max_age_s is None else [at.max_age_s])
    parts.append(f"it is given up about {clock(kept.window_end + min(limits), now)} if it has not arrived")
    return "; ".join(parts) + "."
