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
zero. Not promised: labels for more than the ends of an axis.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_BITS = ((0, 1, 2, 6), (3, 4, 5, 7))

Label = Callable[[float], str]
Dot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: dots (x, y) within `x_range`; y begins at `y_low` and reaches `y_high` or the highest dot.

    `filled` draws an area under the dots, else each dot stands alone. The labels turn a value into text.
    """

    title: str
    dots: Sequence[Dot]
    x_range: tuple[float, float]
    x_label: Label
    y_label: Label
    filled: bool = True
    y_low: float = 0.0
    y_high: float | None = None

    @property
    def top(self) -> float:
        """The value at the upper edge, above `y_low`."""
        highest = max((y for _, y in self.dots), default=self.y_low) if self.y_high is None else self.y_high
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
    if not chart.filled:
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
    low, high = chart.x_range
    for x, y in chart.dots:
        if low <= x <= high:
            column = int((x - low) / ((high - low) or 1.0) * (across - 1) + 0.5)
            level = (min(max(y, chart.y_low), chart.top) - chart.y_low) / (chart.top - chart.y_low)
            yield column, int(level * (up - 1) + 0.5)


def _braille(raster: Iterable[tuple[int, int]], width: int, height: int) -> Iterator[str]:
    cells = [[0] * width for _ in range(height)]
    for x, y in raster:
        down = 4 * height - 1 - y
        cells[down // 4][x // 2] |= 1 << _BITS[x % 2][down % 4]
    for row in cells:
        yield "".join(chr(0x2800 + each) if each else " " for each in row).rstrip()


WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 860, 300, 90, 30, 34


def svg(chart: Chart) -> str:
    """The chart as an SVG document that needs nothing else, readable on white and on black."""
    across, up = WIDTH - LEFT - 10, HEIGHT - BELOW - ABOVE
    low, high = chart.x_range

    def at(x: float, y: float) -> Dot:
        level = (min(max(y, chart.y_low), chart.top) - chart.y_low) / (chart.top - chart.y_low)
        return round(LEFT + (x - low) / ((high - low) or 1.0) * across, 1), round(ABOVE + up * (1 - level), 1)

    within = sorted(each for each in chart.dots if low <= each[0] <= high)
    shape = "".join(_areas(within, at) if chart.filled else (_dot(at(*each)) for each in within))
    begin, end = (escape(chart.x_label(each)) for each in chart.x_range)
    grey = 'fill="#777" font-size="12"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f"<title>{escape(chart.title)}</title>\n"
        f'<text x="{LEFT}" y="20" fill="#777" font-size="15">{escape(chart.title)}</text>\n'
        f'<path d="M{LEFT} {ABOVE}V{ABOVE + up}H{LEFT + across}" fill="none" stroke="#777"/>\n'
        f'<text x="{LEFT - 6}" y="{ABOVE + 10}" text-anchor="end" {grey}>{escape(chart.y_label(chart.top))}</text>\n'
        f'<text x="{LEFT - 6}" y="{ABOVE + up}" text-anchor="end" {grey}>{escape(chart.y_label(chart.y_low))}</text>\n'
        f'<text x="{LEFT}" y="{HEIGHT - 10}" {grey}>{begin}</text>\n'
        f'<text x="{LEFT + across}" y="{HEIGHT - 10}" text-anchor="end" {grey}>{end}</text>\n'
        f"{shape}\n</svg>\n"
    )


def _dot(place: Dot) -> str:
    return f'<circle cx="{place[0]}" cy="{place[1]}" r="1.6" fill="#2a7ab9"/>'


def _areas(dots: Sequence[Dot], at: Callable[[float, float], Dot]) -> Iterator[str]:
    """An area for each run of dots without a gap."""
    steps = sorted(after[0] - dot[0] for dot, after in pairwise(dots))
    step = steps[len(steps) // 2] if steps else 0.0
    run: list[Dot] = []
    for each in dots:
        if run and each[0] - run[-1][0] > 3 * step:
            yield _area(run, at)
            run = []
        run.append(each)
    if run:
        yield _area(run, at)


def _area(run: Sequence[Dot], at: Callable[[float, float], Dot]) -> str:
    floor = HEIGHT - BELOW
    line = " ".join(f"{x} {y}" for x, y in (at(*each) for each in run))
    first, last = at(*run[0])[0], at(*run[-1])[0]
    return f'<path d="M{first} {floor}L{line}L{last} {floor}Z" fill="#2a7ab9" fill-opacity="0.5" stroke="#2a7ab9"/>'
