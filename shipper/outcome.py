"""What an answer means for the batches of the request that it answers. Pure.

    acknowledged   the server has them: settled
    retry          nothing is known to be wrong with them: later again, the same bytes
    park           the server refuses us, not them (address, credentials, permission): keep everything, probe
    split          too much in one request: send less
    dead           the server will never take these bytes
    expired        the server takes nothing that old; with several, find out which

What is not understood is `retry`: a wrong guess there costs a duplicate under the same key, a wrong `dead` costs data.
The table is shared by the HTTP protocols; each one judges its own answers first (shipper/protocols/).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from spool.batch import Batch, decode
from spool.errors import PayloadError
from spool.ledger import Settled, State


class Outcome(StrEnum):
    """What to do with the batches of a request."""

    ACKNOWLEDGED = "acknowledged"
    RETRY = "retry"
    PARK = "park"
    SPLIT = "split"
    DEAD = "dead"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` for every batch that is in neither set; `acknowledged` and `refused` (key -> why) hold keys.

    `note`: what is worth keeping of an acknowledgement, like how many points of these batches the server refused.
    """

    outcome: Outcome
    reason: str
    acknowledged: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict by batch id: what is settled by it, of which batches the server took something, which it refused.

    A refusal settles nothing yet: see shipper/trouble.py. `outcome` is for the others.
    """

    outcome: Outcome
    reason: str
    settled: Mapping[int, Settled] = field(default_factory=dict)
    taken: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)


def by_batch(verdict: Verdict, batches: Sequence[Batch]) -> Judged:
    """What a verdict on a request of whole batches means for each; a lone batch that is dead is a refused one."""
    ids = {each.key: each.id for each in batches}
    taken = frozenset(ids[key] for key in verdict.acknowledged)
    refused = {ids[key]: why for key, why in verdict.refused.items()}
    if verdict.outcome is Outcome.DEAD and len(batches) == 1:
        refused = refused or {batches[0].id: verdict.reason}
    settled = {each: Settled(State.ACKNOWLEDGED, verdict.note) for each in taken}
    if verdict.outcome is Outcome.EXPIRED and len(batches) == 1:
        settled = {batches[0].id: Settled(State.EXPIRED, verdict.reason)}
    return Judged(verdict.outcome, verdict.reason, settled, taken, refused)


def unreadable(batches: Iterable[Batch]) -> dict[int, Settled]:
    """The end of those of `batches` whose payload has its hash but not our form: another version's, never sent."""
    ended = {}
    for batch in batches:
        try:
            decode(batch.payload)
        except PayloadError as error:
            ended[batch.id] = Settled(State.DEAD, str(error))
    return ended


_PARK = {401, 402, 403, 404, 405, 407, 410, 421, 426, 431, 451, 511}
_DEAD = {400, 406, 411, 415, 422}


def of_status(status: int) -> Outcome:
    """What an HTTP status means where the protocol says nothing else. Never ACKNOWLEDGED.

    A redirect parks: it is not followed, because it could carry the token to another host.
    """
    if status in _PARK or 300 <= status < 400:
        return Outcome.PARK
    if status == 413:
        return Outcome.SPLIT
    if status in _DEAD:
        return Outcome.DEAD
    return Outcome.RETRY
