"""`holdfast losses`: everything that was evicted, expired or shed, and why. What is not in here was not lost."""

import click

from spool.accounts import DAMAGE
from spool.commands.options import limit as limit_option
from spool.commands.options import time_range
from spool.commands.place import Place
from spool.human import clock, count
from spool.output import Column, Form, Row, print_rows, row_options
from spool.reader import SpoolReader


@click.command()
@time_range("losses recorded")
@limit_option(50, "losses")
@row_options
@click.pass_obj
def losses(place: Place, *, since: float | None, until: float | None, limit: int, form: Form) -> None:
    """Show what was lost, newest first: range, batches, points, reason.

    Keys: id, at, reason, first_batch, last_batch, first_window, last_window, window_start, window_end, batches,
    points, lines, unsent_at (JSON: the destinations that had not settled it). A row of reason damage without batches
    and points lost nothing: it says which numbers were not given after a damaged file was replaced.
    """
    now = place.clock()
    with SpoolReader(place.directory) as spool:
        found = spool.losses(since or 0.0, limit if until is None else 100_000)
    rows = [row for row in found if until is None or row["at"] <= until][:limit]
    if not print_rows(rows, form, loss_columns(now)) and form.name == "text":
        click.echo("holdfast: no losses are recorded for that time", err=True)


def _reason(row: Row) -> str:
    # The row itself is needed: the next window's number is told from it, and the audit reads it. As in reader.lost().
    nothing = row["reason"] == DAMAGE and not row["batches"] and not row["points"]
    return f"{row['reason']} (nothing lost)" if nothing else str(row["reason"])


def loss_columns(now: float) -> list[Column]:
    """The columns of the text form."""
    return [
        Column("AT", lambda row: clock(row["at"], now)),
        Column("REASON", _reason),
        Column("WINDOWS FROM", lambda row: clock(row["window_start"], now)),
        Column("TO", lambda row: clock(row["window_end"], now)),
        Column("BATCHES", lambda row: count(row["batches"]), right=True),
        Column("POINTS", lambda row: count(row["points"]), right=True),
        Column("LINES", lambda row: count(row["lines"]), right=True),
        Column("UNSENT AT", lambda row: row["unsent_at"]),
    ]
