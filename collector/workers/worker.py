"""One of several receiving processes, which the collector starts (crew.py) and asks for a share of each window.

    collector -> worker     one byte: MORE, or LAST, after which the worker ends
    worker -> collector     a share (parcel.py); the first, which is empty, unasked: it has begun, or waits for MORE

Bound sockets and everything else come from the collector, as open descriptors (inherit.py). A worker reads no
configuration and no file, has no clock but the monotonic one, and writes nothing but shares and how many lines it has
taken since its start, into memory that it has in common with the collector: so what died with it is known.

Promises: the receive loop waits for nothing but input, however slow the collector is: a share is sent by a thread of
its own, and the next is asked for when the last has come. A worker whose collector is gone ends, also if it is stopped:
the kernel kills it, because a socket that it holds is an address that nobody else can have.
"""

import ctypes
import faulthandler
import mmap
import os
import queue
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from collector import inherit
from collector.receiver import Receiver
from collector.reception import Reception, undisturbed
from collector.statsd import Dialect
from collector.workers.parcel import pieces
from collector.workers.share import Share, Sharing
from spool.again import release_signals

MORE, LAST, GONE = b"?", b".", b"!"
"""What a collector asks for; GONE stands for the end of asking."""
SETTINGS, SOURCES, COLLECTOR, TAKEN = "settings", "sources", "collector", "taken"
"""Names of what is handed on."""
COUNT = struct.Struct("=Q")
_WAIT_S = 60.0
_PR_SET_PDEATHSIG = 1


class Courier:
    """The thread that hears what the collector asks for, and takes it there."""

    def __init__(self, collector: socket.socket, wake: Callable[[], None]) -> None:
        self._collector, self._wake = collector, wake
        self._shares: queue.SimpleQueue[Share] = queue.SimpleQueue()
        self.asked = MORE
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def give(self, share: Share) -> None:
        """What was `asked`. Never waits."""
        self.asked = b""
        self._shares.put(share)

    def end(self) -> None:
        """Wait until the last share is sent."""
        self._thread.join()

    def _run(self) -> None:
        asked = MORE
        try:
            while asked != GONE:
                for piece in pieces(self._shares.get()):
                    self._collector.sendall(piece)
                if asked == LAST:
                    return
                self.asked = asked = self._collector.recv(1) or GONE
                self._wake()
        except OSError:  # gone as well
            self.asked = GONE
            self._wake()


def receive(reception: Reception, share: Sharing, courier: Courier, taken: mmap.mmap) -> None:
    """Receive, and give shares, until the last is asked for or nobody asks any more."""
    while courier.asked != GONE:
        reception.turn(0 if courier.asked else _WAIT_S)
        asked = courier.asked
        if asked == LAST:
            reception.last_turns()
        share.turned(time.monotonic())
        COUNT.pack_into(taken, 0, share.taken)
        if asked in (MORE, LAST):
            courier.give(share.give())
        if asked == LAST:
            courier.end()
            return


def main() -> None:
    """Do as `crew.py` says in the environment."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # they go to the whole group; what they mean here, the collector says
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    release_signals()
    handed = inherit.take_over(os.environ)
    settings: dict[str, Any] = inherit.from_memory(handed[SETTINGS][0])
    share, receiver = Sharing(settings["max_series"]), Receiver(time.monotonic)
    collector = socket.socket(fileno=handed[COLLECTOR][0])
    undisturbed()
    courier = Courier(collector, receiver.wake)  # hears that the collector is gone, also if that was before prctl
    if settings["waits"]:
        courier.give(share.give())
        while not courier.asked:
            receiver.wait(_WAIT_S)
    for descriptor, scheme, dialect in settings["sources"]:
        receiver.take(socket.socket(fileno=descriptor), scheme, Dialect(*dialect))
    receive(Reception(receiver, share, time.sleep), share, courier, mmap.mmap(handed[TAKEN][0], mmap.PAGESIZE))


if __name__ == "__main__":
    main()
