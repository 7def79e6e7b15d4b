"""How long to wait before the next attempt. Pure: the randomness is an argument, `draw` in [0, 1).

    failures     1    2    3    4  ...   7 and more
    up to        1    2    4    8  ...  60 s, less what the attempt took
    parked       20 to 40 s

The wait is drawn from all of [0, up to): full jitter, because a fleet that lost its server in the same second must not
come back in the same second (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

An attempt and the wait after it take a minute together at most, so a server that is mended, at whatever moment, is
found to be so within a minute - unless it had asked for more itself (Retry-After). A fleet that is parked as a whole
asks for a third of the requests that it sends in health, of one batch each.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime

FIRST_S, LONGEST_S = 1.0, 60.0
PROBE_LEAST_S, PROBE_MOST_S = 20.0, 40.0
RETRY_AFTER_LEAST_S, RETRY_AFTER_MOST_S = 1.0, 900.0


def wait_s(failures: int, draw: float, took_s: float = 0.0) -> float:
    """Seconds to wait after `failures` (1 or more) failed attempts in a row, the last `took_s` long: 0 to 60."""
    longest_s = max(LONGEST_S - took_s, FIRST_S)
    return draw * min(longest_s, FIRST_S * 2.0 ** min(failures - 1, 10))


def probe_wait_s(draw: float) -> float:
    """Seconds until a parked destination is tried again: 20 to 40."""
    return PROBE_LEAST_S + draw * (PROBE_MOST_S - PROBE_LEAST_S)


def asked_wait_s(asked_s: float, draw: float) -> float:
    """Seconds to wait where the server named `asked_s`: clamped to [1 s, 15 min], +0-10 %."""
    return min(max(asked_s, RETRY_AFTER_LEAST_S), RETRY_AFTER_MOST_S) * (1.0 + 0.1 * draw)


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds named by a Retry-After header (RFC 9110 section 10.2.3), or None if there is none or it is malformed.

    Both forms are understood, a number of seconds and an HTTP date; `now` is Unix seconds of the server's clock.
    """
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    named_at = http_date(text)
    return None if named_at is None else named_at - now


def http_date(text: str) -> float | None:
    """The instant (Unix seconds) of an HTTP date, all three forms of which are in GMT (RFC 9110 5.6.7), or None."""
    try:
        named = parsedate_to_datetime(text)
        return (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
