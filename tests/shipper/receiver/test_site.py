"""The pages as they answer: what they say of what has arrived, who may read them, and nothing hostile in them."""

import json
from html import unescape
from itertools import count
from urllib.parse import quote, urlencode

import pytest

from spool.batch import Point, Window, encode

NOW = 1_764_000_100.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HOSTILE = "<script>alert('\"&')</script>"


def page(client, path, headers=None, status=200):
    answered = client("GET", path, headers=headers)
    assert answered.status == status
    assert answered.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answered.headers["Content-Security-Policy"]
    return answered.body.decode()


def check_in(client, **body):
    assert client("POST", "/v1/checkin", json.dumps(body).encode(), {"Content-Type": "application/json"}).status == 200


def test_an_empty_receiver_says_how_to_fill_it(client) -> None:
    told = unescape(page(client, "/"))
    assert 'url = "http://127.0.0.1/v1/batches"' in told
    assert "Nothing has arrived yet." in page(client, "/chart")


def test_hosts_are_shown_worst_first_with_freshness_gaps_and_what_they_say(client, batch) -> None:
    client.post(*(batch(number, host="fine") for number in range(1, 10)))
    client.post(*(batch(number, host="gappy", spool="beef") for number in (1, 2, 9)))
    check_in(client, host="failing", state="FAIL", reasons=["main: 5 attempts in a row have failed"])
    told = page(client, "/")
    assert told.index(">failing<") < told.index(">gappy<") or told.index(">failing<") < told.index(">fine<")
    assert "it says: main: 5 attempts in a row have failed" in told
    assert "10s ago" in told
    assert '<td class="number">6</td>' in told
    assert 'href="/host?name=gappy"' in told


def test_a_fleet_can_be_searched_and_its_worst_are_shown(client, store) -> None:
    store._connection.execute("pragma synchronous = off")
    for number in range(600):
        store.check_in(f"host-{number:03}", json.dumps({"state": "FAIL" if number == 599 else "OK"}), NOW - 1)
    told = page(client, "/")
    assert told.index(">host-599<") < told.index(">host-000<")
    assert "100 more that are not worse than these are left out." in told
    assert page(client, "/?search=T-12").count('href="/host?name=') == 10
    assert "No host has such a name." in page(client, "/?search=x")


def test_a_host_whose_clock_is_beyond_any_calendar_breaks_no_page(client, batch) -> None:
    for number, end in enumerate((1e300, -1e300, 1e12), start=1):
        point = Point("hits", "counter", {}, {"value": 1.0})
        window = Window(2 * number, end - 10, end, [point])
        assert client.post(encode("cafe", number, "web-1", window, [point], NOW)).json["accepted"]
    assert "beyond any calendar" in page(client, "/")
    assert "beyond any calendar" in page(client, "/host?name=web-1")
    assert "Nothing has arrived for this choice" in page(client, "/chart?name=hits")


def test_a_host_tells_its_gaps_and_check_ins(client, client_of, batch) -> None:
    client.post(batch(1), batch(2), batch(6))
    owed = {"batches": 3, "first_window": 3, "last_window": 5}
    for at in range(5):
        said = {"state": "DEGRADED", "reasons": ["main: parked"], "spool_id": "cafe", "owed": owed}
        loss = {"losses_since": [{"batches": 2, "points": 300, "reason": "size"}]} if at == 2 else {}
        check_in(client_of(clock=lambda at=at: NOW - 300 + 60 * at), host="web-1", **said, **loss)
    told = page(client, "/host?name=web-1")
    assert '<th scope="row">3 to 5</th><td class="number">3</td>' in told
    assert ">16:00:20<" in told and ">16:00:50<" in told
    assert "still to come" in told
    assert told.count("main: parked") == 1 + 1  # why the host is degraded, and one row for five check-ins
    assert "2 batches, 300 points: size" in told
    assert "<desc>At most 3, last 3, over 4m.</desc>" in told
    assert page(client, "/host?name=nobody", status=404).count("No such host has been heard.") == 1


def test_what_a_host_announced_is_on_its_page(client) -> None:
    points = [
        Point("deploy", "event", {"env": "prod"}, {"count": 1, "fields": {"text": "v1.2 <is out>"}}),
        Point("db", "service_check", {}, {"count": 1, "value": 2, "fields": {"text": "no answer"}}),
    ]
    client.post(encode("cafe", 1, "web-1", Window(1, NOW - 20, NOW - 10, points), points, NOW - 10))
    told = page(client, "/host?name=web-1")
    assert "<td>event</td><td>v1.2 &lt;is out&gt;</td><td>env=prod</td>" in told
    assert "<td>check: critical</td><td>no answer</td>" in told


def test_metrics_are_listed_searched_and_drawn(client, batch) -> None:
    client.post(*(batch(number, 20.0) for number in range(1, 10)))
    assert page(client, "/chart").count('href="/chart?name=') == 3
    found = page(client, "/chart?search=LE&host=web-1")
    assert 'href="/chart?name=level&amp;host=web-1"' in found
    assert "hits" not in found
    drawn = page(client, "/chart?name=hits&span=15m")
    assert "<title>hits: per second</title>" in drawn
    assert "<desc>web-1: last 2, lowest 2, highest 2.</desc>" in drawn
    assert "Each dot is the rate per second of 10s." in drawn
    assert '<tr><th scope="row">web-1</th><td class="number">2</td>' in drawn
    assert drawn.count('<time datetime="2025-11-24T16:') == 9
    assert "No metric has this name." in page(client, "/chart?name=nothing")


def test_a_timer_shows_its_percentiles_and_any_statistic_that_is_chosen(client, batch) -> None:
    client.post(*(batch(number) for number in range(1, 10)))
    assert "<title>lat: p50</title>" in page(client, "/chart?name=lat")
    told = page(client, "/chart?name=lat&stat=count")
    assert "<title>lat: count per second</title>" in told
    assert '<option value="count" selected>count</option>' in told


def test_a_tag_a_host_and_a_time_can_be_chosen(client, batch) -> None:
    client.post(*(batch(number) for number in range(1, 10)))
    client.post(*(batch(number, host="web-2", spool="beef") for number in range(1, 10)))
    both = page(client, "/chart?name=hits")
    assert "sum of 2 series" in both and '<option value="=prod">prod</option>' in both
    assert "sum of" not in page(client, "/chart?name=hits&host=web-2")
    assert "sum of 2 series" in page(client, "/chart?name=hits&tag:env=%3Dprod")
    assert "Nothing has arrived for this choice" in page(client, "/chart?name=hits&tag:env=%3Dtest")
    assert "Nothing has arrived for this choice" in page(client, "/chart?name=hits&until=2h")
    assert "&#x27;soon&#x27;: allowed is" in page(client, "/chart?name=hits&until=soon")


def test_windows_that_have_not_arrived_are_shaded_and_said(client, batch) -> None:
    client.post(batch(1), batch(2), batch(6), batch(7))
    told = page(client, "/chart?name=level&span=15m")
    assert "Shaded: 3 windows have not arrived." in told
    assert told.count('fill-opacity="0.2"') == 1


def test_many_lines_are_drawn_as_the_few_that_reach_highest(client_of) -> None:
    client = client_of(max_body_bytes=10_000_000)
    points = [Point("temp", "gauge", {"room": f"{n:03}"}, {"value": float(n)}) for n in range(100)]
    window = Window(1, NOW - 20, NOW - 10, points)
    client.post(encode("cafe", 1, "web-1", window, points, NOW - 10))
    told = page(client, "/chart?name=temp")
    assert "Read are 60 of 100 series: choose a host or tags." in told
    assert "Drawn are the 6 of 60 lines that reach highest." in told
    assert ">room=059</text>" in told and ">room=053</text>" not in told
    assert "<title>temp: gauge, highest of 100 series</title>" in page(client, "/chart?name=temp&each=max")


def test_what_came_over_the_network_is_markup_on_no_page(client) -> None:
    points = [Point(HOSTILE, "gauge", {HOSTILE: HOSTILE}, {"value": 1.0, HOSTILE: 2.0})]
    client.post(encode("cafe", 1, HOSTILE, Window(1, NOW - 20, NOW - 10, points), points, NOW - 10))
    body = {"state": HOSTILE, "reasons": [HOSTILE, [HOSTILE]], "losses_since": [{"reason": HOSTILE}, HOSTILE]}
    check_in(client, host=HOSTILE, version=HOSTILE, **body)
    name = quote(HOSTILE)
    paths = ("/", f"/host?name={name}", "/chart", f"/chart?search={name}", f"/chart?name={name}")
    for path in (*paths, f"/chart?name={name}&stat={name}&until={name}&host={name}&tag:{name}=%3D{name}"):
        told = page(client, path)
        assert "<script" not in told and "alert('" not in told, path
        assert "alert(" in told, path


@pytest.mark.parametrize("body", [[], "x", 1, {"owed": [], "reasons": {}, "intake": 3, "losses_since": 7, "state": []}])
def test_a_check_in_of_any_shape_breaks_no_page(client, store, batch, body) -> None:
    client.post(batch(1), batch(9))
    store.check_in("web-1", json.dumps(body), NOW - 1)
    assert "web-1" in page(client, "/")
    assert "Check-ins" in page(client, "/host?name=web-1")


@pytest.mark.parametrize("levels", [*range(980, 1_000, 2), 100])
def test_a_check_in_nested_to_the_limit_of_json_is_refused_and_breaks_no_page(client, levels) -> None:
    """What can be read when it comes could be too deep for a page, which has more calls beneath it."""
    body = b'{"host":"web-1","x":' + b"[" * levels + b"]" * levels + b"}"
    assert client("POST", "/v1/checkin", body, {"Content-Type": "application/json"}).status == 400
    assert client("GET", "/").status == client("GET", "/v1/hosts").status == 200


def test_a_page_loads_again_by_itself_for_those_who_ask_for_it(client, batch) -> None:
    client.post(batch(1))
    once = page(client, "/chart?name=hits&span=6h")
    assert "http-equiv" not in once
    assert 'href="/chart?name=hits&amp;span=6h&amp;again=1">Load it again every 30 s' in once
    again = page(client, "/chart?name=hits&span=6h&again=1")
    assert '<meta http-equiv="refresh" content="30">' in again
    assert 'href="/chart?name=hits&amp;span=6h">Stop loading it again' in again


def test_an_address_with_very_many_parts_is_answered(client) -> None:
    page(client, "/chart?" + "&".join(f"tag:{n}=%3D1" for n in range(500)))


def sign_in(client, token, then="/"):
    return client("POST", "/sign-in", urlencode({"token": token, "then": then}).encode(), FORM)


def test_a_person_signs_in_with_the_token_and_out_again(client_of, batch) -> None:
    client = client_of(token="secret")
    asked = client("GET", "/chart?name=hits&span=6h")
    assert asked.status == 401
    assert 'name="then" value="/chart?name=hits&amp;span=6h"' in asked.body.decode()
    answered = sign_in(client, " secret\n", "/chart?name=hits&span=6h")
    assert (answered.status, answered.headers["Location"]) == (303, "/chart?name=hits&span=6h")
    cookie = {"Cookie": answered.headers["Set-Cookie"].partition(";")[0]}
    assert "Sign out" in page(client, "/", cookie)
    assert client("GET", "/v1/hosts", headers=cookie).status == 401  # it opens pages and nothing else
    assert client("POST", "/v1/batches", batch(1).payload, cookie).status == 401
    left = client("POST", "/sign-out", b"", cookie)
    assert left.status == 303 and "Max-Age=0" in left.headers["Set-Cookie"]
    later = client_of(token="secret", clock=lambda: NOW + 13 * 3600)
    assert later("GET", "/", headers=cookie).status == 401


def test_a_wrong_token_opens_nothing_and_is_not_repeated(client_of) -> None:
    client = client_of(token="secret")
    answered = sign_in(client, "guess")
    assert answered.status == 401
    assert "Set-Cookie" not in answered.headers
    told = answered.body.decode()
    assert "This is not the token." in told and 'aria-invalid="true"' in told
    assert "guess" not in told and "secret" not in told


@pytest.mark.parametrize(
    "then", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/x", "/?a\r\nb: c", ""]
)
def test_signing_in_leads_to_our_own_pages_only(client_of, then) -> None:
    assert sign_in(client_of(token="secret"), "secret", then).headers["Location"] == "/"


def test_a_form_of_another_kind_or_size_is_refused(client_of) -> None:
    client = client_of(token="secret")
    assert client("POST", "/sign-in", b"token=secret", {"Content-Type": "text/plain"}).status == 415
    assert client("POST", "/sign-in", b"token=" + b"x" * 10_000, FORM).status == 413


def test_what_takes_too_long_is_said_with_the_form_to_ask_for_less(client_of, monkeypatch, batch) -> None:
    client_of(max_body_bytes=10_000_000).post(*(batch(number) for number in range(1, 300)))
    monkeypatch.setattr("shipper.receiver.reader.STEPS_BETWEEN_CHECKS", 1_000)
    instants = count()
    # Whoever looks at the clock a second time is too late.
    client = client_of(monotonic=lambda: 2.0 * next(instants), clock=lambda: NOW + 3_000)
    told = page(client, "/chart?name=hits")
    assert "Choose a shorter time" in told
    assert '<form class="asking">' in told


def test_without_a_database_a_page_says_so_and_no_more(client, store) -> None:
    store.path.rename(store.path.with_suffix(".away"))
    try:
        told = page(client, "/", status=503)
    finally:
        store.path.with_suffix(".away").rename(store.path)
    assert "cannot be read" in told
