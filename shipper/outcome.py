"""What an answer means for the batches of the request that it answers. Pure.

    acknowledged   the server has them: settled
    retry          nothing is known to be wrong with them: later again, the same bytes
    park           the server refuses us, not them (address, credentials, permission): keep everything, probe
    split          too much in one request: send less
    dead           the server will never take these bytes

What is not understood is `retry`: a wrong guess there costs a duplicate under the same key, a wrong `dead` costs data.
The table is shared by the HTTP protocols; each one judges its own answers first (shipper/protocols/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What to do with the batches of a request."""

    ACKNOWLEDGED = "acknowledged"
    RETRY = "retry"
    PARK = "park"
    SPLIT = "split"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` for every batch that is in neither set; `acknowledged` and `refused` (key -> why) hold keys."""

    outcome: Outcome
    reason: str
    acknowledged: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


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
