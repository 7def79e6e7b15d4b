"""The distribution of a timer's values: exact while few, then a sketch with logarithmic buckets.

A `Distribution` holds values with weights (a sample taken at rate r weighs 1/r). Up to EXACT values
it is exact. A further one spills them all into buckets, of which bucket k counts the values in (g^(k-1),
g^k] with g = GAMMA, as in DDSketch (Masson, Rim, Lee, VLDB 2019). The middle 2 g^k / (g + 1) then stands for
each, which is at most (g - 1) / (g + 1) = 0.99 % away from any of them.

Promises: count, sum, min, max, mean and stddev stay exact (but for rounding); quantiles are exact up to
EXACT values and within 1 % of the true value after; memory is bounded (values within
statsd.MAX_VALUE have at most 12,700 buckets a side); the sketch that travels can be merged with any other of
the same gamma.

Does not promise a relative error for magnitudes below SMALLEST: they count as zero.

    {"gamma":1.02,"zero":1,"bins":[[17,2],[55,1]],"negative":[[3,1]]}
                       -            -- -                   - -
       values next to zero      bucket, weight        the same for -value; left out if empty
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import ceil, log
from operator import mul
from typing import Any

GAMMA = 1.02
EXACT = 1_024
SMALLEST = 1e-9

_LOG_GAMMA = math.log(GAMMA)


class Distribution:
    """Values with weights. Mutable: belongs to the window that is being filled."""

    __slots__ = ("_bins", "_count", "_high", "_low", "_mean", "_negative", "_squares", "_zero", "values", "weights")

    def __init__(self) -> None:
        self.values: list[float] = []  # not yet spilled; lists take a value in half the time of a dict
        self.weights: list[float] = []
        self._bins: dict[int, float] = {}
        self._negative: dict[int, float] = {}
        self._zero = 0.0
        self._count = self._mean = self._squares = 0.0  # moments of what was spilled
        self._low, self._high = math.inf, -math.inf

    def add(self, value: float, weight: float = 1.0) -> None:
        """Take one value that weighs `weight` > 0; both finite."""
        if len(self.values) == EXACT:
            self._spill()
        self.values.append(value)
        self.weights.append(weight)

    @property
    def exact(self) -> bool:
        """Whether quantiles are exact: nothing was spilled yet."""
        return not self._count

    def _moments(self) -> tuple[float, float, float]:
        """Count, mean and sum of squared deviations of everything (Chan, Golub, LeVeque 1979)."""
        weight = math.fsum(self.weights)
        if not weight:
            return self._count, self._mean, self._squares
        mean = math.fsum(map(mul, self.values, self.weights)) / weight
        squares = math.fsum((value - mean) ** 2 * each for value, each in zip(self.values, self.weights, strict=True))
        count, apart = self._count + weight, mean - self._mean
        return (
            count,
            self._mean + apart * weight / count,
            self._squares + squares + apart * apart * self._count * weight / count,
        )

    def _spill(self) -> None:
        self._count, self._mean, self._squares = self._moments()
        self._low, self._high = min(self._low, *self.values), max(self._high, *self.values)
        self._zero += _fill(self.values, self.weights, self._bins, self._negative)
        self.values, self.weights = [], []

    def summary(self, quantiles: Sequence[float]) -> dict[str, Any]:
        """The statistics of a timer's point: count, sum, min, max, mean, stddev, p50 ..., sketch.

        `count` is scaled by the sample rates; mean, stddev (of the population) and quantiles come from the
        values, each with its weight; `sum` is count * mean. The quantile q is the nearest rank: the smallest
        value such that values up to it weigh at least q of all. Raises ValueError if nothing was added.
        """
        count, mean, squares = self._moments()
        if not count:
            raise ValueError("a distribution without a value has no statistics")
        low = min(self._low, *self.values)
        high = max(self._high, *self.values)
        # Rounding can push a mean of equal values past them.
        mean = min(max(mean, low), high)
        bins, negative = dict(self._bins), dict(self._negative)
        zero = self._zero + _fill(self.values, self.weights, bins, negative)
        ranked = (
            sorted(zip(self.values, self.weights, strict=True))
            if self.exact
            else [(min(max(value, low), high), weight) for value, weight in _middles(bins, negative, zero)]
        )
        return {
            "count": _whole(count),
            "sum": count * mean,
            "min": low,
            "max": high,
            "mean": mean,
            "stddev": math.sqrt(max(squares, 0.0) / count),
            **dict(zip(map(quantile_name, quantiles), _ranks(ranked, quantiles), strict=True)),
            "sketch": _sketch(bins, negative, zero),
        }


@cache
def quantile_name(quantile: float) -> str:
    """0.5 -> p50, 0.99 -> p99, 0.999 -> p99.9."""
    return "p" + format(round(100 * quantile, 9), ".9f").rstrip("0").rstrip(".")


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The sketch of both sketches' values. Raises ValueError if their gammas differ."""
    if first["gamma"] != second["gamma"]:
        raise ValueError(f"sketches with gamma {first['gamma']} and {second['gamma']} cannot be merged")
    sides: dict[str, dict[int, float]] = {"bins": {}, "negative": {}}
    for sketch in (first, second):
        for side, bins in sides.items():
            for index, weight in sketch.get(side, ()):
                bins[index] = bins.get(index, 0.0) + weight
    return _sketch(sides["bins"], sides["negative"], float(first["zero"]) + second["zero"])


def quantile(sketch: Mapping[str, Any], q: float) -> float:
    """A quantile of the values in a sketch, within 1 %. Raises ValueError if there are none."""
    ranked = _middles(dict(sketch["bins"]), dict(sketch.get("negative", ())), sketch["zero"])
    if not ranked:
        raise ValueError("an empty sketch has no quantiles")
    return _ranks(ranked, [q])[0]


def _fill(
    values: Sequence[float], weights: Sequence[float], bins: dict[int, float], negative: dict[int, float]
) -> float:
    """Put values into their buckets; returns the weight of those next to zero."""
    zero = 0.0
    for value, weight in zip(values, weights, strict=True):
        size = abs(value)
        if size < SMALLEST:
            zero += weight
            continue
        index = ceil(log(size) / _LOG_GAMMA)
        side = bins if value > 0 else negative
        side[index] = side.get(index, 0.0) + weight
    return zero


def _middles(bins: Mapping[int, float], negative: Mapping[int, float], zero: float) -> list[tuple[float, float]]:
    middle = 2.0 / (GAMMA + 1.0)
    return [
        *((-middle * GAMMA**index, negative[index]) for index in sorted(negative, reverse=True)),
        *([(0.0, zero)] if zero else []),
        *((middle * GAMMA**index, bins[index]) for index in sorted(bins)),
    ]


def _ranks(ranked: Sequence[tuple[float, float]], quantiles: Sequence[float]) -> list[float]:
    """The values at these quantiles; `ranked` is (value, weight) in order of value, and not empty."""
    reached = list(accumulate(weight for _, weight in ranked))
    last = len(ranked) - 1
    # 0.07 * 100 is 7.000000000000001: rounding must not skip a rank.
    return [ranked[min(bisect_left(reached, q * reached[-1] * (1 - 1e-12)), last)][0] for q in quantiles]


def _sketch(bins: Mapping[int, float], negative: Mapping[int, float], zero: float) -> dict[str, Any]:
    sketch: dict[str, Any] = {"gamma": GAMMA, "zero": _whole(zero)}
    sketch["bins"] = [[index, _whole(bins[index])] for index in sorted(bins)]
    if negative:
        sketch["negative"] = [[index, _whole(negative[index])] for index in sorted(negative)]
    return sketch


def _whole(weight: float) -> int | float:
    """A weight as JSON has it: whole if it is, so that rates of 0.1 do not leave 29.999999999999996."""
    if weight.is_integer():
        return int(weight)
    rounded = round(weight, 6)
    return int(rounded) if rounded.is_integer() else rounded
