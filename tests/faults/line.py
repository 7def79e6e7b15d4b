"""One connection of the misbehaving server, and the small misdeeds that scenarios are put together from.

Runs in a process of its own (tests/faults/peer.py), so that what it burns is not charged to the shipper.
Times are in units: the attempt's deadline is 20 of them.
"""

import os
import signal
import socket
import ssl
import struct
import threading
from dataclasses import dataclass

UNITS_IN_DEADLINE = 20


class Over(Exception):
    """The tests have ended."""


@dataclass
class Server:
    """What the connections of one server share."""

    over: threading.Event
    unit_s: float
    contexts: dict[str, ssl.SSLContext]


class Line:
    """A connection that has been accepted. `number` counts those of one port from 1."""

    def __init__(self, sock: socket.socket, server: Server, number: int) -> None:
        self.sock = sock
        self.server = server
        self.number = number
        self.rest = b""

    def handshake(self, certificate: str = "good") -> None:
        self.sock = self.server.contexts[certificate].wrap_socket(self.sock, server_side=True)

    # --- waiting ---------------------------------------------------------------------------------------

    def wait(self, units: float) -> None:
        if self.server.over.wait(units * self.server.unit_s):
            raise Over

    def stall(self) -> None:
        self.server.over.wait()
        raise Over

    def freeze(self) -> None:
        """As a machine that is suspended: the kernel goes on, the process does not."""
        os.kill(os.getpid(), signal.SIGSTOP)
        self.stall()

    # --- reading ---------------------------------------------------------------------------------------

    def more(self, at_most: int = 65536) -> bytes:
        part = self.sock.recv(at_most)
        if not part:
            raise ConnectionError("the client has gone")
        return part

    def head(self) -> dict[str, str]:
        """The request's headers, lower-case; "" is the request line."""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *others = head.decode("latin-1").split("\r\n")
        return {"": first} | {n.lower(): v for n, _, v in (each.partition(": ") for each in others)}

    def request(self) -> str:
        """A whole request; its answer must be `ok(mark)`."""
        head = self.head()
        left = int(head.get("content-length", 0)) - len(self.rest)
        while left > 0:
            left -= len(self.more())
        self.rest = b""
        return head.get("x-mark", "?")

    def trickle(self, size: int) -> None:
        """Read on for ever, `size` bytes per unit."""
        while True:
            self.more(size)
            self.wait(1)

    # --- writing ---------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, units: float = 0.5) -> None:
        """One byte, a pause, one byte, a pause."""
        for each in data:
            self.send(bytes([each]))
            self.wait(units)

    def drip_on(self, data: bytes = b"a", units: float = 0.5) -> None:
        while True:
            self.send(data)
            self.wait(units)

    def flood(self, data: bytes) -> None:
        while not self.server.over.is_set():
            self.send(data)
        raise Over

    # --- ending ----------------------------------------------------------------------------------------

    def end(self) -> None:
        """In order: close_notify where there is TLS, FIN, and then the connection stays half open."""
        if isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock = self.sock.unwrap()
            except OSError:
                return
        self.fin()

    def fin(self) -> None:
        """FIN without a close_notify."""
        os_level = socket.socket(fileno=os.dup(self.sock.fileno()))
        os_level.shutdown(socket.SHUT_WR)
        os_level.close()

    def rst(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.sock.detach())


def ok(mark: str, extra: bytes = b"") -> bytes:
    """The answer that acknowledges the request with that mark."""
    body = f"ack:{mark}".encode()
    return b"HTTP/1.1 200 OK\r\n" + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body
