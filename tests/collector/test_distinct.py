"""Sets: exact while few, estimated after, and merged over windows and hosts."""

import json
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.distinct import EXACT, Distinct, count, merge

ERROR = 3 * 0.0081
"""Three standard errors: what is drawn here is always the same, so it does not fail by chance."""


def seen(members):
    made = Distinct()
    for each in members:
        made.add(f"user-{each}")
    return made


def off(estimated, true):
    return abs(estimated - true) / true


def test_a_small_set_is_counted_exactly_and_repeats_do_not_count():
    made = seen([*range(EXACT), *range(EXACT)])
    assert made.count() == EXACT


def test_a_large_set_is_estimated_within_three_standard_errors():
    made = seen(range(60_000))
    assert off(made.count(), 60_000) < ERROR
    assert not made.members
    before = made.count()
    made.add("user-1")
    assert made.count() == before


@pytest.mark.parametrize("members", [0, 1, 2, 10, 100, 1_000, 2_500, 9_999, 40_000])
def test_the_sketch_that_travels_counts_sets_of_every_size(members):
    sketch = json.loads(json.dumps(seen(range(members)).summary()["sketch"]))
    assert count(sketch) == members if members <= 10 else off(count(sketch), members) < ERROR
    assert len(json.dumps(sketch)) < 33_000


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 3_000)), min_size=1, max_size=6))
def test_windows_and_hosts_merge_to_the_sketch_of_all_members(spans):
    """Whatever the order: the same as if one host had seen everything in one window."""
    members = [range(first, first + length) for first, length in spans]
    sketches = [seen(each).summary()["sketch"] for each in members]
    everyone = set().union(*members)
    whole = seen(everyone)
    assert reduce(merge, sketches) == reduce(merge, reversed(sketches)) == whole.summary()["sketch"]
    assert not everyone or off(count(reduce(merge, sketches)), len(everyone)) < ERROR
    united = Distinct()
    for each in members:
        united.merge(seen(each))
    assert united.count() == whole.count()


def test_sets_beyond_the_exact_unite_with_those_that_are_not():
    for first, second in (
        (range(EXACT + 5), range(500)),
        (range(500), range(400, 2 * EXACT)),
        (range(0), range(EXACT + 1)),
    ):
        united = seen(first)
        united.merge(seen(second))
        assert united.summary() == seen({*first, *second}).summary()


@pytest.mark.parametrize(
    "sketch",
    [
        {},
        {"bits": 12, "ranks": []},
        {"bits": 14},
        {"bits": 14, "ranks": [[16_384, 1]]},
        {"bits": 14, "ranks": [[1, 99]]},
    ],
)
def test_what_is_no_sketch_of_a_set_is_refused(sketch):
    with pytest.raises(ValueError, match="a sketch of a set has"):
        merge(sketch, seen([1]).summary()["sketch"])
