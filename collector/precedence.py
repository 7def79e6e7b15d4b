"""Who goes first where there is not enough for both: the receive loop, before the work on windows that are over.

The interpreter runs one thread at a time, and shares itself out evenly: while the committer works, a receive loop that
needs more than half of it falls behind, and the sockets fill. So the committer gives way between small pieces of its
work while datagrams are left in the sockets, and works while the receive loop lets them gather.

Promises: neither side calls into the other or takes a lock of it; to give way costs a fraction of a microsecond while
reception keeps up, and never more than the caller is ready to wait.
"""

import threading
import time


class Precedence:
    """Of one receive loop over any threads that ask."""

    def __init__(self) -> None:
        self._clear = threading.Event()
        self._clear.set()
        self._behind = False

    def claim(self, behind: bool) -> None:
        """The receive loop's side, once a turn: whether it left something in a socket."""
        if behind != self._behind:
            self._behind = behind
            if behind:
                self._clear.clear()
            else:
                self._clear.set()

    def give_way(self, at_most_s: float) -> float:
        """Wait until the sockets are empty, or for `at_most_s`. Returns for how long (s)."""
        if not self._behind or at_most_s <= 0:
            return 0.0
        began_mono = time.monotonic()
        self._clear.wait(at_most_s)
        return time.monotonic() - began_mono
