"""OTLP: read by the protobuf library with opentelemetry-proto's schema, quantiles compared with the true ones."""

import gzip
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, ExponentialHistogramDataPoint

from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols.otlp import MOST_BUCKETS, encode, error_at, judge
from spool.batch import Batch
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, timer

URL = "https://o:4318/v1/metrics"


def decoded(*batches: Batch) -> ExportMetricsServiceRequest:
    return json_format.Parse(gzip.decompress(encode(batches, URL, None).body), ExportMetricsServiceRequest())


def metrics(*batches: Batch) -> dict[str, Any]:
    (resource,) = decoded(*batches).resource_metrics
    return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


def attributes(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


def test_every_kind_of_point_becomes_what_the_docstring_names() -> None:
    (resource,) = decoded(batch(1, *MIXED)).resource_metrics
    assert attributes(resource.resource) == {"host.name": "web-1"}
    seen = metrics(batch(1, *MIXED))
    hits = seen["api.hits"].sum
    assert hits.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA and not hits.is_monotonic
    (point,) = hits.data_points
    assert point.as_double == 42 and attributes(point) == {"env": "prod"}
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1_795_000_000 * 10**9, 1_795_000_010 * 10**9)
    (depth,) = seen["queue depth"].gauge.data_points
    assert depth.as_double == -3.5 and attributes(depth) == {"env": "prod", "canary": "true"}
    assert seen["users"].gauge.data_points[0].as_double == 7
    (lat,) = seen["api.lat"].exponential_histogram.data_points
    assert (lat.count, lat.sum, lat.min, lat.max) == (3, pytest.approx(12.5), 1.0, 9.0)
    assert seen["holdfast.lines"].sum.data_points[0].as_double == 12


def test_a_series_over_several_windows_is_one_metric_and_a_host_one_resource() -> None:
    request = decoded(
        batch(1, counter("a", 1), counter("b", 1, host="db-7"), end=10.0), batch(2, counter("a", 2), end=20.0)
    )
    hosts = {attributes(each.resource)["host.name"]: each for each in request.resource_metrics}
    assert hosts.keys() == {"web-1", "db-7"}
    (metric,) = hosts["web-1"].scope_metrics[0].metrics
    assert [each.as_double for each in metric.sum.data_points] == [1, 2]


def quantile(point: ExponentialHistogramDataPoint, q: float) -> float:
    """As a backend reads it: the middle of the bucket that the rank falls into."""
    base = 2.0 ** (2.0**-point.scale)
    middle = 2 / (base + 1) * base  # of (1, base], in the sense of the relative error
    negative = [
        (-middle * base ** (point.negative.offset + at), count) for at, count in enumerate(point.negative.bucket_counts)
    ]
    positive = [
        (middle * base ** (point.positive.offset + at), count) for at, count in enumerate(point.positive.bucket_counts)
    ]
    rank, reached = max(1, math.ceil(q * point.count - 1e-9)), 0
    for value, count in [*reversed(negative), (0.0, point.zero_count), *positive]:
        reached += count
        if reached >= rank:
            return value
    raise AssertionError("more rank than count")


def histogram(values: Sequence[float], weight: float = 1.0) -> ExponentialHistogramDataPoint:
    return metrics(batch(1, timer("t", values, weight=weight)))["t"].exponential_histogram.data_points[0]


numbers = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-6)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=60), q=st.sampled_from([0.01, 0.5, 0.9, 0.99]))
def test_quantiles_are_within_the_documented_error(values: list[float], q: float) -> None:
    point = histogram(values)
    true = sorted(values)[max(1, math.ceil(q * len(values) - 1e-9)) - 1]
    assert quantile(point, q) == pytest.approx(true, rel=error_at(point.scale) + 1e-9, abs=1e-9)
    assert (
        point.count
        == len(values)
        == sum([point.zero_count, *point.positive.bucket_counts, *point.negative.bucket_counts])
    )
    assert len(point.positive.bucket_counts) <= MOST_BUCKETS >= len(point.negative.bucket_counts)


@pytest.mark.parametrize(("span", "scale", "error"), [(5.5, 6, 0.0154), (31, 5, 0.0209), (980, 4, 0.0318)])
def test_the_scale_is_as_fine_as_the_buckets_allow(span: float, scale: int, error: float) -> None:
    point = histogram([1.0, span])
    assert point.scale == scale
    assert error_at(scale) <= error


def test_fractional_weights_are_rounded_and_the_sum_is_not() -> None:
    point = histogram([1.0, 100.0], weight=1 / 0.3)
    assert point.count == 6 and point.sum == pytest.approx(101 / 0.3)


def test_a_histogram_with_negative_values_has_no_sum() -> None:
    assert not histogram([-1.0, 2.0]).HasField("sum") and histogram([1.0]).HasField("sum")


def test_64_bit_integers_are_strings_and_enums_numbers_as_the_json_mapping_wants() -> None:
    document = json.loads(gzip.decompress(encode([batch(1, *MIXED)], URL, None).body))
    text = json.dumps(document)
    assert '"timeUnixNano": "1795000010000000000"' in text and '"aggregationTemporality": 1' in text


def test_the_same_batches_give_the_same_bytes() -> None:
    batches = [batch(1, *MIXED), batch(2, *MIXED, end=1_795_000_020.0)]
    assert encode(batches, URL, "t") == encode(batches, URL, "t")
    assert encode(batches, URL, "t").headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("status", "document", "outcome", "note"),
    [
        (200, {}, Outcome.ACKNOWLEDGED, None),
        (200, {"partialSuccess": {}}, Outcome.ACKNOWLEDGED, None),
        (200, {"partialSuccess": {"rejectedDataPoints": "0", "errorMessage": "slow down"}}, Outcome.ACKNOWLEDGED, None),
        (
            200,
            {"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "old"}},
            Outcome.ACKNOWLEDGED,
            "3 data",
        ),
        (
            200,
            {"partialSuccess": {"rejectedDataPoints": 3, "errorMessage": "a\ud800\n"}},
            Outcome.ACKNOWLEDGED,
            "3 data points rejected, the others accepted: a  ",
        ),
        (200, {"partialSuccess": {"rejectedDataPoints": 3}}, Outcome.ACKNOWLEDGED, "3 data"),
        (200, {"partialSuccess": {"rejectedDataPoints": "5", "errorMessage": "old"}}, Outcome.DEAD, None),
        (200, "<html>Welcome</html>", Outcome.RETRY, None),
        (400, {"message": "bad"}, Outcome.DEAD, None),
        (500, {}, Outcome.DEAD, None),  # "MUST NOT retry", says the specification
        (501, {}, Outcome.DEAD, None),
        (429, {}, Outcome.RETRY, None),
        (502, {}, Outcome.RETRY, None),
        (503, {}, Outcome.RETRY, None),
        (504, {}, Outcome.RETRY, None),
        (408, {}, Outcome.RETRY, None),
        (401, {}, Outcome.PARK, None),
        (404, {}, Outcome.PARK, None),
        (302, {}, Outcome.PARK, None),
        (413, {}, Outcome.SPLIT, None),
    ],
)
def test_what_an_answer_means(status: int, document: Any, outcome: Outcome, note: str | None) -> None:
    body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    verdict = judge(Response(status, {}, body), [batch(1, *MIXED)])
    assert verdict.outcome is outcome
    assert (verdict.note or "").startswith(note or "") and bool(verdict.note) is bool(note)


def test_a_service_check_is_a_gauge_of_its_latest_status_and_events_stay_behind() -> None:
    (status,) = metrics(batch(1, *SAID)).items()
    assert status[0] == "db.up.status"
    assert [each.as_double for each in status[1].gauge.data_points] == [0.0]
