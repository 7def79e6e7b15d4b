"""The page as HTML: headings, pictures with their numbers beneath them, tables and two forms.

Pure: values in, text out. Promises: one document with no script, and nothing from elsewhere; every word that is not
ours is escaped (markup.py); POLICY allows nothing but its style. Readable with a keyboard alone, aloud, at any width,
on white and on black. Not promised: the same pixels in every browser.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from spool import ticks
from spool.human import span
from spool.markup import Html, element, html, policy, table
from spool.plot import Chart, Dot, svg
from spool.series import WAYS
from spool.web.asked import REFRESHES, Asked

STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #566270; --paper: #f6f7f9; --card: #fff; --line: #d9dee4;
  --link: #14609f; --ok: #1b7a3d; --warn: #a05a00; --fail: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --soft: #9fabb8; --paper: #12171d; --card: #1b222a;
  --line: #323c47; --link: #7ab8f0; --ok: #5cc982; --warn: #e6a84a; --fail: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
a { color: var(--link) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px }
.skip { position: absolute; left: -999rem }
.hidden { position: absolute; left: -999rem }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .3rem .8rem }
header, main, footer { max-width: 78rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 1.25rem }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .7rem }
p { margin: .4rem 0; overflow-wrap: anywhere }
.soft { color: var(--soft) }
nav a[aria-current] { color: var(--ink); font-weight: 600; text-decoration: none }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; margin: .6rem 0 1rem; padding: 0 }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem }
.state { border-left: .6rem solid var(--soft) }
.state h2 { margin: 0 0 .3rem } .state h2 span { font-size: .92rem; font-weight: 400 }
.OK { border-left-color: var(--ok) } .OK strong { color: var(--ok) }
.DEGRADED, .UNKNOWN { border-left-color: var(--warn) } .DEGRADED strong, .UNKNOWN strong { color: var(--warn) }
.FAIL { border-left-color: var(--fail) } .FAIL strong { color: var(--fail) }
.state ul { margin: .2rem 0 .6rem; padding-left: 1.2rem }
.problem { border-left: .6rem solid var(--fail); margin: .8rem 0 }
.pictures { display: grid; grid-template-columns: repeat(2, 1fr); gap: 1rem }
.pictures > :last-child:nth-child(odd) { grid-column: 1 / -1 }
@media (max-width: 60rem) { .pictures { grid-template-columns: 100% } }
figure { margin: 0; min-width: 0 } figcaption { font-weight: 600; margin-bottom: .4rem; overflow-wrap: anywhere }
svg { color: inherit; display: block; width: 100%; height: auto; min-width: 30rem }
.pictures > :last-child:nth-child(odd) svg { min-width: 48rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
caption { text-align: left; color: var(--soft); padding-bottom: .2rem }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td, tbody th { overflow-wrap: break-word; max-width: 40rem }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap }
tbody th { font-weight: 600 }
tr:last-child > * { border-bottom: 0 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
summary { cursor: pointer; color: var(--link); padding: .3rem 0 }
details .wide { max-height: 22rem; overflow-y: auto }
form { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; margin: .6rem 0 1rem }
label { display: grid; gap: .15rem; font-size: .88rem; color: var(--soft) }
input, select, button { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--soft);
  border-radius: 5px; padding: .3rem .55rem; max-width: 100% }
button { background: var(--link); border-color: var(--link); color: var(--card); padding: .3rem 1.1rem;
  cursor: pointer }
footer { padding-top: 2rem; padding-bottom: 2.5rem; color: var(--soft) }
"""

POLICY = policy(STYLE)

LOOKS_BACK = (("1h", "1 hour"), ("6h", "6 hours"), ("1d", "1 day"), ("7d", "7 days"))

HALF, WHOLE = 560, 1160
"""How many units across a picture is, so that its letters are nearly as large as those around it."""

ROWS = 48
"""At most about so many rows beneath a picture: each sums up a round length of time."""


@dataclass(frozen=True, slots=True)
class Table:
    """Titles, those of numbers ending in `#`, and rows of cells; the first cell is the row's title."""

    caption: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading. `without` stands in the place of a table that has no row."""

    id: str
    title: str
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    table: Table | None = None
    without: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that is on it. `screen` are the lines of `holdfast status`, `names` the metrics to choose from,
    `files` links to the databases, `others` to the pages of other spools.
    """

    host: str
    place: str
    at: str
    state: str
    reasons: Sequence[str]
    notes: Sequence[str]
    problems: Sequence[str]
    screen: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    metric: Section
    names: Sequence[str]
    files: Sequence[Html]
    others: Sequence[Html]
    asked: Asked


def render(page: Page) -> str:
    """The document."""
    parts = [(f"#{each.id}", each.title) for each in (*page.sections, page.metric)]
    header = element(
        "header",
        element("h1", f"Holdfast on {page.host}"),
        element("p", page.place, class_="soft"),
        _navigation("Parts of this page", [element("a", title, href=mark) for mark, title in parts]),
    )
    main = element(
        "main",
        *(element("p", each, class_="card problem", role="alert") for each in page.problems),
        *(element("p", each, class_="soft") for each in page.notes),
        _state(page),
        _time(page.asked),
        *(_section(each) for each in page.sections),
        _section(page.metric, _metric(page.asked, page.names)),
        id="content",
        tabindex="-1",
    )
    skip = element("a", "Skip to the content", href="#content", class_="skip")
    return _document(f"{page.state} - Holdfast on {page.host}", skip, header, main, _footer(page), asked=page.asked)


def render_problem(problem: str) -> str:
    """A document that says why there is nothing to show."""
    said = element("p", problem, class_="card problem", role="alert")
    return _document("Holdfast", element("header", element("h1", "Holdfast")), element("main", said))


def _document(title: str, *body: Html, asked: Asked | None = None) -> str:
    again = element("meta", http_equiv="refresh", content=asked.refresh) if asked and asked.refresh else html()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", title),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        again,
        element("style", Html(STYLE)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n"


def _navigation(label: str, links: Sequence[Html]) -> Html:
    return element("nav", element("ul", *(element("li", each) for each in links)), aria_label=label)


def _state(page: Page) -> Html:
    at = element("span", f"at {page.at}", class_="soft")
    return element(
        "section",
        element("h2", element("strong", page.state), " ", at, id="state"),
        element("ul", *(element("li", each) for each in page.reasons)) if page.reasons else html(),
        table("What holdfast status says", ("What", "How it stands"), page.screen),
        class_=f"card state {page.state}",
        aria_labelledby="state",
    )


def _time(asked: Asked) -> Html:
    form = element(
        "form",
        _field("since", "From", asked.since, "6h, yesterday, 08:00"),
        _field("until", "to", asked.until, "now"),
        _hidden(asked, "name", "stat", "tags", "agg", "refresh"),
        element("button", "Show"),
        method="get",
        aria_label="Time shown",
    )
    links = [
        _choice(label, asked.address(since=word, until=""), asked.since == word and not asked.until)
        for word, label in LOOKS_BACK
    ]
    return html(form, _navigation("Time shown", links))


def _metric(asked: Asked, names: Sequence[str]) -> Html:
    ways = [f"1m:{way}" for way in WAYS]
    return element(
        "form",
        _field("name", "Name or pattern", asked.name, "api.*", names),
        _field("stat", "Statistics", asked.stat, "p50,p99"),
        _field("tags", "Tags", asked.tags, "env:prod"),
        _field("agg", "Added up", asked.agg, "5m:max", ways),
        _hidden(asked, "since", "until", "refresh"),
        element("button", "Draw"),
        method="get",
        action="#metric",
        aria_label="Metric",
    )


def _field(name: str, label: str, value: str, hint: str, choices: Sequence[str] = ()) -> Html:
    offered = element("datalist", *(element("option", each) for each in choices), id=f"{name}s") if choices else html()
    box = element(
        "input",
        name=name,
        value=value,
        placeholder=hint,
        size=str(max(12, len(hint))),
        autocomplete="off",
        list=f"{name}s" if choices else None,
    )
    return html(element("label", label, box), offered)


def _hidden(asked: Asked, *names: str) -> Html:
    said = {name: getattr(asked, name) for name in names}
    return html(*(element("input", type="hidden", name=name, value=word) for name, word in said.items() if word))


def _choice(label: str, address: str, chosen: bool) -> Html:
    return element("a", label, href=address, aria_current="true" if chosen else None)


def _section(section: Section, form: Html | None = None) -> Html:
    shown = section.table if section.table is not None and section.table.rows else None
    beneath = element("p", section.without, class_="card") if section.without else html()
    if shown is not None:
        beneath = element("div", table(shown.caption, shown.titles, shown.rows), class_="card")
    return element(
        "section",
        element("h2", section.title, id=section.id, tabindex="-1"),
        form or html(),
        *(element("p", each, class_="card problem") for each in section.problems),
        *(element("p", each, class_="soft") for each in section.notes),
        _pictures(section.charts),
        beneath,
        aria_labelledby=section.id,
    )


def _pictures(charts: Sequence[Chart]) -> Html:
    """Two beside each other; the last of an odd number has a row for itself."""
    alone = len(charts) % 2
    widths = [HALF] * (len(charts) - alone) + [WHOLE] * alone
    figures = (_figure(chart, width) for chart, width in zip(charts, widths, strict=True))
    return element("div", *figures, class_="pictures") if charts else html()


def _figure(chart: Chart, width: int) -> Html:
    numbers = numbers_of(chart)
    beneath = element("p", "Nothing is known about that time.", class_="soft")
    if numbers.rows:
        whose = element("span", f" of {chart.title}", class_="hidden")
        beneath = element(
            "details",
            element("summary", "Numbers", whose),
            table(numbers.caption, numbers.titles, numbers.rows),
        )
    picture = element("div", Html(svg(chart, width=width, headed=False)), class_="wide")
    return element("figure", element("figcaption", chart.title), picture, beneath, class_="card")


def _footer(page: Page) -> Html:
    chosen = page.asked.refresh
    again = [(each, f"every {each} s") for each in REFRESHES] + ([("", "not by itself")] if chosen else [])
    choices = [_choice(words, page.asked.address(refresh=each), each == chosen) for each, words in again]
    lines = (("Tables and SQL", page.files), ("Other spools", page.others), ("Loads again", choices))
    return element(
        "footer",
        *(_navigation(label, [html(f"{label}:"), *links]) for label, links in lines if links),
        element("p", "Times are this host's. Nothing here changes the spool."),
    )


def numbers_of(chart: Chart) -> Table:
    """What the chart shows, as a table: a row for each round length of time that has anything."""
    low, high = chart.x_range
    step = ticks.round_s((high - low) / ROWS)

    def by_row(dots: Sequence[Dot]) -> Iterator[tuple[float, list[float]]]:
        within = sorted(each for each in dots if low <= each[0] <= high)
        for number, group in groupby(within, key=lambda dot: dot[0] // step):
            yield number * step, [y for _, y in group]

    if not chart.filled:
        titles = ("From", "Batches#", "First acknowledged", "Last acknowledged")
        found = [
            (chart.x_label(begin), f"{len(ys):,}", chart.y_label(min(ys)), chart.y_label(max(ys)))
            for begin, ys in by_row(chart.dots)
        ]
        return Table(f"Each {span(step)}", titles, found)
    shown = [("Value", chart.dots)] if not chart.lines else [(each.label, each.dots) for each in chart.lines]
    columns = [dict(by_row(dots)) for _, dots in shown]
    begins = sorted({begin for column in columns for begin in column})
    rows = [
        [chart.x_label(begin), *(chart.y_label(max(column[begin])) if begin in column else "" for column in columns)]
        for begin in begins
    ]
    return Table(f"The largest of each {span(step)}", ["From", *(f"{label}#" for label, _ in shown)], rows)
