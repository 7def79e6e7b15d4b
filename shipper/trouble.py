"""Batches that the server does not take, and what follows from it. No effects; instants are arguments.

A refusal ("400: malformed") or a repeated failure can mean two things: this batch is bad, or the server is (a wrong
deployment answers 400 to everything). The difference is whether others get through, so nothing becomes dead before
another batch was acknowledged:

    refused, and then another one acknowledged      -> dead, with the server's words
    refused, REFUSALS_TO_PARK in a row, none acknowledged -> the destination parks, all of them stay unsent
    answered with an error FAILURES_TO_DIE times over FAILING_S, while OTHERS_ACKNOWLEDGED others got through -> dead

Until it is decided such a batch steps aside, so that it holds up nobody. All of this is forgotten at a restart: then
the batch is simply tried again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

REFUSALS_TO_PARK = 10
FAILURES_TO_DIE = 10
FAILING_S = 3600.0
OTHERS_ACKNOWLEDGED = 10


@dataclass(frozen=True, slots=True)
class _Failing:
    failures: int
    since: float
    aside_until: float
    others: int


class Trouble:
    """The batches of one destination that are in trouble, by id."""

    def __init__(self) -> None:
        self._refused: dict[int, str] = {}
        self._failing: dict[int, _Failing] = {}

    def refused(self, refusals: dict[int, str]) -> bool:
        """The server refused these for good (id -> why). Returns whether it refuses so many that it must park."""
        self._refused |= refusals
        if not refusals or len(self._refused) < REFUSALS_TO_PARK:
            return False
        self._refused.clear()
        return True

    def failed(self, batch: int, now: float, wait_s: float) -> None:
        """The server answered batch `batch`, sent alone, with an error that may pass. It steps aside for `wait_s`."""
        known = self._failing.get(batch, _Failing(0, now, now, 0))
        self._failing[batch] = replace(known, failures=known.failures + 1, aside_until=now + wait_s)

    def failures(self, batch: int) -> int:
        """How often `batch` has failed alone."""
        known = self._failing.get(batch)
        return known.failures if known else 0

    def acknowledged(self, batches: Iterable[int], now: float) -> dict[int, str]:
        """These got through. Returns the batches that are thereby proved dead, with the reasons; they are forgotten."""
        count = 0
        for each in batches:
            count += 1
            self._refused.pop(each, None)
            self._failing.pop(each, None)
        if not count:
            return {}
        dead, self._refused = self._refused, {}
        for each, state in list(self._failing.items()):
            others = state.others + count
            if state.failures >= FAILURES_TO_DIE and now - state.since >= FAILING_S and others >= OTHERS_ACKNOWLEDGED:
                dead[each] = f"failed {state.failures} times in {now - state.since:.0f} s while others got through"
                del self._failing[each]
            else:
                self._failing[each] = replace(state, others=others)
        return dead

    def aside(self, now: float) -> set[int]:
        """The batches that are not to be sent at `now`."""
        return set(self._refused) | {each for each, state in self._failing.items() if state.aside_until > now}
