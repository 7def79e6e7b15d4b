"""Stored batches as the readings that protocols other than our own carry. Pure.

What all of them share is decided here:

- The tag `host` names the host that the batch comes from, unless the point has a tag `host` of its own with a value.
- A tag without a value, which most formats cannot carry, has the value "true".
- Series of a batch that these two rules make one (a client said the host's own name, another one did not) are one
  reading: a server would keep one of two. What counts is added up, of a timer's other statistics each is the one that
  reaches further, because percentiles cannot be averaged; of a gauge it is the later.
- Where two tags become one because a format cannot carry their names, the values are joined by ",": nothing is lost.
- Formats that only have numbers (`numbers`) take a service check for its status, the latest of the window, and leave
  events out, which the protocol's `Traits.leaves_out` says; their batch is acknowledged all the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spool.batch import NOTICES, Batch, decode

EVENT, CHECK = "event", "service_check"
"""The types of points that have words: spool.batch.NOTICES."""
BARE = "true"
"""The value of a tag that has none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One series in one window.

    `stats` are its numbers by name (`value`; for timers `count`, `sum`, `p50` ...), `sketch` a timer's buckets
    (collector/sketch.py), `fields` the words of an event or a service check (spool.batch.Point). `start` and `end`
    bound the window, in Unix milliseconds; `end` is the time stamp.
    """

    name: str
    type: str
    tags: Mapping[str, str]
    stats: Mapping[str, float]
    sketch: Mapping[str, Any] | None
    start_ms: int
    end_ms: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end_s(self) -> int:
        """The time stamp for formats that have whole seconds: rounded up, so that a window which a stop cut short just
        after the one before does not get that one's."""
        return -(-self.end_ms // 1000)


def readings(batches: Sequence[Batch]) -> Iterator[Reading]:
    """Every series of `batches`, in their order. Raises PayloadError for a payload that cannot be read."""
    for batch in batches:
        yield from payload_readings(batch.payload)


def payload_readings(payload: bytes) -> Iterator[Reading]:
    """Every series of one stored batch. Raises PayloadError."""
    found: dict[object, Reading] = {}
    document = decode(payload)
    host = {"host": document["host"]}
    start_ms, end_ms = (round(document["window"][each] * 1000) for each in ("start", "end"))
    points = document["points"]
    # Only of these a rule of the module's docstring may make one that is another's.
    equal = any("host" in each["tags"] or "" in each["tags"].values() for each in points)
    for point in points:
        name, kind, tags = point.pop("name"), point.pop("type"), point.pop("tags")
        sketch, fields = point.pop("sketch", None), point.pop("fields", {})
        tags = {**host, **{key: value or host.get(key, BARE) for key, value in tags.items()}}
        reading = Reading(name, kind, tags, point, sketch, start_ms, end_ms, fields)
        series = (name, kind, frozenset(tags.items())) if equal and kind not in NOTICES else len(found)
        found[series] = _joined(found[series], reading) if series in found else reading
    yield from found.values()


def numbers(batches: Sequence[Batch]) -> Iterator[Reading]:
    """What has a `value`, and timers: of each service check the latest, and no events. Raises PayloadError."""
    for batch in batches:
        latest: dict[tuple[str, frozenset[tuple[str, str]]], Reading] = {}
        for reading in readings([batch]):
            if reading.type == CHECK:
                status = replace(reading, stats={"value": reading.stats["value"]})
                latest[reading.name, frozenset(reading.tags.items())] = status
            elif reading.type == "timer" or "value" in reading.stats:
                yield reading
        yield from latest.values()


def renamed(tags: Mapping[str, str], rename: Callable[[str], str]) -> dict[str, str]:
    """`tags` sorted, under the names that a format can carry. Tags that become one join their values."""
    result: dict[str, str] = {}
    for key in sorted(tags):
        name = rename(key)
        result[name] = f"{result[name]},{tags[key]}" if name in result else tags[key]
    return result


def _joined(one: Reading, other: Reading) -> Reading:
    """Two series of a window that are one, as the module's docstring says."""
    stats = {**one.stats, **other.stats}
    if other.type in ("counter", "set"):
        stats["value"] = one.stats["value"] + other.stats["value"]
    if other.type != "timer":
        return replace(other, stats=stats)
    stats = {stat: max(value, one.stats.get(stat, value)) for stat, value in stats.items()}
    stats |= {stat: one.stats[stat] + other.stats[stat] for stat in ("count", "sum")}
    stats |= {"min": min(one.stats["min"], other.stats["min"]), "mean": stats["sum"] / stats["count"]}
    first, second = one.sketch or {}, other.sketch or {}
    sides = {side: [*first.get(side, ()), *second.get(side, ())] for side in ("bins", "negative")}
    return replace(other, stats=stats, sketch={**first, **second, **sides, "zero": _zero(first) + _zero(second)})


def _zero(sketch: Mapping[str, Any]) -> float:
    return float(sketch.get("zero", 0))
