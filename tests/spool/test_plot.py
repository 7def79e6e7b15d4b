"""Pictures: what is drawn lies within the frame, a gap stays a gap, and any value can be drawn."""

import math
import re
import time
from datetime import UTC
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool.plot import LEFT, RIGHT, WIDTH, Chart, Line, svg, text

dots = st.lists(st.tuples(st.floats(-10, 110), st.floats(-1e9, 1e9)), max_size=50)


def chart(of, **given):
    return Chart("a title", of, given.pop("x_range", (0.0, 100.0)), "{:g}".format, "{:g}".format, **given)


def raster(of, width=10, height=2, **given):
    """The rows of dots, the highest first: # where one is set."""
    lines = [line.partition("|")[2].ljust(width) for line in list(text(chart(of, **given), width, height))[1:-1]]
    rows = []
    for line in lines:
        for bits in ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)):
            rows.append("".join(
                "#" if each != " " and (ord(each) - 0x2800) & bit else "." for each in line for bit in bits
            ))  # fmt: skip
    return rows


def test_an_area_reaches_from_the_floor_to_each_value() -> None:
    rows = raster([(0, 0), (100 / 3, 1), (200 / 3, 2), (100, 3)], width=2, height=1, x_range=(0, 100))
    assert rows == ["...#", "..##", ".###", "####"]


def test_dots_stand_alone_where_they_are() -> None:
    rows = raster([(0, 0), (100, 100)], width=2, height=1, filled=False)
    assert rows == ["...#", "....", "....", "#..."]


def test_a_value_lasts_until_the_next_but_a_gap_stays_empty() -> None:
    rows = raster([(0, 5), (10, 5), (20, 5), (80, 5), (90, 5), (100, 5)], width=20, height=1)
    assert rows[0].startswith("########") and rows[0].endswith("#########"[:8])
    assert "......" in rows[0]
    assert rows[0][:8] == rows[3][:8]


def test_the_axes_are_labelled_with_their_ends() -> None:
    lines = list(text(chart([(0, 7), (100, 900)]), 40, 4))
    assert lines[0] == "a title"
    assert lines[1].startswith("900 |") and lines[4].startswith("  0 |")
    assert lines[5].split() == ["0", "100"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert set("".join(raster([]))) == {"."}
    assert "<path" in svg(chart([]))


@given(dots, st.booleans(), st.integers(1, 60), st.integers(1, 12))
def test_whatever_is_drawn_stays_within_the_frame(of, filled, width, height) -> None:
    lines = list(text(chart(of, filled=filled), width, height))
    assert len(lines) == height + 2
    assert all(len(line.partition("|")[2]) <= width for line in lines[1:-1])


@given(dots, st.booleans())
def test_an_svg_is_well_formed_and_within_its_view(of, filled) -> None:
    root = ElementTree.fromstring(svg(chart(of, filled=filled, y_low=0.0)))
    across, up = (float(each) for each in root.get("viewBox", "").split()[2:])
    assert all(0 <= x <= across and 0 <= y <= up for x, y in places(root))


SIZES = (-1.7e308, -1e100, -1e16, -1.0, 0.0, 5e-324, 1.0, 1e16, 1e16 + 2, 1e100, 1.2e308, 1.7e308, math.inf)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(SIZES)), min_size=1, max_size=4), st.booleans())
def test_a_value_of_any_size_is_drawn_within_the_frame(of, filled) -> None:
    """A level that never changes, and distances that no float can hold, are drawn too."""
    low = min(y for _, y in of)
    assert len(list(text(chart(of, filled=filled, y_low=low), 20, 4))) == 6
    root = ElementTree.fromstring(svg(chart(of, filled=filled, y_low=low)))
    assert all(0 <= x <= 860 and 0 <= y <= 300 for x, y in places(root)) and "nan" not in places_text(root)


def places_text(root):
    """The strokes of a picture as they stand in it."""
    return " ".join(path.get("d", "") for path in root.iter("{http://www.w3.org/2000/svg}path"))


def places(root):
    """Where the strokes of a picture begin and lead to."""
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[0-9.]+) (-?[0-9.]+)", places_text(root))]


@pytest.mark.parametrize("filled", [True, False])
def test_an_svg_of_very_many_values_is_small_and_keeps_the_peak(filled) -> None:
    of = [(n / 1_000, 8.0 if n == 54_321 else 1.0) for n in range(100_000)]
    picture = svg(chart(of, filled=filled, y_high=10.0), width=560)
    assert len(picture) < 30_000
    (peak,) = {round(x) for x, y in places(ElementTree.fromstring(picture)) if 60 < y < 100 and x > 90}
    assert peak == round(90 + 0.54321 * (560 - 90 - 16))


def test_words_in_an_svg_are_escaped() -> None:
    assert "<b>" not in svg(Chart("<b>", [], (0, 1), lambda _: "<b>", lambda _: "<b>"))


def test_an_svg_is_xml_whatever_a_client_has_called_its_metric() -> None:
    drawn = svg(Chart("a\ufffe\x01b", [], (0, 1), str, str, lines=[Line("\uffff", [])], desc="\x00"))
    assert ElementTree.fromstring(drawn)[0].text == "a\ufffd\ufffdb"


def lines_chart(*lines, **given):
    return Chart("a title", (), (0.0, 100.0), "{:g}".format, "{:g}".format, lines=lines, **given)


def test_a_picture_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    drawn = svg(lines_chart(Line("p99", [(0, 1), (10, 2)]), desc="Last 2, highest 2."), UTC)
    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "img"
    assert [root[0].text, root[1].text] == ["a title", "Last 2, highest 2."]
    assert root[0].tag.endswith("title") and root[1].tag.endswith("desc")


def test_several_lines_are_told_apart_by_colour_and_by_dashes_and_named() -> None:
    drawn = svg(lines_chart(*(Line(f"line {n}", [(0, n), (10, n + 1)]) for n in range(8))), UTC)
    strokes = re.findall(r'stroke="(#\w+)" stroke-width="[\d.]+" stroke-linejoin="round"(.*?)/>', drawn)
    samples, drawn_lines = strokes[:8], strokes[8:]
    assert samples == drawn_lines
    assert len(set(samples[:6])) == len({dashes for _, dashes in samples[:6]}) == 6
    assert all(f">line {n}</text>" in drawn for n in range(8))


def test_a_line_is_interrupted_by_a_gap_and_a_lone_value_is_a_dot() -> None:
    drawn = svg(lines_chart(Line("a", [(0, 1), (1, 2), (2, 1), (50, 1), (51, 1), (80, 1)])), UTC)
    assert len(re.findall(r'<path d="M[\d.]+ [\d.]+ [\d.]+ ', drawn)) == 2
    assert drawn.count("<circle") == 1


def test_long_words_are_cut_in_the_picture_and_whole_for_a_screen_reader() -> None:
    drawn = svg(Chart("t" * 500, (), (0, 1), str, str, lines=[Line("l" * 500, [(0, 1)])]))
    assert "t" * 500 in drawn and "l" * 100 not in drawn
    assert max(len(each) for each in re.findall(r">([^<]*)</text>", drawn)) <= 90


def test_what_is_missing_is_shaded_within_the_frame() -> None:
    drawn = svg(lines_chart(Line("a", [(0, 1), (10, 2)]), shaded=[(-50, 20), (90, 500)]), UTC)
    shaded = re.findall(r'<path d="M([\d.]+) [\d.]+h([\d.]+)v[\d.]+h-[\d.]+z"', drawn)
    assert len(shaded) == 2
    assert all(float(x) >= LEFT and float(x) + float(w) <= WIDTH - RIGHT + 0.1 for x, w in shaded)


@settings(max_examples=50)
@given(st.lists(dots, max_size=4), st.floats(-1e9, 0))
def test_any_lines_give_a_well_formed_picture(several, low) -> None:
    drawn = svg(lines_chart(*(Line(str(n), each) for n, each in enumerate(several)), y_low=low), UTC)
    assert "nan" not in drawn and "inf" not in drawn
    ElementTree.fromstring(drawn)


def test_a_week_of_windows_is_drawn_at_once() -> None:
    of = [(float(each), float(each % 97)) for each in range(60_000)]
    begun = time.process_time()
    list(text(chart(of, x_range=(0.0, 60_000.0))))
    svg(chart(of, x_range=(0.0, 60_000.0)))
    assert time.process_time() - begun < 5
