"""One process's share of reception, a turn at a time: wait, drain, fold.

    sockets -> Receiver.wait -> drain -> Tally.fold -> Aggregate

Promises: a turn is bounded, whatever the input does, and waits for nothing but input; what it took is in `aggregate`
when it returns. Waiting is an argument.
"""

import gc
import sys
from collections.abc import Callable, Sequence

from collector.aggregate import Aggregate, Closed
from collector.carried import Held, Stream
from collector.precedence import Precedence
from collector.receiver import Receiver
from collector.rules import Reason
from collector.selfmetrics import Circumstances
from collector.statsd import Dialect
from collector.tally import Tally

TURN_DATAGRAMS = 1_024
"""Drained from one socket, up to receiver.DRAIN_BYTES of them, before the others and the clock get their turn: a few
milliseconds, and not much over 0.1 s where every line is a new name."""
GATHER_S = 0.020
"""Waited after a turn that took something, so that datagrams gather: a wake-up costs 50 to 150 us, most of it because
the processor's caches are cold by then (measured), and at 50,000 lines per second that is most of what a line costs."""
FILL_BYTES_PER_S = 400_000_000
"""Less is waited where receive buffers are small: never longer than a million one-line datagrams per second
(listeners.DATAGRAM_BYTES each, as buffers are counted) would take to fill the smallest."""
SWITCH_S = 0.001
"""For sys.setswitchinterval: how long another thread may go on when there is something to receive."""
LAST_S = 0.3
"""For so long a stopping collector still takes what is in its sockets: a flood cannot keep it from stopping. Full
buffers of 8 MiB hold 20,000 one-line datagrams or 200,000 lines in large ones, which takes no longer."""


class Reception:
    """Fills `aggregate` from what `receiver` has."""

    def __init__(self, receiver: Receiver, aggregate: Aggregate, wait: Callable[[float], None]) -> None:
        self.receiver, self.aggregate = receiver, aggregate
        self._wait, self._precedence = wait, Precedence(receiver.mono)
        self._tallies: dict[Dialect, Tally] = {}
        self._gathering = False  # the last turn emptied all sockets, and there was something in them

    def turn(self, at_most_s: float) -> bool:
        """Take what is there, after waiting for it; False if nothing was."""
        if self._gathering:  # there will be something: do not wake up for the first of it
            self._wait(min(GATHER_S, at_most_s, self.receiver.least_room_bytes / FILL_BYTES_PER_S))
            at_most_s = 0.0
        ready = self.receiver.wait(0.0 if self._precedence.behind else at_most_s)
        emptied, behind = True, False
        for source in ready:
            taken, too_long = source.drain(TURN_DATAGRAMS)
            emptied = emptied and source.emptied
            if too_long:
                self.aggregate.reject(Reason.DATAGRAM_TOO_LONG, too_long)
            if source.datagrams:
                behind = behind or not source.emptied  # a stream waits, and loses nothing
                self.aggregate.datagrams += len(taken) + too_long
            if taken:
                self._tally(source.dialect).fold(taken, self.aggregate)
        self._gathering = bool(ready) and emptied
        self._precedence.claim(behind)  # which ends before a turn that may wait for long
        return bool(ready)

    def _tally(self, dialect: Dialect) -> Tally:
        if dialect not in self._tallies:
            self._tallies[dialect] = Tally(dialect)
        return self._tallies[dialect]

    def last_turns(self) -> None:
        """Take what is left in the sockets of a process that stops."""
        until_mono = self.receiver.mono() + LAST_S
        # A connection that one turn accepts has its bytes in the next.
        while self.receiver.mono() < until_mono and (self.turn(0) or self.turn(0)):
            pass
        self._precedence.claim(False)

    def give_way(self, at_most_s: float) -> float:
        """See collect.Intake."""
        return self._precedence.give_way(at_most_s)

    def go_on(self) -> None:
        """See collect.Intake: nothing was ended."""

    def close(self, end: float) -> Closed:
        """End the window at `end` (Unix seconds); what comes is in the next one."""
        self.receiver.close_idle()
        return self.aggregate.close(end)

    def carry(self) -> tuple[Held, Sequence[Stream]]:
        """See collect.Intake."""
        return self.aggregate.held(), self.receiver.carry()

    def end(self) -> None:
        """See collect.Intake: there is nothing but the receiver, which is closed by who made it."""

    def circumstances(self) -> Circumstances:
        """Connections that were refused since the last call."""
        return Circumstances(refused_connections=self.receiver.take_refused())


def undisturbed() -> None:
    """Let nothing of this process stop its reception for long: for the rest of its life."""
    # What a window is made of has no cycles, and a full collection stops reception for as long as there are
    # series: 0.1 s for 100,000. So one is made only if a million objects are left over, which a leak would be.
    gc.freeze()
    gc.set_threshold(1_000_000)
    sys.setswitchinterval(SWITCH_S)
