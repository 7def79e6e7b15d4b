"""Remote write: decoded by the protobuf library with the schema of prometheus/prompb; answers as servers gave them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols.prometheus import encode, judge, snappy
from spool.batch import Batch, Point
from tests.shipper.protocols.remote_write import WriteRequest
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, gauge, timer

URL = "https://p/api/v1/write"


def unsnappy(block: bytes) -> bytes:
    """A snappy block of literals, read by google/snappy's format description."""
    length = shift = at = 0
    while True:
        byte = block[at]
        at, length, shift = at + 1, length | (byte & 127) << shift, shift + 7
        if byte < 128:
            break
    out = b""
    while at < len(block):
        tag = block[at]
        assert tag & 3 == 0, "not a literal"
        size, extra = tag >> 2, 0
        if size >= 60:
            extra = size - 59
            size = int.from_bytes(block[at + 1 : at + 1 + extra], "little")
        at += 1 + extra
        out += block[at : at + size + 1]
        at += size + 1
    assert len(out) == length
    return out


def samples(*batches: Batch) -> dict[str, list[tuple[int, float]]]:
    """Every series in the notation of the query language, with its samples in the order of the request."""
    request = WriteRequest()
    request.ParseFromString(unsnappy(encode(batches, URL, None).body))
    result: dict[str, list[tuple[int, float]]] = {}
    for series in request.timeseries:
        names = [label.name for label in series.labels]
        assert names == sorted(set(names))
        labels = {label.name: label.value for label in series.labels}
        shown = labels.pop("__name__") + "{" + ",".join(f'{key}="{each}"' for key, each in labels.items()) + "}"
        assert shown not in result
        result[shown] = [(each.timestamp, each.value) for each in series.samples]
    return result


def test_every_kind_of_point_becomes_the_series_that_the_docstring_names() -> None:
    at = 1_795_000_010_000
    prod = 'env="prod",host="web-1"'
    seen = samples(batch(1, *MIXED))
    assert seen[f"api_hits_delta{{{prod}}}"] == [(at, 42.0)]
    assert seen[f'queue_depth{{canary="true",{prod}}}'] == [(at, -3.5)]
    assert seen['users_unique{host="web-1"}'] == [(at, 7.0)]
    assert seen['holdfast_lines_delta{host="web-1"}'] == [(at, 12.0)]
    assert seen[f"api_lat_count{{{prod}}}"] == [(at, 3.0)]
    assert seen[f"api_lat_sum{{{prod}}}"][0][1] == pytest.approx(12.5)
    assert seen[f'api_lat{{{prod},quantile="0.5"}}'] == [(at, 2.5)]
    assert seen[f'api_lat{{{prod},quantile="0.99"}}'] == [(at, 9.0)]
    assert len(seen) == 4 + 5 + 4


def test_samples_of_a_series_are_in_order_of_time_whatever_the_order_of_the_batches() -> None:
    late, early = batch(2, counter("a", 2), end=20.0), batch(1, counter("a", 1), end=10.0)
    assert samples(late, early)['a_delta{host="web-1"}'] == [(10_000, 1.0), (20_000, 2.0)]


def test_series_that_become_one_add_up_or_the_last_one_wins() -> None:
    seen = samples(batch(1, counter("a.b", 1), counter("a_b", 2), gauge("g.h", 1), gauge("g_h", 2), end=10.0))
    assert seen == {'a_b_delta{host="web-1"}': [(10_000, 3.0)], 'g_h{host="web-1"}': [(10_000, 2.0)]}


@pytest.mark.parametrize(
    ("name", "tags", "shown"),
    [
        ("9lives", {}, '_9lives{host="web-1"}'),
        ("été-é", {}, '_t___{host="web-1"}'),
        ("a:b", {}, 'a:b{host="web-1"}'),
        ("a", {"__name__": "x"}, 'a{_name__="x",host="web-1"}'),
        ("a", {"a.b": "1", "a-b": "2"}, 'a{a_b="2,1",host="web-1"}'),
        ("a", {"0": "1", "a:b": "2"}, 'a{_0="1",a_b="2",host="web-1"}'),
    ],
)
def test_names_are_made_valid(name: str, tags: dict[str, str], shown: str) -> None:
    assert list(samples(batch(1, gauge(name, 1, **tags)))) == [shown]


def test_a_clients_label_quantile_steps_aside() -> None:
    seen = samples(batch(1, timer("a", [1.0], {"quantile": "mine"})))
    assert 'a{host="web-1",quantile="0.5",quantile_="mine"}' in seen


@given(
    name=st.text(min_size=1, max_size=8),
    tags=st.dictionaries(st.text(min_size=1, max_size=6), st.text(max_size=6), max_size=4),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_whatever_the_names_the_request_is_valid_and_the_value_is_in_it(name: str, tags: dict, value: float) -> None:
    (shown,) = (seen := samples(batch(1, Point(name, "gauge", tags, {"value": value}))))
    assert seen[shown][0][1] == value
    metric = shown.partition("{")[0]
    assert metric.isascii() and not metric[0].isdigit()


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 256, 65_535, 65_536, 65_537, 200_000])
def test_snappy_blocks_of_any_size_are_valid(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert unsnappy(snappy(data[:size])) == data[:size]


def test_the_same_batches_give_the_same_bytes_and_the_token_goes_as_bearer() -> None:
    batches = [batch(1, *MIXED), batch(2, *MIXED, end=1_795_000_020.0)]
    assert encode(batches, URL, "t") == encode(batches, URL, "t")
    assert encode(batches, URL, "t").headers["Authorization"] == "Bearer t"
    assert encode(batches, URL, None).headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (204, b"", Outcome.ACKNOWLEDGED),
        (200, b"", Outcome.ACKNOWLEDGED),
        (200, b"<html>Welcome</html>", Outcome.RETRY),
        (400, b"out of order sample\n", Outcome.EXPIRED),
        (400, b'label value too long, series: {__name__="hits", why="out-of-order"}', Outcome.DEAD),
        (400, b"out of bounds\n", Outcome.EXPIRED),
        (400, b"duplicate sample for timestamp\n", Outcome.EXPIRED),
        (500, b"too old sample\n", Outcome.EXPIRED),
        (409, b"add 2 series: out of order samples", Outcome.EXPIRED),
        (400, b"err-mimir-sample-timestamp-too-old: the sample has been rejected", Outcome.EXPIRED),
        (400, b"label value too long", Outcome.DEAD),
        (500, b"disk full", Outcome.RETRY),
        (401, b"", Outcome.PARK),
        (404, b"remote write receiver needs to be enabled", Outcome.PARK),
        (429, b"", Outcome.RETRY),
        (413, b"", Outcome.SPLIT),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, outcome: Outcome) -> None:
    assert judge(Response(status, {}, body), [batch(1, *MIXED)]).outcome is outcome


def test_a_service_check_is_its_latest_status_and_events_stay_behind() -> None:
    assert samples(batch(1, *SAID)) == {'db_up_status{host="web-1"}': [(1_795_000_010_000, 0.0)]}
