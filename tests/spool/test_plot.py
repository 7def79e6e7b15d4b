"""Pictures: what is drawn lies within the frame, a gap stays a gap, and any value can be drawn."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from spool.plot import Chart, svg, text

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
    for each in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(each.get("cx")) <= across and 0 <= float(each.get("cy")) <= up


def test_words_in_an_svg_are_escaped() -> None:
    assert "<b>" not in svg(Chart("<b>", [], (0, 1), lambda _: "<b>", lambda _: "<b>"))
