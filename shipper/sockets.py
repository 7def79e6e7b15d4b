"""Sockets that obey the budget in force: every operation takes at most what is left of the deadline.

The trick is to sit below everything else. http.client, urllib3 and requests bound single reads and writes at
best, and set a socket's time limit all the time, also to "none". Here their settings are ignored: before
each operation the socket asks the budget for what is left, and raises if there is nothing left. `ssl` takes
the TLS class through its documented `SSLContext.sslsocket_class`, so that the handshake obeys as well.

Promises: no operation outlives the budget's limit; nothing is received beyond its allowance; closing never
waits, and closing a connection whose answer is missing leaves nothing in the kernel (RST), so a batch that was
given up does not arrive later and the peer cannot take a cut body for a whole one.
Not promised: an end to computing inside OpenSSL, which may take one record after another within one read.
"""

import errno
import fcntl
import math
import os
import select
import socket
import ssl
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shipper import tcpinfo
from shipper.budget import Budget, Phase, current, late
from shipper.deadline import DeadlineExceeded
from shipper.resolver import Address

PART_BYTES = 64 * 1024
"""What is written between two looks at the clock and at what the peer says meanwhile."""

STAGGER_S = 0.25
"""An address gets this long before the next one is tried beside it (RFC 8305 section 8)."""

_SIOCINQ, _SIOCOUTQ, _SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
"""linux/sockios.h: bytes received and not read; sent or to be sent and not acknowledged; of these, not sent."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CLOSE_IN_ORDER = struct.pack("ii", 0, 0)


class AnsweredEarly(BrokenPipeError):
    """The peer answered or hung up before it had the whole request: stop sending and read what it said.

    A BrokenPipeError, because that is what urllib3 takes for exactly this.
    """


class StrayAnswer(OSError):
    """There is data on a kept-alive connection that answers nothing that was asked."""


class NoConnection(OSError):
    """No address could be connected to; the text says what happened at each."""


class _Armed(socket.socket):
    """What both classes share: each operation gets what is left. Keeps what was read while writing."""

    _early: bytes = b""
    listens = True
    """Whether what arrives while writing is the answer. Under TLS inside TLS it may be a session ticket."""

    def settimeout(self, value: float | None) -> None:
        """Ignored: the budget decides."""

    def _arm(self) -> Budget:
        budget = current()
        socket.socket.settimeout(self, budget.limit.left())
        return budget

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        budget = self._arm()
        wanted = nbytes or len(buffer)
        if self._early:
            part, self._early = self._early[:wanted], self._early[wanted:]
            buffer[: len(part)] = part
            return len(part)
        got = super().recv_into(buffer, budget.allowed(wanted), flags)
        budget.received(got)
        return got

    def recv(self, bufsize: int = PART_BYTES, flags: int = 0) -> bytes:
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(buffer, bufsize, flags)])

    def send(self, data: Any, flags: int = 0) -> int:
        budget = self._arm()
        sent = super().send(data, flags)
        budget.sent_bytes += sent
        return sent

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all, in parts, with an ear to the peer. Raises AnsweredEarly, StrayAnswer, DeadlineExceeded.

        An early answer is kept for whoever reads next.
        """
        budget = self._arm()
        budget.wire = self
        socket.socket.settimeout(self, 0.0)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        ear = select.POLLIN if self.listens else 0
        want = select.POLLOUT
        poll = select.poll()
        poll.register(self)
        rest = memoryview(data)
        while rest:
            poll.modify(self, ear | want)
            ready = poll.poll(math.ceil(budget.limit.left() * 1000))
            seen = ready[0][1] if ready else 0
            if ear and seen & ~select.POLLOUT and self._answered(budget):
                raise AnsweredEarly(errno.EPIPE, "the peer answered before it had the whole request")
            if not seen & (want | select.POLLHUP | select.POLLERR):
                continue
            try:
                sent = super().send(rest[:PART_BYTES], flags)
            except (BlockingIOError, ssl.SSLWantWriteError):
                want = select.POLLOUT  # OpenSSL wants the same part again
            except ssl.SSLWantReadError:
                want = select.POLLIN
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                raise AnsweredEarly(errno.EPIPE, "the peer hung up before it had the whole request") from None
            else:
                want = select.POLLOUT
                budget.sent_bytes += sent
                rest = rest[sent:]
        if budget.phase is Phase.WRITE:
            budget.asked = True

    def _answered(self, budget: Budget) -> bool:
        """Whether the peer has said something or hung up. TLS session tickets come any time, saying nothing."""
        try:
            early = super().recv(budget.allowed(PART_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return True
        budget.received(len(early))
        if early and not budget.dialled and not budget.asked:
            raise StrayAnswer("an answer arrived on an idle connection before anything was asked")
        self._early += early
        return True

    def close_in_order(self) -> None:
        """The exchange is complete: closing may end the connection with FIN instead of RST."""
        if self.fileno() >= 0:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_IN_ORDER)

    def close(self) -> None:
        """Close. Past the deadline the kernel's view is noted first: this is the last moment that there is one."""
        budget = late()
        if budget is not None:
            budget.socket_state = budget.socket_state or self.kernel_state()
        super().close()

    def abort(self) -> None:
        """End the connection now, whoever still holds this object; nothing stays in the kernel."""
        if self.fileno() >= 0:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            os.close(self.detach())

    def kernel_state(self) -> dict[str, int]:
        """What the kernel knows of the connection now (shipper/tcpinfo.py), nothing where there is none any more."""
        try:
            info = tcpinfo.parse(self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcpinfo.SIZE_BYTES))
            unread, unfinished, unsent = (
                struct.unpack("i", fcntl.ioctl(self.fileno(), which, bytes(4)))[0]
                for which in (_SIOCINQ, _SIOCOUTQ, _SIOCOUTQNSD)
            )
        except (OSError, ValueError):  # ValueError: no descriptor any more
            return {}
        return {**info, "unacked_bytes": unfinished - unsent, "unsent_bytes": unsent, "unread_bytes": unread}


class PlainSocket(_Armed):
    """TCP under the budget in force."""

    def end_sending(self) -> None:
        """Half-close: the peer reads the end after everything that was sent."""
        self.shutdown(socket.SHUT_WR)


class TLSSocket(_Armed, ssl.SSLSocket):
    """TLS under the budget in force. Made by the contexts of `tls_context` only."""

    def do_handshake(self, block: bool = False) -> None:
        """The handshake, in what is left. An end without close_notify is an error from here on."""
        budget = current()
        budget.enter(Phase.TLS)
        budget.wire = self
        self.suppress_ragged_eofs = False
        self._arm()
        super().do_handshake(block)

    def end_sending(self) -> None:
        """Send close_notify and wait for the peer's, which says that it has read everything before ours."""
        self._arm()
        self.unwrap()


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A client's context: TLS 1.2 or later, certificates and host names verified, always.

    `ca_file`: PEM certificates to trust instead of the system's. The environment (SSL_CERT_FILE,
    SSLKEYLOGFILE) is not asked. Raises OSError or ssl.SSLError if `ca_file` cannot be used; a pipe is not waited for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and host names by default
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TLSSocket
    if ca_file is not None:
        if not stat.S_ISREG(ca_file.stat().st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        context.load_verify_locations(cafile=ca_file)
        return context
    built_in = ssl.get_default_verify_paths()
    file, folder = Path(built_in.openssl_cafile), Path(built_in.openssl_capath)
    if file.is_file() or folder.is_dir():
        context.load_verify_locations(file if file.is_file() else None, folder if folder.is_dir() else None)
    return context


def dial(addresses: Sequence[Address]) -> PlainSocket:
    """Connect to the first of `addresses` that answers, trying the next one every 250 ms or as soon as all so
    far have failed. Raises NoConnection, DeadlineExceeded. Only the socket returned stays open.
    """
    budget = current()
    budget.dialled = True
    waiting = list(addresses)
    trying: dict[int, tuple[PlainSocket, Address]] = {}
    failures: list[str] = []
    poll = select.poll()
    try:
        while waiting or trying:
            if waiting:
                address = waiting.pop(0)
                budget.address = str(address)
                sock = _begin(address, failures)
                if sock is not None:
                    trying[sock.fileno()] = (sock, address)
                    poll.register(sock, select.POLLOUT)
                elif waiting:
                    continue
            pause_s = min(budget.limit.left(), STAGGER_S) if waiting else budget.limit.left()
            for fd, _events in poll.poll(math.ceil(pause_s * 1000)) if trying else ():
                poll.unregister(fd)
                sock, address = trying.pop(fd)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error == 0:
                    budget.address = str(address)
                    budget.wire = sock
                    return sock
                sock.close()
                failures.append(_refusal(error, address))
        raise NoConnection("; ".join(failures))
    except DeadlineExceeded:
        if failures:
            raise DeadlineExceeded("; ".join(failures)) from None
        raise
    finally:
        for sock, _address in trying.values():
            sock.close()


def _begin(address: Address, failures: list[str]) -> PlainSocket | None:
    """A socket that is connecting to `address`; None, and one more failure, if that fails at once."""
    sock = None
    try:
        sock = PlainSocket(address.family, socket.SOCK_STREAM)
        socket.socket.settimeout(sock, 0.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What may pile up unread: an answer is small. Before connecting, because it sets the window's scale.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART_BYTES)
        error = sock.connect_ex(address.sockaddr)
    except OSError as failure:
        error = failure.errno or errno.EINVAL
    if error in (0, errno.EINPROGRESS):
        return sock
    if sock is not None:
        sock.close()
    failures.append(_refusal(error, address))
    return None


def _refusal(error: int, address: Address) -> str:
    if error == errno.ECONNREFUSED:
        return f"connection refused by {address}"
    return f"no connection to {address}: {os.strerror(error).lower()}"
