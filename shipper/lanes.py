"""What to send next. Pure.

    unsent, oldest first   [ 101 102 103 104 105 ......... 940 ]
                             ---------------------         ---
                             backlog: oldest first,        live: the newest window,
                             put together                  first of all

After an outage the newest window goes first, because somebody is looking at a dashboard; then backlog and live take
turns, so neither waits for more than one request of the other, or two where the first one came too soon (429). What is
committed during a slow request of the backlog is live afterwards, also if that are several windows: at the end of a
long backlog they would wait for hours.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar


class Sized(Protocol):
    """What is asked of a batch here: its identity and its sizes in bytes."""

    @property
    def id(self) -> int: ...
    @property
    def payload_bytes(self) -> int: ...
    @property
    def raw_bytes(self) -> int: ...


S = TypeVar("S", bound=Sized)

LIVE_WINDOWS = 6
"""Windows that may be live: those that are committed while a slow server takes two requests."""


class Lane(StrEnum):
    """Why a batch is sent now."""

    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry; one batch may always go, whatever its size."""

    payload_bytes: int = 1_048_576
    raw_bytes: int = 16_777_216
    batches: int = 500


def choose(
    live: Sequence[S],
    oldest: Sequence[S],
    previous: Lane | None,
    limits: Limits,
    alone: AbstractSet[int] = frozenset(),
) -> tuple[Lane, list[S]] | None:
    """The lane and the batches of the next request, or None if all is sent.

    `live` are the unsent batches of the newest window, `oldest` the oldest unsent of all; both oldest first, and they
    may overlap. `previous` is the lane of the request before. Batches whose ids are in `alone` share no request.
    """
    fresh = {each.id for each in live}
    backlog = [each for each in oldest if each.id not in fresh]
    if live and (previous is not Lane.LIVE or not backlog):
        return Lane.LIVE, together(live, limits, alone)
    if backlog:
        return Lane.BACKLOG, together(backlog, limits, alone)
    return None


def together(batches: Sequence[S], limits: Limits, alone: AbstractSet[int] = frozenset()) -> list[S]:
    """The longest beginning of `batches` (not empty) that one request may carry."""
    taken: list[S] = []
    payload_bytes = raw_bytes = 0
    for each in batches[: limits.batches]:
        payload_bytes += each.payload_bytes
        raw_bytes += each.raw_bytes
        if taken and (payload_bytes > limits.payload_bytes or raw_bytes > limits.raw_bytes or each.id in alone):
            break
        taken.append(each)
        if each.id in alone:
            break
    return taken
