"""The page as text: what is on it can be read in light and in dark, and a picture's numbers are its picture's."""

import re

import pytest

from spool.plot import COLOURS, GREY, Chart, Line
from spool.web.page import ROWS, STYLE, numbers_of
from tests.contrast import contrast

SCHEMES = [dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", part)) for part in STYLE.split("@media (prefers")]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
def test_text_and_lines_stand_out_in_light_and_in_dark(scheme) -> None:
    colours = {
        name: f"#{''.join(2 * each for each in hexa[1:])}" if len(hexa) == 4 else hexa for name, hexa in scheme.items()
    }
    for name in ("ink", "soft", "link", "ok", "warn", "fail"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours[name], colours["card"]) >= 4.5, name
    for colour in (*COLOURS, GREY):
        assert contrast(colour, colours["card"]) >= 3, colour


def chart(dots, **given):
    return Chart("t", dots, (0.0, 4800.0), "{:.0f}".format, "{:g}".format, **given)


def test_the_numbers_are_the_largest_of_each_round_length_of_time() -> None:
    numbers = numbers_of(chart([(0.0, 1.0), (60.0, 5.0), (119.0, 2.0), (240.0, 7.0), (9999.0, 99.0)]))
    assert numbers.caption == "The largest of each 2m"
    assert numbers.rows == [["0", "5"], ["240", "7"]]


def test_each_line_has_a_column_and_may_have_gaps() -> None:
    numbers = numbers_of(chart([], lines=[Line("a", [(0.0, 1.0)]), Line("b", [(0.0, 2.0), (600.0, 3.0)])]))
    assert numbers.titles == ["From", "a#", "b#"]
    assert numbers.rows == [["0", "1", "2"], ["600", "", "3"]]


def test_dots_are_counted_with_the_first_and_the_last() -> None:
    numbers = numbers_of(chart([(0.0, 30.0), (10.0, 20.0), (200.0, 210.0)], filled=False))
    assert [list(row) for row in numbers.rows] == [["0", "2", "20", "30"], ["120", "1", "210", "210"]]


def test_there_are_few_rows_however_many_dots() -> None:
    assert len(numbers_of(chart([(n / 10, 1.0) for n in range(48_000)])).rows) <= ROWS
