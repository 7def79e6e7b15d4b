"""The shipper's loop: pick, attempt, record. One destination, one attempt at a time.

    spool.db ---- pick (lanes.py) ----> attempt (transport.py) ----> judge (protocols/) ----> delivery-NAME.db
      read only    newest window first,    one hard deadline         one verdict               one transaction:
                   then backlog                                                                states, attempt,
                                                                                              condition

A crash at any point leaves the batch unsent or acknowledged, nothing in between; a batch that the server has and we do
not know of is sent again under the same key with the same bytes. What waiting can cure is waited for in here: no
spool yet, disk full, server down. There is nothing to shut down: the process may be ended at any instruction.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol

from shipper import backoff
from shipper.config import DestinationConfig, ShipperConfig, token_of
from shipper.exchange import Attempt, Request, Response
from shipper.lanes import Lane, Limits, choose
from shipper.outcome import Outcome, Verdict
from shipper.protocols import by_name
from shipper.trouble import Trouble
from spool.batch import Batch
from spool.delivery import BUSY_S, AttemptRow, Condition, Delivery, Settled, State, ranges, rotten
from spool.errors import ConfigError, HoldfastError, PayloadError, UnknownBatch
from spool.heartbeat import beat
from spool.logfmt import Sparingly, fields
from spool.reader import Header, SpoolReader

POLL_S = 1.0
"""How long to wait when there is nothing to do. No notification is trusted: a lost one would be a stall."""

BEAT_S = 4.0

HISTORY_S = 30 * 86_400.0
"""How long attempts and settled states are kept."""

log = logging.getLogger("holdfast.shipper")


class Sender(Protocol):
    """What the loop needs of a transport."""

    def attempt(self, request: Request, deadline_s: float) -> Attempt: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a Drain is given instead of reaching for it: clocks, chance, the network, the last resort."""

    sender: Sender
    armed: Callable[[float], AbstractContextManager[object]]
    now: Callable[[], float]
    clock: Callable[[], float]
    draw: Callable[[], float]


class Drain:
    """One destination's deliveries. `turn` does the next thing; whoever calls it does the waiting."""

    def __init__(
        self,
        directory: Path,
        name: str,
        destination: DestinationConfig,
        settings: ShipperConfig,
        given: Surroundings,
    ) -> None:
        self._directory, self._name, self._destination, self._settings = (
            directory,
            name,
            destination,
            settings,
        )
        self._given = given
        self._protocol = by_name(destination.protocol)
        self._limits = Limits(payload_bytes=settings.request_bytes)
        self._batches = self._limits.batches
        self._trouble = Trouble()
        self._sparingly = Sparingly(log, 60.0, given.clock)
        self._spool: SpoolReader | None = None
        self._delivery: Delivery | None = None
        self._condition = Condition()
        self._unrecorded: tuple[AttemptRow, Mapping[int, Settled], Condition] | None = None
        self._previous: Lane | None = None
        self._try_at = self._backlog_at = self._beat_at = float("-inf")
        self._minute, self._acknowledged, self._failed = int(given.now() // 60), 0, 0

    def turn(self) -> float:
        """Do the next thing there is to do. Returns the seconds to wait before the next turn, 0 to POLL_S."""
        self._beat("waiting")
        try:
            spool, delivery = self._files()
            if self._unrecorded is not None:  # the disk was full when this attempt ended
                delivery.record(*self._unrecorded)
                self._unrecorded = None
            self._keep_history(spool, delivery)
            wait_s = self._try_at - self._given.clock()
            if wait_s > 0:
                return min(wait_s, POLL_S)
            return self._send_something(spool, delivery)
        except HoldfastError as error:
            if isinstance(error, ConfigError):
                raise
            self._sparingly.warning("spool_unavailable", destination=self._name, error=str(error))
            self.close()
            return POLL_S

    def pending(self) -> int:
        """How many batches are unsent. Raises SpoolMissing and its kin."""
        return self._files()[0].backlog().batches

    def close(self) -> None:
        """Close files and connections; the next turn opens them again."""
        self._given.sender.close()
        for each in (self._spool, self._delivery):
            if each is not None:
                each.close()
        self._spool = self._delivery = None

    def _beat(self, phase: str, **facts: str) -> None:
        # Every attempt says so first, so that a stuck one is seen for what it is; idling needs no file a second.
        if phase == "sending" or self._given.clock() >= self._beat_at:
            self._beat_at = float("-inf") if phase == "sending" else self._given.clock() + BEAT_S
            beat(self._directory, f"shipper-{self._name}", self._given.now(), phase, **facts)

    def _files(self) -> tuple[SpoolReader, Delivery]:
        if self._spool is not None and self._spool.replaced():
            self.close()
        if self._spool is None or self._delivery is None:
            with SpoolReader(self._directory) as spool:
                spool_id = spool.spool_id
            self._delivery = Delivery.open(self._directory, self._name, spool_id)
            self._spool = SpoolReader(self._directory, self._name)
            self._condition = self._delivery.condition()
            if self._condition.next_try_at is not None:
                left_s = self._condition.next_try_at - self._given.now()
                self._try_at = self._given.clock() + min(max(left_s, 0.0), backoff.RETRY_AFTER_MOST_S)
        return self._spool, self._delivery

    # --- pick ------------------------------------------------------------------------------------------

    def _send_something(self, spool: SpoolReader, delivery: Delivery) -> float:
        newest = spool.headers_before(None, limit=1)
        live, oldest = spool.unsent_newest(), spool.unsent_oldest()
        self._advance(delivery, newest, oldest)
        if self._expire(delivery, oldest):
            return 0.0
        aside = self._trouble.aside(self._given.clock())
        parked = self._condition.parked_since is not None
        chosen = choose(
            [each for each in live if each.id not in aside],
            [each for each in oldest if each.id not in aside],
            self._previous,
            replace(self._limits, batches=1 if parked else self._batches),
        )
        if chosen is None:
            self._given.sender.close()  # a connection that idles between windows can only go stale
            return POLL_S
        lane, headers = chosen
        if lane is Lane.BACKLOG:
            wait_s = self._backlog_at - self._given.clock()
            if wait_s > 0:
                self._previous = lane
                return min(wait_s, POLL_S)
            self._backlog_at = self._given.clock() + 1.0 / self._settings.backlog_requests_per_s
        self._previous = lane
        batches = self._verified(spool, delivery, headers)
        if batches:
            self._attempt(delivery, lane, batches)
        return 0.0

    def _advance(self, delivery: Delivery, newest: Sequence[Header], oldest: Sequence[Header]) -> None:
        # `newest` was read before `oldest`: a batch committed in between cannot be passed over.
        settled_through = oldest[0].id - 1 if oldest else (newest[0].id if newest else 0)
        behind = settled_through - delivery.settled_through()
        if behind > 100 or (behind > 0 and not oldest):
            delivery.settle_through(settled_through)

    def _expire(self, delivery: Delivery, oldest: Sequence[Header]) -> bool:
        limit_s = self._destination.max_age_s
        if limit_s is None:
            return False
        now = self._given.now()
        reason = f"older than max_age_s = {limit_s} of destination {self._name}"
        expired = {each.id: Settled(State.EXPIRED, reason) for each in oldest if now - each.window_end > limit_s}
        if expired:
            delivery.settle(expired, now)
            log.warning("expired", extra=fields(destination=self._name, batches=len(expired), ids=ranges(expired)))
        return bool(expired)

    def _verified(self, spool: SpoolReader, delivery: Delivery, headers: Sequence[Header]) -> list[Batch]:
        batches = []
        for header in headers:
            try:
                batch = spool.batch(header.id)
                batch.verified()
                batches.append(batch)
            except UnknownBatch:  # evicted since it was picked
                continue
            except PayloadError as error:
                delivery.settle({batch.id: rotten(batch)}, self._given.now())
                log.error("payload_rotten", extra=fields(destination=self._name, batch=batch.id, error=str(error)))
        return batches

    # --- attempt ---------------------------------------------------------------------------------------

    def _attempt(self, delivery: Delivery, lane: Lane, batches: Sequence[Batch]) -> None:
        request = self._protocol.encode(batches, self._destination.url, token_of(self._destination))
        deadline_s, started_at = self._settings.deadline_s, self._given.now()
        self._beat("sending", ids=ranges(each.id for each in batches))
        # The last resort spans all that can hang here, not only the network: the log's pipe, the file's lock.
        with self._given.armed(deadline_s + BUSY_S):
            attempt = self._given.sender.attempt(request, deadline_s)
            if attempt.response is None:
                verdict = Verdict(Outcome.RETRY, attempt.error or "no answer")
            else:
                verdict = self._protocol.judge(attempt.response, [each.key for each in batches])
            settled = self._consequences(verdict, batches, attempt.response)
            row = _row(attempt, verdict, lane, batches, len(request.body), started_at)
            self._log_attempt(row, settled)
            self._unrecorded = (row, settled, self._condition)
            delivery.record(*self._unrecorded)
            self._unrecorded = None

    def _consequences(
        self, verdict: Verdict, batches: Sequence[Batch], response: Response | None
    ) -> dict[int, Settled]:
        """What the verdict does to the batches; the condition, the pace and the waiting are set on the way."""
        now, clock = self._given.now(), self._given.clock()
        ids = {each.key: each.id for each in batches}
        acknowledged = [ids[key] for key in verdict.acknowledged]
        refused = {ids[key]: why for key, why in verdict.refused.items()}
        outcome = verdict.outcome
        if outcome in (Outcome.DEAD, Outcome.SPLIT) and len(batches) == 1:
            refused, outcome = {batches[0].id: verdict.reason}, Outcome.DEAD
        if self._trouble.refused(refused):
            outcome = Outcome.PARK
        dead = self._trouble.acknowledged(acknowledged, clock)
        settled = {each: Settled(State.ACKNOWLEDGED) for each in acknowledged}
        settled |= {each: Settled(State.DEAD, why) for each, why in dead.items()}
        self._acknowledged += len(acknowledged)
        self._condition = replace(self._condition, last_attempt_at=now)
        if response is not None:
            self._condition = replace(self._condition, clock_offset_s=_clock_offset_s(response, now))
        if acknowledged or outcome is Outcome.DEAD:
            self._batches = min(self._limits.batches, self._batches * 2)
        if acknowledged:
            self._resume(now)
        elif outcome is Outcome.PARK:
            self._park(verdict.reason, now)
        elif len(batches) > 1 and response is not None and outcome is not Outcome.ACKNOWLEDGED:
            self._batches = max(1, len(batches) // 2)  # to find the one that is too much, or the one that is bad
            if outcome is Outcome.RETRY:
                self._back_off(verdict.reason, response, now)
        elif outcome is Outcome.RETRY:
            if response is not None:
                each = batches[0].id
                wait_s = backoff.wait_s(self._trouble.failures(each) + 1, 1.0)
                self._trouble.failed(each, clock, wait_s)
            self._back_off(verdict.reason, response, now)
        return settled

    def _resume(self, now: float) -> None:
        if self._condition.parked_since is not None:
            log.info("resumed", extra=fields(destination=self._name, parked_s=now - self._condition.parked_since))
        self._try_at = float("-inf")
        self._condition = replace(
            self._condition,
            failures=0,
            next_try_at=None,
            parked_since=None,
            parked_reason=None,
            last_ack_at=now,
            last_error=None,
        )

    def _park(self, reason: str, now: float) -> None:
        if self._condition.parked_since is None:
            log.warning("parked", extra=fields(destination=self._name, reason=reason))
        probes = self._condition.failures + 1 if self._condition.parked_since is not None else 1
        self._condition = replace(
            self._condition,
            parked_since=self._condition.parked_since or now,
            parked_reason=reason,
            failures=probes,
        )
        self._wait(backoff.probe_wait_s(probes, self._given.draw()), reason, now)

    def _back_off(self, reason: str, response: Response | None, now: float) -> None:
        self._condition = replace(self._condition, failures=self._condition.failures + 1)
        asked_s = backoff.retry_after_s(response.headers.get("retry-after"), now) if response is not None else None
        if asked_s is not None:
            wait_s = backoff.asked_wait_s(asked_s, self._given.draw())
        else:
            wait_s = backoff.wait_s(self._condition.failures, self._given.draw())
        self._wait(wait_s, reason, now)

    def _wait(self, wait_s: float, reason: str, now: float) -> None:
        self._failed += 1
        self._try_at = self._given.clock() + wait_s
        self._condition = replace(self._condition, next_try_at=now + wait_s, last_error=reason)

    # --- record ----------------------------------------------------------------------------------------

    def _log_attempt(self, row: AttemptRow, settled: Mapping[int, Settled]) -> None:
        shown = {
            name: value
            for name, value in asdict(row).items()
            if name not in ("started_at", "first_batch", "last_batch")
        }
        dead = ranges(each for each, state in settled.items() if state.state is State.DEAD)
        level = logging.INFO if row.outcome == Outcome.ACKNOWLEDGED else logging.WARNING
        log.log(level, "attempt", extra=fields(destination=self._name, **shown, dead=dead or None))

    def _keep_history(self, spool: SpoolReader, delivery: Delivery) -> None:
        """Once a minute: the row that backlog plots are drawn from, and the end of rows that are too old."""
        minute = int(self._given.now() // 60)
        if minute == self._minute:
            return
        backlog = spool.backlog()
        delivery.note_minute(
            minute * 60,
            (backlog.batches, backlog.payload_bytes, backlog.oldest_end),
            self._acknowledged,
            self._failed,
        )
        self._minute, self._acknowledged, self._failed = minute, 0, 0
        if minute % 60 == 0:
            first = spool.headers_after(0, limit=1)
            delivery.forget(self._given.now() - HISTORY_S, first[0].id if first else 0)


def _row(
    attempt: Attempt,
    verdict: Verdict,
    lane: Lane,
    batches: Sequence[Batch],
    body_bytes: int,
    started_at: float,
) -> AttemptRow:
    ids = [each.id for each in batches]
    acknowledged = verdict.outcome is Outcome.ACKNOWLEDGED
    return AttemptRow(
        started_at=started_at,
        lane=str(lane),
        first_batch=min(ids),
        last_batch=max(ids),
        batches=len(ids),
        ids=ranges(ids),
        points=sum(each.points for each in batches),
        body_bytes=body_bytes,
        outcome=str(verdict.outcome),
        phase=str(attempt.phase),
        status=attempt.response.status if attempt.response is not None else None,
        error=None if acknowledged else verdict.reason,
        **{name: _rounded(value) for name, value in asdict(attempt.timings).items()},
        total_ms=round(attempt.total_ms, 3),
        overshoot_ms=round(attempt.overshoot_ms, 3),
        sent_bytes=attempt.sent_bytes,
        received_bytes=attempt.received_bytes,
        address=attempt.address,
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def _clock_offset_s(response: Response, now: float) -> float | None:
    """How far the server's clock is ahead of ours, to the second, by its Date header."""
    try:
        return round(parsedate_to_datetime(response.headers.get("date", "")).timestamp() - now, 0)
    except (ValueError, TypeError, OverflowError):
        return None
