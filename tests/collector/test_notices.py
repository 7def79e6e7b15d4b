"""Events and service checks: what their lines mean, and what a window keeps of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.notices import Notice, Notices
from collector.rules import MOST_NOTICE_BYTES, MOST_NOTICES, Reason, Rejection
from collector.statsd import parse
from spool.batch import MAX_POINTS, Point


def test_an_event_keeps_its_text_its_tags_and_its_fields():
    line = "_e{7,8}:d\u00e9ploy|a|b\\nc\\n|d:17|p:low|t:warning|s:ci|k:x|h:web-2|c:in-1|#env:prod".encode()
    assert parse(line) == Notice(
        "event",
        "d\u00e9ploy",
        "a|b\nc\n",
        (("env", "prod"), ("host", "web-2")),
        17,
        (("aggregation_key", "x"), ("alert", "warning"), ("priority", "low"), ("source", "ci")),
    )


@pytest.mark.parametrize("line", [b"_e{1,2}:a|b ", b"_e{1,2}:a|b \r\n", b"  _e{1,2}:a|b  ", b"_e{1,2}:a|b |#"])
def test_the_text_of_an_event_may_end_in_a_space(line):
    assert parse(line) == Notice("event", "a", "b ")


def test_a_service_check_keeps_its_status_and_its_text():
    assert parse(b"_sc|db.up|2|d:17|h:web-1|#a:b|m:no answer\\nfor m\\: 5 s") == Notice(
        "service_check", "db.up", 2, (("a", "b"), ("host", "web-1")), 17, (("text", "no answer\nfor m: 5 s"),)
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"_e{5,4}:abc|d", Reason.BAD_EVENT),
        (b"_e{x,4}:abc|d", Reason.BAD_EVENT),
        (b"_e{0,1}:|d", Reason.BAD_EVENT),
        (b"_e{1,1}:a|bc", Reason.BAD_EVENT),
        (b"_e{1,1}:a|b|#:x", Reason.BAD_TAG),
        (b"_e{99999999999999999999,1}:a|b", Reason.BAD_EVENT),
        ("_e{1,1}:\u00e9|b".encode(), Reason.BAD_EVENT),
        (b"_e{14,1}:holdfast.lines|b", Reason.RESERVED_NAME),
        (b"_sc|db|7", Reason.BAD_CHECK),
        (b"_sc|db", Reason.BAD_CHECK),
        (b"_sc||0", Reason.BAD_CHECK),
        (b"_sc|holdfast.lines|0", Reason.RESERVED_NAME),
        (b"_sc|" + b"x" * 1025 + b"|0", Reason.NAME_TOO_LONG),
    ],
)
def test_a_bad_one_is_rejected_with_the_rule_that_it_broke(line, reason):
    parsed = parse(line)
    assert isinstance(parsed, Rejection)
    assert parsed.reason is reason


def test_points_say_what_was_said_how_often_and_the_latest_last():
    kept = Notices()
    for line in (b"_sc|db|0", b"_e{1,2}:a|bc|d:17|t:error|#k:v", b"_sc|db|2|m:gone", b"_sc|db|0"):
        assert kept.take(parse(line))
    assert kept.points() == [
        Point("a", "event", {"k": "v"}, {"count": 1, "fields": {"text": "bc", "timestamp": 17, "alert": "error"}}),
        Point("db", "service_check", {}, {"count": 1, "value": 2, "fields": {"text": "gone"}}),
        Point("db", "service_check", {}, {"count": 2, "value": 0, "fields": {}}),
    ]


def test_different_ones_are_bounded_in_number_and_the_same_one_is_not():
    kept = Notices()
    taken = [kept.take(Notice("event", f"n{n}", "x")) for n in range(MOST_NOTICES + 5)]
    assert taken == [True] * MOST_NOTICES + [False] * 5
    assert kept.take(Notice("event", "n0", "x"))
    assert len(kept.points()) == MOST_NOTICES
    assert MOST_NOTICES < MAX_POINTS - 500, "all of a window, and the collector's own points, are in one batch"


@given(st.integers(1, 8_000))
def test_their_words_are_bounded_together(length):
    kept = Notices()
    taken = sum(kept.take(Notice("event", f"n{n}", "\u00e9" * (length // 2))) for n in range(MOST_NOTICES))
    assert taken * (length + 200) <= MOST_NOTICE_BYTES + 4_096 * taken
    assert taken == MOST_NOTICES or (taken + 1) * (length + 210) > MOST_NOTICE_BYTES
