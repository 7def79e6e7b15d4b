"""How a destination is doing, and what follows for the next attempt: when it may go, and how much it may carry.

    something acknowledged   at once, with twice as many batches up to the limit
    failed                   after 1 s doubling to 60 s with full jitter, or after what the server asked for
    parked                   one batch probes, every 20 to 40 s
    too large (413)          at once, with half as many bytes; the limit is remembered for an hour, then tried again
    refused (400 ...)        at once, with half as many batches, to find the one that is bad

Pure: `now` is Unix seconds, `clock` monotonic ones, `draw` chance in [0, 1). The `condition` is what is stored, so a
restart shortens no wait; what the server was found to take is forgotten with the process.
"""

from collections.abc import Callable
from dataclasses import replace

from shipper import backoff
from shipper.lanes import Limits
from spool.ledger import Condition

LEARNED_S = 3600.0
"""So long a size that the server refused is not tried again: somebody may have raised its limit."""

NEVER = float("-inf")


class Pace:
    """The pace of one destination."""

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        self.condition = Condition()
        self.try_at = NEVER
        """When the next attempt may go, in seconds of the monotonic clock."""
        self._most, self._draw = limits, draw
        self._batches = limits.batches
        self._together_bytes: int | None = None
        self._alone_bytes: int | None = None
        self._learned_at = NEVER

    def take_up(self, condition: Condition, now: float, clock: float) -> None:
        """Go on from a stored condition. A clock that was set back makes nobody wait for longer than the wait was."""
        self.condition = condition
        if condition.next_try_at is not None:
            wait_s = condition.next_try_at - (condition.last_attempt_at or now)
            self.try_at = clock + max(min(condition.next_try_at - now, wait_s, backoff.RETRY_AFTER_MOST_S), 0.0)

    @property
    def parked(self) -> bool:
        """Whether the destination refuses us, so that single batches probe."""
        return self.condition.parked_since is not None

    def limits(self, clock: float) -> Limits:
        """What the next request may carry."""
        self._unlearn(clock)
        batches = 1 if self.parked else self._batches
        payload_bytes = self._most.payload_bytes
        if self._together_bytes is not None:
            payload_bytes = min(payload_bytes, max(1, self._together_bytes // 2))
        return replace(self._most, batches=batches, payload_bytes=payload_bytes)

    def surely_too_large(self, payload_bytes: int, clock: float) -> bool:
        """Whether a payload that was no larger was refused as too large, alone in its request, within the hour."""
        self._unlearn(clock)
        return self._alone_bytes is not None and payload_bytes >= self._alone_bytes

    def attempted(self, clock_offset_s: float | None, now: float) -> None:
        """An attempt ended at `now`; how far the server's clock is ahead, if its answer told."""
        offset_s = self.condition.clock_offset_s if clock_offset_s is None else clock_offset_s
        self.condition = replace(self.condition, last_attempt_at=now, clock_offset_s=offset_s)

    def acknowledged(self, now: float) -> None:
        """The server took something: whatever was wrong is over."""
        self._batches = min(self._most.batches, self._batches * 2)
        self.try_at = NEVER
        self.condition = replace(
            self.condition,
            failures=0,
            next_try_at=None,
            parked_since=None,
            parked_reason=None,
            last_ack_at=now,
            last_error=None,
        )

    def too_large(self, payload_bytes: int, batches: int, clock: float) -> None:
        """A request was refused for its size that carried so many batches, with payloads of so many bytes in all.

        The body may be many times larger (prometheus is not compressed): what is limited here are payloads.
        """
        self._learned_at = clock
        if batches > 1:
            self._together_bytes = min(payload_bytes, self._together_bytes or payload_bytes)
        else:
            self._alone_bytes = min(payload_bytes, self._alone_bytes or payload_bytes)

    def halve(self, batches: int) -> None:
        """One of these is bad, or they are too many: fewer next time."""
        self._batches = max(1, batches // 2)

    def refused(self, reason: str) -> None:
        """The server took nothing and said so for good. It counts as a failure, and the next attempt may go at once."""
        self.condition = replace(self.condition, failures=self.condition.failures + 1, last_error=reason)

    def park(self, reason: str, now: float, clock: float) -> None:
        """The server refuses us, not the batches: keep everything, and probe."""
        self.condition = replace(
            self.condition,
            parked_since=self.condition.parked_since or now,
            parked_reason=reason,
            failures=self.condition.failures + 1 if self.parked else 1,
        )
        self._wait(backoff.probe_wait_s(self._draw()), reason, now, clock)

    def back_off(self, reason: str, asked_s: float | None, took_s: float, now: float, clock: float) -> None:
        """It failed after `took_s`, for now. `asked_s` is what the server wants us to wait, None if it did not say."""
        self.condition = replace(self.condition, failures=self.condition.failures + 1)
        if asked_s is not None:
            wait_s = backoff.asked_wait_s(asked_s, self._draw())
        else:
            wait_s = backoff.wait_s(self.condition.failures, self._draw(), took_s)
        self._wait(wait_s, reason, now, clock)

    def _wait(self, wait_s: float, reason: str, now: float, clock: float) -> None:
        self.try_at = clock + wait_s
        self.condition = replace(self.condition, next_try_at=now + wait_s, last_error=reason)

    def _unlearn(self, clock: float) -> None:
        if clock - self._learned_at > LEARNED_S:
            self._together_bytes = self._alone_bytes = None
