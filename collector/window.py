"""When windows begin and end: labelled by the wall clock, scheduled by the monotonic one.

    start 14:00:03.2          14:00:10            14:00:20     stop 14:00:26.7
          |---- partial ---------|------- whole -----|--- partial ---|

Boundaries are multiples of the interval since the epoch, but for the start and the stop of the collector.

Promises: a window ends after the monotonic time that its labels were planned to span, so a step of the wall
clock neither loses nor merges one. The window in which a step happened keeps the labels it was opened with;
the next begins at the new wall time and ends at the next boundary. A process that was stopped for longer
than an interval makes one long window with the bounds it truly had. Slow drift is taken up at each boundary,
without a gap.

Does not promise that labels never overlap: after a step backwards they do. A window's `seq` tells them apart.
"""

import math
from dataclasses import dataclass

STEP_S = 1.0
"""The wall clock has been set, rather than slewed, if it is further than this from where it should be."""


@dataclass(frozen=True, slots=True)
class Span:
    """One window while it is open. `start`, `end` are wall-clock labels; the rest is monotonic seconds."""

    interval_s: int
    start: float
    end: float
    opened_mono: float
    due_mono: float

    def wait_s(self, mono: float) -> float:
        """Seconds until it must be closed; 0 if it is due."""
        return max(0.0, self.due_mono - mono)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The labels of a closed window; `partial` if it is shorter than an interval."""

    start: float
    end: float
    partial: bool


def first(interval_s: int, wall: float, mono: float) -> Span:
    """The window that opens now and ends at the next boundary."""
    end = (math.floor(wall / interval_s) + 1) * interval_s
    return Span(interval_s, wall, float(end), mono, mono + (end - wall))


def close(span: Span, wall: float, mono: float) -> tuple[Bounds, Span]:
    """The labels of a window that is due, and the window after it."""
    late_s = max(0.0, mono - span.due_mono)
    end = span.end + math.floor(late_s / span.interval_s) * span.interval_s
    if abs(wall - (span.end + late_s)) > STEP_S:
        following = first(span.interval_s, wall, mono)
    else:
        following = Span(span.interval_s, end, end + span.interval_s, mono, mono + (end + span.interval_s - wall))
    return Bounds(span.start, end, partial=end - span.start < span.interval_s), following


def stop(span: Span, wall: float, mono: float) -> Bounds:
    """The labels of a window that ends before it is due, because the collector stops."""
    expected = span.end - span.due_mono + mono
    end = wall if abs(wall - expected) <= STEP_S else expected
    end = max(end, span.start + 0.001)  # opened early by slew, stopped at once
    return Bounds(span.start, end, partial=end - span.start < span.interval_s)
