"""The collector's own measurements, as ordinary points of each window.

SELF_METRICS documents every one of them; rows marked loss count data that is gone, and their meaning says
**DATA LOSS**. A test compares the table with what `self_points` makes.

They describe the window they travel in, but for commits and waiting windows: those tell how it was when the window
was handed over. They are not counted as lines or series, and carry no tag but `reason` and `prefix`: the batch has the
host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from collector.aggregate import Closed
from collector.rules import Reason
from spool.batch import Point

OVERFLOWED_BY = "holdfast.overflowed_by"
PREFIXES = 10
"""So many of those that caused an overflow are reported."""


@dataclass(frozen=True, slots=True)
class SelfMetric:
    """One row of the table."""

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    meaning: str
    loss: bool = False


SELF_METRICS = (
    SelfMetric("holdfast.datagrams", "counter", "datagrams", "received on UDP and unix datagram sockets"),
    SelfMetric("holdfast.lines", "counter", "lines", "received, blank ones not counted: accepted + rejected"),
    SelfMetric("holdfast.accepted", "counter", "lines", "folded into this window"),
    SelfMetric(
        "holdfast.rejected",
        "counter",
        "lines",
        "**DATA LOSS** broke a rule of the line protocol; tag `reason`: see rules.Reason. Absent if none",
        loss=True,
    ),
    SelfMetric(
        "holdfast.kernel_drops",
        "counter",
        "datagrams",
        "**DATA LOSS** came while a receive buffer was full: raise net.core.rmem_max, receive_buffer_bytes",
        loss=True,
    ),
    SelfMetric("holdfast.series", "gauge", "series", "of clients in this window"),
    SelfMetric(
        "holdfast.overflowed",
        "counter",
        "samples",
        "of new series beyond max_series: they are in holdfast.overflow, without their names",
    ),
    SelfMetric(
        "holdfast.overflowed_by",
        "counter",
        "samples",
        "of these, about how many had names that begin with the tag `prefix`: the ten most frequent. Absent if none",
    ),
    SelfMetric(
        "holdfast.refused_connections",
        "counter",
        "connections",
        "beyond 256: refused, or taken in place of one on which no whole line came for 10 s",
    ),
    SelfMetric(
        "holdfast.worker_restarts", "counter", "processes", "workers that ended by themselves and were replaced"
    ),
    SelfMetric(
        "holdfast.worker_lost_lines",
        "counter",
        "lines",
        "**DATA LOSS** taken by workers that ended, and not yet in a window; but for those of the worker's last moment",
        loss=True,
    ),
    SelfMetric(
        "holdfast.commit_ms",
        "gauge",
        "ms",
        "how long the last commit took, encoding and giving way to reception included; absent before the first",
    ),
    SelfMetric("holdfast.windows_waiting", "gauge", "windows", "in memory, because the spool could not take them yet"),
    SelfMetric(
        "holdfast.windows_shed",
        "counter",
        "windows",
        "**DATA LOSS** given up because 64 MiB of windows waited for the spool: see `holdfast losses`",
        loss=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the window itself does not know. Counts are since the previous window."""

    kernel_drops: int = 0
    refused_connections: int = 0
    worker_restarts: int = 0
    worker_lost_lines: int = 0
    commit_ms: float | None = None
    windows_waiting: int = 0
    windows_shed: int = 0


def self_points(closed: Closed, around: Circumstances) -> list[Point]:
    """The collector's own points for one window."""
    values: dict[str, float | None] = {
        "holdfast.datagrams": closed.datagrams,
        "holdfast.lines": closed.lines,
        "holdfast.accepted": closed.accepted,
        "holdfast.kernel_drops": around.kernel_drops,
        "holdfast.series": closed.series,
        "holdfast.overflowed": closed.overflowed,
        "holdfast.refused_connections": around.refused_connections,
        "holdfast.worker_restarts": around.worker_restarts,
        "holdfast.worker_lost_lines": around.worker_lost_lines,
        "holdfast.commit_ms": around.commit_ms,
        "holdfast.windows_waiting": around.windows_waiting,
        "holdfast.windows_shed": around.windows_shed,
    }
    types: Mapping[str, str] = {each.name: each.type for each in SELF_METRICS}
    points = [
        Point(name, types[name], {}, {"value": float(value)}) for name, value in values.items() if value is not None
    ]
    points += [
        Point("holdfast.rejected", "counter", {"reason": reason}, {"value": float(count)})
        for reason, count in sorted(closed.rejected.items())
    ]
    points += [
        Point(OVERFLOWED_BY, "counter", {"prefix": prefix}, {"value": float(count)})
        for prefix, count in islice(closed.overflowed_by.items(), PREFIXES)
    ]
    return points


def culprits(points: Sequence[Point]) -> str:
    """Who caused the overflow of a window with these points, for its line in the log: user.*:9000,job-*:12."""
    own = points[: len(SELF_METRICS) + len(Reason) + PREFIXES]
    return ",".join(f"{each.tags['prefix']}:{each.values['value']:.0f}" for each in own if each.name == OVERFLOWED_BY)
