"""Who goes first where there is not enough for both: the receive loop, before the work on windows that are over.

The interpreter runs one thread at a time, and shares itself out evenly: while the committer works, a receive loop that
needs more than half of it falls behind, and the sockets fill. So the committer gives way between small pieces of its
work while reception is behind, and works while the receive loop lets datagrams gather.

Promises: the receive loop waits for nobody here; to give way costs a fraction of a microsecond while reception keeps
up, and never more than the caller is ready to wait.
"""

import threading
from collections.abc import Callable


class Precedence:
    """Of one receive loop over any threads that ask."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._clear = threading.Event()
        self._clear.set()
        self.behind = False

    def claim(self, behind: bool) -> None:
        """The receive loop's side: whether it goes first from now on."""
        if behind != self.behind:
            self.behind = behind
            if behind:
                self._clear.clear()
            else:
                self._clear.set()

    def give_way(self, at_most_s: float) -> float:
        """The others': wait until it does not, or for `at_most_s`. Returns for how long (s)."""
        if not self.behind or at_most_s <= 0:
            return 0.0
        began_mono = self._mono()
        self._clear.wait(at_most_s)
        return self._mono() - began_mono
