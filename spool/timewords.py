"""The words for an instant on the command line: journalctl's.

    2h   -1h   1h30m   3 days ago   now   today   yesterday   yesterday 18:00   08:00   2026-11-23 08:00   @1764000000
    --   ---   -----   ----------   ---   -----   ---------   ---------------   -----   ----------------   -----------
    a length before now                  a day's midnight     with a clock time  today   ISO 8601, local    Unix seconds

A clock time without a zone is local time; `2026-11-23T08:00Z` and `+01:00` are understood. A length counts backwards
from now, with or without its sign; one that begins with `+` counts forwards.

Pure: now and the zone are arguments. Not promised: names of months or weekdays.
"""

import re
from datetime import date, datetime, time, timedelta, tzinfo

_UNIT_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
    **dict.fromkeys(("month", "months"), 30.44 * 86_400),  # as systemd.time(7) has them
    **dict.fromkeys(("y", "year", "years"), 365.25 * 86_400),
}
_UNIT = f"(?:{'|'.join(sorted(_UNIT_S, key=len, reverse=True))})"
_PIECE = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})")
_LENGTH = re.compile(rf"(?P<sign>[+-]?)\s*(?P<pieces>(?:\d+(?:\.\d+)?\s*{_UNIT}\s*)+?)\s*(?P<ago>ago)?")
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}

ALLOWED = 'a length before now (2h, -1h30m), now, today, yesterday [HH:MM], "2026-11-23 08:00", or @1764000000'


def instant(text: str, now: float, zone: tzinfo | None = None) -> float:
    """The Unix seconds that `text` names at the instant `now`, clock times being in `zone` (None: local time).

    Raises ValueError that says what is allowed.
    """
    words = " ".join(text.strip().lower().split())
    try:
        if words == "now":
            return now
        if words.startswith("@"):
            return _finite(float(words[1:]))
        length = _LENGTH.fullmatch(words)
        if length:
            return _finite(
                now + _seconds(length["pieces"]) * (1 if length["sign"] == "+" and not length["ago"] else -1)
            )
        return _calendar(words, now, zone)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r}: allowed is {ALLOWED}") from None


def length_s(text: str) -> float:
    """The seconds of a length of time: 90s, 10m, 1h30m, 7 days. Raises ValueError that says what is allowed."""
    length = _LENGTH.fullmatch(" ".join(text.strip().lower().split()))
    if length is None or length["sign"] or length["ago"]:
        raise ValueError(f"{text!r}: allowed is a length of time: 90s, 10m, 1h30m, 7d")
    return _seconds(length["pieces"])


def _finite(seconds: float) -> float:
    datetime.fromtimestamp(seconds)  # raises for what no calendar holds, NaN and infinity too
    return seconds


def _seconds(pieces: str) -> float:
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _PIECE.findall(pieces))


def _calendar(words: str, now: float, zone: tzinfo | None) -> float:
    today = datetime.fromtimestamp(now, zone).date()
    day, _, clock = words.partition(" ")
    if day in _DAYS:
        return _local(today + timedelta(days=_DAYS[day]), time.fromisoformat(clock or "00:00"), zone)
    if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", words):
        return _local(today, time.fromisoformat(words.zfill(5) if words.count(":") == 1 else words.zfill(8)), zone)
    moment = datetime.fromisoformat(words.upper())
    if moment.tzinfo is not None:
        return moment.timestamp()
    return _local(moment.date(), moment.time(), zone)


def _local(day: date, clock: time, zone: tzinfo | None) -> float:
    return datetime.combine(day, clock, tzinfo=clock.tzinfo or zone).timestamp()
