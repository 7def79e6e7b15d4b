"""Series over time: each value belongs to one series and one span, and nothing is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.series import Agg, rows_of, series_of


def row(ts: float, value: float, name: str = "a", **tags: str) -> dict[str, object]:
    return {"batch": 1, "ts": ts, "name": name, "type": "gauge", "tags": tags, "stat": "value", "value": value}


NEWEST_FIRST = [row(130.0, 8), row(120.0, 3), row(110.0, 5), row(70.0, 1), row(60.0, 9)]


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("avg", [9, 3, 8]), ("sum", [9, 9, 8]), ("rate", [0.15, 0.15, 8 / 60]), ("min", [9, 1, 8]),
        ("max", [9, 5, 8]), ("count", [1, 3, 1]), ("first", [9, 1, 8]), ("last", [9, 3, 8]),
    ],
)  # fmt: skip
def test_a_window_belongs_to_the_span_in_which_it_ends(way: str, expected: list[float]) -> None:
    (series,) = series_of(NEWEST_FIRST, Agg(60.0, way))
    assert [at for at, _ in series.values] == [60.0, 120.0, 180.0]
    assert [value for _, value in series.values] == pytest.approx(expected)


def test_series_differ_in_name_tags_and_statistic() -> None:
    rows = [row(1.0, 1), row(1.0, 2, env="x"), row(1.0, 3, "b"), row(2.0, 4), {**row(1.0, 5), "stat": "p99"}]
    found = {each.title: list(each.values) for each in series_of(rows)}
    assert found == {"a": [(1.0, 1), (2.0, 4)], "a env:x": [(1.0, 2)], "b": [(1.0, 3)], "a p99": [(1.0, 5)]}


def test_rows_are_newest_first() -> None:
    rows = rows_of(series_of(NEWEST_FIRST, Agg(60.0, "max")))
    assert rows[0] == {"ts": 180.0, "name": "a", "type": "gauge", "tags": {}, "stat": "value", "value": 8}
    assert [each["ts"] for each in rows] == [180.0, 120.0, 60.0]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-1000, 1000)), max_size=40), st.integers(1, 900))
def test_no_value_is_lost_or_counted_twice(values: list[tuple[int, int]], span_s: int) -> None:
    rows = [row(float(at), float(value)) for at, value in values]
    for way, whole in (("count", len(values)), ("sum", sum(value for _, value in values))):
        assert sum(each["value"] for each in rows_of(series_of(rows, Agg(span_s, way)))) == whole


def test_words_for_spans_and_ways() -> None:
    assert Agg.parsed("1h30m:rate") == Agg(5400.0, "rate")
    for wrong in ("1m", "1m:", ":avg", "avg", "0s:avg", "-1m:avg", "1m:p99", ""):
        with pytest.raises(ValueError, match=r"allowed is LENGTH:HOW.* avg, sum, rate,|allowed is a length|above 0"):
            Agg.parsed(wrong)
