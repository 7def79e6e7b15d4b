"""What SIGTERM and SIGINT do to a shipper: they end the process as by default, after something has been said.

A thread waits for them, because a handler would not do: Python runs it on the main thread, which a hung upload keeps in
a system call, and with several threads the kernel may give the signal to one that interrupts nothing.

Promises: the process ends by the signal, at once, whatever its other threads do; a signal that comes while it becomes
its successor (spool/again.py) is taken by one of the two. Not promised: an end while `say` waits for a disk that hangs.
"""

import os
import signal
import threading
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Made on the main thread before any other one is started: these inherit that the signals are not for them."""

    def __init__(self, say: Callable[[], None]) -> None:
        """`say` is called once, at the end, on another thread than this."""
        self._say = say
        self._decided = threading.Lock()  # who ends this program: a signal, or its successor
        for each in SIGNALS:  # Python's own for SIGINT raises KeyboardInterrupt
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._wait, name="ending", daemon=True).start()

    def leave_to_successor(self) -> None:
        """Take no signal any more: those that come from now on wait for who is executed in place of this program."""
        self._decided.acquire()

    def _wait(self) -> None:
        number = signal.sigwait(SIGNALS)
        if self._decided.acquire(blocking=False):
            self._say()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.kill(os.getpid(), number)
