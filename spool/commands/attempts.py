"""`holdfast attempts`: what each upload attempt did, how long each phase took, and how it ended."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any

import click

from spool.commands.completing import batches, completing
from spool.commands.options import BATCH, time_range
from spool.commands.options import destination as destination_option
from spool.commands.options import limit as limit_option
from spool.commands.place import Place, known
from spool.commands.watching import watchable
from spool.human import clock, size
from spool.output import Column, Form, Row, print_rows, row_options

PHASES = ("dns", "connect", "tls", "write", "wait", "read", "close", "total")

OUTCOMES = ("acknowledged", "retry", "park", "split", "dead", "expired")
"""Those of shipper/outcome.py, which nothing here may import."""


@click.command()
@click.option("--summary", is_flag=True, help="Count, p50, p99 and max of each phase, by outcome.")
@click.option("--plot", is_flag=True, help="A plot: how long attempts took over time, and in which phases.")
@click.option(
    "--batch",
    "batch_id",
    type=BATCH,
    metavar="ID",
    shell_complete=completing(batches),
    help="Only attempts that carried it.",
)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only attempts that ended so.")
@destination_option("Only attempts at this destination.")
@time_range("attempts begun")
@limit_option(20, "attempts shown; --summary and --plot take all")
@row_options
@click.pass_obj
@watchable
def attempts(
    place: Place,
    *,
    summary: bool,
    plot: bool,
    batch_id: int | None,
    outcome: str | None,
    destination: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    form: Form,
) -> None:
    """Show upload attempts, newest first, with the milliseconds of each phase.

    A phase that was not reached has no time. Keys: destination, id, started_at, lane, first_batch, last_batch,
    batches, ids ("8841-8850,8852"), points, body_bytes, outcome, phase, status, error, dns_ms, connect_ms, tls_ms,
    write_ms, wait_ms, read_ms, close_ms, total_ms, overshoot_ms, sent_bytes, received_bytes, address; with --summary:
    destination, outcome, phase, count, p50_ms, p99_ms, max_ms; with --plot: start, end (Unix seconds), count, failed,
    p50_ms, max_ms, and the milliseconds of each phase together, from dns_ms to close_ms.
    """
    now = place.clock()
    many = MANY if summary or plot or until is not None or outcome else limit
    with place.opened(destination) as (_, deliveries):
        rows = [
            {"destination": name, **row}
            for name, delivery in known(deliveries)
            for row in delivery.attempts(since or 0.0, batch_id, max(many, MANY if batch_id else 0))
            if (until is None or row["started_at"] <= until) and outcome in (None, row["outcome"])
        ]
    rows.sort(key=lambda row: row["started_at"], reverse=True)
    if not rows and form.name == "text":
        click.echo("holdfast: no attempts are recorded for that time", err=True)
    if summary:
        print_rows(summarise(rows), form, SUMMARY_COLUMNS)
    elif plot:
        spans = over_time(rows)
        print_rows(spans, form, plot_columns(spans, now))
        if form.name == "text" and spans:
            click.echo(LEGEND)
    else:
        print_rows(rows[:limit], form, attempt_columns(now))


MANY = 100_000
"""Attempts looked at where rows are chosen or added up here rather than by SQL: a month of a busy shipper is less."""


def summarise(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """For each destination, outcome and phase: how many attempts reached it, and p50, p99 and max of its time."""
    times: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        for phase in PHASES:
            if row[f"{phase}_ms"] is not None:
                times.setdefault((row["destination"], row["outcome"], phase), []).append(row[f"{phase}_ms"])
    for destination, outcome, phase in sorted(times, key=lambda each: (*each[:2], PHASES.index(each[2]))):
        values = sorted(times[destination, outcome, phase])
        yield {
            "destination": destination,
            "outcome": outcome,
            "phase": phase,
            "count": len(values),
            "p50_ms": quantile(values, 0.5),
            "p99_ms": quantile(values, 0.99),
            "max_ms": values[-1],
        }


def over_time(rows: Sequence[Row], lines: int = 24) -> list[dict[str, Any]]:
    """Attempts in at most `lines` equal spans of time, oldest first; spans without any are left out."""
    if not rows:
        return []
    first, last = (end(row["started_at"] for row in rows) for end in (min, max))
    span_s = max((last - first) / lines, 0.001)
    spans: dict[int, list[Row]] = {}
    for row in rows:
        spans.setdefault(min(lines - 1, int((row["started_at"] - first) / span_s)), []).append(row)
    return [_span(first + number * span_s, span_s, spans[number]) for number in sorted(spans)]


def _span(start: float, span_s: float, rows: Sequence[Row]) -> dict[str, Any]:
    totals = sorted(row["total_ms"] for row in rows)
    return {
        "start": start,
        "end": start + span_s,
        "count": len(rows),
        "failed": sum(row["outcome"] != "acknowledged" for row in rows),
        "p50_ms": quantile(totals, 0.5),
        "max_ms": totals[-1],
        **{f"{phase}_ms": sum(row[f"{phase}_ms"] or 0.0 for row in rows) for phase in LETTERS},
    }


def bar(row: Row, most_ms: float, width: int = 40) -> str:
    """As long as the span's longest attempt (`most_ms`: the whole width); letters are the phases' shares of it."""
    length = max(1, round(width * row["max_ms"] / most_ms))
    together_ms = sum(row[f"{phase}_ms"] for phase in LETTERS)
    drawn, passed_ms = "", 0.0
    for phase, letter in LETTERS.items():
        passed_ms += row[f"{phase}_ms"]
        drawn = drawn.ljust(round(length * passed_ms / together_ms) if together_ms else 0, letter)
    return drawn.ljust(length, ".")


LETTERS = {"dns": "d", "connect": "c", "tls": "t", "write": "W", "wait": "w", "read": "r", "close": "x"}
LEGEND = "length: the longest attempt; letters: " + ", ".join(f"{letter} {phase}" for phase, letter in LETTERS.items())


def plot_columns(spans: Sequence[Row], now: float) -> list[Column]:
    """The columns of the plot: one line per span of time."""
    most_ms = max((row["max_ms"] for row in spans), default=0.0) or 1.0
    return [
        Column("FROM", lambda row: clock(row["start"], now)),
        Column("COUNT", lambda row: str(row["count"]), right=True),
        Column("FAILED", lambda row: str(row["failed"] or "-"), right=True),
        Column("P50 MS", lambda row: _ms(row, "p50_ms"), right=True),
        Column("MAX MS", lambda row: _ms(row, "max_ms"), right=True),
        Column("PHASES", lambda row: bar(row, most_ms)),
    ]


def quantile(ordered: Sequence[float], q: float) -> float:
    """The nearest-rank quantile of a non-empty sorted sequence: an attempt that really was."""
    return ordered[max(0, ceil(q * len(ordered)) - 1)]


def _carried(row: Row) -> str:
    return str(row["ids"]) if len(row["ids"]) <= 20 else f"{row['first_batch']}..{row['last_batch']} ({row['batches']})"


def _ms(row: Row, name: str) -> str:
    value = row[name]
    return "-" if value is None else f"{value:,.1f}"


def attempt_columns(now: float) -> list[Column]:
    """The columns of the text form."""
    return [
        Column("STARTED", lambda row: clock(row["started_at"], now)),
        Column("TO", lambda row: row["destination"]),
        Column("LANE", lambda row: row["lane"]),
        Column("BATCHES", _carried),
        Column("SIZE", lambda row: size(row["body_bytes"]), right=True),
        Column("OUTCOME", lambda row: row["outcome"]),
        Column("PHASE", lambda row: row["phase"]),
        Column("STATUS", lambda row: "-" if row["status"] is None else str(row["status"]), right=True),
        *(Column(phase.upper(), partial(_ms, name=f"{phase}_ms"), right=True) for phase in PHASES),
        Column("ERROR", lambda row: row["error"] or ""),
    ]


SUMMARY_COLUMNS = [
    Column("TO", lambda row: row["destination"]),
    Column("OUTCOME", lambda row: row["outcome"]),
    Column("PHASE", lambda row: row["phase"]),
    Column("COUNT", lambda row: str(row["count"]), right=True),
    Column("P50 MS", lambda row: _ms(row, "p50_ms"), right=True),
    Column("P99 MS", lambda row: _ms(row, "p99_ms"), right=True),
    Column("MAX MS", lambda row: _ms(row, "max_ms"), right=True),
]
