"""A receiver in the test's own process, and clients of it on loopback."""

import socket
import time

from collector.config import Listen
from collector.listeners import Listeners
from collector.receiver import Receiver
from collector.statsd import STATSD


class Receiving(Receiver):
    """A receiver with listeners of its own."""

    def __init__(self, clock=time.monotonic):
        super().__init__(clock)
        self.listeners = Listeners()

    def listen(self, listen, buffer_bytes=65_536):
        bound = self.listeners.open(listen, buffer_bytes)
        self.take(bound.sockets[0], listen.scheme, STATSD)
        return bound.listen

    def close(self):
        super().close()
        self.listeners.close()


def udp(receiver, host="127.0.0.1", buffer_bytes=1 << 20):
    listen = receiver.listen(Listen("udp", host, 0), buffer_bytes)
    sender = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((host, listen.port))
    return sender


def tcp(receiver):
    listen = receiver.listen(Listen("tcp", "127.0.0.1", 0))
    return lambda: socket.create_connection(("127.0.0.1", listen.port))
