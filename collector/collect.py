"""The receive loop: wait, drain, fold, and at a window's end hand it over.

    sockets -> Receiver.wait -> drain -> Tally.fold -> Aggregate ..close.. -> Committer.hand_over

One thread does all of it and waits for nothing but input: closing a window swaps dictionaries, and
statistics, encoding and committing happen on the committer's thread.

Promises: every line that was received before `stop` took effect is in a window that was handed over; windows
end on time whatever the input does, because a turn is bounded. The clocks and waiting are arguments.
"""

import logging
from collections.abc import Callable

from collector import window
from collector.aggregate import Aggregate
from collector.committer import Committer, ErrandDone, Finished, Kept, Lost, NoRoom, Outcome
from collector.config import CollectorConfig
from collector.receiver import Receiver
from collector.selfmetrics import Circumstances
from collector.statsd import Reason, Signs
from collector.tally import Tally
from spool.batch import instant
from spool.evict import Evicted
from spool.logfmt import Sparingly, fields
from spool.salvage import Replaced

TURN_DATAGRAMS = 1_024
"""Drained from one socket before the others and the clock get their turn: a few milliseconds."""
GATHER_S = 0.020
"""Waited after a turn that took something, so that datagrams gather: a wake-up costs 50 to 150 us, most of it because
the processor's caches are cold by then (measured), and at 50,000 lines per second that is most of what a line costs."""
FILL_BYTES_PER_S = 400_000_000
"""Less is waited where receive buffers are small: never longer than a million one-line datagrams per second
(384 bytes each, as the buffer is counted) would take to fill the smallest."""
LAST_TURNS = 64
"""What a stopping collector still takes from its sockets, so that a flood cannot keep it from stopping."""


class Collector:
    """The hub. `run` returns after `stop`; `stop` may be called from a signal handler."""

    def __init__(
        self,
        config: CollectorConfig,
        receiver: Receiver,
        committer: Committer,
        *,
        wall: Callable[[], float],
        mono: Callable[[], float],
        wait: Callable[[float], None],
    ) -> None:
        self._config, self._receiver, self._committer = config, receiver, committer
        self._wall, self._mono, self._wait = wall, mono, wait
        self._aggregate = Aggregate(config.max_series, config.gauge_expiry_s)
        self._tallies: dict[Signs, Tally] = {"delta": Tally("delta"), "value": Tally("value")}
        self._stopping = False
        self._gathering = False  # the last turn emptied all sockets, and there was something in them

    def stop(self) -> None:
        """Ask `run` to hand over the partial window and return. Only sets a flag: a signal handler may."""
        self._stopping = True

    def run(self) -> None:
        """Receive until `stop`. Afterwards the last window is handed over, not necessarily committed."""
        span = window.first(self._config.interval_s, self._wall(), self._mono())
        while not self._stopping:
            self._turn(span.wait_s(self._mono()))
            if span.wait_s(self._mono()) <= 0:
                bounds, span = window.close(span, self._wall(), self._mono())
                self._hand_over(bounds)
                self._receiver.close_idle()
        for _ in range(LAST_TURNS):
            # A connection that one turn accepts has its bytes in the next.
            if not self._turn(0) and not self._turn(0):
                break
        self._hand_over(window.stop(span, self._wall(), self._mono()))

    def _turn(self, at_most_s: float) -> bool:
        """Take what is there, after waiting for it; False if nothing was."""
        if self._gathering:  # there will be something: do not wake up for the first of it
            self._wait(min(GATHER_S, at_most_s, self._receiver.smallest_buffer_bytes / FILL_BYTES_PER_S))
            at_most_s = 0.0
        ready = self._receiver.wait(at_most_s)
        behind = False
        for source in ready:
            taken, too_long = source.drain(TURN_DATAGRAMS)
            behind = behind or len(taken) + too_long >= TURN_DATAGRAMS
            if too_long:
                self._aggregate.reject(Reason.DATAGRAM_TOO_LONG, too_long)
            if source.datagrams:
                self._aggregate.datagrams += len(taken) + too_long
            if taken:
                self._tallies[source.signs].fold(taken, self._aggregate)
        self._gathering = bool(ready) and not behind
        return bool(ready)

    def _hand_over(self, bounds: window.Bounds) -> None:
        kernel_drops, refused = self._receiver.take_counts()
        around = Circumstances(
            kernel_drops=kernel_drops,
            refused_connections=refused,
            commit_ms=self._committer.commit_ms,
            windows_waiting=self._committer.waiting,
            windows_shed=self._committer.take_shed(),
        )
        self._committer.hand_over(Finished(bounds, self._aggregate.close(bounds.end), around))


def log_replaced(log: logging.Logger, replaced: Replaced) -> None:
    """A damaged spool.db is an error that nobody needs to mend and everybody should hear of."""
    log.error("spool_replaced", extra=fields(set_aside=replaced.aside and str(replaced.aside), reason=replaced.why))


def log_outcome(log: logging.Logger, sparingly: Sparingly, outcome: Outcome) -> None:
    """One line per window, and what went wrong with those that have none."""
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
            partial=done.partial or None,
            commit_ms=outcome.commit_ms,
        ),
    )
