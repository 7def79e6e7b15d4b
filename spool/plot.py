"""Pictures of series and of points: with braille dots for a terminal, as SVG for a page. Pure.

    backlog 6h, batches                                       max 900, now 0
    900 |             ⢀⣀⣠⣤⣤⣶⣶⣿⣿⣿⣷⣦⣄
        |      ⢀⣀⣠⣤⣴⣾⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣷⣄
      0 |⣀⣀⣤⣶⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣦⣀⣀⣀⣀
         06:00:00                             12:00:00

A braille character holds two dots across and four down, U+2800 plus a bit for each:

    1 4       bits 0 3
    2 5            1 4
    3 6            2 5
    7 8            6 7

Promises: a value of any size is drawn within the picture; an instant without a value is left empty, not drawn as
zero; an SVG needs nothing else, tells its title and what it shows to those who cannot see it, and has no script or
style in it. Not promised: in a terminal, labels for more than the ends of an axis, and which of several lines is which.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from html import escape
from itertools import chain, cycle, pairwise

from spool import ticks

_BITS = ((0, 1, 2, 6), (3, 4, 5, 7))
_LARGEST = sys.float_info.max / 4
"""What is larger is drawn at the edge, so that the distance of any two values is a number."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Label = Callable[[float], str]
Dot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One of several series in a picture. A line begins anew after a gap."""

    label: str
    dots: Sequence[Dot]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: dots (x, y) within `x_range`; y begins at `y_low` and reaches `y_high` or the highest dot.

    x is an instant, in Unix seconds. `filled` draws an area under the dots, else each dot stands alone; `lines` go over
    that. The labels turn a value into text; `y_ticks(low, high)` says which values the axis of an SVG is marked with;
    `desc` says in a sentence or two what is to be seen; `shaded` are times in which something is missing.
    """

    title: str
    dots: Sequence[Dot]
    x_range: tuple[float, float]
    x_label: Label
    y_label: Label
    filled: bool = True
    y_low: float = 0.0
    y_high: float | None = None
    lines: Sequence[Line] = ()
    y_ticks: Callable[[float, float], Sequence[float]] = ticks.numbers
    desc: str = ""
    shaded: Sequence[tuple[float, float]] = ()

    @property
    def all_dots(self) -> Iterator[Dot]:
        """The dots of the area and of the lines."""
        return chain(self.dots, *(each.dots for each in self.lines))

    @property
    def top(self) -> float:
        """The value at the upper edge, above `y_low`."""
        highest = max((y for _, y in self.all_dots), default=self.y_low) if self.y_high is None else self.y_high
        return highest if highest > self.y_low else self.y_low + 1.0


def text(chart: Chart, width: int = 72, height: int = 8) -> Iterator[str]:
    """The chart in lines of text: title, `height` rows of `width` characters with the y axis, the x axis."""
    top, bottom = chart.y_label(chart.top), chart.y_label(chart.y_low)
    margin = max(len(top), len(bottom))
    yield chart.title
    for number, row in enumerate(_braille(_raster(chart, 2 * width, 4 * height), width, height)):
        label = top if number == 0 else bottom if number == height - 1 else ""
        yield f"{label:>{margin}} |{row}".rstrip()
    begin, end = (chart.x_label(each) for each in chart.x_range)
    yield " " * (margin + 2) + begin + end.rjust(max(len(end) + 1, width - len(begin)))


def _raster(chart: Chart, across: int, up: int) -> set[tuple[int, int]]:
    """The dots that are set: (column, row), row 0 at the bottom."""
    found: dict[int, set[int]] = {}
    for x, y in _placed(chart, across, up):
        found.setdefault(x, set()).add(y)
    if not chart.filled or chart.lines:
        return {(x, y) for x, ys in found.items() for y in ys}
    columns = {x: max(ys) for x, ys in found.items()}
    known = sorted(columns)
    # Where the dots are fewer than the columns, each stands until the next, but a gap stays a gap.
    steps = sorted(after - x for x, after in pairwise(known))
    step = steps[len(steps) // 2] if steps else 1
    raster: set[tuple[int, int]] = set()
    for x, until in pairwise([*known, known[-1] + step] if known else []):
        for column in range(x, min(x + 1 if until - x > 3 * step else until, across)):
            raster.update((column, y) for y in range(columns[x] + 1))
    return raster


def _placed(chart: Chart, across: int, up: int) -> Iterator[tuple[int, int]]:
    (low, high), top = chart.x_range, chart.top  # asked once: `top` looks at every dot
    for x, y in chart.all_dots:
        if low <= x <= high:
            column = int((x - low) / ((high - low) or 1.0) * (across - 1) + 0.5)
            yield column, int(_level(y, chart.y_low, top) * (up - 1) + 0.5)


def _level(value: float, low: float, high: float) -> float:
    """How far up a value lies between the edges, from 0 to 1; 0 where both edges are one number (-1e100 + 1 is)."""
    low, value, high = (min(max(each, -_LARGEST), _LARGEST) for each in (low, min(max(value, low), high), high))
    return (value - low) / ((high - low) or 1.0)


def _braille(raster: Iterable[tuple[int, int]], width: int, height: int) -> Iterator[str]:
    cells = [[0] * width for _ in range(height)]
    for x, y in raster:
        down = 4 * height - 1 - y
        cells[down // 4][x // 2] |= 1 << _BITS[x % 2][down % 4]
    for row in cells:
        yield "".join(chr(0x2800 + each) if each else " " for each in row).rstrip()


WIDTH, HEIGHT, LEFT, RIGHT, BELOW, ABOVE, UNHEADED, LEGEND = 860, 300, 90, 16, 30, 34, 10, 20

COLOURS = ("#2a7ab9", "#c2571a", "#2b8a3e", "#9355b8", "#c93a68", "#0b8793")
"""Told apart on white and on black, 3:1 against either; beyond that lines differ by their dashes."""

DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 4", "12 3")
GREY = "#777777"
TITLE_CHARS, LABEL_CHARS = 90, 40


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where in the picture a value lies: the plane's edges, and what they stand for."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    above: int
    width: int

    @property
    def right(self) -> int:
        return self.width - RIGHT

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(LEFT + (value - low) / ((high - low) or 1.0) * (self.right - LEFT), 1)

    def y(self, value: float) -> float:
        return round(self.above + (HEIGHT - BELOW - self.above) * (1 - _level(value, *self.y_range)), 1)


def svg(chart: Chart, zone: tzinfo | None = None, width: int = WIDTH, headed: bool = True) -> str:
    """The chart as an SVG document `width` units across, readable on white and on black; its letters measure 12 units.

    Its words take the colour of the text around them where a page's style says `svg { color: inherit }`. The x axis is
    marked at round times of `zone` (None: local time). Unless it is `headed`, the title is not drawn: a page has it
    beside the picture. Of many values in one place the highest is drawn, so that the document stays small.
    """
    above = ABOVE if headed else UNHEADED
    legend, rows = _legend(chart.lines, above, width - RIGHT)
    marks = list(chart.y_ticks(chart.y_low, chart.top))
    scale = _Scale(chart.x_range, (min([chart.y_low, *marks]), max([chart.top, *marks])), above + LEGEND * rows, width)
    known = [each for each in sorted(chart.dots) if chart.x_range[0] <= each[0] <= chart.x_range[1]]
    shapes = [
        *(_shade(scale, *each) for each in chart.shaded),
        *(_mark_y(scale, each, chart.y_label) for each in marks),
        *(_mark_x(scale, each, chart.x_label) for each in ticks.instants(*chart.x_range, zone=zone)),
        *((_area(run, scale) for run in _runs(known)) if chart.filled else [_cloud(known, scale)]),
        *(_line(line.dots, scale, *pen) for line, pen in zip(chart.lines, _pens(), strict=False)),
    ]
    desc = f"<desc>{_words(chart.desc)}</desc>\n" if chart.desc else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {HEIGHT}"'
        f' font-family="system-ui, sans-serif" font-size="12" color="{GREY}">\n'
        f"<title>{_words(chart.title)}</title>\n{desc}"
        f"{_heading(chart.title) if headed else ''}{legend}" + "\n".join(shapes) + "\n</svg>\n"
    )


def _words(text: str) -> str:
    """`text` for a document: escaped, and without the characters that XML does not have."""
    return escape(_NOT_XML.sub("\ufffd", text))


def _heading(title: str) -> str:
    return f'<text x="{LEFT}" y="20" fill="currentColor" font-size="15">{_words(_cut(title, TITLE_CHARS))}</text>\n'


def _pens() -> Iterator[tuple[str, str]]:
    """Colour and dashes for one line after the other."""
    return zip(cycle(COLOURS), cycle(DASHES), strict=True)


def _legend(lines: Sequence[Line], above: int, right: int) -> tuple[str, int]:
    """The lines' labels, each behind a sample of its line, and how many rows they fill."""
    shapes, x, row = [], LEFT, 0
    for line, (colour, dashes) in zip(lines, _pens(), strict=False):
        label = _cut(line.label, LABEL_CHARS)
        across = 46 + 7 * len(label)  # 7: the widest that letters of this size are on average
        if x > LEFT and x + across > right:
            x, row = LEFT, row + 1
        y = above + 8 + LEGEND * row
        shapes.append(f'<path d="M{x} {y - 4}h24" {_stroke(colour, dashes)}/>')
        shapes.append(f'<text x="{x + 30}" y="{y}" fill="currentColor">{_words(label)}</text>')
        x += across
    return "".join(f"{each}\n" for each in shapes), row + 1 if lines else 0


def _shade(scale: _Scale, begin: float, end: float) -> str:
    left, right = (scale.x(min(max(each, scale.x_range[0]), scale.x_range[1])) for each in (begin, end))
    across, up = max(right - left, 2), HEIGHT - BELOW - scale.above
    return f'<path d="M{left} {scale.above}h{across:.1f}v{up}h-{across:.1f}z" fill="{GREY}" fill-opacity="0.2"/>'


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 3]}..."


def _mark_y(scale: _Scale, value: float, label: Label) -> str:
    y = scale.y(value)
    return (
        f'<path d="M{LEFT} {y}H{scale.right}" stroke="{GREY}" stroke-opacity="0.35"/>'
        f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="currentColor">{_words(label(value))}</text>'
    )


def _mark_x(scale: _Scale, value: float, label: Label) -> str:
    x = scale.x(value)
    words = _words(label(value))
    half = 3.5 * len(words)  # a label at the edge stays within the picture
    return (
        f'<path d="M{x} {HEIGHT - BELOW}v5" stroke="{GREY}"/>'
        f'<text x="{min(max(x, half), scale.width - half)}" y="{HEIGHT - 10}" text-anchor="middle" fill="currentColor">'
        f"{words}</text>"
    )


def _cloud(dots: Sequence[Dot], scale: _Scale) -> str:
    """A round dot for each place, as the two ends of a line without length."""
    places = sorted({(round(scale.x(x)), round(scale.y(y))) for x, y in dots})
    path = "".join(f"M{x} {y}h0" for x, y in places)
    return f'<path d="{path}" stroke="{COLOURS[0]}" stroke-width="3.2" stroke-linecap="round"/>' if places else ""


def _area(run: Sequence[Dot], scale: _Scale) -> str:
    floor = HEIGHT - BELOW
    first, last = scale.x(run[0][0]), scale.x(run[-1][0])
    pen = _stroke(COLOURS[0])
    return (
        f'<path d="M{first} {floor}L{_points(run, scale)}L{last} {floor}" fill="{COLOURS[0]}" fill-opacity="0.3"/>'
        + (
            f'<path d="M{_points(run, scale)}" {pen}/>'
            if len(run) > 1
            else f'<path d="M{first} {floor}V{scale.y(run[0][1])}" {pen}/>'
        )
    )


def _line(dots: Sequence[Dot], scale: _Scale, colour: str, dashes: str) -> str:
    shapes = []
    for run in _runs(sorted(each for each in dots if scale.x_range[0] <= each[0] <= scale.x_range[1])):
        if len(run) > 1:
            shapes.append(f'<path d="M{_points(run, scale)}" {_stroke(colour, dashes)}/>')
        else:
            shapes.append(f'<circle cx="{scale.x(run[0][0])}" cy="{scale.y(run[0][1])}" r="2" fill="{colour}"/>')
    return "".join(shapes)


def _points(run: Sequence[Dot], scale: _Scale) -> str:
    if len(run) <= scale.width:
        return " ".join(f"{scale.x(x)} {scale.y(y)}" for x, y in run)
    highest: dict[int, float] = {}  # y grows downwards
    for x, y in run:
        column, row = round(scale.x(x)), scale.y(y)
        highest[column] = min(row, highest.get(column, row))
    return " ".join(f"{column} {row}" for column, row in highest.items())


def _stroke(colour: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"{dashed}'


def _runs(dots: Sequence[Dot]) -> Iterator[Sequence[Dot]]:
    """The dots up to a gap, then those up to the next."""
    steps = sorted(after[0] - dot[0] for dot, after in pairwise(dots))
    step = steps[len(steps) // 2] if steps else 0.0
    run: list[Dot] = []
    for each in dots:
        if run and each[0] - run[-1][0] > 3 * step:
            yield run
            run = []
        run.append(each)
    if run:
        yield run
