"""The words for an instant: a table, and round trips over what hypothesis thinks of."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.timewords import ALLOWED, instant

NOW = datetime(2026, 11, 23, 14, 30, 0, tzinfo=UTC).timestamp()
EAST = timezone(timedelta(hours=9))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("now", NOW),
        ("2h", NOW - 7200),
        ("-1h", NOW - 3600),
        ("+1h", NOW + 3600),
        ("1h30m", NOW - 5400),
        ("1h 30 min", NOW - 5400),
        ("90s", NOW - 90),
        ("1.5h", NOW - 5400),
        ("3 days ago", NOW - 259_200),
        ("1 hour ago", NOW - 3600),
        ("2w", NOW - 1_209_600),
        ("1 month 2 minutes", NOW - 30.44 * 86_400 - 120),
        ("1month2m", NOW - 30.44 * 86_400 - 120),
        ("1y", NOW - 365.25 * 86_400),
        ("today", at("2026-11-23")),
        ("yesterday", at("2026-11-22")),
        ("Yesterday 18:00", at("2026-11-22 18:00")),
        ("tomorrow", at("2026-11-24")),
        ("08:00", at("2026-11-23 08:00")),
        ("8:00", at("2026-11-23 08:00")),
        ("08:00:30", at("2026-11-23 08:00:30")),
        ("2026-11-20", at("2026-11-20")),
        ("2026-11-23 08:00", at("2026-11-23 08:00")),
        ("2026-11-23T08:00:01.5", at("2026-11-23 08:00:01.500")),
        ("2026-11-23T08:00Z", at("2026-11-23 08:00")),
        ("2026-11-23T08:00+01:00", at("2026-11-23 07:00")),
        ("@1764000000", 1_764_000_000.0),
    ],
)
def test_words_name_the_instants_that_journalctl_gives_them(words: str, expected: float) -> None:
    assert instant(words, NOW, UTC) == expected


def test_clock_times_are_in_the_zone_given_and_lengths_are_not() -> None:
    assert instant("2026-11-23 08:00", NOW, EAST) == at("2026-11-22 23:00")
    assert instant("today", NOW, EAST) == at("2026-11-22 15:00")
    assert instant("2h", NOW, EAST) == NOW - 7200
    assert instant("2026-11-23T08:00Z", NOW, EAST) == at("2026-11-23 08:00")


@pytest.mark.parametrize(
    "words",
    ["", "2", "h", "2 fortnights", "yesterday noon", "25:00", "2026-13-01", "@", "@nan", "@1e30", "9" * 400 + "d"],
)
def test_other_words_are_refused_with_what_is_allowed(words: str) -> None:
    with pytest.raises(ValueError, match="allowed is") as caught:
        instant(words, NOW, UTC)
    assert ALLOWED in str(caught.value)


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_an_iso_instant_comes_back(moment: datetime) -> None:
    assert instant(moment.isoformat(), NOW, UTC) == moment.timestamp()


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 59))
def test_lengths_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert instant(f"{hours}h{minutes}m {seconds} sec", NOW, UTC) == NOW - hours * 3600 - minutes * 60 - seconds


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_value_error(words: str) -> None:
    try:
        instant(words, NOW, UTC)
    except ValueError:
        pass
