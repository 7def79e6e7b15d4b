"""Reception: what the kernel has for this process, as bytes and in order.

Promises: a datagram is taken whole or reported as too long, never cut; nothing here blocks but `Receiver.wait`; a slow
or hostile stream client costs at most its connection (see streams.py): neither endless data nor idle connections in any
number keep others from being heard.

Does not promise fairness beyond `limit` datagrams, and some tens more, per socket and turn.
"""

import contextlib
import errno
import math
import selectors
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from collector.carried import Stream
from collector.config import Scheme
from collector.listeners import DATAGRAMS, room_bytes
from collector.recvmmsg import MAX_DATAGRAM_BYTES, SLOTS, Slots
from collector.statsd import Dialect
from collector.streams import Connection

DRAIN_BYTES = 128 * 1024
"""What is drained at a time is bounded in bytes too: a turn over the largest datagrams takes no longer than others."""
TURN_READS = 16
"""Reads of up to 16 KiB that all stream connections together have in a turn: however many of them never pause, the
datagram sockets have theirs after milliseconds."""
TURN_ACCEPTS = TURN_READS // 2
"""Connections that an address accepts in a turn: as many as can say a line and end in one. One alone would be 50 in a
second where datagrams come all the time (reception.GATHER_S); more would wait among _MAX_CONNECTIONS."""
_MAX_CONNECTIONS = 256
_ACCEPT_AGAIN_S = 0.2
"""Where there is no descriptor for a connection, the next try: the kernel would say at once that it still waits."""
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_IDLE_S = 600.0
_SILENT_S = 10.0
"""A connection without a whole line for so long gives way to a new one, where there are no more places."""


class Source(Protocol):
    """Something with bytes to drain. `emptied`: whether the last `drain` left nothing."""

    dialect: Dialect
    datagrams: bool
    emptied: bool

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """Up to `limit` pieces, each of whole lines, and how many datagrams were too long to read."""


class DatagramSource:
    """A bound UDP or unix datagram socket."""

    datagrams = True

    def __init__(self, bound: socket.socket, dialect: Dialect, slots: Slots) -> None:
        self.dialect = dialect
        self.emptied = True
        self._socket, self._slots = bound, slots

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """See Source. Takes what is there, of DRAIN_BYTES a little more than those at most."""
        receive, fileno = self._slots.receive, self._socket.fileno()
        self.emptied = False
        taken: list[bytes] = []
        size_bytes = too_long = 0
        while len(taken) + too_long < limit and size_bytes < DRAIN_BYTES:
            got, lengths = receive(fileno)
            if not got:
                self.emptied = True
                break
            size_bytes += sum(lengths)
            if max(lengths) > MAX_DATAGRAM_BYTES:
                whole = [each for each in got if len(each) <= MAX_DATAGRAM_BYTES]
                too_long += len(got) - len(whole)
                taken += whole
            else:
                taken += got
            if len(got) < SLOTS:
                self.emptied = True
                break
        return taken, too_long


class Receiver:
    """What one receive loop receives from: bound sockets, which are others' to close, and its stream connections."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self.mono = mono
        self._selector = selectors.DefaultSelector()
        self._slots = Slots()
        self._connections: set[Connection] = set()
        self._not_accepting: dict[socket.socket, tuple[float, Dialect]] = {}  # until when
        self.refused_connections = 0
        self.least_room_bytes = 2**31  # of the datagram sockets
        self._woken, self.wakeup = socket.socketpair()
        for end in (self._woken, self.wakeup):
            end.setblocking(False)
        self.watch(self._woken, lambda: self._woken.recv(4096))

    def take(self, bound: socket.socket, scheme: Scheme, dialect: Dialect) -> None:
        """Receive from a bound, non-blocking socket too."""
        if scheme in DATAGRAMS:
            self.least_room_bytes = min(self.least_room_bytes, room_bytes(bound))
            self._selector.register(bound, selectors.EVENT_READ, DatagramSource(bound, dialect, self._slots))
        else:
            self.watch(bound, partial(self._accept, bound, dialect))

    def watch(self, other: socket.socket, readable: Callable[[], object]) -> None:
        """Have something else done when a socket is readable, until `forget`."""
        self._selector.register(other, selectors.EVENT_READ, readable)

    def forget(self, other: socket.socket) -> None:
        """End `watch`, or `take`."""
        self._selector.unregister(other)

    def wake(self) -> None:
        """End a wait. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # full, so it is ended already
            self.wakeup.send(b"\0")

    def wait(self, at_most_s: float) -> Sequence[Source]:
        """Sources that have something to drain; empty after `at_most_s`, a signal, or a new connection."""
        ready: list[Source] = []
        streams: list[Connection] = []
        if self._not_accepting:
            at_most_s = min(at_most_s, self._accept_again())
        for selected, _ in self._selector.select(at_most_s):
            if callable(selected.data):
                selected.data()
            elif isinstance(selected.data, Connection):
                streams.append(selected.data)
            else:
                ready.append(selected.data)
        return [*ready, *self._turns(streams)]

    def _turns(self, streams: list[Connection]) -> list[Connection]:
        """Those of the connections that have a turn now, the others the next time: who waited longest comes first."""
        streams = [each for each in streams if each in self._connections]  # one may just have given way
        streams.sort(key=lambda each: each.heard_mono)
        for each in streams[:TURN_READS]:
            each.reads = TURN_READS // min(len(streams), TURN_READS)
        return streams[:TURN_READS]

    def _accept(self, listening: socket.socket, dialect: Dialect) -> None:
        for _ in range(TURN_ACCEPTS):
            try:
                accepted, _ = listening.accept()
            except OSError as error:  # no more, gone already, or there is no descriptor
                if error.errno in _NONE_LEFT:
                    self.forget(listening)
                    self._not_accepting[listening] = self.mono() + _ACCEPT_AGAIN_S, dialect
                return
            self._admit(accepted, dialect)

    def _accept_again(self) -> float:
        """Listen again where it is time; in how many seconds it is where it is not."""
        for listening, (again_mono, dialect) in list(self._not_accepting.items()):
            if again_mono <= self.mono():
                del self._not_accepting[listening]
                self.watch(listening, partial(self._accept, listening, dialect))
        return max(0.0, min((again for again, _ in self._not_accepting.values()), default=math.inf) - self.mono())

    def _admit(self, accepted: socket.socket, dialect: Dialect) -> None:
        """Serve a new connection, if there is a place for it or one that has to give way."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            self.refused_connections += 1
            silent = min(self._connections, key=lambda each: each.line_mono)
            if self.mono() - silent.line_mono < _SILENT_S:
                accepted.close()
                return
            self._forget(silent)
        self._serve(accepted, dialect)

    def _serve(self, accepted: socket.socket, dialect: Dialect) -> Connection:
        accepted.setblocking(False)
        connection = Connection(accepted, dialect, self.mono, self._forget)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)
        return connection

    def carry(self) -> list[Stream]:
        """The connections, for whoever goes on with them after this process has ended its reception."""
        return [connection.carry() for connection in self._connections]

    def resume(self, streams: Sequence[Stream]) -> None:
        """Go on with connections that were handed on."""
        for each in streams:
            self._serve(socket.socket(fileno=each.descriptor), each.dialect).resume(each)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        self._connections.discard(connection)
        connection.socket.close()

    def close_idle(self) -> None:
        """Close stream connections on which no whole line came for 10 minutes."""
        for connection in list(self._connections):
            if self.mono() - connection.line_mono > _IDLE_S:
                self._forget(connection)

    def take_refused(self) -> int:
        """Connections refused since the last call."""
        refused, self.refused_connections = self.refused_connections, 0
        return refused

    def close(self) -> None:
        """Close the connections; bound sockets stay open."""
        for connection in list(self._connections):
            self._forget(connection)
        self._selector.close()
        self._woken.close()
        self.wakeup.close()
