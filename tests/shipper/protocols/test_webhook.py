"""The webhook: the stored lines go as they are, and any 2xx but a web page acknowledges them."""

import gzip
import json

import pytest

from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols.webhook import encode, judge
from tests.shipper.protocols.sample import MIXED, batch

BATCHES = [batch(1, *MIXED), batch(2, *MIXED, end=1_795_000_020.0)]


def test_the_body_is_one_line_of_json_for_each_batch() -> None:
    request = encode(BATCHES, "https://h/hook", "t")
    lines = gzip.decompress(request.body).decode().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [each.key for each in BATCHES]
    assert request.headers["Authorization"] == "Bearer t" and "Idempotency-Key" in request.headers


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Outcome.ACKNOWLEDGED),
        (202, {}, Outcome.ACKNOWLEDGED),
        (204, {}, Outcome.ACKNOWLEDGED),
        (200, {"content-type": "text/html; charset=utf-8"}, Outcome.RETRY),
        (400, {}, Outcome.DEAD),
        (401, {}, Outcome.PARK),
        (413, {}, Outcome.SPLIT),
        (500, {}, Outcome.RETRY),
    ],
)
def test_what_an_answer_means(status: int, headers: dict[str, str], outcome: Outcome) -> None:
    verdict = judge(Response(status, headers, b""), BATCHES)
    assert verdict.outcome is outcome
    assert verdict.acknowledged == ({each.key for each in BATCHES} if outcome is Outcome.ACKNOWLEDGED else set())
