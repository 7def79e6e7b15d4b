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
from dataclasses import asdict, dataclass
from pathlib import Path

from shipper import backoff
from shipper.account import attempt_row, clock_offset_s
from shipper.ahead import Ahead
from shipper.attempting import Sender, attempted, prepared
from shipper.budget import Phase
from shipper.config import DestinationConfig, ShipperConfig
from shipper.exchange import Attempt
from shipper.lanes import LIVE_WINDOWS, Lane, Limits, choose, together
from shipper.outcome import Outcome, Verdict, by_batch, unreadable
from shipper.pace import Pace
from shipper.parts import Parts
from shipper.protocols import by_name
from shipper.rewritten import as_new
from shipper.trouble import Trouble
from spool.aside import set_aside_if_damaged
from spool.batch import Batch
from spool.delivery import (
    BUSY_S,
    AttemptRow,
    Condition,
    Delivery,
    Settled,
    State,
    ranges,
    rotten,
)
from spool.errors import HoldfastError, PayloadError, SpoolDamaged
from spool.heartbeat import beat
from spool.logfmt import Sparingly, fields
from spool.reader import PAGE, Header, SpoolReader
from spool.retention import Newest, age_s, usual_length_s
from spool.salvage import suspect

POLL_S = 1.0
"""How long to wait when there is nothing to do. No notification is trusted: a lost one would be a stall."""

PAGE_LEAST = 16
"""Unsent batches that are looked at: for this request and the next one, and some more."""

BEAT_S, SENDING_BEAT_S = 4.0, 1.0

TOO_SOON = 429
"""Too Many Requests (RFC 6585): the server takes less than is sent, whatever is sent."""

HISTORY_S = 30 * 86_400.0
"""How long attempts and settled states are kept."""

log = logging.getLogger("holdfast.shipper")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a Drain is given instead of reaching for it: clocks, chance, the network, the last resort.

    `keep_evidence` is told of each attempt and of the batches that it carried; it knows what is worth keeping.
    """

    sender: Sender
    armed: Callable[[float], AbstractContextManager[object]]
    keep_evidence: Callable[[Attempt, str], object]
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
        self._directory, self._name = directory, name
        self._destination, self._settings, self._given = destination, settings, given
        self._protocol = by_name(destination.protocol)
        limits = Limits(payload_bytes=settings.request_bytes, raw_bytes=self._protocol.TRAITS.raw_bytes)
        self._pace = Pace(limits, given.draw)
        self._parts, self._trouble, self._ahead = Parts(), Trouble(), Ahead()
        self._sparingly = Sparingly(log, 60.0, given.clock)
        self._spool_id: str | None = None  # whose batches parts, trouble and what is unrecorded are about
        self._spool: SpoolReader | None = None
        self._delivery: Delivery | None = None
        self._unrecorded: tuple[AttemptRow, Mapping[int, Settled], Condition] | None = None
        self._previous: Lane | None = None
        self._once_more = False  # the lane of the last request has its turn once more
        self._live_through: int | None = None  # the newest batch that a live request has carried
        self._settled_through: int | None = None  # what the search before this attempt found
        self._page = PAGE
        self._backlog_at = self._beat_at = float("-inf")
        self._beat_phase = ""
        self._minute, self._acknowledged, self._failed = int(given.now() // 60), 0, 0

    def turn(self) -> float:
        """Do the next thing there is to do. Returns the seconds to wait before the next turn, 0 to POLL_S."""
        self._beat("waiting")
        try:
            spool, delivery = self._files()
            if self._unrecorded is not None:  # the disk was full when this attempt ended
                delivery.record(*self._unrecorded)
                self._pace.take_up(self._unrecorded[2], self._given.now(), self._given.clock())
                self._unrecorded = None
            self._keep_history(spool, delivery)
            wait_s = self._pace.try_at - self._given.clock()
            if wait_s > 0:
                return min(wait_s, POLL_S)
            return self._send_something(spool, delivery)
        except HoldfastError as error:
            self._sparingly.warning("spool_unavailable", destination=self._name, error=str(error))
            self.close()
            if isinstance(error, SpoolDamaged):
                self._see_which_is_damaged(str(error))
            return POLL_S

    def _see_which_is_damaged(self, why: str) -> None:
        """Set our own file aside if it is the one; else tell the collector, who looks for itself."""
        try:
            aside = set_aside_if_damaged(self._directory, self._name, self._given.now())
        except (HoldfastError, OSError) as error:  # later
            self._sparingly.warning("spool_unavailable", destination=self._name, error=str(error))
            return
        if aside is None:
            suspect(self._directory, f"shipper-{self._name}", self._given.now(), why)
        else:
            log.error("delivery_file_set_aside", extra=fields(destination=self._name, file=str(aside), error=why))

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
        self._ahead.take(())
        self._live_through = None

    def _beat(self, phase: str, **facts: str | float) -> None:
        # Idling needs no file a second; of attempts that follow each other closely one a second says so, because each
        # file costs as much as a small request. What is stuck is stuck for longer than that.
        clock = self._given.clock()
        least_s = BEAT_S if phase == self._beat_phase == "waiting" else SENDING_BEAT_S
        if phase in (self._beat_phase, "waiting") and clock - self._beat_at < least_s:
            return
        self._beat_phase, self._beat_at = phase, clock
        beat(self._directory, f"shipper-{self._name}", self._given.now(), phase, **facts)

    def _files(self) -> tuple[SpoolReader, Delivery]:
        if any(each is not None and each.replaced() for each in (self._spool, self._delivery)):
            self.close()
        if self._spool is None or self._delivery is None:
            with SpoolReader(self._directory) as spool:
                spool_id = spool.spool_id
            if self._spool_id not in (None, spool_id):  # its ids mean other batches
                self._parts, self._trouble, self._unrecorded = Parts(), Trouble(), None
            self._spool_id = spool_id
            self._delivery = Delivery.open(self._directory, self._name, spool_id)
            self._delivery.set_terms(self._protocol.TRAITS.terms)
            self._spool = SpoolReader(self._directory, self._name)
            self._pace.take_up(self._delivery.condition(), self._given.now(), self._given.clock())
        return self._spool, self._delivery

    # --- pick ------------------------------------------------------------------------------------------

    def _send_something(self, spool: SpoolReader, delivery: Delivery) -> float:
        newest = spool.headers_before(None, limit=1)
        clock = self._given.clock()
        aside = set() if self._pace.parked else self._trouble.aside(clock)  # any may probe
        live, oldest = self._live(spool, newest), spool.unsent_oldest(self._page + len(aside))
        if delivery.rewind(spool.put_back()):
            return 0.0
        self._advance(delivery, newest, oldest)
        if self._expire(delivery, newest, oldest):
            return 0.0
        limits, alone = self._pace.limits(clock), self._trouble.alone() | self._parts.batches()
        backlog = [each for each in oldest if each.id not in aside]
        live = [] if self._protocol.TRAITS.oldest_first else [each for each in live if each.id not in aside]
        chosen = choose(live, backlog, self._previous, limits, alone)
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
        else:
            self._live_through = headers[-1].id
        try:
            batches = self._verified(spool, delivery, headers)
            if len(batches) == 1:
                batches = [self._fitting(batches[0])]
            if batches:
                sent = {each.id for each in headers}
                following = together([each for each in backlog if each.id not in sent], limits, alone)
                with self._ahead.reading(spool, [each.id for each in following]):
                    self._attempt(delivery, lane, batches)
        except PayloadError:  # who had to look into one (a part, another protocol) could not read it
            ended = unreadable(spool.batches([each.id for each in headers]))
            delivery.settle(ended, self._given.now())
            log.error("payload_unreadable", extra=fields(destination=self._name, batches=ranges(ended)))
        self._page = min(PAGE, PAGE_LEAST + 2 * len(headers))
        return 0.0

    def _live(self, spool: SpoolReader, newest: Sequence[Header]) -> Sequence[Header]:
        """The unsent batches of the newest window, and of those since the last live request."""
        if self._live_through is None or not newest:
            return spool.unsent_newest()
        since, seq = self._live_through, newest[0].window_seq
        return [each for each in spool.unsent_newest(LIVE_WINDOWS) if each.id > since or each.window_seq == seq]

    def _advance(self, delivery: Delivery, newest: Sequence[Header], oldest: Sequence[Header]) -> None:
        # `newest` was read before `oldest`: a batch committed in between cannot be passed over.
        settled_through = oldest[0].id - 1 if oldest else (newest[0].id if newest else 0)
        self._settled_through = settled_through if settled_through > delivery.settled_through() else None
        if self._settled_through is not None and not oldest:  # else it is kept with the attempt that follows
            delivery.settle_through(self._settled_through)

    def _expire(self, delivery: Delivery, newest: Sequence[Header], oldest: Sequence[Header]) -> bool:
        """Settle what is too old for the destination. A clock that jumped makes nothing old: see retention.py."""
        limit_s = self._destination.max_age_s
        if limit_s is None or not newest or not oldest:
            return False
        usual_s = usual_length_s([each.window_end - each.window_start for each in (*oldest, *newest)])
        latest = Newest(newest[0].window_seq, newest[0].window_end, usual_s, 0)
        now = self._given.now()
        reason = f"older than max_age_s = {limit_s} of destination {self._name}"
        expired = {
            each.id: Settled(State.EXPIRED, reason)
            for each in oldest
            if now - each.window_end > limit_s and age_s(each, latest) > limit_s
        }
        if expired:
            self._page = PAGE  # where some are too old there may be thousands
            delivery.settle(expired, now)
            log.warning("expired", extra=fields(destination=self._name, batches=len(expired), ids=ranges(expired)))
        return bool(expired)

    def _verified(self, spool: SpoolReader, delivery: Delivery, headers: Sequence[Header]) -> list[Batch]:
        """The batches of `headers` that are still held, each as it goes now; rotten ones are settled and left out."""
        ids = [each.id for each in headers]
        found = self._ahead.take(ids)
        for batch in spool.batches([each for each in ids if each not in found]):
            try:
                batch.verified()
                found[batch.id] = batch
            except PayloadError as error:
                delivery.settle({batch.id: rotten(batch)}, self._given.now())
                log.error("payload_rotten", extra=fields(destination=self._name, batch=batch.id, error=str(error)))
        renewals = delivery.renewals(min(ids), max(ids))
        return [as_new(found[each], renewals.get(each, 0)) for each in ids if each in found]

    def _fitting(self, batch: Batch) -> Batch:
        """As much of `batch` as the server may take: all of it, or the part of it that is next."""
        part = self._parts.next(batch)
        while part.points > 1 and self._pace.surely_too_large(len(part.payload), self._given.clock()):
            self._parts.halve(part)
            part = self._parts.next(batch)
        return part

    # --- attempt ---------------------------------------------------------------------------------------

    def _attempt(self, delivery: Delivery, lane: Lane, batches: Sequence[Batch]) -> None:
        request, in_the_way = prepared(self._protocol, self._destination, batches)
        deadline_s, started_at = self._settings.deadline_s, self._given.now()
        self._beat("sending", ids=ranges(each.id for each in batches), at_most_s=deadline_s + BUSY_S)
        # The last resort spans all that can hang here, not only the network: the log's pipe, the file's lock.
        with self._given.armed(deadline_s + BUSY_S):
            attempt, verdict = attempted(self._given.sender, self._protocol, batches, request, in_the_way, deadline_s)
            self._end_turn(lane, attempt)
            settled = self._consequences(verdict, batches, attempt)
            row = attempt_row(attempt, verdict, lane, batches, len(request.body), started_at)
            self._log_attempt(row, settled)
            self._unrecorded = (row, settled, self._pace.condition)
            delivery.record(*self._unrecorded, self._settled_through)
            self._unrecorded = None
            self._given.keep_evidence(attempt, row.ids)

    def _end_turn(self, lane: Lane, attempt: Attempt) -> None:
        # A server that takes one request a minute would else take the live one each time, and refuse the backlog's,
        # which comes at once after it, for ever. Once: what is too much for its burst must not hold up the live lane.
        self._once_more = attempt.response is not None and attempt.response.status == TOO_SOON and not self._once_more
        self._previous = self._previous if self._once_more else lane

    def _consequences(self, verdict: Verdict, batches: Sequence[Batch], attempt: Attempt) -> dict[int, Settled]:
        """What the verdict does to the batches; pace and condition are set on the way."""
        now, clock, response = self._given.now(), self._given.clock(), attempt.response
        if self._pace.parked and verdict.outcome in (Outcome.SPLIT, Outcome.DEAD):
            verdict = Verdict(Outcome.PARK, verdict.reason)  # who refuses us proves nothing about a batch
        judged = self._parts.judge(batches[0], verdict) if len(batches) == 1 else by_batch(verdict, batches)
        outcome = judged.outcome
        dead = self._trouble.refused(judged.refused)
        self._trouble.acknowledged(judged.taken)
        if self._trouble.refuses_everything():
            outcome = Outcome.PARK
        if outcome is Outcome.RETRY and response is not None and len(batches) == 1:
            each = batches[0].id
            wait_s = backoff.wait_s(self._trouble.tries(each) + 1, 1.0)
            died = self._trouble.failed(each, clock, wait_s, perhaps_by_itself=response.status != TOO_SOON)
            dead |= {each: died} if died else {}
        settled = {**judged.settled, **{each: Settled(State.DEAD, why) for each, why in dead.items()}}
        self._acknowledged += sum(each.state is State.ACKNOWLEDGED for each in settled.values())
        self._pace.attempted(None if response is None else clock_offset_s(response, now), now)
        if judged.taken:
            self._resume(now)
        elif outcome is Outcome.PARK:
            self._park(judged.reason, now)
        elif outcome is Outcome.RETRY:
            self._retry(judged.reason, batches, attempt, now)
        elif not settled:
            self._failed += 1
            self._pace.refused(judged.reason)
            if outcome is Outcome.SPLIT:
                self._pace.too_large(sum(len(each.payload) for each in batches), len(batches), clock)
            elif len(batches) > 1:
                self._pace.halve(len(batches))
        return settled

    def _resume(self, now: float) -> None:
        if self._pace.condition.parked_since is not None:
            parked_s = now - self._pace.condition.parked_since
            log.info("resumed", extra=fields(destination=self._name, parked_s=parked_s))
        self._pace.acknowledged(now)

    def _park(self, reason: str, now: float) -> None:
        if not self._pace.parked:
            log.warning("parked", extra=fields(destination=self._name, reason=reason))
        self._failed += 1
        self._pace.park(reason, now, self._given.clock())

    def _retry(self, reason: str, batches: Sequence[Batch], attempt: Attempt, now: float) -> None:
        # An error may be about one of them, and a deadline that struck on the way may leave room for fewer. That they
        # came too soon means that they are too many only where it is said again.
        on_the_way = attempt.deadline_exceeded and attempt.phase in (Phase.WRITE, Phase.WAIT, Phase.READ)
        if len(batches) > 1 and (attempt.response is not None or on_the_way) and not self._once_more:
            self._pace.halve(len(batches))
        said = attempt.response.headers.get("retry-after") if attempt.response is not None else None
        self._failed += 1
        theirs = now + (self._pace.condition.clock_offset_s or 0.0)  # a date in Retry-After is by the server's clock
        asked_s, took_s = backoff.retry_after_s(said, theirs), attempt.total_ms / 1000
        self._pace.back_off(reason, asked_s, took_s, now, self._given.clock())

    # --- record ----------------------------------------------------------------------------------------

    def _log_attempt(self, row: AttemptRow, settled: Mapping[int, Settled]) -> None:
        shown = {
            name: value
            for name, value in asdict(row).items()
            if name not in ("started_at", "first_batch", "last_batch")
        }
        dead = ranges(each for each, state in settled.items() if state.state is State.DEAD)
        level = logging.INFO if row.outcome == Outcome.ACKNOWLEDGED and row.error is None else logging.WARNING
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
            delivery.forget(self._given.now() - HISTORY_S, spool.first_told())
