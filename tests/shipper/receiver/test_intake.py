"""Bodies: whole, split at any place, broken, hostile."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.receiver.intake import (
    Arrival,
    BodyError,
    BodyTooLarge,
    Refusal,
    checkin_host,
    decompressed,
    documents,
)

MIB = 1_048_576


def read_all(body: bytes, limit_bytes: int = MIB, gzipped: bool = True) -> list[Arrival | Refusal]:
    return list(documents(body, gzipped=gzipped, limit_bytes=limit_bytes))


def document(**changes: object) -> bytes:
    plain = {
        "v": 1,
        "key": "cafe-1",
        "id": 1,
        "host": "web-1",
        "window": {"start": 10, "end": 20, "seq": 1},
        "points": [{"name": "hits", "type": "counter", "tags": {}, "value": 2}],
    }
    return json.dumps(plain | changes).encode() + b"\n"


@given(st.lists(st.binary(max_size=300_000), max_size=6))
def test_concatenated_members_give_their_contents_one_after_the_other(contents: list[bytes]) -> None:
    body = b"".join(gzip.compress(each) for each in contents)
    assert b"".join(decompressed(body, 10 * MIB)) == b"".join(contents)


@given(st.binary(min_size=1, max_size=2_000), st.data())
def test_a_body_cut_short_is_broken_gzip(content: bytes, data: st.DataObject) -> None:
    body = gzip.compress(content)
    cut = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(BodyError, match="broken gzip"):
        list(decompressed(body[:cut], MIB))


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"x") + b"rest", gzip.compress(b"x")[:-1] + b"\x00\x00"])
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError, match="broken gzip"):
        list(decompressed(body, MIB))


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    bomb = gzip.compress(bytes(200 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="over 1048576 bytes"):
            read_all(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_a_bomb_of_many_members_is_refused_as_well() -> None:
    with pytest.raises(BodyTooLarge):
        read_all(gzip.compress(bytes(100_000)) * 20)


def test_the_limit_itself_is_allowed() -> None:
    line = document()
    assert len(read_all(gzip.compress(line), limit_bytes=len(line))) == 1
    with pytest.raises(BodyTooLarge):
        read_all(gzip.compress(line), limit_bytes=len(line) - 1)
    with pytest.raises(BodyTooLarge):
        read_all(line, limit_bytes=len(line) - 1, gzipped=False)


def test_a_stored_batch_arrives_as_it_was_encoded(batch) -> None:
    [arrival] = read_all(batch(7, 2.5).payload)
    assert (arrival.key, arrival.host, arrival.spool_id, arrival.window_seq) == ("cafe-7", "web-1", "cafe", 7)
    assert arrival.window_end == 1_764_000_070
    assert [(s.name, s.tags, stat, value) for s, stat, value in arrival.readings if s.type == "counter"] == [
        ("hits", '{"env":"prod"}', "value", 2.5)
    ]
    assert [json.loads(sketch) for _, sketch in arrival.sketches] == [{"gamma": 1.02, "bins": [[1, 2]]}]


def test_a_line_has_the_same_hash_plain_or_compressed_alone_or_among_others(batch) -> None:
    first, second = batch(1), batch(2)
    plain = gzip.decompress(first.payload)
    hashes = {
        read_all(first.payload)[0].sha256,
        read_all(second.payload + first.payload)[1].sha256,
        read_all(plain, gzipped=False)[0].sha256,
        read_all(plain.rstrip(b"\n"), gzipped=False)[0].sha256,
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"7\n",
        b"{}\n",
        b'{"key":""}\n',
        b'{"key":7}\n',
        b'{"key":"caf\xc3\xa9-1"}\n',
        b'{"key":"a\\nb"}\n',
        b"\xff\xfe\n",
        document()[:-10] + b"\n",
        document().replace(b'"value": 2', b'"value": NaN'),
        b"[" * 200_000 + b"\n",
        b"9" * 10_000 + b"\n",
    ],
)
def test_a_line_that_is_no_batch_spoils_the_body_and_is_named(line: bytes) -> None:
    with pytest.raises(BodyError, match=r"^line 2 "):
        read_all(document() + line + document(key="cafe-3"), gzipped=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v": 2}, "v is '2'"),
        ({"key": "cafe"}, "key is not"),
        ({"key": "-1"}, "key is not"),
        ({"host": ""}, "host"),
        ({"host": "h" * 256}, "host has more than 255"),
        ({"host": "\ud800"}, "surrogate"),
        ({"window": None}, "window is not an object"),
        ({"window": {"start": 1, "end": 2, "seq": -1}}, "window.seq"),
        ({"window": {"start": 1, "end": 2, "seq": True}}, "window.seq"),
        ({"window": {"start": 1, "end": 2, "seq": 2**63}}, "window.seq"),
        ({"window": {"start": "1", "end": 2, "seq": 1}}, "window.start"),
        ({"points": {}}, "points is not a list"),
        ({"points": [7]}, "points[0]"),
        ({"points": [{"name": "a", "type": "counter", "tags": {}, "value": "1"}]}, "points[0].value"),
        ({"points": [{"name": "a", "type": "counter", "tags": {}, "value": 10**400}]}, "too large"),
        ({"points": [{"name": "", "type": "counter", "tags": {}, "value": 1}]}, "points[0].name"),
        ({"points": [{"name": "a", "type": "counter", "tags": {"\udc00": ""}, "value": 1}]}, "surrogate"),
        ({"points": [{"name": "a", "type": "counter", "tags": {}, "value": 1}] * 2}, "points[1] is a series"),
    ],
)
def test_a_document_with_a_key_and_something_wrong_is_refused_alone(changes: dict[str, object], said: str) -> None:
    refused, arrived = read_all(document(**changes) + document(key="cafe-2"), gzipped=False)
    assert isinstance(refused, Refusal)
    assert said in refused.error
    assert isinstance(arrived, Arrival)


def test_infinity_spelled_as_a_number_is_refused() -> None:
    [refused] = read_all(document().replace(b'"value": 2', b'"value": 1e400'), gzipped=False)
    assert isinstance(refused, Refusal)
    assert "finite" in refused.error


def test_an_empty_body_has_no_batches() -> None:
    assert read_all(b"") == []
    assert read_all(b"", gzipped=False) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"host":7}', b'{"host":"\\ud800"}', b"\xff", b"[" * 100_000])
def test_a_checkin_without_a_host_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError, match="check-in"):
        checkin_host(body)
