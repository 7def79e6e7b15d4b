"""`holdfast query`: any question in SQL, over all files of the spool."""

import sys

import click

from spool.commands.options import destination as destination_option
from spool.commands.options import limit as limit_option
from spool.commands.place import Place, known
from spool.output import Form, print_rows, row_options
from spool.query import ask


@click.command()
@click.argument("sql")
@click.option("--param", "-p", "pairs", type=(str, str), multiple=True, help="A value for :NAME in the SQL.")
@destination_option("Only this destination's delivery file.")
@limit_option(10_000, "rows")
@row_options
@click.pass_obj
def query(
    place: Place, *, sql: str, pairs: tuple[tuple[str, str], ...], destination: str | None, limit: int, form: Form
) -> None:
    """Ask the spool in SQL, read-only; SQL may be - to read it from standard input.

    \b
    batches        id, key, window_start, window_end, window_seq, committed_at,
                   points, series, raw_bytes, payload, sha256
    points         batch, ts, name, type, tags, stat, value: all that is held
    recent_points  the same of the last 100 batches, fast
    windows        what was received, rejected and dropped in each window
    losses         what was evicted, expired or shed
    attempts, states, minutes, condition, changes
                   each with destination; a batch without a row in states is unsent

    Instants are Unix seconds. `batch_json(payload)` gives a batch's points as JSON.
    """
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape") if sql == "-" else sql
    with place.opened(destination) as (_, deliveries):
        names = [name for name, _ in known(deliveries)]
    answer = ask(place.directory, names, text, dict(pairs), limit)
    print_rows((dict(zip(answer.names, row, strict=True)) for row in answer.rows), form)
    if answer.more:
        click.echo(f"holdfast: only the first {limit} rows are shown; -n for more", err=True)
