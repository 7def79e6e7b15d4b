"""A stand-in: a worker that receives datagrams while a collector becomes its successor, which takes a second.

    collector      stops receiving -- commits -- exec -- reads its configuration -- receives
    stand-in              receives ------------------------------------------- gives its share

Receive buffers alone hold that second only where they are large or little comes. The worker (worker.py) is started
while the collector still receives, and begins when that has stopped; so what one client sends is taken in its order.
Connections need no stand-in: their clients wait.

Promises: what the stand-in took is in the successor's first window, or in the open one of a collector that is
stopped or goes on instead. Where none can be started, or it ends, the buffers hold what they can: a reload does not
depend on it.
"""

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence

from collector.aggregate import Aggregate
from collector.workers.child import END_S, Child, Datagrams
from collector.workers.merge import Merge
from collector.workers.parcel import Parcels
from collector.workers.share import Share
from collector.workers.worker import LAST, MORE

SHARE_S = 5.0
"""The most that is waited for a share; that of 100,000 series is there in a third of a second."""
_READ_BYTES = 1 << 20


class StandIn:
    """One stand-in, if there is any. `sources` is asked when one is started; `into` is the window that gets its share.

    `inherited`: the connection to one that the collector before this one started, and its process.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[Datagrams]],
        max_series: int,
        into: Aggregate,
        inherited: tuple[int, int] | None = None,
    ) -> None:
        self._sources, self._max_series, self._merge = sources, max_series, Merge(into)
        self._child: Child | None = None
        self._connection = socket.socket(fileno=inherited[0]) if inherited else None
        self._pid = inherited[1] if inherited else 0

    def start(self) -> None:
        """Start one. Must be called on the thread that lives as long as the process: with it ends what it started."""
        sources = self._sources()
        if sources and self._connection is None:
            try:
                self._child = Child(sources, self._max_series, waits=True)
            except OSError:  # no memory, or too many processes
                return
            self._connection, self._pid = self._child.connection, self._child.pid

    def ready(self) -> bool:
        """Whether nothing needs to be waited for any more."""
        if self._child is None or self._child.begun:
            return True
        if not select.select([self._child.connection], [], [], 0)[0]:
            return False
        return self._child.hear() is None or self._child.begun

    def begin(self) -> tuple[int, int] | None:
        """Let it receive, from now on. Returns what a successor has to inherit."""
        if self._connection is None:
            return None
        try:
            self._connection.send(MORE)
        except OSError:
            pass  # it has ended; so will the successor find
        return self._connection.fileno(), self._pid

    def end(self) -> bool:
        """Take what it has taken, if there is one, and end it. False if that is lost."""
        if self._connection is None:
            return True
        shares = _last(self._connection)
        self._merge.take(shares or ())
        code = self._child.end(END_S)[0] if self._child is not None else _ended(self._pid)
        self._connection.close()
        self._child = self._connection = None
        return code == 0 and shares is not None


def _ended(pid: int) -> int | None:
    """The exit code of a process that this one has started, in whichever of its lives; None if it has not.

    One that goes on is killed.
    """
    try:
        begun = time.monotonic()
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() - begun > END_S:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _last(connection: socket.socket) -> list[Share] | None:
    """All shares up to the last; None if they cannot be read, as they may be those of another release."""
    parcels = Parcels()
    shares: list[Share] = []
    connection.settimeout(SHARE_S)
    try:
        connection.send(LAST)
        while received := connection.recv(_READ_BYTES):
            shares += parcels.take(received)
    except OSError:
        pass  # it has ended, or hangs
    except (ValueError, LookupError, TypeError, struct.error):
        return None
    return shares
