"""Sending again: which batches of which destinations, what each destination will make of their age, and doing it.

A replay removes the states of batches at a destination, so that they are unsent there; its shipper takes them up in
its backlog lane. Keys and bytes stay what they were: a receiver that knows a batch counts it once. One that kept the
keys and lost what they stand for can be sent the batches as new, under keys that it does not know.

Promises: `plans` changes nothing. `apply` works in chunks, each one short transaction that also notes who did it; as
new, in one transaction, so that it is done once however it ends.
Not promised: that a destination still wants the data; `too_old` says what it will not take.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spool.batch import State
from spool.delivery import Delivery, DeliveryReader, Terms
from spool.reader import PAGE, Header, SpoolReader

CHUNK = 500
"""Batches changed in one transaction: a few milliseconds, so that the shipper hardly waits."""

SETTLED = (State.ACKNOWLEDGED, State.DEAD, State.EXPIRED)
"""What can be sent again. Held batches are let go by `holdfast release`; unsent ones will be sent anyway."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sent again to one destination.

    `ids` are the batches, oldest first; `by_state` counts them by the state they would leave. `unsent` and `held` are
    others of the selection, which stay as they are. `too_old` are those older than the destination's max_age_s: they
    would expire again. `terms` are the server's own (None: no shipper has told them yet), and `doubtful` are those that
    go there and are older than what they promise. Instants are Unix seconds, None without a batch.
    """

    destination: str
    ids: Sequence[int]
    points: int
    first_start: float | None
    last_end: float | None
    by_state: Mapping[str, int]
    unsent: int
    held: int
    too_old: int
    terms: Terms | None
    doubtful: int


def plans(
    headers: Sequence[Header],
    deliveries: Mapping[str, DeliveryReader | None],
    of: Collection[State],
    max_age_s: Mapping[str, float | None],
    now: float,
) -> list[Plan]:
    """A plan for each destination over the batches `headers`, for those in a state among `of`."""
    ordered = sorted(headers, key=lambda each: each.id)
    return [_plan(name, ordered, delivery, of, max_age_s.get(name), now) for name, delivery in deliveries.items()]


def _states(ordered: Sequence[Header], delivery: DeliveryReader | None) -> dict[int, State]:
    if delivery is None or not ordered:
        return {}
    return delivery.states(ordered[0].id, ordered[-1].id)


def _plan(
    name: str,
    ordered: Sequence[Header],
    delivery: DeliveryReader | None,
    of: Collection[State],
    max_age_s: float | None,
    now: float,
) -> Plan:
    states, terms = _states(ordered, delivery), delivery.terms() if delivery is not None else None
    again = [each for each in ordered if states.get(each.id) in of]
    too_old = _older(again, max_age_s, now)
    doubtful = _older(again, terms.takes_s, now) if terms else 0
    by_state: dict[str, int] = {}
    for each in again:
        by_state[str(states[each.id])] = by_state.get(str(states[each.id]), 0) + 1
    return Plan(
        destination=name,
        ids=[each.id for each in again],
        points=sum(each.points for each in again),
        first_start=min((each.window_start for each in again), default=None),
        last_end=max((each.window_end for each in again), default=None),
        by_state=by_state,
        unsent=sum(each.id not in states for each in ordered),
        held=sum(states.get(each.id) is State.HELD for each in ordered),
        too_old=too_old,
        terms=terms,
        doubtful=max(0, doubtful - too_old),
    )


def _older(batches: Sequence[Header], than_s: float | None, now: float) -> int:
    return 0 if than_s is None else sum(now - each.window_end > than_s for each in batches)


def between(spool: SpoolReader, since: float, until: float) -> list[Header]:
    """All batches whose window ends in [since, until], oldest first."""
    found: list[Header] = []
    while page := spool.headers_between(since, until, after=found[-1].id if found else 0):
        found += page
    return found


def apply(
    directory: Path,
    spool_id: str,
    plan: Plan,
    of: Collection[State],
    at: float,
    who: str,
    told: Callable[[int], None],
    as_new: bool = False,
) -> int:
    """Make the batches of `plan` unsent. Returns how many there were still to change; `told` hears of each chunk.

    One that the collector has deleted since the plan keeps its state, which is all that tells what became of it.

    `as_new`: under keys that they never had. That is done to all at once: begun again after half of it, the first half
    would have yet another key, and be counted twice. It takes the shipper's file for half a second per 100,000.
    Raises SpoolBusy if the shipper holds its file for longer than 5 s; chunks done before stay done.
    """
    delivery = Delivery.open(directory, plan.destination, spool_id)
    try:
        with SpoolReader(directory) as spool:
            changed = 0
            for chunk in chunks(plan.ids, max(1, len(plan.ids)) if as_new else CHUNK):
                if held := spool.held_among(chunk):
                    command = "replay --as-new" if as_new else "replay"
                    changed += delivery.make_unsent(held, at, who, command, of, as_new)
                told(len(chunk))
            return changed
    finally:
        delivery.close()


def chunks(ids: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """`ids` in runs of at most `most`."""
    for first in range(0, len(ids), most):
        yield ids[first : first + most]


def settled_again(delivery: DeliveryReader, spool: SpoolReader, ids: Sequence[int]) -> dict[str, int]:
    """How many of the batches `ids`, oldest first, are in each state by now; the rest is unsent.

    One that is unsent and that the spool does not hold any more is "evicted".
    """
    found: dict[str, int] = {}
    for chunk in chunks(ids, PAGE):
        states, waiting = delivery.states(chunk[0], chunk[-1]), set(spool.held_among(chunk))
        for each in chunk:
            if each in states:
                found[str(states[each])] = found.get(str(states[each]), 0) + 1
            elif each not in waiting:
                found["evicted"] = found.get("evicted", 0) + 1
    return found
