"""The receiver's pages in a real Chromium: what is seen, read aloud and reached by keyboard, without a script."""

import json

import pytest

from spool.batch import Point, Window, encode

NOW = 1_764_000_100.0
HOSTILE = "<script>alert(1)</script>&\"'"
TOKEN = "t0ken-of-the-test"


def windows(host, spool, count, *, skip=(), behind_s=0.0):
    """Ten-second windows up to now: a counter, a timer with percentiles, a gauge with a hostile name."""
    for seq in range(1, count + 1):
        end = NOW - 10 * (count - seq) - behind_s
        points = [
            Point("hits", "counter", {"env": "prod"}, {"value": 100.0 + seq % 7}),
            Point("lat", "timer", {}, {"count": 5, "p50": 10.0 + seq % 3, "p99": 40.0 + seq % 11}),
            Point(HOSTILE, "gauge", {HOSTILE: HOSTILE}, {"value": 3.0}),
        ]
        if seq not in skip:
            yield encode(spool, seq, host, Window(seq, end - 10, end, points), points, end)


@pytest.fixture
def site(served, client):
    """A served receiver that has heard of three hosts: one fine, one with a gap, one silent for an hour."""
    for batches in (
        windows("web-1", "aaaa", 20),
        windows("web-2", "bbbb", 90, skip=range(40, 60)),
        windows("db-1.with.a.rather.long.name.example.net", "cccc", 30, behind_s=3_600),
    ):
        assert client.post(*batches).status == 200
    owed = {"batches": 20, "first_window": 40, "last_window": 59}
    said = {"host": "web-2", "state": "DEGRADED", "reasons": [HOSTILE], "spool_id": "bbbb", "owed": owed}
    client("POST", "/v1/checkin", json.dumps(said).encode(), {"Content-Type": "application/json"})
    return lambda scheme="http", **changes: served(scheme, clock=lambda: NOW + 3, **changes).url


def test_hosts_and_one_of_them_are_read_aloud_with_their_states_and_reached_by_keyboard(site, page) -> None:
    page.without_script()
    assert page.open(site()) == 200
    spoken = page.spoken()
    headings = [name for role, name in spoken if role == "heading"]
    assert headings == ["Hosts"]
    assert {"banner", "navigation", "main", "contentinfo", "table"} <= {role for role, _ in spoken}
    assert {"Host", "State", "Why", "Newest window"} <= {name for role, name in spoken if role == "columnheader"}
    rows = [name for role, name in spoken if role == "rowheader"]
    assert rows == ["db-1.with.a.rather.long.name.example.net", "web-2", "web-1"]
    page.press("Tab")
    assert page.focused() == ("link", "Skip to the content")
    page.press("Enter")
    for _ in range(3):
        page.press("Tab")
    assert page.focused() == ("link", "web-2")
    with page.loading():
        page.press("Enter")
    assert "40 to 59" in page.text()
    assert "still to come" in page.text()
    assert HOSTILE in page.text()
    assert page.problems == []
    assert len(page.requested) == 1


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(251, 251, 250)"), ("dark", "rgb(20, 23, 26)")])
def test_a_chart_of_percentiles_is_asked_for_with_a_form_and_told_in_a_table(site, page, scheme, paper) -> None:
    page.without_script()
    page.prefer(scheme)
    page.resize(400, 800)
    assert page.open(f"{site()}/chart?name=lat&host=web-2") == 200
    spoken = page.spoken()
    [picture] = [name for role, name in spoken if role in ("image", "img", "graphics-document")]
    assert picture == "lat: p99 and p50"
    assert {"Metric", "Host", "Statistic", "Time", "Ending"} <= {
        name for role, name in spoken if role in ("textbox", "combobox")
    }
    assert {"p99", "p50"} <= {name for role, name in spoken if role == "rowheader"}
    assert "Shaded: 20 windows have not arrived." in page.text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") != paper
    # Nothing sticks out: a table or a picture that is too wide for a telephone scrolls by itself.
    size = page.ask("Page.getLayoutMetrics")["cssContentSize"]
    assert size["width"] <= 400
    assert page.problems == []


def test_a_hostile_name_is_only_text(site, page) -> None:
    assert page.open(f"{site()}/chart") == 200
    assert page.evaluate("document.scripts.length") == 0
    with page.loading():
        page.evaluate("document.querySelector('.names a').click()")
    assert page.text().count(HOSTILE) >= 2
    assert page.evaluate("document.scripts.length") == 0
    assert page.problems == []


def test_a_person_signs_in_by_keyboard_over_tls_and_is_led_to_what_was_asked_for(site, page) -> None:
    page.trust_any_certificate()
    url = site("https", token=TOKEN)
    assert page.open(f"{url}/chart?name=hits&span=6h") == 401
    assert page.focused() == ("textbox", "Token")
    page.type("wrong")
    with page.loading():
        page.press("Enter")
    assert "This is not the token." in page.text()
    page.type(TOKEN)
    with page.loading():
        page.press("Enter")
    assert page.status() == 200
    assert page.evaluate("location.pathname + location.search") == "/chart?name=hits&span=6h"
    assert page.evaluate("document.cookie") == ""
    assert TOKEN not in page.dom()
    [cookie] = page.ask("Network.getCookies")["cookies"]
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Lax"
    with page.loading():
        page.evaluate("document.querySelector('header button').click()")
    assert "Token" in page.text() and "Sign out" not in page.text()
