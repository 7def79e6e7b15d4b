"""The busiest names of a window: by what was counted per second, never by what a value happens to be."""

import pytest

from collector.admin.busiest import Name, as_object, ordered, screen, snapshot
from spool.batch import Point

NOW = 1_764_000_013.0


def row(seq=8841, lines=100, length_s=10.0, **more):
    end = 1_764_000_010.0
    counts = {"series": 4, "lines": lines, "accepted": lines, "rejected": 0, "dropped": 0, "overflowed": 0}
    return {"window_start": end - length_s, "window_end": end, "seq": seq, **counts, **more}


def timer(name, count, total, highest, **tags):
    return Point(name, "timer", tags, {"count": count, "sum": total, "max": highest})


POINTS = [
    Point("holdfast.lines", "counter", {}, {"value": 1e9}),
    Point("hits", "counter", {"host": "a"}, {"value": 100.0}),
    Point("hits", "counter", {"host": "b"}, {"value": 50.5}),
    timer("lat", 4, 8.0, 5.0, a="1"),
    timer("lat", 16, 12.0, 7.0, a="2"),
    Point("temp", "gauge", {}, {"value": 1e12}),
    Point("many", "gauge", {"a": "1"}, {"value": 1.0}),
    Point("many", "gauge", {"a": "2"}, {"value": 2.0}),
    Point("who", "set", {}, {"value": 12.0}),
]


def test_series_of_one_name_are_one_row_and_own_points_none():
    assert snapshot([row()], POINTS).names == [
        Name("hits", "counter", 2, 15.05, "150.5"),
        Name("lat", "timer", 2, 2.0, "mean 1  max 7"),
        Name("temp", "gauge", 1, None, "1,000,000,000,000"),
        Name("many", "gauge", 2, None, ""),
        Name("who", "set", 1, None, "12 distinct"),
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("rate", ["hits", "lat", "many", "temp", "who"]),
        ("series", ["hits", "lat", "many", "temp", "who"]),
        ("name", ["hits", "lat", "many", "temp", "who"]),
    ],
)
def test_the_most_come_first(by, names):
    assert [each.name for each in ordered(snapshot([row()], reversed(POINTS)).names, by)] == names


def test_a_rate_of_nothing_is_before_none_and_a_negative_one_is_not_the_busiest():
    names = [Name("g", "gauge", 9, None, ""), Name("zero", "counter", 1, 0.0, ""), Name("down", "counter", 1, -5.0, "")]
    assert [each.name for each in ordered(names, "rate")] == ["zero", "g", "down"]


def test_the_screen_says_what_is_lost_and_why():
    windows = [row(lines=1_000, rejected=60, dropped=7, overflowed=3), row(seq=8840, lines=20, length_s=0.5)]
    who = Point("holdfast.overflowed_by", "counter", {"prefix": "user.*"}, {"value": 3.0})
    shown = snapshot(windows, [*POINTS, who])
    beat = {"phase": "collecting", "at": NOW - 2, "windows_waiting": 1}
    text = "\n".join(screen(shown, {"no_value": 50, "bad_tag": 10}, beat, NOW))
    assert "seq 8841" in text and "3s ago" in text
    assert "100.0/s" in text and "rejected 6.0/s: no_value 5.0/s, bad_tag 1.0/s" in text
    assert "kernel 7" in text and "beyond max_series 3: user.* 3" in text
    assert "collecting, beat 2s ago   1 window waiting" in text
    assert "counter 2   gauge 3   set 1   timer 2" in text
    assert shown.recent == [40.0, 100.0]


def test_a_collector_without_a_heartbeat_is_told():
    assert "no heartbeat" in "\n".join(screen(snapshot([row()], []), {}, {}, NOW))


def test_the_object_for_machines_has_the_same_numbers():
    found = as_object(snapshot([row(rejected=6)], POINTS), {"no_value": 6}, {"windows_waiting": 2}, "rate", 2)
    assert found["window"] == {"start": 1_764_000_000.0, "end": 1_764_000_010.0, "seq": 8841}
    assert (found["rejected_by"], found["windows_waiting"]) == ({"no_value": 6}, 2)
    assert [each["name"] for each in found["names"]] == ["hits", "lat"]
    assert found["names"][0] == {"name": "hits", "type": "counter", "series": 2, "per_s": 15.05}
