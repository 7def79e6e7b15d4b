"""The application through WSGI, with wsgiref's validator in between: every status, and exactly once."""

import gzip
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NDJSON = {"Content-Type": "application/x-ndjson"}
NDJSON_GZIP = NDJSON | {"Content-Encoding": "gzip"}


def hits(client) -> tuple[float, int]:
    [total] = client("GET", "/v1/totals?name=hits").json["totals"]
    return total["sum"], total["windows"]


def test_batches_are_accepted_once_and_then_are_duplicates(client, batch) -> None:
    answered = client.post(batch(1), batch(2))
    assert answered.status == 200
    assert answered.json == {"accepted": ["cafe-1", "cafe-2"], "duplicate": [], "rejected": []}
    assert client.post(batch(2), batch(3)).json == {
        "accepted": ["cafe-3"],
        "duplicate": ["cafe-2"],
        "rejected": [],
    }
    assert hits(client) == (3.0, 3)


def test_a_key_with_other_content_is_rejected_and_says_so(client, batch) -> None:
    client.post(batch(1, 5.0))
    answered = client.post(batch(1, 6.0), batch(2, 1.0))
    assert answered.status == 200
    assert answered.json["accepted"] == ["cafe-2"]
    [rejected] = answered.json["rejected"]
    assert rejected["key"] == "cafe-1"
    assert "other content" in rejected["error"]
    assert hits(client) == (6.0, 2)


def test_the_answer_about_500_rejected_batches_fits_what_the_shipper_reads(client_of, batch) -> None:
    client = client_of(max_body_bytes=10_000_000)
    for hits in (1.0, 2.0):
        answered = client.post(*(batch(number, hits, spool="0123456789abcdef") for number in range(1, 501)))
    assert len(answered.json["rejected"]) == 500
    assert len(answered.body) < 65_536
    broken = b"".join(
        b'{"v":1,"key":"0123456789abcdef-%d","host":"h","window":{},"points":"%s"}\n' % (number, b"x" * 300)
        for number in range(500)
    )
    answered = client("POST", "/v1/batches", broken, NDJSON)
    assert len(answered.json["rejected"]) == 500
    assert len(answered.body) < 65_536


def test_a_batch_twice_in_one_body_counts_once(client, batch) -> None:
    assert client.post(batch(1), batch(1)).json == {
        "accepted": ["cafe-1"],
        "duplicate": ["cafe-1"],
        "rejected": [],
    }
    assert hits(client) == (1.0, 1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_repetition_and_order_gives_the_same_totals(data, fresh_client, batch) -> None:
    batches = [batch(number, float(number)) for number in range(1, 9)]
    everything = st.permutations(batches + data.draw(st.lists(st.sampled_from(batches), max_size=12)))
    left = list(data.draw(everything))
    with fresh_client() as client:
        while left:
            size = data.draw(st.integers(1, len(left)))
            answered = client.post(*left[:size]).json
            assert answered["rejected"] == []
            assert sorted(answered["accepted"] + answered["duplicate"]) == sorted(each.key for each in left[:size])
            left = left[size:]
        assert hits(client) == (36.0, 8)
        [timer] = client("GET", "/v1/totals?name=lat").json["totals"]
        assert (timer["count"], timer["sum"], timer["windows"]) == (16.0, 24.0, 8)
        [gauge] = client("GET", "/v1/totals?name=level").json["totals"]
        assert (gauge["last"], gauge["windows"]) == (8.0, 8)
        [host] = client("GET", "/v1/hosts").json["hosts"]
        assert (host["batches"], host["missing"], host["spools"][0]["last_seq"]) == (8, 0, 8)


def test_one_bad_line_stores_nothing_of_the_body(client, batch) -> None:
    body = gzip.decompress(batch(1).payload) + b"nonsense\n" + gzip.decompress(batch(2).payload)
    answered = client("POST", "/v1/batches", body, NDJSON)
    assert answered.status == 400
    assert answered.json["error"].startswith("line 2 ")
    assert client("GET", "/v1/totals").json == {"totals": [], "truncated": False}


def test_a_bomb_is_413_and_stores_nothing(client, batch) -> None:
    answered = client("POST", "/v1/batches", batch(1).payload + gzip.compress(bytes(2_000_000)), NDJSON_GZIP)
    assert answered.status == 413
    assert client("GET", "/v1/hosts").json == {"hosts": []}


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        (("GET", "/nowhere", b""), {}, 404),
        (("GET", "/v1/batches", b""), {}, 405),
        (("POST", "/", b""), {}, 405),
        (("DELETE", "/v1/checkin", b""), {}, 405),
        (("POST", "/v1/batches", b"x"), {}, 415),
        (("POST", "/v1/batches", b"x"), {"Content-Type": "application/json"}, 415),
        (("POST", "/v1/batches", b"x"), NDJSON | {"Content-Encoding": "br"}, 415),
        (("POST", "/v1/batches", b"no gzip"), NDJSON_GZIP, 400),
        (("POST", "/v1/batches", b"x" * 100_001), NDJSON_GZIP, 413),
        (("POST", "/v1/checkin", b"{}"), {"Content-Type": "text/plain"}, 415),
        (("POST", "/v1/checkin", b"{}"), {"Content-Type": "application/json"}, 400),
        (("POST", "/v1/checkin", b" " * 65_537), {"Content-Type": "application/json"}, 413),
    ],
)
def test_what_is_refused_says_why_in_json(client, asked, headers, status) -> None:
    answered = client(*asked, headers)
    assert answered.status == status
    assert answered.headers["Content-Type"] == "application/json"
    assert list(answered.json) == ["error"]
    assert len(answered.json["error"]) > 10


def test_405_names_what_is_allowed(client) -> None:
    assert client("PUT", "/v1/batches").headers["Allow"] == "POST"
    assert client("POST", "/healthz").headers["Allow"] == "GET"


def test_a_body_of_unknown_length_is_411(client, batch) -> None:
    assert client("POST", "/v1/batches", batch(1).payload, NDJSON_GZIP, length="").status == 411


def test_a_body_that_ends_early_is_400_and_stores_nothing(client, batch) -> None:
    payload = batch(1).payload
    answered = client("POST", "/v1/batches", payload, NDJSON_GZIP, length=str(len(payload) + 1))
    assert answered.status == 400
    assert "ended after" in answered.json["error"]
    assert client("GET", "/v1/hosts").json == {"hosts": []}


PATHS = [
    ("POST", "/v1/batches"),
    ("POST", "/v1/checkin"),
    ("GET", "/v1/hosts"),
    ("GET", "/v1/totals"),
    ("GET", "/"),
    ("GET", "/host"),
    ("GET", "/chart"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "shown", [None, "Bearer wrong", "Bearer ", "Bearer", "secret", "Basic !!!", "Bearer s\xe9cret"]
)
def test_without_the_token_everything_is_401(client_of, method, path, shown) -> None:
    client = client_of(token="secret")
    answered = client(method, path, b"", {"Authorization": shown} if shown else {})
    assert answered.status == 401
    assert answered.headers["WWW-Authenticate"].startswith("Bearer")
    assert "secret" not in answered.body.decode()


def test_with_the_token_everything_answers(client_of, batch) -> None:
    client = client_of(token="secret")
    bearer = {"Authorization": "Bearer secret"}
    assert client("POST", "/v1/batches", batch(1).payload, NDJSON_GZIP | bearer).status == 200
    for path in ("/", "/host?name=web-1", "/chart?name=hits", "/v1/hosts", "/v1/totals"):
        assert client("GET", path, headers=bearer).status == 200


def test_health_needs_no_token_and_counts_batches(client_of, batch) -> None:
    client_of().post(batch(1), batch(2))
    answered = client_of(token="secret")("GET", "/healthz")
    assert answered.status == 200
    assert answered.json == {"ok": True, "batches": 2, "last_batch_at": 1_764_000_100.0, "version": "1.2.3"}


def test_a_full_disk_is_507_and_nothing_is_half_stored(client, store, batch) -> None:
    client.post(batch(1))
    pages = store._connection.execute("pragma page_count").fetchone()[0]
    store._connection.execute(f"pragma max_page_count = {pages + 4}")
    many = [batch(number) for number in range(2, 200)]
    answered = client.post(*many)
    assert answered.status == 507
    assert int(answered.headers["Retry-After"]) > 0
    assert hits(client) == (1.0, 1)
    assert client("GET", "/v1/hosts").json["hosts"][0]["batches"] == 1
    assert client("GET", "/healthz").status == 503
    store._connection.execute("pragma max_page_count = 1000000")
    assert client.post(*many).json["accepted"] == [each.key for each in many]
    assert hits(client) == (199.0, 199)


def test_health_is_red_while_the_disk_is_full_and_green_after(client_of, store) -> None:
    now = [0.0]
    client = client_of(monotonic=lambda: now[0])
    store._connection.execute("pragma max_page_count = 1")
    assert client("GET", "/healthz").status == 503
    store._connection.execute("pragma max_page_count = 1000000")
    now[0] = 60.0
    assert client("GET", "/healthz").status == 200


def test_a_locked_database_is_503_and_asks_to_come_back(client, store, batch) -> None:
    store._connection.execute("pragma busy_timeout = 50")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    answered = client.post(batch(1))
    other.execute("rollback")
    other.close()
    assert answered.status == 503
    assert int(answered.headers["Retry-After"]) > 0
    assert client.post(batch(1)).json["accepted"] == ["cafe-1"]


def test_a_checkin_is_kept_and_answers_with_the_servers_time(client) -> None:
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    answered = client("POST", "/v1/checkin", b'{"host":"web-2","state":"DEGRADED"}', json_type)
    assert answered.json == {"ok": True, "server_time": 1_764_000_100.0}
    [host] = client("GET", "/v1/hosts").json["hosts"]
    assert host["host"] == "web-2"
    assert host["checkin"] == {
        "received_at": 1_764_000_100.0,
        "body": {"host": "web-2", "state": "DEGRADED"},
    }


def test_totals_are_found_by_a_pattern(client, batch) -> None:
    client.post(batch(1))
    names = [each["name"] for each in client("GET", "/v1/totals?name=l*").json["totals"]]
    assert names == ["lat", "level"]
