"""A worker from the collector's side: a process, what is asked of it, what it says, and how it ends.

See worker.py for what it does. Promises: nothing here waits, but `end` for a process that ends; the sockets that it was
given stay the collector's too.
"""

import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from collector import inherit
from collector.config import Scheme
from collector.statsd import Dialect
from collector.workers.parcel import Parcels
from collector.workers.share import Share
from collector.workers.worker import COLLECTOR, COUNT, LAST, MORE, SETTINGS, SOURCES, TAKEN

END_S = 0.2
"""How long one that has closed its connection may take to end."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Datagrams:
    """A bound socket for datagrams, and what is spoken there."""

    socket: socket.socket
    scheme: Scheme
    dialect: Dialect


class Child:
    """A worker that was started. `owes`: a share; the first, which is empty, shows that it has `begun` to receive.

    One that `waits` receives only after it has been asked for the second.
    """

    def __init__(self, sources: Sequence[Datagrams], max_series: int, waits: bool = False) -> None:
        """Start it. Raises OSError."""
        self.connection, theirs = socket.socketpair()
        counted = os.memfd_create("holdfast-taken")
        os.ftruncate(counted, mmap.PAGESIZE)
        self._taken = mmap.mmap(counted, mmap.PAGESIZE)
        described = [(each.socket.fileno(), each.scheme, each.dialect) for each in sources]
        settings = inherit.in_memory({"max_series": max_series, "sources": described, "waits": waits})
        handed = {
            SETTINGS: [settings],
            SOURCES: [descriptor for descriptor, _, _ in described],
            COLLECTOR: [theirs.fileno()],
            TAKEN: [counted],
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "collector.workers.worker"],
                # The same modules as here, however they were found.
                env={**os.environ, **inherit.hand_on(handed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=inherit.descriptors(handed),
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            self.connection.close()
            raise
        finally:
            theirs.close()
            os.close(counted)
            os.close(settings)
        self.connection.setblocking(False)
        self._parcels = Parcels()
        self._given = 0  # lines
        self.begun, self.owes = False, True

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, last: bool) -> None:
        """Ask for its share; after the last it ends."""
        self.owes = True
        try:
            self.connection.send(LAST if last else MORE)
        except OSError:
            pass  # it has ended, as `hear` will tell

    def hear(self) -> list[Share] | None:
        """The shares that are there; None if there will be no more: it has ended, or is about to."""
        try:
            received = self.connection.recv(_READ_BYTES)
        except OSError:
            received = b""
        if not received:
            return None
        shares = list(self._parcels.take(received))
        for each in shares:
            self.begun, self.owes, self._given = True, False, each.taken
        return shares

    def end(self, within_s: float = END_S) -> tuple[int, int]:
        """Its exit code (minus the signal that killed it), and the lines that went with it. Kills it after a while."""
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.connection.close()
        return code, int(COUNT.unpack_from(self._taken)[0]) - self._given
