"""Graphite's lines, and what the end of a connection means."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.exchange import NO_STATUS, Response
from shipper.outcome import Outcome
from shipper.protocols.graphite import encode, judge
from spool.batch import Point
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, gauge, timer

URL = "tcp://127.0.0.1:2003"
LINE = re.compile(r"(?P<path>[^\s;]+)(?P<tags>(?:;[^\s;!^=]+=[^\s;~][^\s;]*)*) (?P<value>\S+) (?P<at>\d+)")
"""As Graphite's documentation of tags has it."""


def lines(*points: Point) -> dict[str, float]:
    text = encode([batch(1, *points)], URL, None).body.decode()
    assert text.endswith("\n")
    found = [LINE.fullmatch(line) for line in text[:-1].split("\n")]
    assert all(each is not None and each["at"] == "1795000010" for each in found), text
    return {each["path"] + each["tags"]: float(each["value"]) for each in found if each}


def test_every_kind_of_point_becomes_the_paths_that_the_docstring_names() -> None:
    seen = lines(*MIXED)
    assert seen["stats.counters.api.hits.count;env=prod;host=web-1"] == 42
    assert seen["stats.gauges.queue_depth;canary=true;env=prod;host=web-1"] == -3.5
    assert seen["stats.sets.users.count;host=web-1"] == 7
    assert seen["stats.counters.holdfast.lines.count;host=web-1"] == 12
    assert seen["stats.timers.api.lat.p99;env=prod;host=web-1"] == 9
    assert seen["stats.timers.api.lat.count;env=prod;host=web-1"] == 3
    assert len(seen) == 4 + 10


def test_what_graphite_would_misread_is_changed() -> None:
    assert list(lines(Point("a;b c", "counter", {"name": "~x", "k=!": "v w"}, {"value": 1.0}))) == [
        "stats.counters.a_b_c.count;host=web-1;k__=v_w;name_=_x"
    ]
    stats = timer("t", [1.0]).values | {"p99.9": 1.0}
    assert "stats.timers.t.p99_9;host=web-1" in lines(Point("t", "timer", {}, stats))


def test_series_that_become_one_add_up_or_the_last_one_wins() -> None:
    counts = [counter("a b", 1.0), counter("a_b", 2.0), gauge("g;h", 1.0), gauge("g_h", 2.0)]
    timers = [timer("t", [1.0, 2.0], {"k": "x y"}), timer("t", [4.0], {"k": "x_y"})]
    body = encode([batch(1, *counts, *timers)], URL, None).body.decode()
    assert len(body.splitlines()) == 2 + 10, "one line for each path: Graphite keeps the last of them"
    seen = lines(*counts, *timers)
    assert seen["stats.counters.a_b.count;host=web-1"] == 3 and seen["stats.gauges.g_h;host=web-1"] == 2
    assert [seen[f"stats.timers.t.{stat};host=web-1;k=x_y"] for stat in ("count", "sum", "max")] == [3, 7, 4]


texts = st.text(min_size=1, max_size=8)


@given(name=texts, tags=st.dictionaries(texts, texts, max_size=3), value=st.floats(-1e300, 1e300))
def test_whatever_the_names_there_is_one_line_with_the_value(name: str, tags: dict[str, str], value: float) -> None:
    assert list(lines(Point(name, "gauge", tags, {"value": value})).values()) == [value]


def test_who_says_nothing_and_ends_has_read_it_and_who_speaks_is_not_graphite() -> None:
    batches = [batch(1, *MIXED)]
    assert judge(Response(NO_STATUS, {}, b""), batches).acknowledged == {batches[0].key}
    verdict = judge(Response(NO_STATUS, {}, b"HTTP/1.1 400 Bad Request"), batches)
    assert verdict.outcome is Outcome.RETRY and "is it the plaintext port?" in verdict.reason


@pytest.mark.parametrize("token", [None, "secret"])
def test_the_token_is_nowhere(token: str | None) -> None:
    request = encode([batch(1, *MIXED)], URL, token)
    assert b"secret" not in request.body and not request.headers


def test_a_service_check_is_a_path_of_its_latest_status_and_events_stay_behind() -> None:
    assert lines(*SAID) == {"stats.service_checks.db.up;host=web-1": 0.0}
