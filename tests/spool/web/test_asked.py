"""The address of the page: every word is optional, a wrong one is named, and asking again keeps the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.series import Agg
from spool.web.asked import WORDS, asked

NOW = 1_764_000_000.0


def test_nothing_asked_is_the_last_six_hours() -> None:
    found = asked({}, NOW)
    assert found.bounds == (NOW - 6 * 3600, NOW)
    assert found.problems == () and found.name == "" and found.aggregation is None


def test_a_metric_is_asked_for_as_on_the_command_line() -> None:
    words = {
        "since": "2h",
        "until": "1h",
        "name": " api.* ",
        "stat": "p50, p99",
        "tags": "env:prod,canary",
        "agg": "1m:max",
    }
    found = asked(words, NOW)
    assert found.bounds == (NOW - 7200, NOW - 3600)
    assert (found.wanted.name, found.wanted.tags) == ("api.*", {"env": "prod", "canary": ""})
    assert found.stats == {"p50", "p99"}
    assert found.aggregation == Agg(60.0, "max")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"since": "<b>"}, "since: '<b>'"),
        ({"until": "someday"}, "until: 'someday'"),
        ({"since": "1h", "until": "2h"}, "since '1h': is not before until '2h'"),
        ({"agg": "1m:median"}, "agg: '1m:median'"),
        ({"refresh": "0"}, "refresh '0'"),
    ],
)
def test_what_is_wrong_is_named_and_counts_as_missing(words, named) -> None:
    found = asked(words, NOW)
    assert found.problems[0].startswith(named)
    assert found.bounds[0] < found.bounds[1]
    assert found.aggregation is None and found.refresh == ""


@given(st.dictionaries(st.sampled_from(WORDS), st.text(max_size=12)))
def test_whatever_is_asked_there_is_a_time_to_show(words) -> None:
    low, high = asked(words, NOW).bounds
    assert low < high


def test_the_address_of_a_change_keeps_the_rest() -> None:
    address = asked({"since": "1d", "name": "a&b", "refresh": "30"}, NOW).address(since="1h", refresh="")
    assert address == "?since=1h&name=a%26b"
