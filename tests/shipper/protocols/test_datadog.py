"""Datadog's series: the fields of its API reference, and what its answers mean."""

import gzip
import json
from typing import Any

import pytest

from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols.datadog import COUNT, GAUGE, TRAITS, encode, judge
from spool.batch import MAX_POINTS, Batch
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, timer

URL = "https://api.datadoghq.eu/api/v2/series"


def series(*batches: Batch) -> dict[str, dict[str, Any]]:
    listed = json.loads(gzip.decompress(encode(batches, URL, None).body))["series"]
    assert len({each["metric"] for each in listed}) == len(listed)
    return {each["metric"]: each for each in listed}


def test_every_kind_of_point_becomes_what_the_docstring_names() -> None:
    seen = series(batch(1, *MIXED))
    assert seen["api.hits"] == {
        "metric": "api.hits",
        "type": COUNT,
        "interval": 10,
        "points": [{"timestamp": 1_795_000_010, "value": 42.0}],
        "tags": ["env:prod"],
        "resources": [{"type": "host", "name": "web-1"}],
    }
    assert seen["queue depth"]["type"] == GAUGE and seen["queue depth"]["tags"] == ["canary:true", "env:prod"]
    assert seen["users"]["points"][0]["value"] == 7 and seen["holdfast.lines"]["type"] == COUNT
    timers = {name.removeprefix("api.lat."): each for name, each in seen.items() if name.startswith("api.lat.")}
    assert timers.keys() == {
        *("avg", "min", "max", "stddev", "count", "sum", "median", "90percentile", "95percentile", "99percentile")
    }
    assert timers["count"]["type"] == timers["sum"]["type"] == COUNT and timers["avg"]["type"] == GAUGE
    assert timers["median"]["points"][0]["value"] == 2.5


def test_version_1_where_the_path_says_so() -> None:
    request = encode([batch(1, *MIXED)], "http://h:8428/datadog/api/v1/series", None)
    (hits,) = [each for each in json.loads(gzip.decompress(request.body))["series"] if each["metric"] == "api.hits"]
    assert hits == {
        "metric": "api.hits",
        "type": "count",
        "interval": 10,
        "points": [[1_795_000_010, 42.0]],
        "tags": ["env:prod"],
        "host": "web-1",
    }
    assert TRAITS.complaint("http://h:8428/datadog/api/v1/series") is None


def test_a_series_over_several_windows_has_a_point_for_each() -> None:
    seen = series(batch(1, counter("a", 1), end=10.0), batch(2, counter("a", 2), end=20.0))
    assert seen["a"]["points"] == [{"timestamp": 10, "value": 1.0}, {"timestamp": 20, "value": 2.0}]


def test_a_request_of_batches_put_together_is_within_datadogs_limits() -> None:
    """The worst that raw_bytes allows: nothing but timers of one value, which are ten series each."""
    tags = {"env": "production", "service": "checkout", "version": "2026-11-23", "zone": "eu-west-1a"}
    points = [timer(f"api.latency.of.endpoint.{number}", [1.0 + number], tags) for number in range(MAX_POINTS)]
    one = batch(1, *points)
    assert one.raw_bytes > TRAITS.raw_bytes
    some = batch(1, *points[: MAX_POINTS * TRAITS.raw_bytes // one.raw_bytes])
    body = encode([some], URL, None).body
    assert len(body) <= 500_000
    assert len(gzip.decompress(body)) <= 5_000_000


def test_the_token_is_the_api_key_and_the_same_batches_give_the_same_bytes() -> None:
    assert encode([batch(1, *MIXED)], URL, "key").headers["DD-API-KEY"] == "key"
    assert encode([batch(1, *MIXED)], URL, "key") == encode([batch(1, *MIXED)], URL, "key")


@pytest.mark.parametrize(
    ("status", "document", "outcome"),
    [
        (202, {"errors": []}, Outcome.ACKNOWLEDGED),
        (202, {"errors": ["metric x: too many tags"]}, Outcome.ACKNOWLEDGED),
        (200, {}, Outcome.RETRY),
        (400, {"errors": ["bad"]}, Outcome.DEAD),
        (403, {"errors": ["Forbidden"]}, Outcome.PARK),
        (408, {}, Outcome.RETRY),
        (413, {}, Outcome.SPLIT),
        (429, {}, Outcome.RETRY),
        (500, {}, Outcome.RETRY),
    ],
)
def test_what_an_answer_means(status: int, document: dict, outcome: Outcome) -> None:
    verdict = judge(Response(status, {}, json.dumps(document).encode()), [batch(1, *MIXED)])
    assert verdict.outcome is outcome
    assert (verdict.note is not None) == bool(document.get("errors") and status == 202)


def test_a_service_check_is_a_gauge_of_its_latest_status_and_events_stay_behind() -> None:
    seen = series(batch(1, *SAID))
    assert {name: (each["type"], each["points"][0]["value"]) for name, each in seen.items()} == {
        "db.up.status": (GAUGE, 0.0)
    }
