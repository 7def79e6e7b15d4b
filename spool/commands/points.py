"""`holdfast points`: the numbers themselves, newest batch first."""

import math
from collections.abc import Iterator
from itertools import islice

import click

from spool.commands.options import limit as limit_option
from spool.commands.options import time_range
from spool.commands.place import Place
from spool.errors import UnknownBatch
from spool.human import clock
from spool.output import Column, Form, Row, print_rows, row_options
from spool.pointrows import Wanted, point_rows
from spool.reader import SpoolReader

PAGE = 100
"""Batches looked at between two prints: their headers are read at once, each payload when its turn comes."""


@click.command()
@click.argument("glob", metavar="[NAME-GLOB]", required=False)
@click.option("--stat", help="Only this statistic: value, count, sum, mean, p99 ...")
@click.option("--type", "kind", help="Only this metric type: counter, gauge, timer, set.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only points with this tag; may be repeated.")
@click.option("--all", "own", is_flag=True, help="Also the collector's own points, holdfast.*.")
@time_range("windows that ended")
@limit_option(1000, "rows")
@row_options
@click.pass_obj
def points(
    place: Place,
    *,
    glob: str | None,
    stat: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    own: bool,
    since: float | None,
    until: float | None,
    limit: int,
    form: Form,
) -> None:
    """Show the points that the spool holds, newest window first, one row per statistic.

    NAME-GLOB is like 'api.*'; quote it. Keys: batch, ts, name, type, tags, stat, value. `holdfast query` has the same
    rows in the view `points`.
    """
    pairs = dict(tag.partition("=")[::2] for tag in tags)
    wanted = Wanted(name=glob, stat=stat, type=kind, tags=pairs, own=own)
    now = place.clock()
    bounds = (-math.inf if since is None else since, math.inf if until is None else until)
    with SpoolReader(place.directory) as spool:
        found = (row for row in _rows(spool, *bounds) if row in wanted)
        shown = print_rows(islice(found, limit), form, point_columns(now))
        more = shown == limit and next(found, None) is not None
    if more:
        click.echo(f"holdfast: only the newest {limit} rows are shown; -n for more", err=True)


def _rows(spool: SpoolReader, since: float, until: float) -> Iterator[Row]:
    page = spool.headers_newest(since, until, limit=PAGE)
    while page:
        for header in page:
            try:
                batch = spool.batch(header.id)
            except UnknownBatch:  # evicted since the page was read
                continue
            yield from point_rows(batch)
        page = spool.headers_newest(since, until, before=page[-1], limit=PAGE)


def point_columns(now: float) -> list[Column]:
    """The columns of the text form."""
    return [
        Column("TIME", lambda row: clock(row["ts"], now)),
        Column("BATCH", lambda row: str(row["batch"]), right=True),
        Column("NAME", lambda row: row["name"]),
        Column("TYPE", lambda row: row["type"]),
        Column("STAT", lambda row: row["stat"]),
        Column("VALUE", lambda row: f"{row['value']:.10g}", right=True),
        Column(
            "TAGS",
            lambda row: ",".join(f"{tag}:{value}" if value else tag for tag, value in row["tags"].items()),
        ),
    ]
