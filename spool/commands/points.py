"""`holdfast points`: the numbers themselves, newest batch first; added up over time; as pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice

import click

from spool.commands.completing import completing, names
from spool.commands.drawing import Canvas, draw, drawing
from spool.commands.options import limit as limit_option
from spool.commands.options import time_range
from spool.commands.place import Place
from spool.errors import HoldfastError
from spool.human import clock, count, span
from spool.output import Column, Form, Row, print_rows, row_options
from spool.plot import Chart, Dot, Line
from spool.pointrows import Wanted, point_rows
from spool.reader import SpoolReader
from spool.series import WAYS, Agg, Series, rows_of, series_of, tags_text

HOUR_S = 3600.0
"""--agg and --plot look back so far unless told."""

MOST_VALUES = 2_000_000
"""Values held in memory for --agg and --plot: some hundred MB."""

MOST_PICTURES = 8
PLOTTED = ("value", "mean")
"""What is drawn unless --stat says: timers have no `value`, and all that they have more than one way to look at."""


TYPES = ("counter", "gauge", "timer", "set", "event", "service_check")


class TooMuch(HoldfastError):
    """More values than fit into memory."""

    exit_code = 2


def _agg(context: click.Context, parameter: click.Parameter, word: str | None) -> Agg | None:
    try:
        return None if word is None else Agg.parsed(word)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _tags(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> Mapping[str, str]:
    for word in words:
        if "=" not in word:
            raise click.BadParameter(f"{word!r}: allowed is KEY=VALUE; {word}= for no value", context, parameter)
    return dict(word.partition("=")[::2] for word in words)


@click.command()
@click.argument("glob", metavar="[NAME-GLOB]", required=False, shell_complete=completing(names))
@click.option("--stat", help="Only this statistic: value, count, sum, mean, p99 ...")
@click.option("--type", "--kind", "kind", type=click.Choice(TYPES), help="Only points of this type.")
@click.option(
    "--tag",
    "tags",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_tags,
    help="Only points with this tag; may be repeated.",
)
@click.option("--all", "own", is_flag=True, help="Also the collector's own points, holdfast.*.")
@time_range("windows that ended")
@click.option("--agg", metavar="LENGTH:HOW", callback=_agg, help=f"One row per span of time; HOW: {', '.join(WAYS)}.")
@click.option("--plot", "plotted", is_flag=True, help="A picture for each series; of timers the mean, unless --stat.")
@drawing(height=8)
@limit_option(1000, "rows")
@row_options
@click.pass_obj
def points(
    place: Place,
    *,
    glob: str | None,
    stat: str | None,
    kind: str | None,
    tags: Mapping[str, str],
    own: bool,
    since: float | None,
    until: float | None,
    agg: Agg | None,
    plotted: bool,
    canvas: Canvas,
    limit: int,
    form: Form,
) -> None:
    """Show the points that the spool holds, newest window first, one row per statistic.

    NAME-GLOB is like 'api.*'; quote it. Keys: batch, ts, name, type, tags, stat, value, and fields, which has the words
    of events and service checks. `holdfast query` has the same numbers in the view `points`.

    --agg makes one row of the windows that end within each span of time, for each series and statistic: 1m:avg,
    10s:max, 1h:rate (the sum, per second); then ts is the span's end, and there is no batch. --agg and --plot begin an
    hour ago unless --since says otherwise.
    """
    wanted = Wanted(name=glob, stat=stat, type=kind, tags=tags, own=own)
    now = place.clock()
    plotted = plotted or canvas.file is not None
    if plotted and form.name != "text":
        raise click.UsageError(f"--plot and --svg draw pictures, --{form.name} prints rows: choose one.")
    if since is None and (agg or plotted):
        since = (now if until is None else until) - HOUR_S
    bounds = (-math.inf if since is None else since, math.inf if until is None else until)
    with SpoolReader(place.directory) as spool:
        found = (row for batch in spool.batches_newest(*bounds) for row in point_rows(batch, wanted))
        if plotted:
            found = (row for row in found if stat or row["stat"] in PLOTTED)
        series = series_of(_bounded(found), agg) if agg or plotted else []
        rows = iter(rows_of(series)) if agg else found
        shown = 0 if plotted else print_rows(islice(rows, limit), form, point_columns(now, with_batch=agg is None))
        more = shown == limit and next(rows, None) is not None
    if not shown and not plotted and form.name == "text":
        click.echo("holdfast: no such points", err=True)
    if plotted:
        _draw(series, agg, (bounds[0], min(bounds[1], now)), now, canvas)
    if more:
        click.echo(f"holdfast: only the newest {limit} rows are shown; -n for more", err=True)


def _bounded(rows: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number == MOST_VALUES:
            raise TooMuch(
                f"more than {count(MOST_VALUES)} values: ask for less, by NAME-GLOB, --stat, --tag or a later --since."
            )
        yield row


def _draw(series: Sequence[Series], agg: Agg | None, bounds: tuple[float, float], now: float, canvas: Canvas) -> None:
    """A picture for each series, or all of them in the one picture of a file."""
    shown = series[:MOST_PICTURES]
    back_s = agg.span_s if agg else 0.0  # a span is drawn from its beginning on
    across = (agg.span_end(bounds[0]) - back_s if agg else bounds[0], bounds[1])
    lines = [Line(each.title, [(at - back_s, value) for at, value in each.values]) for each in shown]
    charts = [_chart(each.label, each.dots, agg, across, now) for each in lines]
    if len(lines) != 1 and (canvas.file is not None or not lines):
        charts = [_chart(", ".join(sorted({each.name for each in shown})) or "points", [], agg, across, now, lines)]
    draw(charts, canvas)
    if len(series) > len(shown):
        left = count(len(series) - len(shown))
        click.echo(f"holdfast: {left} more series are not drawn; choose by NAME-GLOB, --stat or --tag", err=True)


def _chart(
    title: str,
    dots: Sequence[Dot],
    agg: Agg | None,
    bounds: tuple[float, float],
    now: float,
    lines: Sequence[Line] = (),
) -> Chart:
    measured = [value for _, value in chain(dots, *(each.dots for each in lines))]
    said = [title + (f", {agg.way} of {span(agg.span_s)}" if agg else "")]
    if dots:
        said += [f"min {_value(min(measured))}", f"max {_value(max(measured))}", f"last {_value(dots[-1][1])}"]
    return Chart(
        ", ".join(said), dots, bounds, partial(clock, now=now), _value, y_low=min([0.0, *measured]), lines=lines
    )


def _value(value: float) -> str:
    return f"{value:.6g}"


def point_columns(now: float, with_batch: bool = True) -> list[Column]:
    """The columns of the text form."""
    return [
        Column("TIME", lambda row: clock(row["ts"], now)),
        *([Column("BATCH", lambda row: str(row["batch"]), right=True)] if with_batch else []),
        Column("NAME", lambda row: row["name"]),
        Column("TYPE", lambda row: row["type"]),
        Column("STAT", lambda row: row["stat"]),
        Column("VALUE", lambda row: f"{row['value']:.10g}", right=True),
        Column("TAGS", _tags_and_words),
    ]


def _tags_and_words(row: Row) -> str:
    """Tags; then what an event or a service check says, as key=value."""
    fields = row.get("fields")  # what damage left of it may be anything
    said = [f"{key}={value}" for key, value in fields.items()] if isinstance(fields, dict) else []
    return " ".join([tags_text(row["tags"]), *said]).strip()
