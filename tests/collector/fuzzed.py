"""One input of a fuzzer for the line protocol, and what must be true of it.

    first byte   what follows it
    ----------   ------------------------------------------------
    dialect      datagrams, each ended by a zero byte, of any bytes

Whatever they hold: no exception; every line that is not blank is accepted or rejected; folding many at once is parsing
them one by one, in the same order; every number that comes out can be stored.
"""

from typing import get_args

from collector.aggregate import Aggregate
from collector.rules import Rejection
from collector.statsd import Dialect, Signs, parse
from collector.tags import Style
from collector.tally import Tally
from spool.batch import MAX_POINTS, Point, Window, encode

DIALECTS = [Dialect(gauges, tags) for gauges in get_args(Signs) for tags in get_args(Style)]
TALLIES = {each: Tally(each) for each in DIALECTS}
"""They remember what lines mean over windows, so they live as long as here."""

SEEDS = [
    b"a:1|c|@0.1|#env:prod,canary|c:ci-3f2|T1764000000\na:1:2:3|ms\na:1|c:2|ms|@0.5\ng:+1|g\ng:-2e3|g\nu:bob|s",
    b"_e{5,4}:title|text|d:17|p:low|t:info|#env:prod\n_sc|db.up|2|d:17|h:web-1|#a:b|m:no answer\\nx",
    b"a:125|ms\na:12.5|ms\na:007|ms\na:.5|ms\0a:125|ms\na:1e400|ms\ng:7|g\ng:8|g\ng:+1.5|g\nb:125|c|@0.5\nb:126|c|@0.5",
    b"a,k=v:1|c\na;k=v:1|c\na#k=v:1|c\na[k=v]:1|c\r\n\xc3\xa9:1|c",
]


def one(data: bytes) -> None:
    """Take one input. Raises AssertionError, or whatever the parser raised."""
    dialect = DIALECTS[data[0] % len(DIALECTS)] if data else DIALECTS[0]
    datagrams = data[1:].split(b"\0")
    aggregate = Aggregate(50)
    TALLIES[dialect].fold(datagrams, aggregate)
    closed = aggregate.close(0.0)
    alone = Aggregate(50)
    fresh = Tally(dialect)
    lines = b"\n".join(datagrams).split(b"\n")
    rejected, scale = 0, 0.0
    for line in lines:
        parsed = parse(line, dialect)
        rejected += isinstance(parsed, Rejection)
        if isinstance(parsed, tuple):
            scale += sum(abs(value) / each.rate for each in parsed if each.kind == "counter" for value in each.values)
        fresh.fold([line], alone)
    expected = alone.close(0.0)
    assert closed.lines == expected.lines == sum(1 for each in lines if each.strip())
    assert closed.accepted + sum(closed.rejected.values()) == closed.lines
    assert dict(closed.rejected) == dict(expected.rejected)
    assert rejected + closed.rejected.get("too_many_notices", 0) == sum(closed.rejected.values())
    points = list(closed.points((0.5, 0.99)))
    assert list(closed.notices) == list(expected.notices)
    assert {_series(each): each for each in points if each.type in ("gauge", "timer", "set")} == {
        _series(each): each for each in expected.points((0.5, 0.99)) if each.type in ("gauge", "timer", "set")
    }
    assert closed.counters.keys() == expected.counters.keys()
    for series, total in expected.counters.items():  # a sum may be made in another order
        assert abs(closed.counters[series] - total) <= 1e-12 * scale
    assert len(points) == len(closed) <= MAX_POINTS
    encode("f022", 1, "host", Window(1, 0.0, 10.0, points), points, 10.1)


def _series(point: Point) -> tuple[str, ...]:
    return point.name, point.type, *(word for tag in sorted(point.tags.items()) for word in tag)
