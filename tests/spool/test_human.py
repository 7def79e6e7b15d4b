"""Numbers for people."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.human import ago, amount, clock, counted, moment, size, span, sparkline


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0, "0 B"),
        (900, "900 B"),
        (1024, "1.0 KiB"),
        (1_468_006, "1.4 MiB"),
        (1023.99 * 1024, "1.0 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes_have_binary_units(given: float, text: str) -> None:
    assert size(given) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (4.4, "4s"),
        (59.6, "1m"),
        (333, "5m33s"),
        (13_320, "3h42m"),
        (529_200, "6d03h"),
        (86_400, "1d"),
        (-4, "-4s"),
    ],
)
def test_lengths_show_their_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_instants_of_another_day_carry_their_date() -> None:
    now = datetime(2026, 11, 23, 14, 0, tzinfo=UTC).timestamp()
    assert clock(now - 60, now, UTC) == "13:59:00"
    assert clock(now - 86_400, now, UTC) == "2026-11-22 14:00:00"
    assert moment(now - 60, now, UTC) == "13:59"
    assert moment(now - 5, now, UTC) == "13:59:55"
    assert moment(now - 86_400, now, UTC) == "22 Nov 14:00"
    assert ago(None, now) == "never"


@pytest.mark.parametrize("at", [1e300, -1e300, 9e18, -62_135_596_801.0, 253_402_300_800.0])
def test_an_instant_that_no_calendar_holds_is_a_number(at: float) -> None:
    assert clock(at, 0.0, UTC) == moment(at, 0.0, UTC) == f"@{at:.10g}"


def test_one_is_not_many() -> None:
    assert (counted(1, "batch", "batches"), counted(2_000, "batch", "batches")) == ("1 batch", "2,000 batches")


def test_a_spike_stays_visible_however_narrow_the_picture() -> None:
    assert sparkline([0] * 50 + [9] + [0] * 9, 6) == "▁▁▁▁▁█"


@given(st.lists(st.integers(0, 10**9), max_size=200), st.integers(1, 40))
def test_a_picture_is_never_wider_than_asked(values: list[int], width: int) -> None:
    assert len(sparkline(values, width)) <= min(width, len(values))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.0032, "0.0032"),
        (12.5, "12.5"),
        (1_250, "1,250"),
        (41_800.4, "41,800"),
        (3_100_000, "3.1 M"),
        (-2_250_000_000, "-2.25 G"),
        (5e12, "5 T"),
        (1e300, "1e+300"),
    ],
)
def test_any_number_is_told_to_four_digits(number: float, text: str) -> None:
    assert amount(number) == text
