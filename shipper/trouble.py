"""Batches that the server does not take, and what follows from it. No effects; instants are arguments.

A refusal ("400: malformed") or a repeated failure can mean two things: this batch is bad, or the server is (a wrong
deployment answers 400 to everything, for some minutes). The difference is whether others get through, so nothing
becomes dead before another batch was acknowledged and this one, tried again after that, was refused again:

    refused, another one acknowledged, refused again      -> dead, with the server's words
    REFUSALS_TO_PARK refused in a row, none acknowledged  -> the destination parks, all of them stay unsent
    answered with an error FAILURES_TO_DIE times over FAILING_S, while OTHERS_ACKNOWLEDGED others got through -> dead;
        an error counts only if another one was acknowledged since the one before: in an outage, however long, all fail;
        and never does 429 (too soon), which may come of whatever is second

Until it is decided such a batch steps aside, so that it holds up nobody, and is tried alone. Where no other one comes,
the refused are tried again after REFUSED_AGAIN_S without a refusal: the server may be mended. What a parked destination
says of a batch proves nothing. All of this is forgotten at a restart: then the batch is simply tried again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

REFUSALS_TO_PARK = 10
REFUSED_AGAIN_S = 30.0
FAILURES_TO_DIE = 10
FAILING_S = 3600.0
OTHERS_ACKNOWLEDGED = 10


@dataclass(frozen=True, slots=True)
class _Failing:
    """`tries` set the wait; `failures` are those that count, the first at `since`; `others` got through after it."""

    tries: int
    aside_until: float
    failures: int = 0
    since: float = 0.0
    others: int = 0
    another_got_through: bool = False
    alone: bool = False


class Trouble:
    """The batches of one destination that are in trouble, by id."""

    def __init__(self) -> None:
        self._refused: set[int] = set()
        self._refused_at: float | None = None  # when the last refusal was first seen by `aside`
        self._doubtful: set[int] = set()  # refused, and then another one was acknowledged
        self._failing: dict[int, _Failing] = {}

    def refused(self, refusals: Mapping[int, str]) -> dict[int, str]:
        """The server refused these for good (id -> why). Returns those that are thereby proved dead."""
        if refusals:
            self._refused_at = None
        dead = {each: why for each, why in refusals.items() if each in self._doubtful}
        self._doubtful -= dead.keys()
        self._refused |= refusals.keys() - dead.keys()
        return dead

    def refuses_everything(self) -> bool:
        """Whether so many were refused, and none acknowledged since, that it is the server and not they."""
        return len(self._refused) >= REFUSALS_TO_PARK

    def failed(self, batch: int, now: float, wait_s: float, perhaps_by_itself: bool = True) -> str | None:
        """The server answered batch `batch`, sent alone, with an error that may pass. It steps aside for `wait_s`.

        Returns why it is dead if that is proved now; it is forgotten then. Not `perhaps_by_itself`: it came too soon,
        which says nothing of it: it does not count, and the batch may go with others the next time.
        """
        known = self._failing.get(batch, _Failing(0, now))
        if not perhaps_by_itself:
            self._failing[batch] = replace(known, tries=known.tries + 1, aside_until=now + wait_s)
            return None
        if known.another_got_through:
            since = known.since if known.failures else now
            known = replace(known, failures=known.failures + 1, since=since, another_got_through=False)
        self._failing[batch] = replace(known, tries=known.tries + 1, aside_until=now + wait_s, alone=True)
        lasted_s = now - known.since
        if known.failures < FAILURES_TO_DIE or lasted_s < FAILING_S or known.others < OTHERS_ACKNOWLEDGED:
            return None
        del self._failing[batch]
        return f"failed {known.tries + 1} times, {lasted_s:.0f} s long, while {known.others} others got through"

    def tries(self, batch: int) -> int:
        """How often `batch` has failed alone."""
        known = self._failing.get(batch)
        return known.tries if known else 0

    def acknowledged(self, batches: Iterable[int]) -> None:
        """These got through, which says something of those that did not."""
        count = 0
        for each in batches:
            count += 1
            self._refused.discard(each)
            self._doubtful.discard(each)
            self._failing.pop(each, None)
        if not count:
            return
        self._doubtful |= self._refused
        self._refused.clear()
        for each, state in self._failing.items():
            others = state.others + count if state.failures else 0
            self._failing[each] = replace(state, others=others, another_got_through=True)

    def aside(self, now: float) -> set[int]:
        """The batches that are not to be sent at `now`."""
        if self._refused_at is None:
            self._refused_at = now
        refused = self._refused if now - self._refused_at < REFUSED_AGAIN_S else set()
        return refused | {each for each, state in self._failing.items() if state.aside_until > now}

    def alone(self) -> set[int]:
        """The batches that share no request: who is with them would be refused with them."""
        return self._doubtful | {each for each, state in self._failing.items() if state.alone}
