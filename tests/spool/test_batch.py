"""The stored form: the same bytes each time, and the same points back."""

import gzip
import hashlib
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.batch import GZIP, MAX_POINTS, Point, Window, batch_key, decode, encode, instant, points_of, split
from spool.errors import PayloadError

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
words = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
points = st.builds(
    Point,
    name=words,
    type=st.sampled_from(["counter", "gauge", "timer", "set"]),
    tags=st.dictionaries(words, words, max_size=4),
    values=st.dictionaries(st.sampled_from(["value", "count", "sum", "p99"]), numbers, min_size=1),
)


def window(points=(), **changed):
    return replace(Window(seq=7, start=1_764_000_000.0, end=1_764_000_010.0, points=points), **changed)


def stored(points, **changed):
    return encode("9f3c", 8841, "web-1", window(points, **changed), points, 1_764_000_010.5)


@given(st.lists(points, max_size=10))
def test_points_come_back_as_they_were(given_points):
    assert points_of(decode(stored(given_points).payload)) == given_points


@given(st.lists(points, max_size=5))
def test_the_same_batch_is_the_same_bytes(given_points):
    assert stored(given_points).payload == stored(given_points).payload


def test_the_document_is_the_one_in_the_contract():
    batch = stored([Point("api.hits", "counter", {"env": "prod"}, {"value": 2.0})], start=1_763_999_990.25)
    assert gzip.decompress(batch.payload).decode() == (
        '{"v":1,"key":"9f3c-8841","id":8841,"host":"web-1",'
        '"window":{"start":1763999990.25,"end":1764000010,"seq":7},'
        '"points":[{"name":"api.hits","type":"counter","tags":{"env":"prod"},"value":2.0}]}\n'
    )
    assert (batch.key, batch.points) == (batch_key("9f3c", 8841), 1)
    assert batch.raw_bytes == len(gzip.decompress(batch.payload))


def test_the_bytes_do_not_depend_on_when_they_were_made():
    header = stored([]).payload[:8]
    assert header[4:8] == bytes(4)  # gzip's MTIME, RFC 1952 section 2.3.1


def test_concatenated_payloads_are_newline_delimited_json():
    bodies = [stored([Point(name, "counter", {}, {"value": 1.0})]).payload for name in ("a", "b\nc")]
    lines = gzip.decompress(b"".join(bodies)).decode().splitlines()
    assert [json.loads(line)["points"][0]["name"] for line in lines] == ["a", "b\nc"]


def test_every_point_is_a_series():
    def point(name, **tags):
        return Point(name, "counter", tags, {"value": 1.0})

    assert stored([point("a", x="1", y="2"), point("a"), point("b")]).series == 3


def test_a_batch_of_several_pieces_is_one_document_of_one_member():
    points = [Point(f"n{number}", "counter", {"k": "é"}, {"value": 1.0}) for number in range(200)]
    batch = stored(points)
    document = decode(batch.payload)
    assert points_of(document) == points
    assert (
        batch.raw_bytes
        == len(gzip.decompress(batch.payload))
        == len(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    )
    member = zlib.decompressobj(GZIP)
    member.decompress(batch.payload)
    assert member.eof and not member.unused_data
    assert batch.payload[4:8] == bytes(4)  # no time stamp


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_cannot_carry_are_refused(bad):
    with pytest.raises(ValueError, match="JSON"):
        stored([Point("a", "gauge", {}, {"value": bad})])


def test_a_payload_that_the_disk_changed_is_found_out():
    batch = stored([Point("a", "gauge", {}, {"value": 1.0})])
    assert batch.verified() == batch.payload
    assert batch.sha256 == hashlib.sha256(batch.payload).hexdigest()
    for place in range(len(batch.payload)):
        rotten = bytearray(batch.payload)
        rotten[place] ^= 1
        with pytest.raises(PayloadError, match=r"^batch 8841: .* will not be sent"):
            replace(batch, payload=bytes(rotten)).verified()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not json"),
        gzip.compress(b"[]"),
        gzip.compress(b'{"v":2,"points":[]}'),
        gzip.compress(b'{"v":1}'),
        gzip.compress(b'{"v":1,"points":[]}')[:-5],
        gzip.compress(b'{"v":1,"points":"\xff"}'),
    ],
)
def test_what_is_not_a_batch_is_one_clear_error(payload):
    with pytest.raises(PayloadError, match="payload"):
        decode(payload)


@given(st.integers(0, 3 * MAX_POINTS + 1))
def test_a_window_is_split_without_losing_or_reordering_points(count):
    runs = list(split(range(count)))
    assert [each for run in runs for each in run] == list(range(count))
    assert all(len(run) == MAX_POINTS for run in runs[:-1])
    assert len(runs) == max(1, -(-count // MAX_POINTS))


@pytest.mark.parametrize(("seconds", "text"), [(10.0, "10"), (10.25, "10.25"), (10.0004, "10"), (0.1 + 0.2, "0.3")])
def test_instants_are_whole_where_they_are_whole(seconds, text):
    assert json.dumps(instant(seconds)) == text
