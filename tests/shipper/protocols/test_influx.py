"""Line protocol: read back by a parser that somebody else wrote, and answers as real servers gave them."""

import base64
import gzip
import json
import math
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols.influx import encode, judge
from spool.batch import Point
from tests.shipper.protocols.sample import MIXED, SAID, batch, counter, gauge

V1, V2 = "http://h:8086/write?db=m", "https://h/api/v2/write?org=o&bucket=b&precision=s"
V3 = "https://h:8181/api/v3/write_lp?db=m"


def lines(*points: Point, end: float = 1_795_000_010.0) -> list[dict]:
    body = encode([batch(1, *points, end=end)], V1, None).body
    return [parse_line(each) for each in gzip.decompress(body).decode().split("\n")[:-1]]


def test_every_kind_of_point_is_one_line_with_float_fields() -> None:
    hits, depth, lat, users, own = lines(*MIXED)
    assert hits == {
        "measurement": "api.hits",
        "tags": {"env": "prod", "host": "web-1", "metric_type": "counter"},
        "fields": {"value": 42.0},
        "time": 1_795_000_010_000,
    }
    assert depth["measurement"] == "queue depth" and depth["tags"]["canary"] == "true"
    assert lat["fields"].keys() == {"count", "sum", "min", "max", "mean", "stddev", "p50", "p90", "p95", "p99"}
    assert lat["fields"]["count"] == 3.0 and lat["fields"]["sum"] == pytest.approx(12.5)
    assert users["fields"] == {"value": 7.0} and own["measurement"] == "holdfast.lines"
    assert {type(each) for line in (hits, lat, users) for each in line["fields"].values()} == {float}


def test_a_window_that_ends_within_a_second_keeps_its_milliseconds() -> None:
    assert lines(counter("a", 1), end=1_795_000_003.482)[0]["time"] == 1_795_000_003_482


def test_a_tag_host_of_the_client_wins_over_the_hosts_own_name() -> None:
    assert lines(counter("a", 1, host="db-7"))[0]["tags"]["host"] == "db-7"


def test_reserved_tags_get_another_name_and_nothing_is_lost() -> None:
    tags = lines(Point("a", "counter", {"time": "1", "time_": "2", "metric_type": "3", "_field": "4"}, {"value": 1.0}))
    assert tags[0]["tags"] == {
        **{"time_": "1", "time__": "2", "metric_type_": "3", "_field_": "4"},
        **{"host": "web-1", "metric_type": "counter"},
    }


def test_a_name_that_would_be_a_comment_is_not_one() -> None:
    assert lines(counter("#a", 1))[0]["measurement"] == "_a"


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)
spiky = st.text("a\\,= \"'#|:;\té", min_size=1, max_size=8)
texts = words | spiky
numbers = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


def expected(text: str) -> str:
    """What the module's docstring says of backslashes, told in another way: one character at a time."""
    text = text.replace("\t", "_")
    kept = [
        "/" if ch == "\\" and (at + 1 == len(text) or text[at + 1] in "\\,= ") else ch for at, ch in enumerate(text)
    ]
    return "".join(kept)


@settings(max_examples=300, deadline=None)
@given(name=texts, tags=st.dictionaries(texts, texts, max_size=3), value=numbers)
def test_whatever_the_names_another_parser_reads_the_same(name: str, tags: dict[str, str], value: float) -> None:
    if len({expected(key) for key in (*tags, "host")}) <= len(tags):  # two that become one are told of elsewhere
        return
    (line,) = lines(Point(name, "gauge", tags, {"value": value}))
    measurement = expected(name)
    assert line["measurement"] == ("_" + measurement[1:] if measurement.startswith("#") else measurement)
    reserved = {"time", "_field", "_measurement", "metric_type"}
    wanted = {expected(key) + "_" * (key.rstrip("_") in reserved): expected(each) for key, each in tags.items()}
    assert line["tags"] == {"host": "web-1", **wanted, "metric_type": "gauge"}
    assert line["fields"] == {"value": value}


def test_tags_that_become_one_join_their_values() -> None:
    tags = lines(Point("a", "counter", {"k\\": "1", "k/": "2"}, {"value": 1.0}))[0]["tags"]
    assert tags["k/"] in ("1,2", "2,1")


@pytest.mark.parametrize("value", [1e300, -1e-300, 0.1 + 0.2, 1e16, math.pi, -0.0])
def test_numbers_keep_every_digit(value: float) -> None:
    assert lines(gauge("a", value))[0]["fields"]["value"] == value


def test_the_path_chooses_version_precision_and_how_the_token_goes() -> None:
    def sent(url: str, token: str) -> tuple[dict, str]:
        request = encode([], url, token)
        return parse_qs(urlsplit(request.url).query), request.headers["Authorization"]

    basic = "Basic " + base64.b64encode(b"user:pass").decode()
    assert sent(V1, "user:pass") == ({"db": ["m"], "precision": ["ms"]}, basic)
    assert sent(V1, "jwt")[1] == "Bearer jwt"
    assert sent(V2, "t") == ({"org": ["o"], "bucket": ["b"], "precision": ["ms"]}, "Token t")
    assert sent(V3, "t") == ({"db": ["m"], "precision": ["millisecond"]}, "Bearer t")
    assert "Authorization" not in encode([], V1, None).headers


def test_the_same_batches_give_the_same_bytes() -> None:
    batches = [batch(1, *MIXED), batch(2, *MIXED, end=1_795_000_020.0)]
    assert encode(batches, V1, None) == encode(batches, V1, None)


def said(status: int, document: object) -> Response:
    return Response(status, {}, json.dumps(document).encode() if document else b"")


CONFLICT = 'partial write: field type conflict: input field "value" on measurement "a" is type float, already exists as'
TWO = [batch(1, counter("a", 1), counter("b", 1)), batch(2, counter("a", 1), counter("b", 1))]


@pytest.mark.parametrize(
    ("status", "document", "outcome"),
    [
        (204, None, Outcome.ACKNOWLEDGED),
        (200, None, Outcome.RETRY),  # a portal, a proxy's page
        (400, {"error": f"{CONFLICT} type integer dropped=3"}, Outcome.ACKNOWLEDGED),
        (400, {"error": f"{CONFLICT} type integer dropped=4"}, Outcome.DEAD),
        (422, {"code": "unprocessable entity", "message": f"{CONFLICT} type integer dropped=1"}, Outcome.ACKNOWLEDGED),
        (400, {"error": "partial write of line protocol occurred", "data": [{"line_number": 2}]}, Outcome.ACKNOWLEDGED),
        (400, {"error": "unable to parse 'a value=': missing field value"}, Outcome.DEAD),
        (400, {"error": "partial write: points beyond retention policy dropped=1"}, Outcome.EXPIRED),
        (401, {"error": "authorization failed"}, Outcome.PARK),
        (404, {"error": 'database not found: "m"'}, Outcome.PARK),
        (413, {"error": "Request Entity Too Large"}, Outcome.SPLIT),
        (429, None, Outcome.RETRY),
        (500, {"error": "timeout"}, Outcome.RETRY),
        (503, None, Outcome.RETRY),
    ],
)
def test_what_an_answer_means(status: int, document: object, outcome: Outcome) -> None:
    verdict = judge(said(status, document), TWO)
    assert verdict.outcome is outcome
    assert verdict.acknowledged == ({each.key for each in TWO} if outcome is Outcome.ACKNOWLEDGED else set())


def test_what_was_dropped_of_a_partial_write_is_kept_in_the_servers_words() -> None:
    verdict = judge(said(400, {"error": f"{CONFLICT} type integer dropped=3"}), TWO)
    assert verdict.note is not None and verdict.note.startswith("3 points refused, the others stored: 400 partial")
    assert judge(said(204, None), TWO).note is None


@pytest.mark.parametrize("name", ["user.retention", "too old", "b" * 1_024, "dropped=9", 'a \\"retention\\" b'])
def test_the_name_of_what_was_dropped_is_no_verdict_on_the_others(name: str) -> None:
    conflict = CONFLICT.replace('"a"', f'"{name}"')
    verdict = judge(said(400, {"error": f"{conflict} type integer dropped=1"}), TWO)
    assert verdict.outcome is Outcome.ACKNOWLEDGED
    assert verdict.note is not None and verdict.note.startswith("1 points refused, the others stored: 400 partial")


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b'"a', b"outside "])
def test_an_answer_full_of_anything_is_judged_at_once(piece: bytes) -> None:
    assert judge(Response(400, {}, b'"' + piece * (65_535 // len(piece))), TWO).outcome is Outcome.DEAD


def test_events_and_checks_are_lines_with_their_words_and_none_overwrites_another() -> None:
    found = lines(*SAID)
    assert {each["measurement"] for each in found if each["tags"]["metric_type"] == "event"} == {"deploy"}
    assert {(each["measurement"], each["time"]): each["fields"] for each in found} == {
        ("deploy", 1_795_000_009_999): {"count": 1.0, "text": 'v1 "out" now\\', "timestamp": 17.0},
        ("deploy", 1_795_000_010_000): {"count": 2.0, "text": "v2"},
        ("db.up", 1_795_000_009_999): {"count": 3.0, "value": 2.0, "text": "no answer"},
        ("db.up", 1_795_000_010_000): {"count": 1.0, "value": 0.0},
    }


@given(st.text(max_size=30))
def test_any_words_are_read_back(text: str) -> None:
    (line,) = lines(Point("a", "event", {}, {"count": 1, "fields": {"text": text}}))
    control = dict.fromkeys((*range(32), 127), " ")
    assert line["fields"]["text"] == text.translate(control)
