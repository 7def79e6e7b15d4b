"""Where an axis is marked: at round numbers, round lengths of time, or round clock times.

    numbers(0, 870)      0, 200, 400, 600, 800, 1000
    spans(0, 5_000)      0, 20m, 40m, 1h, 1h20m, 1h40m           as seconds
    instants(low, high)  12:00, 12:15, 12:30 ... local time      as Unix seconds

Pure. Promises: a step is 1, 2 or 5 times a power of ten, or a length that divides the next larger unit of a clock; at
most `most` + 2 marks; numbers and spans reach from at or below `low` to at or above `high`, instants lie within. Not
promised: round clock times after a change to or from summer time within the range.
"""

import math
from datetime import UTC, datetime, tzinfo

DAY_S = 86_400
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, DAY_S)


def numbers(low: float, high: float, most: int = 5) -> list[float]:
    """Marks at round numbers. `low` < `high`, both finite."""
    least = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(least)) if 0 < least < math.inf else 0.0
    if not magnitude:  # too narrow or too wide for a float: no round number lies within
        return [low, high]
    return _covering(
        low, high, next((each * magnitude for each in (1, 2, 5) if each * magnitude >= least), 10 * magnitude)
    )


def spans(low: float, high: float, most: int = 5) -> list[float]:
    """Marks at round lengths of time, in seconds."""
    least = (high - low) / most
    step = round_s(least)
    return _covering(low, high, step) if step >= least >= 1 else numbers(low, high, most)


def instants(low: float, high: float, most: int = 6, zone: tzinfo | None = None) -> list[float]:
    """Marks at round times of the clock in `zone` (None: local time); `low` and `high` in Unix seconds."""
    step = round_s((high - low) / most)
    if step < (high - low) / most:  # months and years: so many whole days
        step = DAY_S * math.ceil((high - low) / most / DAY_S)
    offset = datetime.fromtimestamp(low, UTC).astimezone(zone).utcoffset()
    ahead_s = offset.total_seconds() if offset is not None else 0.0
    first, last = math.ceil((low + ahead_s) / step), math.floor((high + ahead_s) / step)
    return [number * step - ahead_s for number in range(first, last + 1)]


def round_s(least_s: float) -> float:
    """The shortest round length of at least `least_s` seconds; a day for what is longer."""
    return next((each for each in STEPS_S if each >= least_s), DAY_S)


def _covering(low: float, high: float, step: float) -> list[float]:
    return [number * step for number in range(math.floor(low / step), math.ceil(high / step) + 1)]
