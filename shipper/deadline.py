"""A point in monotonic time by which something must have ended.

    deadline = Deadline.after(20, time.monotonic)      # before the name is resolved
    sock.settimeout(deadline.left())                   # before every single operation

A deadline is an instant, not a duration: whoever it is handed to gets what is left, however long the others
took, and nobody can start it over. `left` never answers 0 or less, because a socket takes 0 for "do not
block" and poll takes a negative number for "for ever".

Pure: the clock is an argument. Not promised: suspend. Where the clock stands still while the machine sleeps
(CLOCK_MONOTONIC on Linux), a deadline is still ahead after waking up; the connection then is usually dead.
"""

from collections.abc import Callable
from dataclasses import dataclass


class DeadlineExceeded(TimeoutError):
    """The deadline has passed. A TimeoutError, so that urllib3 cleans up after it as after its own."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at`: the instant, in seconds of `clock`, which is monotonic."""

    at: float
    clock: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float]) -> "Deadline":
        """The instant `seconds` from now."""
        return cls(clock() + seconds, clock)

    def left(self) -> float:
        """Seconds left, always above 0. Raises DeadlineExceeded when there are none."""
        left = self.at - self.clock()
        if left <= 0:
            raise DeadlineExceeded
        return left

    def passed(self) -> bool:
        """Whether `left` would raise."""
        return self.clock() >= self.at

    def sooner(self, seconds: float) -> "Deadline":
        """This deadline, or the instant `seconds` from now if that comes first."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)
