"""The collector's own measurements, as ordinary points of each window.

SELF_METRICS documents every one of them; rows marked loss count data that is gone, and their meaning says
**DATA LOSS**. A test compares the table with what `self_points` makes.

They describe the window they travel in, but for commits and waiting windows: those tell how it was when the window
was handed over. They are not counted as lines or series, and carry no tag but `reason`: the batch has the host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from collector.aggregate import Closed
from spool.batch import Point


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
        "**DATA LOSS** broke a rule of the line protocol; tag `reason`: see statsd.Reason. Absent if none",
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
    SelfMetric("holdfast.refused_connections", "counter", "connections", "over the limit of a stream listener"),
    SelfMetric("holdfast.commit_ms", "gauge", "ms", "how long the last commit took; absent before the first"),
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
    return points
