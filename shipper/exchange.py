"""A request to a destination, its answer, and what became of the attempt: values, whatever carries them."""

from collections.abc import Mapping
from dataclasses import dataclass

from shipper.budget import Phase, Timings

MAX_CHECKIN_BYTES = 65_536
"""Of a check-in: the shipper keeps to it, and the receiver takes no longer one."""

SECRET_HEADERS = ("Authorization", "DD-API-KEY")
"""The headers that a protocol may put the token into."""

SECRET_LEAST = 8
"""Characters of what is looked for as a secret: a shorter one could be a part of any word."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `headers` are sent as they are, plus Host, Content-Length and a plain Accept-Encoding.

    The body is complete and in memory: a retry sends the same bytes.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def hidden_in(self, answer: bytes) -> bytes:
        """`answer` without the secrets of this request, which some servers repeat when they refuse them."""
        for name in SECRET_HEADERS:
            secret = self.headers.get(name, "").rpartition(" ")[2]
            if len(secret) >= SECRET_LEAST:
                answer = answer.replace(secret.encode(), b"(hidden)")
        return answer


NO_STATUS = 0
"""The status of an answer without words: the peer has read everything and closed in order (shipper/stream.py)."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete final answer, inside the deadline. `headers` have lower-case names.

    `body` is at most 64 KiB; of an answer other than 2xx it is the first 64 KiB at most, and empty where its coding
    cannot be read: there the status is what counts. What it repeats of the request's secrets is left out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one attempt.

    `phase` is the last one reached: READ for an answer. `timings.close_ms` is None where the connection stayed
    open. `overshoot_ms` is how far past the deadline the attempt ended, 0 if before. `deadline_exceeded` tells of the
    whole deadline, `out_of_time` of the limits for names and connecting too. `error` is a sentence, None if there is
    a response. `socket_state` is what the kernel knew of the connection when a deadline had passed (tcpinfo.py).
    """

    response: Response | None
    phase: Phase
    timings: Timings
    total_ms: float
    overshoot_ms: float
    sent_bytes: int
    received_bytes: int
    address: str | None
    error: str | None
    deadline_exceeded: bool
    socket_state: Mapping[str, int] | None = None
    out_of_time: bool = False
