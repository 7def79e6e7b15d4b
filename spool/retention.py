"""What the spool gives up, and why. Pure: it decides and never deletes; see evict.py.

    oldest                                                       newest
    [ acked acked dead acked held unsent unsent acked unsent | unsent ]
      1     2     5    3     6    7      8      4     9        never

The figures are the order in which batches go when room is needed: first what every destination has
acknowledged, which is no loss; then what is dead or expired; then the oldest unsent or held. The newest
window never goes.

Ages. The clock of the host may be set a day ahead or back, and a window's labels follow it. So an age is
the smaller of two measures, neither of which asks what time it is now: how much later the newest window
ended, and how many windows were begun since, times their usual length. A jump deceives only the first, a
new `interval_s` only the second, and only one way: too old. A batch labelled later than the newest window
(the clock was ahead then, and is right now) goes by the second alone. While nothing is collected nothing
ages: a host that was switched off for a month still sends what it had. What an operator made unsent again is
unsent since then, however old its data are: it would go before the shipper had its turn.

Disk reserve. When the disk has less free than the reserve, acknowledged and dead batches go until the
shortage is made up. Unsent ones go only from a spool that takes more than ALLOWANCE_BYTES, or where the disk
is at its very end (LEAST_RESERVE_BYTES), the last MiB never, and only as far as the next window needs their
room: the spool stops growing, but does not hand its data over to whoever fills the disk, and a host that never
had so much free as the reserve still keeps what an outage leaves unsent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from statistics import median
from typing import Protocol

from spool.batch import State

FILLED = 15 / 16
"""Part of max_bytes that is used at most, so that the next window does not reach beyond it."""

ROW_BYTES = 200
"""What a batch takes beside its payload, roughly: hash, key, numbers, index."""

NEXT_WINDOW_BYTES = 1_048_576
"""Room that the next window is given on a full disk, unless the newest one needed more than half of it."""


ALLOWANCE_BYTES = 32 * 1_048_576
"""What the folder may always take, below the reserve too: days of windows of the usual size."""

LEAST_RESERVE_BYTES = 8 * 1_048_576
"""A reserve that holds whatever is configured: SQLite's log grows to 4 MiB before it is moved into the file, and
moving it takes as much again; the window with which it becomes that long comes on top. On a disk without that room
nothing could be deleted any more."""


class Standing(IntEnum):
    """What a batch's states at all destinations come to, in the order in which batches go."""

    ACKNOWLEDGED = 0
    DEAD = 1
    UNSENT = 2


class Reason(StrEnum):
    """Why a batch goes. Of a dead one the word is in the reason; no destination waits for it."""

    AGE_SENT = "age_sent"
    AGE_DEAD = "age_dead"
    AGE_UNSENT = "age_unsent"
    SIZE = "size"
    SIZE_DEAD = "size_dead"
    DISK_RESERVE = "disk_reserve"
    DISK_RESERVE_DEAD = "disk_reserve_dead"


@dataclass(frozen=True, slots=True)
class Held:
    """A batch in the spool. `unsent_at` are the destinations that have not settled it.

    `again_at`: when an operator last made it unsent again (Unix seconds), None if that is of no account.
    """

    id: int
    window_start: float
    window_end: float
    window_seq: int
    points: int
    payload_bytes: int
    standing: Standing
    unsent_at: tuple[str, ...] = ()
    again_at: float | None = None


class Aged(Protocol):
    """What an age is judged by: a batch's window, by its number and by its label."""

    @property
    def window_seq(self) -> int: ...
    @property
    def window_end(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Newest:
    """The window that ages are measured from: its number, its end, the usual length of windows, its bytes."""

    seq: int
    end: float
    interval_s: float
    payload_bytes: int


class Limits(Protocol):
    """What is asked of SpoolConfig here: ages in seconds, sizes in bytes."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_age_unsent_s(self) -> int: ...
    @property
    def max_age_sent_s(self) -> int: ...
    @property
    def max_age_dead_s(self) -> int: ...
    @property
    def disk_reserve_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Space:
    """`used_bytes` by the folder, without `reusable_bytes` of free pages in spool.db; `free_bytes` on the disk."""

    used_bytes: int
    reusable_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Eviction:
    """A batch that goes, and why."""

    held: Held
    reason: str

    @property
    def is_loss(self) -> bool:
        """Whether a destination will never get it."""
        return self.held.standing is not Standing.ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of `losses`: a run of batches with neighbouring ids, one reason, the same destinations."""

    reason: str
    first_batch: int
    last_batch: int
    first_window: int
    last_window: int
    window_start: float
    window_end: float
    batches: int
    points: int
    unsent_at: tuple[str, ...]


def standing(states: Mapping[str, State]) -> tuple[Standing, tuple[str, ...]]:
    """What a batch's state at each configured destination comes to, and which of them have not settled it.

    Without any destination nothing is ever acknowledged: it is unsent, and waits for one to be configured.
    """
    waiting = tuple(name for name, state in states.items() if state in (State.UNSENT, State.HELD))
    if waiting or not states:
        return Standing.UNSENT, waiting
    acknowledged = all(state is State.ACKNOWLEDGED for state in states.values())
    return (Standing.ACKNOWLEDGED if acknowledged else Standing.DEAD), ()


def usual_length_s(lengths_s: Sequence[float]) -> float:
    """The usual length of a window: the median, which partial windows and a suspended host do not move."""
    return median(lengths_s) if lengths_s else 0.0


def age_s(batch: Aged, newest: Newest) -> float:
    """How old a batch is; the docstring of the module says how, and why so."""
    counted_s = max(0, newest.seq - batch.window_seq) * newest.interval_s
    labelled_s = newest.end - batch.window_end
    return counted_s if labelled_s < 0 else min(counted_s, labelled_s)


def may_age(batch: Held, newest: Newest, limits: Limits) -> bool:
    """Whether this batch, or an older one, can have reached any age limit."""
    shortest_s = min(limits.max_age_unsent_s, limits.max_age_sent_s, limits.max_age_dead_s)
    return (newest.seq - batch.window_seq) * newest.interval_s > shortest_s


def next_window_bytes(newest: Newest) -> int:
    """Room to keep for the window that comes, however full the disk is."""
    return max(NEXT_WINDOW_BYTES, 2 * newest.payload_bytes)


def _least_reserve_bytes(newest: Newest) -> int:
    return LEAST_RESERVE_BYTES + newest.payload_bytes


def shortages(newest: Newest, limits: Limits, space: Space) -> tuple[float, float]:
    """Bytes too many for max_bytes, and bytes too few for the disk reserve; not above 0 where all is well."""
    too_many = space.used_bytes - limits.max_bytes * FILLED
    reserve = max(limits.disk_reserve_bytes, _least_reserve_bytes(newest))
    return too_many, reserve - space.free_bytes - space.reusable_bytes


def plan(
    held: Sequence[Held], newest: Newest, limits: Limits, space: Space, most: int, most_bytes: int
) -> list[Eviction]:
    """Which of `held` go now, in the order in which they go; no more once `most` or `most_bytes` are reached."""
    order = sorted((each for each in held if each.window_seq != newest.seq), key=lambda each: (each.standing, each.id))
    aged = {each.id: reason for each in order if (reason := _by_age(each, newest, limits))}
    total_bytes = sum(_size_bytes(each) for each in order)
    making_room = sum(_size_bytes(each) for each in order if each.id in aged)
    chosen: list[Eviction] = []
    freed = 0
    for each in order:
        reason = aged.get(each.id) or _for_room(each, making_room, total_bytes - making_room, newest, limits, space)
        if reason is None:
            continue
        if len(chosen) >= most or freed >= most_bytes:
            break
        chosen.append(Eviction(each, reason))
        freed += _size_bytes(each)
        if each.id not in aged:
            making_room += _size_bytes(each)
    return chosen


def losses(evictions: Sequence[Eviction]) -> list[Loss]:
    """The rows of `losses` that a group of evictions needs; none for acknowledged batches."""
    return [
        Loss(
            reason=run[0].reason,
            first_batch=run[0].held.id,
            last_batch=run[-1].held.id,
            first_window=min(each.held.window_seq for each in run),
            last_window=max(each.held.window_seq for each in run),
            window_start=min(each.held.window_start for each in run),
            window_end=max(each.held.window_end for each in run),
            batches=len(run),
            points=sum(each.held.points for each in run),
            unsent_at=run[0].held.unsent_at,
        )
        for run in _runs(sorted((each for each in evictions if each.is_loss), key=lambda each: each.held.id))
    ]


def _runs(evictions: Sequence[Eviction]) -> Iterator[list[Eviction]]:
    run: list[Eviction] = []
    for each in evictions:
        if run and (each.held.id, each.reason, each.held.unsent_at) != (
            run[-1].held.id + 1,
            run[-1].reason,
            run[-1].held.unsent_at,
        ):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _by_age(batch: Held, newest: Newest, limits: Limits) -> Reason | None:
    limit_s, reason = {
        Standing.ACKNOWLEDGED: (limits.max_age_sent_s, Reason.AGE_SENT),
        Standing.DEAD: (limits.max_age_dead_s, Reason.AGE_DEAD),
        Standing.UNSENT: (limits.max_age_unsent_s, Reason.AGE_UNSENT),
    }[batch.standing]
    waited_s = age_s(batch, newest)
    if batch.again_at is not None:
        waited_s = min(waited_s, newest.end - batch.again_at)
    return reason if waited_s > limit_s else None


def _for_room(
    batch: Held, making_room: int, staying: int, newest: Newest, limits: Limits, space: Space
) -> Reason | None:
    """Why `batch` must go although `making_room` bytes go already and `staying` are left, or None."""
    too_many, too_few = shortages(newest, limits, space)
    dead = batch.standing is Standing.DEAD
    if making_room < too_many:
        return Reason.SIZE_DEAD if dead else Reason.SIZE
    if making_room >= too_few or (batch.standing is Standing.UNSENT and _may_stay(making_room, staying, newest, space)):
        return None
    return Reason.DISK_RESERVE_DEAD if dead else Reason.DISK_RESERVE


def _may_stay(making_room: int, staying: int, newest: Newest, space: Space) -> bool:
    """Whether the spool may keep its unsent batches although the disk is short."""
    enough = space.reusable_bytes + making_room >= next_window_bytes(newest)
    if enough or staying <= NEXT_WINDOW_BYTES:  # the last MiB would not make the difference to a full disk
        return True
    return space.free_bytes >= _least_reserve_bytes(newest) and space.used_bytes - making_room <= ALLOWANCE_BYTES


def _size_bytes(batch: Held) -> int:
    return batch.payload_bytes + ROW_BYTES
