"""What all protocols share, and that none of them breaks on what it cannot carry."""

import gzip

import pytest

from shipper.protocols import KNOWN
from spool.batch import NOTICES, Point
from spool.readings import numbers
from tests.shipper.protocols.sample import MIXED, SAID, batch

URLS = {"graphite": "tcp://127.0.0.1:1", "influx": "https://h/write"}
UNKNOWN = Point("new", "something", {}, {"other": 1.0, "fields": {"a": "b"}})


def test_numbers_are_the_latest_status_of_a_check_and_nothing_of_an_event() -> None:
    found = [(each.name, each.stats) for each in numbers([batch(1, *SAID, *MIXED[:1]), batch(2, SAID[2])])]
    assert found == [("api.hits", {"value": 42.0}), ("db.up", {"value": 0}), ("db.up", {"value": 2})]


@pytest.mark.parametrize("name", KNOWN)
def test_every_protocol_takes_whatever_a_batch_may_hold(name: str) -> None:
    protocol, url = KNOWN[name], URLS.get(name, "https://h/x")
    for points in (SAID, (*MIXED, *SAID), SAID[:2], (UNKNOWN, *MIXED)):
        one = protocol.encode([batch(1, *points)], url, None)
        assert one == protocol.encode([batch(1, *points)], url, None)


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_protocol_leaves_out_is_what_it_says(name: str) -> None:
    """Seen by whether a point of the type changes the request."""
    protocol, url = KNOWN[name], URLS.get(name, "https://h/x")

    def body(*points: Point) -> bytes:
        whole = protocol.encode([batch(1, *points)], url, None)
        return gzip.decompress(whole.body) if whole.headers.get("Content-Encoding") == "gzip" else whole.body

    for kind in ("counter", "gauge", "set", "timer", *sorted(NOTICES)):
        point = next(each for each in (*MIXED, *SAID) if each.type == kind)
        assert (body(MIXED[0]) == body(MIXED[0], point)) == (kind in protocol.TRAITS.leaves_out), kind
