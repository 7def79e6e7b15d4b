"""What a delivery file says, as values: states, attempts, the destination's condition. Pure.

Stored by delivery.py; made by the shippers, which decide without touching a file.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from spool.batch import State as State  # noqa: PLC0414 - what the values here are about


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch's new state, with the reason in words where it is not simply acknowledged."""

    state: State
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One upload attempt as it is kept: `ids` is like "8841-8850,8852"; a phase not reached has None milliseconds."""

    started_at: float
    lane: str
    first_batch: int
    last_batch: int
    batches: int
    ids: str
    points: int
    body_bytes: int
    outcome: str
    phase: str
    status: int | None
    error: str | None
    dns_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    write_ms: float | None
    wait_ms: float | None
    read_ms: float | None
    close_ms: float | None
    total_ms: float
    overshoot_ms: float
    sent_bytes: int
    received_bytes: int
    address: str | None


@dataclass(frozen=True, slots=True)
class Condition:
    """How the destination as a whole is doing. Instants are Unix seconds, None where there was none yet."""

    failures: int = 0
    next_try_at: float | None = None
    parked_since: float | None = None
    parked_reason: str | None = None
    last_attempt_at: float | None = None
    last_ack_at: float | None = None
    last_error: str | None = None
    clock_offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a server takes what comes again or late: its shipper knows, and a replay has to say.

    `again` and `old`: what it makes of a batch that it gets twice, and of points that are no longer new, in words.
    `takes_s`: the age in seconds up to which it takes a point in any case, None where no limit is known.
    """

    again: str
    old: str
    takes_s: float | None = None


def ranges(ids: Iterable[int]) -> str:
    """Ids as text: [8841, 8842, 8843, 8850] is "8841-8843,8850"."""
    runs: list[list[int]] = []
    for each in sorted(ids):
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def within(batch_id: int, text: str) -> bool:
    """Whether `batch_id` is among the ids written by `ranges`; what the disk made of them is left out."""
    pairs = (part.partition("-") for part in text.split(","))
    runs = ((first, last or first) for first, _, last in pairs)
    return any(int(first) <= batch_id <= int(last) for first, last in runs if first.isdecimal() and last.isdecimal())
