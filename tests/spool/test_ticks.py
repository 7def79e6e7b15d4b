"""Marks of an axis: round, few, and where the values are."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.ticks import instants, numbers, round_s, spans


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 870, [0, 200, 400, 600, 800, 1000]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 3, [-4, -2, 0, 2, 4]),
        (101, 109, [100, 102, 104, 106, 108, 110]),
    ],
)
def test_numbers_are_round_and_reach_around_the_values(low, high, expected) -> None:
    assert numbers(low, high) == pytest.approx(expected)


finite = st.floats(-1e12, 1e12)


@given(finite, finite)
def test_marks_are_few_even_and_cover_what_they_are_for(one, other) -> None:
    low, high = min(one, other), max(one, other)
    if low == high:
        high = low + 1.0
    for marks in (numbers(low, high), spans(low, high)):
        assert 2 <= len(marks) <= 7
        slack = 1e-9 * max(abs(low), abs(high))
        assert marks[0] <= low + slack and marks[-1] >= high - slack
        assert all(after > before for before, after in pairwise(marks))


@given(st.floats(0, 5e-324) | st.floats(1e300, 1.7e308))
def test_no_range_is_too_narrow_or_too_wide(high) -> None:
    assert len(numbers(-high, high or 5e-324)) >= 2


def test_lengths_of_time_are_those_of_a_clock() -> None:
    assert spans(0, 5_000) == [0, 1200, 2400, 3600, 4800, 6000]
    assert spans(0, 3) == numbers(0, 3)
    assert (round_s(61), round_s(86_401)) == (120, 86_400)


def test_instants_are_round_on_the_clock_of_the_zone() -> None:
    begin = datetime(2026, 11, 23, 11, 50, tzinfo=UTC).timestamp()
    assert [f"{datetime.fromtimestamp(each, UTC):%H:%M}" for each in instants(begin, begin + 3600, zone=UTC)] == [
        f"{at // 60:02}:{at % 60:02}" for at in range(710, 771, 10)
    ]
    kathmandu = ZoneInfo("Asia/Kathmandu")  # UTC+05:45
    marks = instants(begin, begin + 86_400, zone=kathmandu)
    assert {datetime.fromtimestamp(each, kathmandu).minute for each in marks} == {0}
    assert all(begin <= each <= begin + 86_400 for each in marks)


@given(st.floats(0, 2e9), st.floats(1, 1e8))
def test_instants_are_few_and_within(begin, length) -> None:
    marks = instants(begin, begin + length, zone=UTC)
    assert len(marks) <= 8
    assert all(begin - 1e-3 <= each <= begin + length + 1e-3 for each in marks)
