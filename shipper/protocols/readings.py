"""Stored batches as the readings that other protocols carry. Pure.

What all of them share is decided here:

- The tag `host` names the host that the batch comes from, unless the point has a tag `host` of its own.
- A tag without a value, which most formats cannot carry, has the value "true".
- Where two tags become one because a format cannot carry their names, the values are joined by ",": nothing is lost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spool.batch import Batch, decode

BARE = "true"
"""The value of a tag that has none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One series in one window.

    `stats` are its numbers by name (`value`; for timers `count`, `sum`, `p50` ...), `sketch` a timer's buckets
    (collector/sketch.py). `start` and `end` bound the window, in Unix milliseconds; `end` is the time stamp.
    """

    name: str
    type: str
    tags: Mapping[str, str]
    stats: Mapping[str, float]
    sketch: Mapping[str, Any] | None
    start_ms: int
    end_ms: int


def readings(batches: Sequence[Batch]) -> Iterator[Reading]:
    """Every point of `batches`, in their order. Raises PayloadError for a payload that cannot be read."""
    for batch in batches:
        document = decode(batch.payload)
        host = {"host": document["host"]}
        start_ms, end_ms = (round(document["window"][each] * 1000) for each in ("start", "end"))
        for point in document["points"]:
            name, kind, tags = point.pop("name"), point.pop("type"), point.pop("tags")
            sketch = point.pop("sketch", None)
            tags = {**host, **{key: value or BARE for key, value in tags.items()}}
            yield Reading(name, kind, tags, point, sketch, start_ms, end_ms)


def renamed(tags: Mapping[str, str], rename: Callable[[str], str]) -> dict[str, str]:
    """`tags` sorted, under the names that a format can carry. Tags that become one join their values."""
    result: dict[str, str] = {}
    for key in sorted(tags):
        name = rename(key)
        result[name] = f"{result[name]},{tags[key]}" if name in result else tags[key]
    return result
