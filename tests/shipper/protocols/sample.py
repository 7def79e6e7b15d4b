"""Batches for the tests of protocols: one of every kind of point, and odd names."""

from collections.abc import Mapping, Sequence

from collector.sketch import Distribution
from spool.batch import Batch, Point, Window, encode

QUANTILES = (0.5, 0.9, 0.95, 0.99)


def counter(name: str, value: float, **tags: str) -> Point:
    return Point(name, "counter", tags, {"value": value})


def gauge(name: str, value: float, **tags: str) -> Point:
    return Point(name, "gauge", tags, {"value": value})


def timer(name: str, values: Sequence[float], tags: Mapping[str, str] | None = None, weight: float = 1.0) -> Point:
    distribution = Distribution()
    for value in values:
        distribution.add(value, weight)
    return Point(name, "timer", tags or {}, distribution.summary(QUANTILES))


def batch(number: int, *points: Point, end: float = 1_795_000_010.0, host: str = "web-1") -> Batch:
    window = Window(number, end - 10, end, points)
    return encode("5b00", number, host, window, points, end + 0.1)


MIXED = (
    counter("api.hits", 42.0, env="prod"),
    gauge("queue depth", -3.5, env="prod", canary=""),
    timer("api.lat", [1.0, 2.5, 9.0], {"env": "prod"}),
    Point("users", "set", {}, {"value": 7.0}),
    counter("holdfast.lines", 12.0),
)

SAID = (
    Point("deploy", "event", {"env": "prod"}, {"count": 1, "fields": {"text": 'v1 "out"\nnow\\', "timestamp": 17}}),
    Point("deploy", "event", {"env": "prod"}, {"count": 2, "fields": {"text": "v2"}}),
    Point("db.up", "service_check", {}, {"count": 3, "value": 2, "fields": {"text": "no answer"}}),
    Point("db.up", "service_check", {}, {"count": 1, "value": 0, "fields": {}}),
)
"""Events and service checks: two of the same title, and a check that is fine again."""
