"""One attempt, from the token's file to the verdict: what can be sent is sent once, and what came of it is judged.

A token that cannot be read is like one that the server refuses: no batch is to blame, an attempt is kept that says so,
and the destination is parked. So whoever asks why nothing arrives hears of the file where he would hear of a 401.
"""

from collections.abc import Sequence
from typing import Protocol

from shipper.budget import Phase, Timings
from shipper.config import DestinationConfig, token_of
from shipper.exchange import Attempt, Request
from shipper.outcome import Outcome, Verdict
from shipper.protocols import DestinationProtocol
from spool.batch import Batch
from spool.errors import ConfigError


class Sender(Protocol):
    """What an attempt needs of a transport."""

    def attempt(self, request: Request, deadline_s: float) -> Attempt: ...
    def close(self) -> None: ...


def prepared(
    protocol: DestinationProtocol, destination: DestinationConfig, batches: Sequence[Batch]
) -> tuple[Request, str | None]:
    """The request that carries `batches`, and why it cannot go (then it is empty). Raises PayloadError."""
    try:
        return protocol.encode(batches, destination.url, token_of(destination)), None
    except ConfigError as error:  # `run` had a token when it began: somebody has moved it since, or is changing it
        return Request("POST", destination.url, {}, b""), str(error)


def attempted(
    sender: Sender,
    protocol: DestinationProtocol,
    batches: Sequence[Batch],
    request: Request,
    in_the_way: str | None,
    deadline_s: float,
) -> tuple[Attempt, Verdict]:
    """Send `request`, if nothing is in the way, and judge it; `request` and `in_the_way` are what `prepared` gave."""
    if in_the_way is not None:
        attempt = Attempt(None, Phase.DNS, Timings(), 0.0, 0.0, 0, 0, None, in_the_way, False)
        return attempt, Verdict(Outcome.PARK, in_the_way)
    attempt = sender.attempt(request, deadline_s)
    if attempt.response is None:
        return attempt, Verdict(Outcome.RETRY, attempt.error or "no answer")
    return attempt, protocol.judge(attempt.response, batches)
