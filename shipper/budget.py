"""What one attempt may still spend, and what it has spent: time by phase, bytes in both directions.

    DNS -> CONNECT -> TLS -> WRITE -> WAIT -> READ -> CLOSE
           -------                    ----
           TCP, and the CONNECT       from the last byte sent to the first byte of the answer
           of a proxy

A budget is in force for the time of one attempt (`with budget.in_force():`). The sockets look it up before
every operation instead of being handed a duration, so a connection that is kept alive gets the deadline of
the attempt that uses it now, and layers in between that set limits of their own cannot loosen it. Without a
budget in force nothing may touch the network: `current()` raises.

Pure but for the context variable. A budget belongs to one thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shipper.deadline import Deadline

KIB = 1024
HEADER_BYTES = 16 * KIB
"""What may be received until an answer's headers are complete, interim answers included."""

BODY_BYTES = 64 * KIB
"""The longest body that is read, also after decoding."""

WIRE_BYTES = 4 * BODY_BYTES
"""What may be received for one body with the sizes of its chunks, their extensions and its trailer."""


class Phase(StrEnum):
    """Where an attempt is. In this order, except that a proxy reached over TLS has its CONNECT after TLS."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    WRITE = "write"
    WAIT = "wait"
    READ = "read"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each phase; None: not reached (or not needed, on a kept-alive connection)."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    write_ms: float | None = None
    wait_ms: float | None = None
    read_ms: float | None = None
    close_ms: float | None = None


class Wire(Protocol):
    """The socket that an attempt uses, as far as the end of the attempt is concerned (shipper/sockets.py)."""

    def close_in_order(self) -> None:
        """From here on closing may be orderly."""

    def abort(self) -> None:
        """End the connection at once."""

    def kernel_state(self) -> dict[str, int]:
        """What the kernel knows of the connection."""


class AnswerTooLarge(OSError):
    """The peer sent more than an answer may be."""


class NoBudget(RuntimeError):
    """Somebody used a deadline socket outside an attempt: a bug, and the reason it fails at once."""


class Budget:
    """One attempt's deadline, its limits, and its stopwatch.

    `limit` is what operations obey now: the deadline, or the sooner end of the phase's own limit.
    `address` is the last peer that was tried, `wire` the socket in use. `dialled`: this attempt made its
    connection itself. `asked`: the head of the request is sent; `written`: all of it is. `odd`: the
    connection must not be used again. `socket_state`: what the kernel knew of a connection that was closed late.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.limit = deadline
        self.phase: Phase | None = None
        self.address: str | None = None
        self.wire: Wire | None = None
        self.dialled = False
        self.asked = False
        self.written = False
        self.odd = False
        self.socket_state: dict[str, int] | None = None
        self.sent_bytes = 0
        self.received_bytes = 0
        self._allowance_bytes = 0
        self._allowed_for = "nothing"
        self._spent_s: dict[Phase, float] = {}
        self._since = deadline.clock()

    @contextmanager
    def in_force(self) -> Iterator["Budget"]:
        """Make this the budget of every socket used in the block by this thread."""
        token = _IN_FORCE.set(self)
        try:
            yield self
        finally:
            _IN_FORCE.reset(token)

    def enter(self, phase: Phase) -> None:
        """Stop the clock of the phase so far and start that of `phase`; times of one phase add up."""
        now = self.deadline.clock()
        if self.phase is not None:
            self._spent_s[self.phase] += now - self._since
        self._since = now
        self.phase = phase
        self._spent_s.setdefault(phase, 0.0)

    def allow(self, size_bytes: int, what: str) -> None:
        """From here on the peer may send `size_bytes` more; `what` names them in the error."""
        self._allowance_bytes, self._allowed_for = size_bytes, what

    def allowed(self, wanted_bytes: int) -> int:
        """How much of `wanted_bytes` may be received now, at least 1. Raises AnswerTooLarge at the end."""
        if self._allowance_bytes <= 0:
            raise AnswerTooLarge(f"{self._allowed_for} too large")
        return min(wanted_bytes, self._allowance_bytes)

    def received(self, size_bytes: int) -> None:
        """Count what the peer sent. The first byte of an answer ends the waiting."""
        self._allowance_bytes -= size_bytes
        self.received_bytes += size_bytes
        if self.phase is Phase.WAIT and size_bytes:
            self.enter(Phase.READ)

    def timings(self) -> Timings:
        """The phases so far, the running one included."""
        if self.phase is not None:
            self.enter(self.phase)
        return Timings(**{f"{phase}_ms": spent_s * 1000 for phase, spent_s in self._spent_s.items()})


_IN_FORCE: ContextVar[Budget] = ContextVar("shipper_budget")


def late() -> Budget | None:
    """The budget in force in this thread if its deadline has passed, else None."""
    budget = _IN_FORCE.get(None)
    return budget if budget is not None and budget.deadline.passed() else None


def current() -> Budget:
    """The budget in force in this thread. Raises NoBudget if there is none: no deadline, no network."""
    try:
        return _IN_FORCE.get()
    except LookupError:
        raise NoBudget("a deadline socket was used outside an attempt") from None
