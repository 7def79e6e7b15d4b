"""Facts about a spool and its deliveries -> one word of health with reasons.

Health tells of *delivery*, not of being alive. It is judged from what the files say about commits, acknowledgements,
losses and beats, so a server that hangs turns it red although every process is fine. The limits are below; each is
chosen so that a fault that lasts shows within 60 s, and that one slow attempt or one late window does not.

Pure: no clock, no file. Not promised: a forecast; DEGRADED says what is, not when the disk will be full.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from spool.human import count, counted, size, span

GRACE_S = 60.0
"""So long after the collector's start (or two intervals) the first commit and acknowledgement may be missing."""

RECENT_S = 300.0
"""Losses, kernel drops and dead batches speak for so long after they happened."""

LATE_S, VERY_LATE_S = 300.0, 1800.0
"""The oldest unsent batch may wait so long until DEGRADED, until FAIL; check-ins may fail so long until DEGRADED."""

SILENT_S, VERY_SILENT_S = 30.0, 60.0
"""A commit or a beat may be so old until DEGRADED, until FAIL. Processes beat every 5 s."""

ENDED = "ended"
"""The phase of a process that runs no more (heartbeat.ended)."""

DRAIN_S = 30.0
"""How fast a backlog goes is said of so long: short enough to be true soon after a server has come back."""

FAILING_S, NO_ACK_S = 30.0, 45.0
"""An unsent batch this old and an acknowledgement this old, while attempts fail: the destination is failing."""

STUCK_S = 60.0
"""The same without a failed attempt: the shipper does not even try, or its first attempt hangs."""


class State(StrEnum):
    """Health in one word, worst last."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    DEGRADED = "DEGRADED"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Health:
    """The state and a sentence for each thing that is wrong; none when OK."""

    state: State
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beat:
    """A process's last heartbeat: at (Unix seconds), what it was doing, its process id.

    `at_most_s` is how long that may take before the next beat; 0 for the usual pause. `started_at` is when the process
    took its lock.
    """

    at: float
    phase: str
    pid: int
    at_most_s: float = 0.0
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What came in. Sums are over the last hour; `recent_dropped` over RECENT_S; rates over the last minutes.

    `rejected_by` counts lines by the rule they broke; `dropped` are datagrams that the kernel threw away.
    `windows_waiting` are those that were in memory at the collector's last beat, because the spool did not take them.
    """

    interval_s: int = 10
    started_at: float | None = None
    last_commit_at: float | None = None
    series: int = 0
    lines_per_s: float = 0.0
    batches_per_s: float = 0.0
    windows: int = 0
    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_by: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    recent_dropped: int = 0
    overflowed: int = 0
    windows_waiting: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """How delivery to one destination stands. Instants are Unix seconds, None where there was none yet.

    `waiting_since` is when the oldest unsent batch began to wait: the end of its window, or the instant at which
    an operator made it unsent again. `first_unsent_window` and `last_unsent_window` are numbers of windows; in between
    some may have been delivered. `recent_dead` became dead or expired within RECENT_S and were not dropped by an
    operator; `recent_expired` of them expired. `problem` says why the delivery file could not be read.
    `backlog_minutes` are the unsent batches of the last hour, one number per minute, oldest first; `drained_per_s` are
    batches acknowledged per second over the last DRAIN_S. `checkin_failing_since` and `checkin_error` tell of the
    check-ins that its server did not take since the last one that it took.
    """

    name: str
    configured: bool = True
    problem: str | None = None
    unsent_batches: int = 0
    unsent_points: int = 0
    unsent_bytes: int = 0
    oldest_unsent_end: float | None = None
    first_unsent_window: int | None = None
    last_unsent_window: int | None = None
    waiting_since: float | None = None
    drained_per_s: float = 0.0
    acknowledged: int = 0
    dead: int = 0
    expired: int = 0
    held: int = 0
    recent_dead: int = 0
    recent_expired: int = 0
    failures: int = 0
    next_try_at: float | None = None
    parked_since: float | None = None
    parked_reason: str | None = None
    last_attempt_at: float | None = None
    last_ack_at: float | None = None
    last_error: str | None = None
    clock_offset_s: float | None = None
    backlog_minutes: Sequence[int] = ()
    checkin_failing_since: float | None = None
    checkin_error: str | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """Recorded losses: within RECENT_S, and within the last 7 days."""

    recent_batches: int = 0
    recent_points: int = 0
    recent_rows: int = 0
    week_batches: int = 0
    week_points: int = 0
    week_rows: int = 0
    last_at: float | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes: free for the spool's owner, the reserve, the spool's folder, and the most it may take.

    `full_in_s`: about so long the spool could take in what it does now if nothing was delivered from now on, before
    unsent batches had to go; None where nothing is known to come in.
    """

    free_bytes: int = 0
    reserve_bytes: int = 0
    used_bytes: int = 0
    limit_bytes: int = 0
    full_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known at the instant `at` (Unix seconds)."""

    at: float
    directory: str
    spool_id: str
    intake: Intake = field(default_factory=Intake)
    beats: Mapping[str, Beat] = field(default_factory=dict)
    destinations: Sequence[Destination] = ()
    losses: Losses = field(default_factory=Losses)
    disk: Disk = field(default_factory=Disk)


Finding = tuple[State, str]


def judge(facts: Facts) -> Health:
    """The health that `facts` amount to: the worst finding's state, worst reasons first."""
    findings = [*_collection(facts), *_checkin(facts), *_losses(facts), *_disk(facts.disk)]
    for destination in facts.destinations:
        if destination.configured:
            findings += ((state, f"{destination.name}: {text}") for state, text in _delivery(destination, facts))
    if not any(destination.configured for destination in facts.destinations):
        findings.append((State.DEGRADED, "no destination is configured: nothing is delivered; see [destination.NAME]"))
    worst_first = sorted(findings, key=lambda each: list(State).index(each[0]), reverse=True)
    if not worst_first:
        return Health(State.OK)
    return Health(worst_first[0][0], tuple(text for _, text in worst_first))


def as_json(facts: Facts, health: Health) -> dict[str, Any]:
    """Facts and health as one JSON object: `holdfast status --json`, and what a check-in tells the server.

    Keys: `v` (1), `state`, `reasons`, then the fields of Facts by their names. Instants are Unix seconds.
    """
    return {"v": 1, "state": str(health.state), "reasons": list(health.reasons), **asdict(facts)}


def _since_s(at: float, facts: Facts) -> float:
    """How long ago `at` was. One that is ahead of us is from before the clock was set back: as old as it is far."""
    return abs(facts.at - at)


def _starting(facts: Facts) -> bool:
    started = facts.intake.started_at
    return started is not None and _since_s(started, facts) <= max(GRACE_S, 2 * facts.intake.interval_s)


def _from_before(beat: Beat | None, facts: Facts) -> bool:
    """Whether everything has just been started, and this is what lay there from before that."""
    return _starting(facts) and (beat is None or beat.at < (facts.intake.started_at or 0.0))


def _collection(facts: Facts) -> Iterator[Finding]:
    intake = facts.intake
    yield from _silence(facts, "collector")
    first = intake.started_at is not None and (intake.last_commit_at or 0.0) < intake.started_at
    if first and _starting(facts):
        yield State.UNKNOWN, "the collector has just started and has committed nothing yet"
    elif intake.last_commit_at is None:
        yield State.FAIL, "nothing has ever been committed: look at the collector's log"
    else:
        age = _since_s(intake.last_commit_at, facts)
        if age > max(VERY_SILENT_S, 3 * intake.interval_s):
            yield State.FAIL, f"last commit was {span(age)} ago: look at the collector's log"
        elif age > max(SILENT_S, 2 * intake.interval_s):
            yield State.DEGRADED, f"last commit was {span(age)} ago"
    if intake.recent_dropped:
        lost = count(intake.recent_dropped)
        yield (
            State.DEGRADED,
            f"the kernel dropped {lost} datagrams within {span(RECENT_S)}: the receive buffer was full",
        )


def _checkin(facts: Facts) -> Iterator[Finding]:
    beat = facts.beats.get("checkin")
    if beat is None or _from_before(beat, facts):
        return
    age = _since_s(beat.at, facts)
    if age > VERY_SILENT_S:
        seen = f"ended {span(age)} ago" if beat.phase == ENDED else f"has been silent for {span(age)}"
        yield State.DEGRADED, f"checkin {seen}: the server is not told"


def _silence(facts: Facts, who: str) -> Iterator[Finding]:
    beat = facts.beats.get(who)
    if _from_before(beat, facts):
        return
    if beat is None:
        yield State.FAIL, f"{who} has left no heartbeat: is it running?"
        return
    age = _since_s(beat.at, facts)
    overdue = age - beat.at_most_s
    if overdue <= SILENT_S:
        return
    if beat.phase == ENDED:
        seen, then = f"ended {span(age)} ago", "nobody has started it again"
    else:
        seen, then = f"has been silent for {span(age)} (was in phase {beat.phase})", "is it running?"
    if overdue > VERY_SILENT_S:
        yield State.FAIL, f"{who} {seen}: {then}"
    else:
        yield State.DEGRADED, f"{who} {seen}"


def _losses(facts: Facts) -> Iterator[Finding]:
    if facts.losses.recent_rows:
        batches = counted(facts.losses.recent_batches, "batch", "batches")
        points = counted(facts.losses.recent_points, "point", "points")
        yield State.FAIL, f"lost {points} ({batches}) within {span(RECENT_S)}: see `holdfast losses`"


def _disk(disk: Disk) -> Iterator[Finding]:
    if disk.free_bytes < 2 * disk.reserve_bytes:
        yield (
            State.DEGRADED,
            f"disk has {size(disk.free_bytes)} free, {size(disk.reserve_bytes)} are the reserve: make room",
        )


def _delivery(destination: Destination, facts: Facts) -> Iterator[Finding]:
    if destination.problem:
        yield State.FAIL, destination.problem
    yield from _silence(facts, f"shipper-{destination.name}")
    if destination.parked_since is not None:
        parked = span(_since_s(destination.parked_since, facts))
        yield State.DEGRADED, f"parked for {parked}: {destination.parked_reason or 'no reason kept'}"
    dead = destination.recent_dead - destination.recent_expired
    for ended, verb, word in ((dead, "became dead", "dead"), (destination.recent_expired, "expired", "expired")):
        if ended:
            told = f"{counted(ended, 'batch', 'batches')} {verb} within {span(RECENT_S)}"
            yield State.DEGRADED, f"{told}: see `holdfast list --state {word}`"
    if destination.checkin_failing_since is not None:
        failing = _since_s(destination.checkin_failing_since, facts)
        if failing > LATE_S:
            yield (
                State.DEGRADED,
                f"check-ins have failed for {span(failing)}, the server is not told: {destination.checkin_error}",
            )
    yield from _lateness(destination, facts)


def _lateness(destination: Destination, facts: Facts) -> Iterator[Finding]:
    waiting = facts.at - destination.waiting_since if destination.waiting_since is not None else 0.0
    if waiting > VERY_LATE_S:
        yield State.FAIL, f"oldest unsent batch waits for {span(waiting)} (limit {span(VERY_LATE_S)})"
    elif waiting > LATE_S:
        yield State.DEGRADED, f"oldest unsent batch waits for {span(waiting)} (limit {span(LATE_S)})"
    error = f": {destination.last_error}" if destination.last_error else ""
    if destination.last_ack_at is None:
        if _starting(facts):
            yield State.UNKNOWN, f"nothing acknowledged yet{error}"
        elif destination.unsent_batches:
            yield State.DEGRADED, f"has never acknowledged a batch{error}"
        return
    silent = _since_s(destination.last_ack_at, facts)
    if destination.unsent_batches and destination.failures and waiting > FAILING_S and silent > NO_ACK_S:
        times = (
            f"{destination.failures} attempts in a row have failed"
            if destination.failures > 1
            else "the last attempt failed"
        )
        yield State.DEGRADED, f"last acknowledgement was {span(silent)} ago, {times}{error}"
    elif destination.unsent_batches and waiting > STUCK_S and silent > STUCK_S:
        yield State.DEGRADED, f"last acknowledgement was {span(silent)} ago"
