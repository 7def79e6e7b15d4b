"""How long the shipper waits."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.backoff import asked_wait_s, probe_wait_s, retry_after_s, wait_s

NOW = 1_795_000_000.0


@pytest.mark.parametrize(("failures", "most_s"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60), (10**6, 60)])
def test_the_ceiling_doubles_from_one_second_to_sixty(failures: int, most_s: float) -> None:
    assert wait_s(failures, 1.0) == most_s


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_jitter_is_full_so_that_a_fleet_spreads(failures: int, draw: float) -> None:
    assert wait_s(failures, draw) == pytest.approx(draw * wait_s(failures, 1.0))


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 59))
def test_an_attempt_and_the_wait_after_it_take_a_minute_at_most(failures: int, draw: float, took_s: float) -> None:
    assert took_s + wait_s(failures, draw, took_s) <= 60.000001


@pytest.mark.parametrize("took_s", [59.5, 60, 600])
def test_after_an_attempt_as_long_as_that_the_wait_is_a_second_at_most(took_s: float) -> None:
    assert wait_s(50, 0.5, took_s) == 0.5


def test_a_parked_destination_is_probed_in_every_minute_and_a_fleet_not_in_one_second() -> None:
    assert (probe_wait_s(0.0), probe_wait_s(1.0)) == (20.0, 40.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1000000000", 1e9),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 4096, None),
        (None, None),
        ("Mon, 23 Nov 2026 14:00:00 GMT", 1795442400 - NOW),
        ("Monday, 23-Nov-26 14:00:00 GMT", 1795442400 - NOW),
        ("Mon Nov 23 14:00:00 2026", 1795442400 - NOW),
        ("Mon, 99 Nov 2026 14:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_ignored_in_every_other(
    value: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # dates are in GMT, wherever this host is
    time.tzset()
    try:
        assert retry_after_s(value, NOW) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(-1e12, 1e12), st.floats(0, 1, exclude_max=True))
def test_no_server_can_stop_us_for_longer_than_a_quarter_of_an_hour(asked: float, draw: float) -> None:
    assert 1.0 <= asked_wait_s(asked, draw) <= 900 * 1.1
