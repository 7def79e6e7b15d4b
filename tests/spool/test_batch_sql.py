"""`batch_json` never raises and always returns an array of points, whatever lies in the column."""

import gzip
import json
import sqlite3
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.batch import Point, Window, encode
from spool.batch_sql import batch_json
from spool.pointrows import Wanted, point_rows

POINT = Point("api.hits", "counter", {"env": "prod"}, {"value": 2.0})
TIMER = Point("api.lat", "timer", {}, {"count": 3, "p50": 1.5, "sketch": {"gamma": 1.02, "zero": 0, "bins": []}})
OWN = Point("holdfast.lines", "counter", {}, {"value": 9})
BATCH = encode("9f3c", 7, "web-1", Window(1, 0.0, 10.0, ()), [POINT, TIMER, OWN], 10.1)


def packed(document: object) -> bytes:
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def test_a_payload_gives_its_points() -> None:
    points = json.loads(batch_json(BATCH.payload))
    assert [each["name"] for each in points] == ["api.hits", "api.lat", "holdfast.lines"]
    assert points[0] == {"name": "api.hits", "type": "counter", "tags": {"env": "prod"}, "value": 2.0}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        17,
        "text",
        b"",
        b"\x1f\x8b",
        BATCH.payload[:-9],
        gzip.compress(b"nonsense"),
        gzip.compress(b"[" * 100_000),
        packed({"v": 2, "points": []}),
        packed({"v": 1, "points": 5}),
        packed({"v": 1, "points": [5]}),
        packed({"v": 1, "points": [{"name": "a", "type": "counter", "tags": None}]}),
        gzip.compress(b'{"v":1,"points":[{"name":"a","type":"counter","tags":{},"value":NaN}]}'),
    ],
)
def test_damage_is_one_point_that_says_what_was_seen(payload: object) -> None:
    (point,) = json.loads(batch_json(payload))
    assert (point["name"], point["type"], point["value"]) == ("!undecodable", "error", 1)
    assert point["tags"]["error"]


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_give_json(noise: bytes, cut: int) -> None:
    for payload in (noise, BATCH.payload[:cut] + noise, gzip.compress(noise, mtime=0)):
        assert isinstance(json.loads(batch_json(payload)), list)


def test_one_bad_payload_does_not_break_a_query() -> None:
    db = sqlite3.connect(":memory:")
    db.create_function("batch_json", 1, batch_json, deterministic=True)
    db.execute("CREATE TABLE batches (payload)")
    db.executemany("INSERT INTO batches VALUES (?)", [(BATCH.payload,), (b"rotten",)])
    rows = db.execute(
        "SELECT json_extract(p.value, '$.name') FROM batches, json_each(batch_json(payload)) p"
    ).fetchall()
    db.close()
    assert [name for (name,) in rows] == ["api.hits", "api.lat", "holdfast.lines", "!undecodable"]


def test_numbers_that_nobody_stored_are_no_rows() -> None:
    points = b'{"name":"a","type":"gauge","tags":{},"value":%b,"p50":NaN,"p90":1e999,"max":-1e999,"min":2}'
    payload = gzip.compress(b'{"v":1,"points":[' + points % (b"9" * 400) + b"]}")
    assert [(row["stat"], row["value"]) for row in point_rows(replace(BATCH, payload=payload))] == [("min", 2)]


NAMES = st.sampled_from(["a", "a.b", "holdfast.a", "a b", '{"name":"a",', "a\\", "\u00e4", '"', "a\n"])


@given(st.lists(st.builds(Point, NAMES, NAMES, st.dictionaries(NAMES, NAMES, max_size=2), st.just({"value": 1.0}))))
def test_points_of_one_name_are_found_without_reading_the_others(points: list[Point]) -> None:
    batch = encode("9f3c", 7, "web-1", Window(1, 0.0, 10.0, ()), points, 10.1)
    for name in ("a", "a.b", "holdfast.a", "a b"):
        wanted = Wanted(name=name)
        assert list(point_rows(batch, wanted)) == [row for row in point_rows(batch) if row in wanted]


@pytest.mark.parametrize(
    "payload",
    [b"", b"rotten", BATCH.payload[:-9], gzip.compress(b'"points":[{"name":"api.hits",'), gzip.compress(b"\xff")],
)
def test_damage_has_no_points_of_a_name(payload: bytes) -> None:
    assert list(point_rows(replace(BATCH, payload=payload), Wanted(name="api.hits"))) == []


def test_reading_one_name_of_many_is_much_faster() -> None:
    points = [Point(f"api.{n}", "timer", {"env": "prod"}, {"count": n, "p50": 1.0}) for n in range(2_000)]
    batch = encode("9f3c", 7, "web-1", Window(1, 0.0, 10.0, ()), points, 10.1)

    def spent_s(wanted: Wanted) -> float:
        begun = time.process_time()
        assert len(list(point_rows(batch, wanted))) == 2
        return time.process_time() - begun

    assert (
        min(spent_s(Wanted(name="api.77")) for _ in range(5))
        < min(spent_s(Wanted(name="[a]pi.77")) for _ in range(5)) / 3
    )


def test_rows_are_one_per_statistic_without_the_sketch() -> None:
    rows = list(point_rows(BATCH))
    assert [(row["name"], row["stat"], row["value"]) for row in rows] == [
        ("api.hits", "value", 2.0),
        ("api.lat", "count", 3),
        ("api.lat", "p50", 1.5),
        ("holdfast.lines", "value", 9),
    ]
    assert list(rows[0]) == ["batch", "ts", "name", "type", "tags", "stat", "value", "fields"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), {"api.hits", "api.lat"}),
        (Wanted(own=True), {"api.hits", "api.lat", "holdfast.lines"}),
        (Wanted(name="*"), {"api.hits", "api.lat"}),
        (Wanted(name="holdfast.*"), {"holdfast.lines"}),
        (Wanted(name="api.h*"), {"api.hits"}),
        (Wanted(stat="p50"), {"api.lat"}),
        (Wanted(type="counter"), {"api.hits"}),
        (Wanted(tags={"env": "prod"}), {"api.hits"}),
        (Wanted(tags={"env": "test"}), set()),
    ],
)
def test_only_the_points_asked_for_are_wanted(wanted: Wanted, names: set[str]) -> None:
    rows = [row for row in point_rows(BATCH) if row in wanted]
    assert {row["name"] for row in rows} == names
    assert list(point_rows(BATCH, wanted)) == rows
