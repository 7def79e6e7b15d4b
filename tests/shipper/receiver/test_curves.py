"""What a dot stands for: rates, means and extremes of several windows, and of several series."""

import pytest

from shipper.receiver.curves import HIGHEST, LOWEST, MEAN, PER_SECOND, Reading, Series, how, lines, shown

WEB, DB = Series(1, "web-1", "gauge", '{"env":"prod"}'), Series(2, "db-1", "gauge", '{"env":"prod"}')


@pytest.mark.parametrize(
    ("kind", "stat", "expected"),
    [
        ("counter", "value", PER_SECOND),
        ("timer", "count", PER_SECOND),
        ("timer", "sum", PER_SECOND),
        ("timer", "min", LOWEST),
        ("timer", "mean", MEAN),
        ("gauge", "value", MEAN),
        ("timer", "max", HIGHEST),
        ("timer", "p99", HIGHEST),
        ("set", "value", HIGHEST),
    ],
)
def test_one_number_stands_for_the_windows_of_a_step(kind, stat, expected) -> None:
    assert how(kind, stat) == expected
    reading = Reading(1, stat, 60.0, windows=6, sum=120.0, min=5.0, max=40.0)
    assert reading.value(expected, 60.0) == {PER_SECOND: 2.0, LOWEST: 5.0, MEAN: 20.0, HIGHEST: 40.0}[expected]


def test_of_a_timer_the_percentiles_are_shown_and_of_anything_what_was_asked() -> None:
    stats = ["count", "max", "mean", "p50", "p9", "p99.9", "sum"]
    assert shown(stats, "", 1) == ["p99.9", "p9"]
    assert shown(stats, "", 2) == ["p99.9"]
    assert shown(stats, "mean", 2) == ["mean"]
    assert shown(["count", "p99"], "p50", 1) == ["p99"]
    assert shown(["value"], "", 5) == ["value"]
    assert shown(["count", "sum"], "", 1) == ["count"]
    assert shown([], "p99", 1) == []


def read(series, at, value, stat="value"):
    return Reading(series, stat, at, 1, value, value, value)


def test_several_series_become_a_line_each_those_that_reach_highest_first() -> None:
    found = lines([read(1, 10, 1.0), read(2, 10, 5.0), read(1, 20, 2.0)], [WEB, DB], 10)
    assert [(line.label, line.dots) for line in found] == [
        ("db-1", [(10, 5.0)]),
        ("web-1", [(10, 1.0), (20, 2.0)]),
    ]


def test_several_series_become_one_line_of_their_sums_or_the_highest() -> None:
    readings = [read(1, 10, 1.0), read(2, 10, 5.0), read(1, 20, 2.0)]
    [total] = lines(readings, [WEB, DB], 10, "sum")
    assert (total.label, total.dots) == ("sum of 2 series", [(10, 6.0), (20, 2.0)])
    [highest] = lines(readings, [WEB, DB], 10, "max")
    assert (highest.label, highest.dots) == ("highest of 2 series", [(10, 5.0), (20, 2.0)])


def test_a_line_is_named_by_what_tells_it_from_the_others() -> None:
    other = Series(3, "web-1", "gauge", '{"canary":"","env":"test"}')
    by_tags = lines([read(1, 10, 2.0), read(3, 10, 1.0)], [WEB, other], 10)
    assert [line.label for line in by_tags] == ["env=prod", "canary, env=test"]
    by_stat = lines([read(1, 10, 2.0, "p99"), read(1, 10, 1.0, "p50")], [WEB], 10)
    assert [line.label for line in by_stat] == ["p99", "p50"]
    assert [line.label for line in lines([read(1, 10, 1.0)], [WEB], 10)] == ["web-1"]
