"""The distribution of a timer's values: exact while few, then a sketch with logarithmic buckets.

A `Distribution` holds values with weights (a sample taken at rate r weighs 1/r). Up to EXACT values
it is exact. A further one spills them all into buckets, of which bucket k counts the values in (g^(k-1),
g^k] with g = GAMMA, as in DDSketch (Masson, Rim, Lee, VLDB 2019). The middle 2 g^k / (g + 1) then stands for
each, which is at most (g - 1) / (g + 1) = 0.99 % away from any of them.

Promises: count, sum, min, max, mean and stddev stay exact (but for rounding); quantiles are exact up to
EXACT values and within 1 % of the true value after; memory is bounded (values within
rules.MAX_VALUE have at most 12,700 buckets a side); the sketch that travels can be merged with any other of
the same gamma.

Does not promise a relative error for magnitudes below SMALLEST: they count as zero.

    {"gamma":1.02,"zero":1,"bins":[[17,2],[55,1]],"negative":[[3,1]]}
                       -            -- -                   - -
       values next to zero      bucket, weight        the same for -value; left out if empty
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate, repeat
from math import ceil, log2
from operator import mul
from typing import Any

GAMMA = 1.02
EXACT = 1_024
SMALLEST = 1e-9
_PER_DOUBLING = 1.0 / log2(GAMMA)
"""Buckets from a value to its double."""


_ALMOST_1 = 1 - 1e-12  # 0.07 * 100 is 7.000000000000001: rounding must not skip a rank


class Distribution:
    """Values with weights. Mutable: belongs to the window that is being filled.

    Values that weigh 1 lie in `values`, which others may append to while it has fewer than EXACT; `add` takes any.
    EXACT is for these and for those of other weights apart.
    """

    __slots__ = ("_spilled", "_weighted", "_weights", "values")

    def __init__(self) -> None:
        self.values: list[float] = []  # not yet spilled; lists take a value in half the time of a dict
        self._weighted: list[float] = []  # the same of those that weigh something else
        self._weights: list[float] = []
        self._spilled: _Spilled | None = None

    def add(self, value: float, weight: float = 1.0) -> None:
        """Take one value that weighs `weight` > 0; both finite."""
        if len(self.values if weight == 1.0 else self._weighted) >= EXACT:
            self._spill()
        if weight == 1.0:
            self.values.append(value)
        else:
            self._weighted.append(value)
            self._weights.append(weight)

    def merge(self, other: "Distribution") -> None:
        """Take all that another has taken, as if its values had come here; it is not to be used any more."""
        if other._spilled is not None:
            self._spilled = (self._spilled or _Spilled()).merged(other._spilled)
        if len(self.values) + len(other.values) > EXACT or len(self._weighted) + len(other._weighted) > EXACT:
            self._spill()
        self.values += other.values
        self._weighted += other._weighted
        self._weights += other._weights

    def kept(self) -> tuple[list[float], list[float], list[float], list[Any] | None]:
        """All that it is made of, for `of`: values, weighted ones, their weights; what was spilled, as JSON has it."""
        spilled = None if self._spilled is None else self._spilled.as_json()
        return self.values, self._weighted, self._weights, spilled

    @classmethod
    def of(
        cls, values: list[float], weighted: list[float], weights: list[float], spilled: list[Any] | None
    ) -> "Distribution":
        """What `kept` is of."""
        made = cls()
        made.values, made._weighted, made._weights = values, weighted, weights
        made._spilled = None if spilled is None else _Spilled.from_json(spilled)
        return made

    @property
    def numbers(self) -> int:
        """How many it is made of: values and buckets."""
        spilled = 0 if self._spilled is None else len(self._spilled.bins) + len(self._spilled.negative)
        return len(self.values) + len(self._weighted) + spilled

    @property
    def exact(self) -> bool:
        """Whether quantiles are exact: nothing was spilled yet."""
        return self._spilled is None

    def _spill(self) -> None:
        self._spilled = self._whole()
        for each in (self.values, self._weighted, self._weights):
            each.clear()

    def _whole(self) -> "_Spilled":
        """All values, as buckets and moments."""
        whole = self._spilled or _Spilled()
        if self.values:
            whole = whole.plus(self.values, None)
        return whole.plus(self._weighted, self._weights) if self._weighted else whole

    def summary(self, quantiles: Sequence[float]) -> dict[str, Any]:
        """The statistics of a timer's point: count, sum, min, max, mean, stddev, p50 ..., sketch.

        `count` is scaled by the sample rates; mean, stddev (of the population) and quantiles come from the
        values, each with its weight; `sum` is count * mean. The quantile q is the nearest rank: the smallest
        value such that values up to it weigh at least q of all. Raises ValueError if nothing was added.
        """
        if self._spilled is None and not self._weighted:
            return _summary_of(sorted(self.values), quantiles)  # most timers
        whole = self._whole()
        if self._spilled is None:
            ranked = sorted([*zip(self.values, repeat(1.0)), *zip(self._weighted, self._weights, strict=True)])
        else:
            middles = _middles(whole.bins, whole.negative, whole.zero)
            ranked = [(min(max(each, whole.low), whole.high), weight) for each, weight in middles]
        # Rounding can push a mean of equal values past them.
        mean = min(max(whole.mean, whole.low), whole.high)
        return {
            "count": _whole(whole.count),
            "sum": whole.count * mean,
            "min": whole.low,
            "max": whole.high,
            "mean": mean,
            "stddev": math.sqrt(max(whole.squares, 0.0) / whole.count),
            **dict(zip(_names(tuple(quantiles)), _ranks(ranked, quantiles), strict=True)),
            "sketch": _sketch(whole.bins, whole.negative, whole.zero),
        }


def _summary_of(values: list[float], quantiles: Sequence[float]) -> dict[str, Any]:
    """Distribution.summary of values that weigh 1 and are in order: the same numbers, without a step per value."""
    if not values:
        raise ValueError("a distribution without a value has no statistics")
    count, low, high = len(values), values[0], values[-1]
    mean = min(max(math.fsum(values) / count, low), high)
    summary: dict[str, Any] = {
        "count": count,
        "sum": count * mean,
        "min": low,
        "max": high,
        "mean": mean,
        "stddev": math.dist(values, (mean,) * count) / math.sqrt(count),
    }
    for name, q in zip(_names(tuple(quantiles)), quantiles, strict=True):  # the smallest rank that has q of all
        summary[name] = values[max(ceil(q * count * _ALMOST_1) - 1, 0)]
    bins, zero, negative = _buckets(values)
    summary["sketch"] = {"gamma": GAMMA, "zero": zero, "bins": bins}
    if negative:
        summary["sketch"]["negative"] = negative
    return summary


class _Spilled:
    """Values of which only buckets and moments are left."""

    __slots__ = ("bins", "count", "high", "low", "mean", "negative", "squares", "zero")

    def __init__(self) -> None:
        self.bins: dict[int, float] = {}
        self.negative: dict[int, float] = {}
        self.count = self.mean = self.squares = self.zero = 0.0
        self.low, self.high = math.inf, -math.inf

    def plus(self, values: Sequence[float], weights: Sequence[float] | None) -> "_Spilled":
        """This and more values; there is at least one."""
        more = _Spilled()
        more.low, more.high = min(self.low, *values), max(self.high, *values)
        more.bins.update(self.bins)
        more.negative.update(self.negative)
        more.zero = self.zero + _fill(values, weights, more)
        weight = float(len(values)) if weights is None else math.fsum(weights)
        mean = math.fsum(values if weights is None else map(mul, values, weights)) / weight
        deviations = [value - mean for value in values]
        squared = map(mul, deviations, deviations)
        squares = math.fsum(squared if weights is None else map(mul, squared, weights))
        more.count, more.mean, more.squares = self._moments(weight, mean, squares)
        return more

    def _moments(self, weight: float, mean: float, squares: float) -> tuple[float, float, float]:
        """Count, mean and squared deviations of these values and more. Chan, Golub, LeVeque 1979."""
        if not self.count:
            return weight, mean, squares
        count, apart = self.count + weight, mean - self.mean
        return (
            count,
            self.mean + apart * weight / count,
            self.squares + squares + apart * apart * self.count * weight / count,
        )

    def merged(self, other: "_Spilled") -> "_Spilled":
        """This and another."""
        both = _Spilled()
        both.low, both.high = min(self.low, other.low), max(self.high, other.high)
        both.zero = self.zero + other.zero
        for into, first, second in (
            (both.bins, self.bins, other.bins),
            (both.negative, self.negative, other.negative),
        ):
            into.update(first)
            for index, weight in second.items():
                into[index] = into.get(index, 0.0) + weight
        both.count, both.mean, both.squares = self._moments(other.count, other.mean, other.squares)
        return both

    def as_json(self) -> list[Any]:
        """All of it; floats in JSON are read back as they were."""
        moments = [self.count, self.mean, self.squares, self.zero, self.low, self.high]
        return [*moments, list(self.bins.items()), list(self.negative.items())]

    @classmethod
    def from_json(cls, stored: list[Any]) -> "_Spilled":
        """What `as_json` gave."""
        made = cls()
        made.count, made.mean, made.squares, made.zero, made.low, made.high, bins, negative = stored
        made.bins, made.negative = dict(bins), dict(negative)
        return made


@cache
def _names(quantiles: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(quantile_name, quantiles))


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


def _buckets(ordered: list[float]) -> tuple[list[list[int]], int, list[list[int]]]:
    """Of values in order: the buckets of positive ones, how many count as zero, the buckets of negative ones."""
    negative = bisect_right(ordered, -SMALLEST) if ordered[0] < 0 else 0
    positive = bisect_left(ordered, SMALLEST) if ordered[0] < SMALLEST else 0
    sizes = [-value for value in reversed(ordered[:negative])]
    return _filled(ordered[positive:] if positive else ordered), positive - negative, _filled(sizes)


def _filled(ordered: list[float]) -> list[list[int]]:
    """[bucket, how many of these positive values are in it], in order."""
    buckets: list[list[int]] = []
    last, bucket = None, [0, 0]
    for exponent in map(log2, ordered):  # in half of the time of log
        index = ceil(exponent * _PER_DOUBLING)
        if index == last:
            bucket[1] += 1
        else:
            last, bucket = index, [index, 1]
            buckets.append(bucket)
    return buckets


def _fill(values: Sequence[float], weights: Sequence[float] | None, into: _Spilled) -> float:
    """Put values into their buckets; returns the weight of those next to zero."""
    if weights is None:
        bins, zero, negative = _buckets(sorted(values))
        for side, more in ((into.bins, bins), (into.negative, negative)):
            for index, times in more:
                side[index] = side.get(index, 0.0) + times
        return zero
    beside_zero = 0.0
    for value, weight in zip(values, weights, strict=True):
        size = abs(value)
        if size < SMALLEST:
            beside_zero += weight
            continue
        index = ceil(log2(size) * _PER_DOUBLING)
        side = into.bins if value > 0 else into.negative
        side[index] = side.get(index, 0.0) + weight
    return beside_zero


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
    return [ranked[min(bisect_left(reached, q * reached[-1] * _ALMOST_1), last)][0] for q in quantiles]


def _sketch(bins: Mapping[int, float], negative: Mapping[int, float], zero: float) -> dict[str, Any]:
    sketch: dict[str, Any] = {"gamma": GAMMA, "zero": _whole(zero)}
    for name, side in (("bins", bins), ("negative", negative)):
        if side or name == "bins":
            sketch[name] = [[index, _whole(side[index])] for index in sorted(side)]
    return sketch


def _whole(weight: float) -> int | float:
    """A weight as JSON has it: whole if it is, so that rates of 0.1 do not leave 29.999999999999996."""
    if type(weight) is int or weight.is_integer():
        return int(weight)
    rounded = round(weight, 6)
    return int(rounded) if rounded.is_integer() else rounded
