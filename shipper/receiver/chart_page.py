"""The page of metrics: a list of their names with a search, and a chart of one with the numbers beneath it.

Everything is asked by forms that send GET, so that an address is a picture that can be sent to somebody. Pure: what the
reader found in, pages out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from shipper.receiver.curves import LINES_MOST, PER_SECOND, Series, Steps, how
from shipper.receiver.page import Frame, document, figure, instant, link, search
from shipper.receiver.question import EACH, SPANS, TAG, Choice, Question
from shipper.receiver.standing import Gap
from spool.human import amount, count, counted, moment, span
from spool.markup import Html, element, html, table
from spool.plot import Chart, Dot, Line
from spool.ticks import numbers

TAGS_MOST, VALUES_MOST, HOSTS_MOST = 8, 100, 1_000
"""Choices for so many tags, of so many values each, and for so many hosts."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question and its answer.

    `stats` are all that the metric has, `shown` those that `lines` are of. `missing` are the gaps within the time.
    """

    question: Question
    choice: Choice
    stats: Sequence[str]
    shown: Sequence[str]
    steps: Steps
    lines: Sequence[Line]
    missing: Sequence[Gap] = ()
    trouble: str = ""


def names(found: Sequence[str], most: int, question: Question, frame: Frame) -> bytes:
    """The list of up to `most` names that the search has found."""
    box = search("Name contains", question.search, host=question.host)
    links = (element("li", link(name, "/chart", name=name, host=question.host)) for name in found)
    said = counted(len(found), "name", "names")
    if len(found) == most:
        said = f"The first {count(most)} names; search for others."
    elif not found:
        said = "No metric has such a name." if question.search else "Nothing has arrived yet."
    return document("Metrics", frame, box, element("p", said), element("ul", *links, class_="names"), here="/chart")


def chart(drawn: Drawn, frame: Frame) -> bytes:
    """The picture, the form that asked for it, and the numbers."""
    question = drawn.question
    troubles = [each for each in (question.trouble, drawn.trouble) if each]
    parts = [element("p", trouble, role="alert") for trouble in troubles]
    if not drawn.choice.known:
        parts.append(element("p", "No metric has this name. ", link("All metrics", "/chart"), "."))
    elif any(line.dots for line in drawn.lines):
        parts += [figure(_picture(drawn, frame), frame, _caption(drawn)), *_tables(drawn, frame)]
    elif not drawn.trouble:
        parts.append(element("p", "Nothing has arrived for this choice in this time."))
    return document(question.name, frame, _form(drawn), *parts, here="/chart")


def _picture(drawn: Drawn, frame: Frame) -> Chart:
    question = drawn.question
    title = f"{question.name}: {_what(drawn)}"
    values = [y for line in drawn.lines for _, y in line.dots]
    bounds = (question.since_at, question.until_at)
    x_label = partial(moment, now=frame.now, zone=frame.zone)
    low = _floor(drawn, values)
    desc = " ".join(f"{line.label}: {_said(line.dots)}." for line in drawn.lines[:LINES_MOST])
    filled = len(drawn.lines) == 1 and low == 0
    return Chart(
        title,
        drawn.lines[0].dots if filled else (),
        bounds,
        x_label,
        amount,
        y_low=low,
        lines=() if filled else drawn.lines[:LINES_MOST],
        desc=desc,
        shaded=[(gap.after or 0.0, gap.before or 0.0) for gap in drawn.missing],
    )


def _floor(drawn: Drawn, values: Sequence[float]) -> float:
    """Zero, unless that would flatten what is far from it or hide what is below it."""
    low, high = min(values), max(values)
    if low < 0 or (low > high / 2 and not _per_second(drawn) and high > low):
        return numbers(low, high if high > low else low + 1)[0]
    return 0.0


def _per_second(drawn: Drawn) -> bool:
    return all(how(drawn.choice.type, stat) == PER_SECOND for stat in drawn.shown)


def _what(drawn: Drawn) -> str:
    stats = " and ".join(each for each in drawn.shown if each != "value")
    words = f"{stats} per second".lstrip() if _per_second(drawn) else stats or drawn.choice.type
    if drawn.choice.together == "line":
        return words
    return (
        f"{words}, {'sum' if drawn.choice.together == 'sum' else 'highest'} of {count(len(drawn.choice.read))} series"
    )


def _caption(drawn: Drawn) -> str:
    """What a dot of the picture stands for, and what of the choice it leaves out."""
    kinds = dict.fromkeys(how(drawn.choice.type, stat) for stat in drawn.shown)
    said = f"Each dot is {' and '.join(kinds)} of {span(drawn.steps.step_s)}."
    read, chosen = len(drawn.choice.read), len(drawn.choice.chosen)
    if chosen > read:
        said += f" Read are {count(read)} of {count(chosen)} series: choose a host or tags."
    if len(drawn.lines) > LINES_MOST:
        said += f" Drawn are the {LINES_MOST} of {count(len(drawn.lines))} lines that reach highest."
    if drawn.missing:
        windows = sum(gap.windows for gap in drawn.missing)
        said += f" Shaded: {counted(windows, 'window has', 'windows have')} not arrived."
    return said


def _said(dots: Sequence[Dot]) -> str:
    values = [y for _, y in dots]
    return f"last {amount(dots[-1][1])}, lowest {amount(min(values))}, highest {amount(max(values))}"


def _tables(drawn: Drawn, frame: Frame) -> tuple[Html, Html]:
    """One row per line, and, folded, every number of the picture."""
    lines = drawn.lines[:LINES_MOST]
    summary = table(
        "In this time",
        ("Line", "Last#", "Lowest#", "Mean#", "Highest#"),
        [(line.label, *map(amount, _summary(line.dots))) for line in lines],
    )
    ends = sorted({end for line in lines for end, _ in line.dots}, reverse=True)
    by_time = [dict(line.dots) for line in lines]
    rows = [
        (instant(end, frame, exact=True), *(amount(each[end]) if end in each else "" for each in by_time))
        for end in ends
    ]
    every = table("Newest first", ("Until", *(f"{line.label}#" for line in lines)), rows)
    return summary, element("details", element("summary", f"All {count(len(rows))} steps as a table"), every)


def _summary(dots: Sequence[Dot]) -> tuple[float, ...]:
    values = [y for _, y in dots]
    return dots[-1][1], min(values), sum(values) / len(values), max(values)


def _form(drawn: Drawn) -> Html:
    question = drawn.question
    known = sorted({each.host for each in drawn.choice.known})[:HOSTS_MOST]
    hosts = {"": "all hosts", **{host: host for host in (*known, question.host) if host}}
    fields = [_field("Metric", element("input", name="name", id="name", value=question.name, required=True))]
    if len(drawn.choice.types) > 1:
        fields.append(_select("Type", "type", {each: each for each in drawn.choice.types}, drawn.choice.type))
    fields.append(_select("Host", "host", hosts, question.host))
    for key, values in _tag_values(drawn.choice.known).items():
        choices = {"": "any", **{f"={value}": value or "(without a value)" for value in values}}
        fields.append(
            _select(f"Tag {key}", TAG + key, choices, f"={question.tags[key]}" if key in question.tags else "")
        )
    if len(drawn.stats) > 1:
        fields.append(
            _select("Statistic", "stat", {"": "as suits the metric", **{s: s for s in drawn.stats}}, question.stat)
        )
    if len(drawn.choice.chosen) > 1:
        fields.append(_select("Several series", "each", EACH, question.each))
    fields.append(_select("Time", "span", SPANS, question.span))
    until = element(
        "input", name="until", id="until", value=question.until, placeholder="now", aria_describedby="words"
    )
    fields.append(_field("Ending", until))
    hint = element(
        "p",
        "Ending: now, 2h, yesterday 18:00, 2026-11-23 08:00 or @1764000000. ",
        link("All metrics", "/chart", host=question.host),
        id="words",
        class_="soft",
    )
    return html(element("form", *fields, element("button", "Show"), class_="asking"), hint)


def _tag_values(known: Iterable[Series]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for each in {one.tags for one in known}:
        for key, value in json.loads(each).items():
            if isinstance(value, str):
                found.setdefault(key, set()).add(value)
    return {key: sorted(found[key])[:VALUES_MOST] for key in sorted(found)[:TAGS_MOST]}


def _field(label: str, control: Html) -> Html:
    """A control that wears its label; the label is around it, so no two ids can clash."""
    return element("label", label, control)


def _select(label: str, name: str, choices: Mapping[str, str], chosen: str) -> Html:
    options = (element("option", text, value=value, selected=value == chosen) for value, text in choices.items())
    return _field(label, element("select", *options, name=name))
