"""The hub: take what comes, and at each window's end hand it over.

    Intake.turn ... Intake.close -> Committer.hand_over

The intake is this process's own reception or, with `workers`, that of others. It waits for nothing but input: closing a
window swaps dictionaries, and statistics, encoding and committing happen on the committer's thread.

Promises: every line that was received before `stop` took effect is in a window that was handed over; windows
end on time whatever the input does, because a turn is bounded. A reload ends with all of them in the spool, or not at
all. The clocks are arguments.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from collector import window
from collector.aggregate import Closed
from collector.carried import Carried, Held, Stream
from collector.committer import Committer, ErrandDone, Kept, Lost, NoRoom, Outcome, Rejected
from collector.finished import Finished
from collector.listeners import Listeners
from collector.selfmetrics import Circumstances, culprits
from collector.workers.crew import Ended, Late, Started, Told
from collector.workers.standin import StandIn
from spool.batch import instant
from spool.evict import Evicted
from spool.logfmt import Sparingly, fields
from spool.salvage import Replaced

PATIENCE_S = 10.0
"""The most that a reload waits until what there is has been committed and a stand-in is ready; and for its last window,
which a disk that refuses decides sooner."""
LOOK_S = 0.02
"""How often it looks."""

log = logging.getLogger("collector")


class Intake(Protocol):
    """Where windows come from: reception.Reception, or workers.Workers."""

    def turn(self, at_most_s: float) -> bool:
        """Take what is there, after waiting for it; False if nothing was."""

    def last_turns(self) -> None:
        """Take what is left, before the last `close`."""

    def go_on(self) -> None:
        """Receive again after that `close`, because nobody else could."""

    def end(self) -> None:
        """End what was started for it; the receiver is closed afterwards."""

    def carry(self) -> tuple[Held, Sequence[Stream]]:
        """After the last `close`: gauges that live on, and connections that somebody can go on with."""

    def close(self, end: float) -> Closed:
        """End the window at `end` (Unix seconds); what comes is in the next one."""

    def circumstances(self) -> Circumstances:
        """What it knows of the window that was closed last."""

    def give_way(self, at_most_s: float) -> float:
        """For other threads, between pieces of their work: wait while reception is behind (precedence.py)."""


class Collector:
    """The hub. `run` returns after `stop` or `reload`, which may be called from a signal handler or another thread.

    `ended`: where the last window of the collector before this one ended, wall clock and monotonic. `tell` gets each
    window when it is handed over; `wait` sleeps (s).
    """

    def __init__(
        self,
        interval_s: int,
        listeners: Listeners,
        intake: Intake,
        committer: Committer,
        *,
        wall: Callable[[], float],
        mono: Callable[[], float],
        wait: Callable[[float], None],
        stand_in: StandIn,
        ended: tuple[float, float] | None = None,
        tell: Callable[[float, Closed, Circumstances], None] = lambda *_: None,
    ) -> None:
        self._interval_s, self._listeners = interval_s, listeners
        self._intake, self._committer = intake, committer
        self._wall, self._mono, self._wait = wall, mono, wait
        self._ended, self._tell, self._stand_in = ended, tell, stand_in
        self._begun: tuple[int, int] | None = None  # the stand-in
        self._stopping = self._reloading = False

    def stop(self) -> None:
        """Ask `run` to hand over the partial window and return. Only sets a flag: a signal handler may."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called; after a `run` that is to reload: too late, so that whoever goes on has to stop."""
        return self._stopping

    def reload(self) -> None:
        """Ask `run` to do so and return True, unless it is stopped before."""
        self._reloading = True

    def run(self) -> bool:
        """Receive until `stop` or `reload`; whether it is to reload. The last window is handed over, and committed only
        before a reload: that is given up while windows wait for the spool, because they live in this process.
        """
        wall, mono = self._ended or (self._wall(), self._mono())
        span = self._receive(window.first(self._interval_s, wall, mono), lambda: self._reloading)
        while self._reloading and not self._stopping:
            self._stand_in.start()
            give_up_at = self._mono() + PATIENCE_S
            span = self._receive(span, lambda: self._ready() or self._mono() > give_up_at, LOOK_S)  # noqa: B023
            if self._stopping:
                break
            if not self._committer.waiting:
                ended = self._end(span)
                self._begun = self._stand_in.begin()
                if self._committed():
                    return True
                span = window.first(self._interval_s, *ended)
                self._intake.go_on()
            self._reloading = False
            self._relieve()
            if not self._stopping:
                why = "windows wait for the spool; try again when it takes them"
                log.error("reload_refused", extra=fields(reason=why))
            span = self._receive(span, lambda: self._reloading)
        self._relieve()
        self._end(span)
        return False

    def _ready(self) -> bool:
        """Whether a reload loses nothing: the spool has all that was handed over, and somebody can take this place."""
        return not self._committer.waiting and self._stand_in.ready()

    def _committed(self) -> bool:
        """Whether the last window before a reload is in the spool, and nothing is lost with this process."""
        give_up_at = self._mono() + PATIENCE_S
        while self._committer.waiting and not (self._committer.refused or self._stopping or self._mono() > give_up_at):
            self._wait(LOOK_S)
        return not self._committer.waiting

    def _relieve(self) -> None:
        """Have what the stand-in took, if it has begun, in this window."""
        begun, self._begun = self._begun, None
        if not self._stand_in.end() and begun:
            log.error("stand_in_lost", extra=fields(consequence="what it received while a reload was tried is lost"))

    def carried(self) -> Carried:
        """What a successor needs, after `run`."""
        if self._ended is None:
            raise RuntimeError("nothing has been collected yet")
        held, streams = self._intake.carry()
        return Carried(self._ended, held, streams, self._listeners.drops(), self._begun)

    def _receive(self, span: window.Span, until: Callable[[], bool], look_s: float = float("inf")) -> window.Span:
        """Receive until `until`, which is asked every `look_s`, or `stop`. Returns the window that is open then."""
        while not self._stopping and not until():
            self._intake.turn(min(look_s, span.wait_s(self._mono())))
            if span.wait_s(self._mono()) <= 0:
                bounds, span = window.close(span, self._wall(), self._mono())
                self._hand_over(bounds)
        return span

    def _end(self, span: window.Span) -> tuple[float, float]:
        """End reception and the last window, before it is due. Returns where, for whatever begins there: `_ended`."""
        self._intake.last_turns()
        mono = self._mono()
        bounds = window.stop(span, self._wall(), mono)
        self._hand_over(bounds)
        self._ended = (bounds.end, mono)
        return self._ended

    def _hand_over(self, bounds: window.Bounds) -> None:
        kernel_drops = self._listeners.take_drops()
        closed = self._intake.close(bounds.end)
        around = replace(
            self._intake.circumstances(),
            kernel_drops=kernel_drops,
            commit_ms=self._committer.commit_ms,
            windows_waiting=self._committer.waiting,
            windows_shed=self._committer.take_shed(),
        )
        finished = Finished(bounds, closed, around)
        self._tell(bounds.end, closed, around)
        self._committer.hand_over(finished)


def log_replaced(log: logging.Logger, replaced: Replaced) -> None:
    """A damaged spool.db is an error that nobody needs to mend and everybody should hear of."""
    log.error("spool_replaced", extra=fields(set_aside=replaced.aside and str(replaced.aside), reason=replaced.why))


def log_worker(log: logging.Logger, sparingly: Sparingly, told: Told) -> None:
    """What happens to workers, one line each."""
    if isinstance(told, Started):
        log.info("worker_started", extra=fields(pid=told.pid))
    elif isinstance(told, Ended):
        log.error("worker_ended", extra=fields(pid=told.pid, code=told.code, lost_lines=told.lines or None))
    elif isinstance(told, Late):
        sparingly.warning("worker_late", pid=told.pid)
    else:
        sparingly.warning("worker_not_started", error=str(told.error))


def log_outcome(log: logging.Logger, sparingly: Sparingly, outcome: Outcome) -> None:
    """One line per window, one per reason for which lines of it were rejected, and what went wrong otherwise."""
    if isinstance(outcome, Rejected):
        for reason, lines in sorted(outcome.lines.items(), key=lambda each: -each[1]):
            sparingly.warning("rejected", reason, reason=reason, lines=lines, example=outcome.examples.get(reason))
        return
    if isinstance(outcome, NoRoom):
        sparingly.warning("no_room", error=str(outcome.error))
        return
    if isinstance(outcome, Evicted):
        reasons = ",".join(f"{reason}:{batches}" for reason, batches in outcome.by_reason.items())
        log.log(
            logging.WARNING if outcome.lost_batches else logging.INFO,
            "evicted",
            extra=fields(
                batches=reasons,
                lost_batches=outcome.lost_batches or None,
                lost_points=outcome.lost_points or None,
                used_bytes=outcome.used_bytes,
            ),
        )
        return
    if isinstance(outcome, ErrandDone):
        errand, result = outcome.errand, outcome.done
        level = logging.ERROR if result.error else logging.INFO
        log.log(level, "errand", extra=fields(what=errand.what, who=errand.who, **result.so_far, error=result.error))
        return
    if isinstance(outcome, Kept):
        sparingly.warning(
            "window_kept", error=str(outcome.error), windows_waiting=outcome.waiting, again_s=outcome.again_s
        )
        return
    if isinstance(outcome, Lost):
        log.error("windows_lost", extra=fields(windows=outcome.windows, lines=outcome.lines, reason=outcome.reason))
        return
    done = outcome.window
    rejected = sum(done.rejected.values())
    log.info(
        "window_committed",
        extra=fields(
            seq=done.seq,
            end=instant(done.end),
            batches=len(outcome.batches),
            points=len(done.points),
            lines=done.lines,
            rejected=rejected or None,
            reasons=",".join(sorted(done.rejected)) or None,
            kernel_drops=done.dropped or None,
            overflowed=done.overflowed or None,
            overflowed_by=culprits(done.points) if done.overflowed else None,
            partial=done.partial or None,
            commit_ms=outcome.commit_ms,
        ),
    )
