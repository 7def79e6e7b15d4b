"""Quantiles: exact while few, within one percent after, and mergeable."""

import json
import math
from functools import reduce
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.sketch import EXACT, SMALLEST, Distribution, merge, quantile, quantile_name

values = st.lists(
    st.floats(-1e100, 1e100, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-8), min_size=1, max_size=60
)


def distribution(numbers, weight=1.0):
    made = Distribution()
    for each in numbers:
        made.add(each, weight)
    return made


def nearest_rank(numbers, q):
    return sorted(numbers)[math.ceil(q * len(numbers) - 1e-9) - 1]


def test_the_example_of_the_design():
    summary = distribution([1.0, 2.5, 9.0]).summary([0.5, 0.9, 0.95, 0.99])
    assert (summary["count"], summary["sum"], summary["min"], summary["max"]) == (3, 12.5, 1.0, 9.0)
    assert summary["mean"] == pytest.approx(4.1667, abs=1e-4)
    assert summary["stddev"] == pytest.approx(3.472, abs=1e-3)
    assert [summary[p] for p in ("p50", "p90", "p95", "p99")] == [2.5, 9.0, 9.0, 9.0]
    assert summary["sketch"] == {"gamma": 1.02, "zero": 0, "bins": [[0, 1], [47, 1], [111, 1]]}


def test_values_count_as_zero_that_are_smaller_than_the_smallest_and_not_the_smallest():
    near = [math.nextafter(SMALLEST, 0), -math.nextafter(SMALLEST, 0), 0.0]
    sketch = distribution([-SMALLEST, -1.0, *near, SMALLEST, 1.0]).summary([])["sketch"]
    (smallest, _), _ = sketch["bins"]
    assert sketch == {
        "gamma": 1.02,
        "zero": 3,
        "bins": [[smallest, 1], [0, 1]],
        "negative": [[smallest, 1], [0, 1]],
    }


@pytest.mark.parametrize(("q", "name"), [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (0.07, "p7")])
def test_a_quantile_is_named_by_its_percent(q, name):
    assert quantile_name(q) == name


def test_a_rate_scales_count_and_sum_but_neither_mean_nor_quantiles():
    summary = distribution([10.0, 20.0], weight=1 / 0.1).summary([0.5])
    assert (summary["count"], summary["sum"], summary["mean"], summary["p50"]) == (20, 300.0, 15.0, 10.0)


@given(values, st.sampled_from([0.01, 0.07, 0.5, 0.9, 0.99]))
def test_few_values_have_exact_statistics(numbers, q):
    summary = distribution(numbers).summary([q])
    assert summary[quantile_name(q)] == nearest_rank(numbers, q)
    assert summary["count"] == len(numbers)
    assert summary["sum"] == pytest.approx(math.fsum(numbers), rel=1e-9, abs=1e-9 * max(map(abs, numbers)))
    assert summary["min"] == min(numbers)
    assert summary["max"] == max(numbers)
    assert all(math.isfinite(each) for key, each in summary.items() if key != "sketch")


def error(seen, true):
    return abs(seen - true) / abs(true) if true else abs(seen)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from(["lognormal", "uniform", "both signs"]))
def test_many_values_stay_within_one_percent_and_keep_exact_moments(seed, shape):
    random = Random(seed)
    draw = {
        "lognormal": lambda: random.lognormvariate(3, 2),
        "uniform": lambda: random.uniform(1, 1000),
        "both signs": lambda: random.gauss(0, 100) or 1.0,
    }[shape]
    numbers = [draw() for _ in range(3 * EXACT + 17)]
    made = distribution(numbers)
    assert not made.exact
    summary = made.summary([0.01, 0.5, 0.9, 0.99])
    for q in (0.01, 0.5, 0.9, 0.99):
        assert error(summary[quantile_name(q)], nearest_rank(numbers, q)) <= 0.01
    mean = math.fsum(numbers) / len(numbers)
    assert summary["count"] == len(numbers)
    assert summary["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert summary["stddev"] == pytest.approx(
        math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / len(numbers)), rel=1e-9
    )
    assert (summary["min"], summary["max"]) == (min(numbers), max(numbers))


@given(values, values)
def test_a_merge_is_the_sketch_of_all_values(first, second):
    sketches = [distribution(numbers).summary([])["sketch"] for numbers in (first, second, first + second)]
    assert merge(sketches[0], sketches[1]) == sketches[2]


@given(values, st.sampled_from([0.1, 0.5, 0.99]))
def test_a_quantile_read_from_a_sketch_is_within_one_percent(numbers, q):
    sketch = distribution(numbers).summary([])["sketch"]
    assert error(quantile(sketch, q), nearest_rank(numbers, q)) <= 0.01


def test_sketches_of_different_gamma_are_not_merged():
    with pytest.raises(ValueError, match="gamma"):
        merge({"gamma": 1.02, "zero": 0, "bins": []}, {"gamma": 1.05, "zero": 0, "bins": []})


def test_memory_is_bounded_however_many_values_come():
    made = distribution(1.0 + n / 1000 for n in range(50_000))
    assert len(made.values) <= EXACT
    assert len(made.summary([])["sketch"]["bins"]) < 250


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5))
def test_windows_and_hosts_merge_to_quantiles_within_one_percent(seed, hosts, windows):
    """Some of them exact, some beyond it; the sketches as they travel."""
    random = Random(seed)
    sizes = [random.choice([1, 50, EXACT, 2 * EXACT + 3]) for _ in range(hosts * windows)]
    parts = [[random.lognormvariate(random.uniform(0, 5), 1) for _ in range(size)] for size in sizes]
    sketches = [json.loads(json.dumps(distribution(each).summary([])["sketch"])) for each in parts]
    of_hosts = [reduce(merge, sketches[host * windows : (host + 1) * windows]) for host in range(hosts)]
    merged, everything = reduce(merge, of_hosts), [value for part in parts for value in part]
    assert merged == reduce(merge, reversed(sketches))
    for q in (0.01, 0.5, 0.9, 0.99, 0.999):
        assert error(quantile(merged, q), nearest_rank(everything, q)) <= 0.01
