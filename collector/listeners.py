"""Bound sockets: the addresses that a collector has, whoever receives from them.

    udp://127.0.0.1:8125     one socket; with several receivers one for each, and the kernel gives all datagrams of one
                             client to one of them (SO_REUSEPORT), so that their order is kept
    tcp:// unixgram:// unix://        one socket

Promises: an address is shared with nobody but those who were asked for: the first socket is bound without
SO_REUSEPORT, so a second collector is refused as ever. What the kernel dropped because a socket's buffer was full is
read from the socket itself. A unix socket's file is replaced only if nobody listens on it and removed at the end; its
mode is 0666, because who may send metrics is decided by the folder it lies in.

Sockets that were inherited (see inherit.py) are used as they are, with what waits in them; all of them, also where
there are more than receivers.
"""

import errno
import socket
import stat
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collector.config import Listen
from spool.errors import HoldfastError

DATAGRAMS = ("udp", "unixgram")
"""Schemes of listeners that receive datagrams; the others accept connections."""
BACKLOG = 1_024
"""Connections that may wait to be accepted, if net.core.somaxconn allows it. Their clients wait a second or more for
the one that finds no place, and a loop that connects for each metric makes hundreds in reception.GATHER_S."""
QUEUE_LENGTH = Path("/proc/sys/net/unix/max_dgram_qlen")
LONG_QUEUE = 512
"""What systemd sets, where it runs; a client that does not wait loses what is beyond the kernel's own 10."""
DATAGRAM_BYTES = 384
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55  # Linux 4.12; the ninth number is the count that /proc/net/udp shows as drops
_MEMINFO = struct.Struct("9I")


class AddressBusy(HoldfastError):
    """An address to listen on cannot be had."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One listener: as it was asked for, with the port that the kernel chose; its sockets, and the buffer of each."""

    asked: Listen
    listen: Listen
    sockets: Sequence[socket.socket]
    granted_bytes: int


class Listeners:
    """All bound sockets of one collector, the owner of their files.

    `inherited`: descriptors by `str(Listen)`; `drops`: what `drops` said of them.
    """

    def __init__(
        self, inherited: Mapping[str, Sequence[int]] | None = None, drops: Mapping[int, int] | None = None
    ) -> None:
        self._inherited = {name: [socket.socket(fileno=n) for n in each] for name, each in (inherited or {}).items()}
        # By socket: one that is bound later may get the number of one that is closed.
        all_of_them = [each for sockets in self._inherited.values() for each in sockets]
        self._drops_before = {each: drops[each.fileno()] for each in all_of_them if drops and each.fileno() in drops}
        self._drops_seen: dict[socket.socket, int] = {}
        self._files: dict[str, tuple[int, int] | None] = {}
        self.bound: list[Bound] = []

    def open(self, asked: Listen, buffer_bytes: int, receivers: int = 1) -> Bound:
        """Have one address, with a socket for each of `receivers` where the kernel can choose between them.

        Raises AddressBusy; the others stay as they are.
        """
        sockets = self._inherited.pop(str(asked), [])
        try:
            sockets = sockets or [bind(asked)]
            listen = _actual(asked, sockets[0])
            while asked.scheme == "udp" and len(sockets) < receivers:
                sockets.append(bind(listen, beside=sockets[0]))
            for each in sockets:
                each.setblocking(False)  # one that was the admin port's waits
                if asked.scheme not in DATAGRAMS:
                    each.listen(BACKLOG)
        except BaseException:
            for each in sockets:
                each.close()
            raise
        granted = min([grow_buffer(each, buffer_bytes) for each in sockets])
        datagrams = sockets if asked.scheme in DATAGRAMS else []
        self._drops_seen |= {each: self._drops_before.get(each, _drops(each)) for each in datagrams}
        if listen.path:
            self._files[listen.path] = _file(listen.path)
        self.bound.append(Bound(asked, listen, sockets, granted))
        return self.bound[-1]

    def take_drops(self) -> int:
        """Datagrams the kernel dropped since the last call; 0 where it does not tell (unix, old kernels)."""
        dropped = 0
        for each, seen in self._drops_seen.items():
            self._drops_seen[each] = drops = _drops(each)
            dropped += (drops - seen) & 0xFFFFFFFF
        return dropped

    def drops(self) -> dict[int, int]:
        """By descriptor, what the kernel had dropped when `take_drops` was last called."""
        return {each.fileno(): seen for each, seen in self._drops_seen.items()}

    def close_all_but(self, wanted: Collection[Listen]) -> None:
        """Close what was inherited and is not wanted any more, so that its address is free."""
        for name in self._inherited.keys() - set(map(str, wanted)):
            for each in self._inherited.pop(name):
                if each.family == socket.AF_UNIX:
                    Path(each.getsockname()).unlink(missing_ok=True)
                each.close()

    def handed(self) -> dict[str, list[int]]:
        """Descriptors by `str(Listen)`, for whoever goes on with the sockets."""
        handed: dict[str, list[int]] = {}
        for each in self.bound:  # a URL with port 0 may be there several times
            handed.setdefault(str(each.asked), []).extend(bound.fileno() for bound in each.sockets)
        return handed

    def close(self, bound: Iterable[Bound] | None = None) -> None:
        """Close listeners (all of them) and remove the files of their unix sockets."""
        for each in list(self.bound if bound is None else bound):
            self.bound.remove(each)
            for one in each.sockets:
                self._drops_seen.pop(one, None)
                one.close()
            path = each.listen.path
            if path and _file(path) == self._files.pop(path):  # else somebody else has the place by now
                Path(path).unlink(missing_ok=True)


def bind(listen: Listen, beside: socket.socket | None = None) -> socket.socket:
    """A bound, non-blocking socket; `beside` one that has the address already.

    Raises AddressBusy that names the address and the key to change.
    """
    family = socket.AF_UNIX if listen.path else socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.scheme in DATAGRAMS else socket.SOCK_STREAM
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
        if beside is not None:
            for each in (beside, bound):  # Linux lets the first one join afterwards
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listen.path:
            _remove_stale(Path(listen.path), kind)
        bound.bind(address(listen))
        if listen.path:
            Path(listen.path).chmod(0o666)
    except OSError as error:
        bound.close()
        raise AddressBusy(_cannot(listen, error)) from None
    return bound


def address(listen: Listen) -> Any:
    """Where to bind or connect to, which take no interface (fe80::1%eth0) from a host's name. Nothing is looked up."""
    if listen.path:
        return listen.path
    return socket.getaddrinfo(listen.host, listen.port, flags=socket.AI_NUMERICHOST)[0][4]


def _actual(listen: Listen, bound: socket.socket) -> Listen:
    """The address with the port that the kernel chose for port 0."""
    if listen.path:
        return listen
    return replace(listen, port=bound.getsockname()[1])


def _cannot(listen: Listen, error: OSError) -> str:
    why = "in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return f"{listen}: {why}; change [collector] listen, or stop what has it."


def _file(path: str) -> tuple[int, int] | None:
    """Which file is there."""
    try:
        facts = Path(path).stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


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
    """Ask for a receive buffer; returns what was granted, in bytes."""
    for option in (
        _SO_RCVBUFFORCE,
        socket.SO_RCVBUF,
    ):  # the first may pass net.core.rmem_max, with CAP_NET_ADMIN
        try:
            bound.setsockopt(socket.SOL_SOCKET, option, wanted_bytes)
            break
        except OSError:
            continue
    return buffer_bytes(bound)


def room_bytes(bound: socket.socket) -> int:
    """What may wait in a datagram socket, in bytes as the kernel counts them, of which a one-line datagram takes
    DATAGRAM_BYTES. Of a unix socket that is a number of datagrams, however large: see queue_length.
    """
    return DATAGRAM_BYTES * queue_length() if bound.family == socket.AF_UNIX else buffer_bytes(bound)


def queue_length() -> int:
    """How many datagrams may wait in a unix socket (net.unix.max_dgram_qlen); beyond it senders wait or are refused."""
    try:
        return int(QUEUE_LENGTH.read_text())
    except (OSError, ValueError):
        return 10  # the kernel's default


def buffer_bytes(bound: socket.socket) -> int:
    """A socket's receive buffer. The kernel reports twice what it was asked for."""
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _drops(bound: socket.socket) -> int:
    try:
        return int(_MEMINFO.unpack(bound.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])
    except (OSError, struct.error):
        return 0
