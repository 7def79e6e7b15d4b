"""Who caused an overflow: the beginnings of the names that found no room, the most frequent of them.

    user.12345.login       -> user.*               up to the first digit, which is where most names begin to vary
    jobs.aZkQpl            -> jobs.*               else up to the last dot
    hits|#request:9f3c     -> hits|#request        tags: a name that has them varies there

Pure. Promises: at most MOST beginnings are kept, whatever comes. One that had more than 1/MOST of all samples is in the
list; a count may be too high by that much, never too low. Beyond EACH samples only one in EVERY is looked at, for all
of them, so that who overflows costs hardly more than who does not: then both are approximate. Source: Metwally,
Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (space-saving), 2005.
"""

import re
from collections.abc import Mapping

MOST = 64
MOST_CHARS = 80
"""Of a beginning: it is shown, and travels as a tag."""

EACH = 1_000
EVERY = 17
"""Prime, so that what clients send in turns is looked at in turns, too."""

_BEFORE_DIGIT = re.compile(r"[^0-9]*")


def beginning(series: str) -> str:
    """What a series (aggregate.series_key) has in common with others of its kind, as the docstring shows."""
    name, *tags = series.split("\0")
    before = _BEFORE_DIGIT.match(name)
    assert before is not None  # it matches nothing, too
    stem = before[0]
    if stem != name:
        stem += "*"
    elif not tags and "." in name:
        stem = name[: name.rindex(".") + 1] + "*"
    return (stem + ("|#" + ",".join(tags[::2]) if tags else ""))[:MOST_CHARS]


class Culprits:
    """Samples by the beginnings of their names. Mutable: belongs to the window that is being filled."""

    __slots__ = ("_noted", "_samples")

    def __init__(self) -> None:
        self._samples: dict[str, int] = {}
        self._noted = 0

    def note(self, series: str) -> None:
        """Count one sample of a series."""
        self._noted += 1
        if self._noted <= EACH:
            self._add(beginning(series), 1)
        elif not self._noted % EVERY:
            self._add(beginning(series), EVERY)

    def absorb(self, samples: Mapping[str, int]) -> None:
        """Count what `top` of another gave."""
        for each, count in samples.items():
            self._add(each, count)

    def _add(self, each: str, count: int) -> None:
        samples = self._samples
        if each in samples or len(samples) < MOST:
            samples[each] = samples.get(each, 0) + count
        else:
            samples[each] = samples.pop(min(samples, key=samples.__getitem__)) + count

    def top(self, most: int = MOST) -> dict[str, int]:
        """The most frequent ones with about how many samples, the first the most."""
        ranked = sorted(self._samples.items(), key=lambda each: (-each[1], each[0]))
        return dict(ranked[:most])
