"""Numbers as a person reads them at 3 a.m.: 1.4 MiB, 3h42m, 266,600, and a line of blocks for a history.

Pure. For people only: what machines read has raw bytes and Unix seconds.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import pairwise

_NO_DATE = (ValueError, OverflowError, OSError)
_BLOCKS = "▁▂▃▄▅▆▇█"


def size(count_bytes: float) -> str:
    """Bytes with a binary unit: 0 B, 900 B, 1.4 KiB, 3.1 GiB."""
    amount = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1023.95:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def span(seconds: float) -> str:
    """A length of time in its two largest units: 4s, 5m33s, 5m, 3h42m, 6d03h. Below zero (a clock was set): -4s."""
    if seconds < 0:
        return "-" + span(-seconds) if round(seconds) else "0s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02}h" if hours % 24 else f"{days}d"
    if hours:
        return f"{hours}h{minutes % 60:02}m" if minutes % 60 else f"{hours}h"
    if minutes:
        return f"{minutes}m{whole % 60:02}s" if whole % 60 else f"{minutes}m"
    return f"{whole}s"


def ago(at: float | None, now: float) -> str:
    """How long before `now` the instant `at` was: "4s ago", or "never" for None."""
    return "never" if at is None else f"{span(now - at)} ago"


def count(number: float) -> str:
    """A count with its thousands apart: 266,600."""
    return f"{number:,.0f}"


def amount(number: float) -> str:
    """Any number, to four digits: 0.0032, 12.5, 1,250, 41,800, 3.1 M, 2.25 G."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if scale <= abs(number) < 1e16:
            return f"{number / scale:,.4g} {unit}"
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e6 else f"{number:.4g}"


def counted(number: int, one: str, many: str) -> str:
    """A count with its noun: "1 batch", "266,600 points"."""
    return f"{count(number)} {one if number == 1 else many}"


def clock(at: float, now: float, zone: tzinfo | None = None) -> str:
    """An instant as local time (or in `zone`): 09:12:20 within today, 2026-11-22 09:12:20 otherwise.

    One that no calendar holds, as the disk may make of any, is @1e+300.
    """
    try:
        moment, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    except _NO_DATE:
        return f"@{at:.10g}"
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def moment(at: float, now: float, zone: tzinfo | None = None) -> str:
    """An instant as briefly as on the axis of a picture: 09:12, 09:12:20, on another day 22 Nov 09:12."""
    try:
        when, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    except _NO_DATE:
        return f"@{at:.10g}"
    brief = f"{when:%H:%M:%S}".removesuffix(":00")
    return brief if when.date() == today.date() else f"{when.day} {when:%b} {brief}"


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """A history as at most `width` blocks, oldest first; each block is the largest of its share. Empty for nothing."""
    if not values or max(values) <= 0:
        return ""
    width = min(width, len(values))
    edges = [round(number * len(values) / width) for number in range(width + 1)]
    peaks = [max(values[low:high]) for low, high in pairwise(edges)]
    return "".join(_BLOCKS[min(7, int(8 * max(peak, 0) / (max(peaks) or 1)))] for peak in peaks)
