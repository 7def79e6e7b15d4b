"""Names to addresses, where a resolver that hangs can be left behind.

`getaddrinfo` takes no deadline and no signal: with one dead name server it takes 10 s, with three 56 s. So it
runs in a daemon thread (not an executor: those are joined at exit), and who asks waits until its deadline.

Promises: `resolve` ends by the deadline. One thread per name; who asks for a name that is already being looked
up waits for the same answer. Never more than MAX_LOOKUPS threads. When a look-up fails or is late, the
addresses that it last gave are used for up to an hour: an outage of the resolver need not stop deliveries.
Not promised: an end to a lost thread. The C library gives up after a minute at most; set `RES_OPTIONS` in the
service's environment ("timeout:1 attempts:1") to make that seconds.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shipper.deadline import Deadline, DeadlineExceeded

MAX_LOOKUPS = 4
MAX_ADDRESSES = 16
"""More are not tried: at 250 ms each they would hardly be reached within a connect deadline."""

LAST_GOOD_S = 3600.0

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]


class NameUnresolved(OSError):
    """No address for a name: the resolver said no, or said nothing, and there are no last good ones."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to: a socket family and the address tuple that it takes."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


@dataclass(slots=True)
class _Lookup:
    """One running getaddrinfo. `done` is set last."""

    done: threading.Event = field(default_factory=threading.Event)
    found: list[Address] = field(default_factory=list)
    failure: OSError | UnicodeError | MemoryError | None = None


class Resolver:
    """Looks names up with `getaddrinfo`, which may hang; `clock` gives monotonic seconds. Thread-safe."""

    def __init__(self, clock: Callable[[], float], getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._clock = clock
        self._getaddrinfo = getaddrinfo
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Lookup] = {}
        self._last_good: dict[tuple[str, int], tuple[float, list[Address]]] = {}

    def resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """Addresses of `host`, in the order to try them, never none. Raises NameUnresolved."""
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        lookup = self._lookup(host, port)
        if lookup is None:
            return self._instead(host, port, f"{MAX_LOOKUPS} other names are still being looked up")
        try:
            finished = lookup.done.wait(deadline.left())
        except DeadlineExceeded:
            finished = False
        if not finished:
            return self._instead(host, port, "the resolver did not answer in time")
        if lookup.failure is not None:
            why = getattr(lookup.failure, "strerror", None) or str(lookup.failure) or type(lookup.failure).__name__
            return self._instead(host, port, why)
        if not lookup.found:
            return self._instead(host, port, "the resolver knows no address")
        return lookup.found

    def _instead(self, host: str, port: int, why: str) -> list[Address]:
        with self._lock:
            known_at, addresses = self._last_good.get((host, port), (0.0, []))
        if not addresses or self._clock() - known_at > LAST_GOOD_S:
            raise NameUnresolved(f"name {host} could not be resolved: {why}")
        return addresses

    def _lookup(self, host: str, port: int) -> _Lookup | None:
        """The look-up that runs for this name, or a new one; None if too many run already."""
        with self._lock:
            lookup = self._running.get((host, port))
            if lookup is not None:
                return lookup
            if len(self._running) >= MAX_LOOKUPS:
                return None
            lookup = _Lookup()
            thread = threading.Thread(target=self._run, args=(host, port, lookup), name=f"resolve {host}", daemon=True)
            try:
                thread.start()
            except RuntimeError as failure:  # the host's limit on threads
                lookup.failure = OSError(f"the resolver's thread could not be started: {failure}")
                lookup.done.set()
                return lookup
            self._running[host, port] = lookup
        return lookup

    def _run(self, host: str, port: int, lookup: _Lookup) -> None:
        try:
            found = self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
            lookup.found = [Address(each[0], each[4]) for each in found[:MAX_ADDRESSES]]
        except (OSError, UnicodeError, MemoryError) as failure:  # UnicodeError: a label that IDNA does not allow
            lookup.failure = failure
        with self._lock:
            del self._running[host, port]
            if lookup.found:
                self._last_good[host, port] = (self._clock(), lookup.found)
        lookup.done.set()


def _literal(host: str, port: int) -> Address | None:
    """The address that `host` spells out, so that no resolver is asked for it."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return Address(family, (host, port) if family == socket.AF_INET else (host, port, 0, 0))
    return None
