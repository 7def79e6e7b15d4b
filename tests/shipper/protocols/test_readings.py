"""What all protocols share, and that none of them breaks on what it cannot carry."""

import gzip
import re

import pytest

from shipper.exchange import Request
from shipper.protocols import KNOWN
from spool.batch import NOTICES, Point
from spool.readings import numbers, readings
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, gauge, timer

URLS = {"graphite": "tcp://127.0.0.1:1", "influx": "https://h/write"}
UNKNOWN = Point("new", "something", {}, {"other": 1.0, "fields": {"a": "b"}})


def text(request: Request) -> str:
    body = gzip.decompress(request.body) if request.headers.get("Content-Encoding") == "gzip" else request.body
    return body.decode("utf-8", "replace")


def test_numbers_are_the_latest_status_of_a_check_and_nothing_of_an_event() -> None:
    found = [(each.name, each.stats) for each in numbers([batch(1, *SAID, *MIXED[:1]), batch(2, SAID[2])])]
    assert found == [("api.hits", {"value": 42.0}), ("db.up", {"value": 0}), ("db.up", {"value": 2})]


def test_a_client_that_says_the_hosts_name_or_true_itself_costs_nobody_a_count() -> None:
    """A destination takes both for one series at one time, and most would keep one of the two."""
    users = [Point("users", "set", tags, {"value": 3.0}) for tags in ({}, {"host": "web-1"})]
    counted = [counter("hits", 1.0), counter("hits", 2.0, host="web-1"), counter("hits", 4.0, host="db-7")]
    bare = [counter("tried", 1.0, canary=""), counter("tried", 2.0, canary="true"), gauge("tried", 7.0, canary="")]
    seen = [gauge("depth", 5.0), gauge("depth", 3.0, host="web-1")]
    one = batch(1, *counted, *bare, *users, *seen, *SAID)
    found = [(each.name, each.tags["host"], each.stats["value"]) for each in numbers([one])]
    assert found == [
        *[("hits", "web-1", 3.0), ("hits", "db-7", 4.0), ("tried", "web-1", 3.0), ("tried", "web-1", 7.0)],
        *[("users", "web-1", 6.0), ("depth", "web-1", 3.0), ("db.up", "web-1", 0)],
    ]
    assert len(list(readings([one]))) == len(found) + 3, "events and checks stay what they are, each by itself"
    assert sum(each.stats["value"] for each in readings([batch(1, *counted), batch(2, *counted)])) == 14


def test_a_tag_host_without_a_value_names_the_host_itself() -> None:
    """DogStatsD's clients send it to have no host; as "true" all hosts of a fleet would write over one another."""
    (hits,) = readings([batch(1, counter("hits", 1.0, host=""))])
    assert hits.tags == {"host": "web-1"}


def test_two_timers_that_are_one_add_up_and_show_the_slower_ones_percentiles() -> None:
    two = timer("lat", [1.0, 2.0]), timer("lat", [-6.0, 0.0, 10.0, 20.0], {"host": "web-1"})
    (lat,) = readings([batch(1, *two)])
    assert {stat: lat.stats[stat] for stat in ("count", "sum", "min", "max", "mean", "p50", "p99")} == pytest.approx(
        {"count": 6, "sum": 27.0, "min": -6.0, "max": 20.0, "mean": 4.5, "p50": 1.0, "p99": 20.0}
    )
    assert lat.sketch is not None and lat.sketch["zero"] == 1
    assert sum(weight for side in ("bins", "negative") for _, weight in lat.sketch[side]) == 5


@pytest.mark.parametrize("name", ["graphite", "datadog"])
def test_where_stamps_are_whole_seconds_a_stop_just_after_a_window_does_not_replace_it(name: str) -> None:
    """The window that the stop cut short ends in the next second; one of two with one stamp is what a server keeps."""
    whole, cut = batch(1, counter("hits", 1000.0), end=20.0), batch(2, counter("hits", 40.0), end=20.4)
    stamps = [
        {
            int(each)
            for each in re.findall(r"\b2[01]\b", text(KNOWN[name].encode([one], URLS.get(name, "https://h/x"), None)))
        }
        for one in (whole, cut)
    ]
    assert stamps == [{20}, {21}]


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

    def body(*points: Point) -> str:
        return text(protocol.encode([batch(1, *points)], url, None))

    for kind in ("counter", "gauge", "set", "timer", *sorted(NOTICES)):
        point = next(each for each in (*MIXED, *SAID) if each.type == kind)
        assert (body(MIXED[0]) == body(MIXED[0], point)) == (kind in protocol.TRAITS.leaves_out), kind
