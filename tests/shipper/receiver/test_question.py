"""Addresses of charts: every part is understood, and nothing that somebody types is more than a sentence of trouble."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.receiver.curves import Series
from shipper.receiver.question import EACH, SPANS, STEPS_MOST, Question, choose
from shipper.receiver.question import asked as asked_in_words
from spool.timewords import length_s

NOW = 1_764_000_000.0


def asked(query: str, now: float, zone=None) -> Question:
    return asked_in_words(dict(parse_qsl(query, errors="replace")), now, zone)


def test_every_part_of_an_address_is_understood() -> None:
    question = asked(
        "name=api.lat&host=web-1&tag:env=%3Dprod&tag:x=%3D&tag:y=&stat=p99&each=max&span=6h&until=yesterday+18:00",
        NOW,
        UTC,
    )
    assert (question.name, question.host, question.stat, question.each) == ("api.lat", "web-1", "p99", "max")
    assert dict(question.tags) == {"env": "prod", "x": ""}
    assert datetime.fromtimestamp(question.until_at, UTC).isoformat() == "2025-11-23T18:00:00+00:00"
    assert question.until_at - question.since_at == 6 * 3600
    assert question.trouble == ""


def test_nothing_asked_is_the_last_hour() -> None:
    question = asked("", NOW)
    assert (question.since_at, question.until_at) == (NOW - 3600, NOW)


def test_a_time_that_is_not_understood_is_said_and_the_last_hour_is_shown() -> None:
    question = asked("until=noonish", NOW)
    assert question.until_at == NOW
    assert "'noonish': allowed is" in question.trouble


keys = st.sampled_from(["name", "search", "host", "type", "tag:", "tag:x", "stat", "each", "span", "until"])


@settings(deadline=None)
@given(
    st.dictionaries(keys, st.text(max_size=30) | st.sampled_from(["@-1", "@1e999", "@nan", "9999-12-31", "=", "now"]))
)
def test_any_words_at_all_can_be_asked(words) -> None:
    question = asked_in_words(words, NOW)
    assert 0 <= question.until_at <= NOW
    assert question.span in SPANS and question.each in EACH


@pytest.mark.parametrize("window_s", [0.0, 1.0, 7.0, 10.0, 15.0, 60.0, 300.0, 5_000.0])
@pytest.mark.parametrize("span", SPANS)
def test_a_step_holds_whole_windows_and_a_chart_a_bounded_number_of_steps(span, window_s) -> None:
    step = asked(f"span={span}", NOW).step_s(window_s)
    assert step >= window_s
    assert not window_s or step % window_s == 0
    assert length_s(span) / step <= STEPS_MOST


SERIES = [
    Series(1, "web-1", "counter", '{"env":"prod"}'),
    Series(2, "web-2", "counter", '{"env":"test"}'),
    Series(3, "web-1", "timer", '{"env":"prod","x":1}'),
]


def test_the_series_asked_for_are_chosen_by_type_host_and_tags() -> None:
    def chosen(query):
        return [each.id for each in choose(asked(query, NOW), SERIES).chosen]

    assert chosen("name=a") == [1, 2]
    assert chosen("name=a&host=web-2") == [2]
    assert chosen("name=a&tag:env=%3Dprod") == [1]
    assert chosen("name=a&type=timer&tag:env=%3Dprod") == [3]
    assert chosen("name=a&type=timer&tag:x=%3D1") == []
    assert choose(asked("name=a", NOW), []).type == ""


def test_counters_are_added_up_and_all_else_is_drawn_as_lines() -> None:
    assert choose(asked("name=a", NOW), SERIES).together == "sum"
    assert choose(asked("name=a&type=timer", NOW), SERIES).together == "line"
    assert choose(asked("name=a&each=line", NOW), SERIES).together == "line"
