"""Sockets: what the kernel has received, as bytes and in order.

Promises: a datagram is taken whole or reported as too long, never cut; what the kernel dropped because a
socket's buffer was full is read from the socket itself; nothing here blocks but `Receiver.wait`; a slow or
hostile stream client costs at most its connection (see streams.py). A unix socket's file is replaced only if
nobody listens on it and removed at the end; its mode is 0666, because who may send metrics is decided by the
folder it lies in.

Does not promise fairness beyond `limit` datagrams, and some tens more, per socket and turn.
"""

import errno
import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from collector.config import Listen
from collector.recvmmsg import MAX_DATAGRAM_BYTES, SLOTS, Slots
from collector.statsd import Signs
from collector.streams import Connection
from spool.errors import HoldfastError

DRAIN_BYTES = 1024 * 1024
"""What is drained at a time is bounded in bytes too: a turn over the largest datagrams takes no longer than others."""
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55  # Linux 4.12; the ninth number is the count that /proc/net/udp shows as drops
_MEMINFO = struct.Struct("9I")
_MAX_CONNECTIONS = 256
_IDLE_S = 600.0


class AddressBusy(HoldfastError):
    """An address to listen on cannot be had."""


class Source(Protocol):
    """Something with bytes to drain."""

    signs: Signs
    datagrams: bool

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """Up to `limit` pieces, each of whole lines, and how many datagrams were too long to read."""


class DatagramSource:
    """A bound UDP or unix datagram socket."""

    datagrams = True

    def __init__(self, listen: Listen, signs: Signs, bound: socket.socket, slots: Slots) -> None:
        self.listen, self.signs = listen, signs
        self._socket, self._slots = bound, slots
        self._drops_seen = 0

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """See Source. Takes what is there, of DRAIN_BYTES a little more than those at most."""
        receive, fileno = self._slots.receive, self._socket.fileno()
        taken: list[bytes] = []
        size_bytes = too_long = 0
        while len(taken) + too_long < limit and size_bytes < DRAIN_BYTES:
            got = receive(fileno)
            if not got:
                break
            lengths = list(map(len, got))
            size_bytes += sum(lengths)
            if max(lengths) > MAX_DATAGRAM_BYTES:
                whole = [each for each in got if len(each) <= MAX_DATAGRAM_BYTES]
                too_long += len(got) - len(whole)
                taken += whole
            else:
                taken += got
            if len(got) < SLOTS:
                break
        return taken, too_long

    def take_drops(self) -> int:
        """Datagrams the kernel dropped since the last call; 0 where it does not tell (unix, old kernels)."""
        try:
            counters = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            drops = int(_MEMINFO.unpack(counters)[8])
        except (OSError, struct.error):
            return 0
        since = (drops - self._drops_seen) & 0xFFFFFFFF
        self._drops_seen = drops
        return since


class Receiver:
    """All sockets of one collector. Belongs to the receive loop's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._slots = Slots()
        self._sockets: list[tuple[Listen, socket.socket]] = []
        self._connections: set[Connection] = set()
        self.sources: list[DatagramSource] = []
        self.refused_connections = 0
        self.smallest_buffer_bytes = 2**31  # of the datagram sockets
        self._woken, self.wakeup = socket.socketpair()
        for end in (self._woken, self.wakeup):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)

    def listen(self, listen: Listen, signs: Signs, buffer_bytes: int) -> tuple[Listen, int]:
        """Bind one address; returns it with the port the kernel chose, and the buffer it granted in bytes.

        Raises AddressBusy; the other sockets stay as they are.
        """
        bound = bind(listen)
        listen = actual(listen, bound)
        granted = grow_buffer(bound, buffer_bytes)
        self._sockets.append((listen, bound))
        if listen.scheme in ("udp", "unixgram"):
            source = DatagramSource(listen, signs, bound, self._slots)
            self.sources.append(source)
            self.smallest_buffer_bytes = min(self.smallest_buffer_bytes, granted)
            self._selector.register(bound, selectors.EVENT_READ, source)
        else:
            bound.listen(128)
            self._selector.register(bound, selectors.EVENT_READ, (bound, signs))
        return listen, granted

    def wait(self, at_most_s: float) -> Sequence[Source]:
        """Sources that have something to drain; empty after `at_most_s`, a signal, or a new connection."""
        ready: list[Source] = []
        for selected, _ in self._selector.select(at_most_s):
            if selected.data is None:
                self._woken.recv(4096)
            elif isinstance(selected.data, tuple):
                self._accept(*selected.data)
            else:
                ready.append(selected.data)
        return ready

    def _accept(self, listening: socket.socket, signs: Signs) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:
            return  # gone already, or out of file descriptors: the next turn tries again
        if len(self._connections) >= _MAX_CONNECTIONS:
            self.refused_connections += 1
            accepted.close()
            return
        accepted.setblocking(False)
        connection = Connection(accepted, signs, self._clock, self._forget)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        self._connections.discard(connection)
        connection.socket.close()

    def close_idle(self) -> None:
        """Close stream connections that have been silent for 10 minutes."""
        for connection in list(self._connections):
            if self._clock() - connection.heard_mono > _IDLE_S:
                self._forget(connection)

    def take_counts(self) -> tuple[int, int]:
        """Kernel drops and refused connections since the last call."""
        refused, self.refused_connections = self.refused_connections, 0
        return sum(source.take_drops() for source in self.sources), refused

    def close(self) -> None:
        """Close everything and remove the files of unix sockets."""
        for connection in list(self._connections):
            self._forget(connection)
        for listen, bound in self._sockets:
            bound.close()
            if listen.path:
                Path(listen.path).unlink(missing_ok=True)
        self._selector.close()
        self._woken.close()
        self.wakeup.close()


def bind(listen: Listen) -> socket.socket:
    """A bound, non-blocking socket. Raises AddressBusy that names the address and the key to change."""
    family = socket.AF_UNIX if listen.path else socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.scheme in ("udp", "unixgram") else socket.SOCK_STREAM
    try:
        bound = socket.socket(family, kind)
    except OSError as error:  # IPv6 is switched off
        raise AddressBusy(_cannot(listen, error)) from None
    try:
        bound.setblocking(False)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 may have the port too
        if listen.scheme == "tcp":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT, not past a listener
        if listen.path:
            _remove_stale(Path(listen.path), kind)
            bound.bind(listen.path)
            Path(listen.path).chmod(0o666)
        else:
            bound.bind((listen.host, listen.port))
    except OSError as error:
        bound.close()
        raise AddressBusy(_cannot(listen, error)) from None
    return bound


def actual(listen: Listen, bound: socket.socket) -> Listen:
    """The address with the port that the kernel chose for port 0."""
    if listen.path:
        return listen
    return Listen(listen.scheme, listen.host, bound.getsockname()[1], gauges=listen.gauges)


def _cannot(listen: Listen, error: OSError) -> str:
    why = "in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
    return f"{listen}: {why}; change [collector] listen, or stop what has it."


def _remove_stale(path: Path, kind: socket.SocketKind) -> None:
    """Remove a socket file that a dead process left. Raises OSError if it is in use or not a socket."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)  # a full backlog means that somebody listens
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise OSError(errno.EADDRINUSE, "in use") from error
    raise OSError(errno.EADDRINUSE, "in use")


def grow_buffer(bound: socket.socket, wanted_bytes: int) -> int:
    """Ask for a receive buffer; returns what was granted. The kernel reports twice what it was asked for."""
    for option in (
        _SO_RCVBUFFORCE,
        socket.SO_RCVBUF,
    ):  # the first may pass net.core.rmem_max, with CAP_NET_ADMIN
        try:
            bound.setsockopt(socket.SOL_SOCKET, option, wanted_bytes)
            break
        except OSError:
            continue
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
