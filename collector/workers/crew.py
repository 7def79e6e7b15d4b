"""Several receiving processes: started here, and what they take is made one window.

    UDP, unix datagrams --- worker 1 --- share --\
    UDP                 --- worker 2 --- share ---+-- merge -- Closed
    TCP, unix streams ------- collector -- share --/

All datagrams of one UDP client come to one worker (see listeners.py) and a unix datagram socket has one worker, so that
what one client sends is taken in its order. Connections stay with the collector: they wait if it is busy, lose nothing,
and end with no worker. It keeps all sockets open, so what comes while a worker is dead waits in its buffers.

Promises: a window waits for the next share no longer than LATE_S (the last one: LAST_S more, in which workers take what
waits for them), and not again for a worker that owes it one: that comes into a later window, whole. A worker that ends
is replaced within RESTART_S, and costs what it took since its last share: those lines are counted. After the last turns
nothing is left in the sockets but what LAST_S was too short for. No worker outlives the collector.

Does not promise that others serve the clients of a worker that is stopped: what they send waits in its sockets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from collector.aggregate import Aggregate, Closed
from collector.carried import Held, Stream
from collector.config import Listen
from collector.listeners import DATAGRAMS, Bound
from collector.receiver import Receiver
from collector.reception import LAST_S, Reception
from collector.selfmetrics import Circumstances
from collector.statsd import Dialect
from collector.workers.child import END_S, Child, Datagrams
from collector.workers.merge import Merge
from collector.workers.share import Share, Sharing

LATE_S = 0.8
"""How long a window waits for the next share: one of 100,000 series is there in half of it. At a stop LAST_S longer."""
RESTART_S = 0.5
"""A worker is not started again sooner after its last start."""


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has begun to receive."""

    pid: int


@dataclass(frozen=True, slots=True)
class Late:
    """A worker owes its share: it is stopped, or has no processor."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker has ended unasked, with this exit code or minus this signal, and with it the lines that it had."""

    pid: int
    code: int
    lines: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A worker could not be started; it is tried again after RESTART_S."""

    error: OSError


Told = Started | Late | Ended | NotStarted


def shared_out(bound: Sequence[Bound], dialect_of: Callable[[Listen], Dialect], workers: int) -> list[list[Datagrams]]:
    """What each worker receives from."""
    shared: list[list[Datagrams]] = [[] for _ in range(workers)]
    alone = 0  # sockets that are the only ones of their listeners
    for each in bound:
        if each.asked.scheme in DATAGRAMS:
            for number, one in enumerate(each.sockets, start=alone if len(each.sockets) == 1 else 0):
                shared[number % workers].append(Datagrams(one, each.asked.scheme, dialect_of(each.asked)))
            alone += len(each.sockets) == 1
    return shared


class Workers:
    """An Intake. Belongs to the thread that makes it: the kernel kills the workers when that one ends.

    `receiver` has what this process receives from, `sources` what each worker does; `into` is the window that all fill
    together. `tell` gets what happens, on this thread.
    """

    def __init__(
        self,
        receiver: Receiver,
        sources: Sequence[Sequence[Datagrams]],
        into: Aggregate,
        max_series: int,
        *,
        mono: Callable[[], float],
        wait: Callable[[float], None],
        tell: Callable[[Told], None],
    ) -> None:
        self._receiver, self._sources, self._max_series = receiver, sources, max_series
        self._mono, self._tell = mono, tell
        self._own = Sharing(max_series)
        self._reception = Reception(receiver, self._own, wait)
        self._merge = Merge(into)
        self._shares: list[Share] = []
        self._running: dict[int, Child] = {}
        self._due_mono = dict.fromkeys(range(len(sources)), mono())  # when a worker may be started, by its number
        self._stopping = False
        self._restarts = self._lost_lines = 0
        self._start_due()

    def turn(self, at_most_s: float) -> bool:
        """See collect.Intake."""
        self._start_due()
        return self._turn(min([at_most_s, *(due_mono - self._mono() for _, due_mono in self._missing())]))

    def _turn(self, at_most_s: float) -> bool:
        """Take what came here, and hear what workers have to say."""
        came = self._reception.turn(max(0.0, at_most_s))
        self._own.turned(self._mono())
        return came

    def last_turns(self) -> None:
        """See collect.Intake. The workers take theirs when they are asked for their last share."""
        self._stopping = True

    def go_on(self) -> None:
        """See collect.Intake. The next turn starts workers."""
        self._stopping = False
        for each in (source for sources in self._sources for source in sources):
            self._receiver.forget(each.socket)

    def close(self, end: float) -> Closed:
        """See collect.Intake. Waits for shares, each time LATE_S at most; after `last_turns`, workers end with this."""
        awaited = {number: each for number, each in self._running.items() if self._stopping or not each.owes}
        for each in awaited.values():
            each.ask(self._stopping)
        late_s = LATE_S + LAST_S if self._stopping else LATE_S
        until = self._mono() + late_s
        while awaited and (left_s := until - self._mono()) > 0:
            self._turn(left_s)
            late = {number: each for number, each in awaited.items() if self._owes(number, each)}
            if len(late) < len(awaited):
                until = self._mono() + late_s
            awaited = late
        for each in awaited.values():
            self._tell(Late(each.pid))
        if self._stopping:
            self._take_what_is_left()
        self._receiver.close_idle()
        shares, self._shares = [*self._shares, self._own.give()], []
        self._merge.take(shares)
        return self._merge.into.close(end)

    def _owes(self, number: int, child: Child) -> bool:
        return self._running.get(number) is child and (child.owes or self._stopping)

    def _take_what_is_left(self) -> None:
        """End workers that do not end themselves, and take what nobody has taken from their sockets."""
        for number, child in list(self._running.items()):
            self._ended(number, child, within_s=0)
        for each in (source for sources in self._sources for source in sources):
            self._receiver.take(each.socket, each.scheme, each.dialect)
        self._reception.last_turns()
        self._own.turned(self._mono())

    def give_way(self, at_most_s: float) -> float:
        """See collect.Intake; workers are processes of their own."""
        return self._reception.give_way(at_most_s)

    def circumstances(self) -> Circumstances:
        """Refused connections, restarts, and lines lost with workers, each since the last call."""
        restarts, self._restarts = self._restarts, 0
        lost, self._lost_lines = self._lost_lines, 0
        return Circumstances(
            refused_connections=self._receiver.take_refused(), worker_restarts=restarts, worker_lost_lines=lost
        )

    def carry(self) -> tuple[Held, Sequence[Stream]]:
        """See collect.Intake."""
        return self._merge.into.held(), self._receiver.carry()

    def end(self) -> None:
        """Kill what still runs."""
        self._stopping = True
        for number, child in list(self._running.items()):
            self._ended(number, child, within_s=0)

    # --- one worker ---

    def _missing(self) -> list[tuple[int, float]]:
        return [(number, due_mono) for number, due_mono in self._due_mono.items() if number not in self._running]

    def _start_due(self) -> None:
        for number, due_mono in self._missing():
            if due_mono <= self._mono():
                self._due_mono[number] = self._mono() + RESTART_S
                try:
                    child = Child(self._sources[number], self._max_series)
                except OSError as error:  # no memory, or too many processes
                    self._tell(NotStarted(error))
                    continue
                self._running[number] = child
                self._receiver.watch(child.connection, partial(self._hear, number, child))

    def _hear(self, number: int, child: Child) -> None:
        begun, shares = child.begun, child.hear()
        if shares is None:
            self._ended(number, child)
            return
        self._shares += shares
        if child.begun and not begun:
            self._tell(Started(child.pid))

    def _ended(self, number: int, child: Child, within_s: float = END_S) -> None:
        """A worker has ended, or has to now."""
        del self._running[number]
        self._receiver.forget(child.connection)
        code, lines = child.end(within_s)
        if code == 0 and self._stopping:
            return
        self._lost_lines += lines
        self._restarts += 1
        self._tell(Ended(child.pid, code, lines))
