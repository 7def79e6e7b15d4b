"""What pages are built of: nothing gets in unescaped, and everything can be read in light and in dark."""

import base64
import hashlib
import re
from datetime import UTC

import pytest

from shipper.receiver.page import HEADERS, STYLE, Frame, badge, document, instant, link
from spool.health import State
from spool.markup import table
from spool.plot import COLOURS, GREY
from tests.contrast import contrast

FRAME = Frame(now=1_764_000_000.0, version="1.2.3", zone=UTC)
HOSTILE = "<script>alert('\"&')</script>"


def test_nothing_hostile_is_markup_anywhere_in_a_page() -> None:
    page = document(
        HOSTILE, FRAME, link(HOSTILE, "/host", name=HOSTILE), table(HOSTILE, [HOSTILE], [[HOSTILE]]), here=HOSTILE
    ).decode()
    assert "<script" not in page
    assert "alert('" not in page


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    page = document("Hosts", FRAME, here="/").decode()
    [style] = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert style == STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(each.strip().split(" ", 1) for each in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert not {"script-src", "connect-src"} & set(policy)
    assert "style=" not in page and "javascript:" not in page


def test_a_page_has_landmarks_one_main_heading_and_a_way_past_the_navigation() -> None:
    page = document("Hosts", FRAME, here="/").decode()
    assert page.index('href="#content"') < page.index("<nav") < page.index('<main id="content"')
    assert page.count("<h1>") == page.count("<main ") == page.count("<header>") == page.count("<footer>") == 1
    assert '<html lang="en">' in page
    assert '<a href="/" aria-current="page">Hosts</a>' in page


def test_a_state_is_a_word_and_not_a_colour_alone() -> None:
    assert {re.sub(r"<[^>]+>", "", badge(state)).split()[-1] for state in State} == set(State)


def test_instants_are_told_in_the_zone_and_machines_get_the_rest() -> None:
    at = '<time datetime="2025-11-24T15:59:56+00:00">'
    assert instant(1_763_999_996.0, FRAME) == f"{at}4s ago</time>"
    assert instant(1_763_999_996.0, FRAME, exact=True) == f"{at}15:59:56</time>"
    assert ">2025-11-23 16:00:00</time>" in instant(1_763_913_600.0, FRAME, exact=True)
    assert instant(None, FRAME) == "never"


SCHEMES = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in STYLE.split("@media")]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
def test_text_and_lines_stand_out_in_light_and_in_dark(scheme) -> None:
    for name in ("ink", "soft", "link", "ok", "degraded", "fail", "unknown"):
        assert contrast(scheme[name], scheme["paper"]) >= 4.5, name
    for name in ("ink", "soft"):  # what is written in fields
        assert contrast(scheme[name], scheme["shade"]) >= 4.5, name
    for colour in (*COLOURS, GREY):
        assert contrast(colour, scheme["paper"]) >= 3, colour
