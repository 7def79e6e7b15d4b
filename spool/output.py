"""Rows on stdout: aligned text for people, and the forms that sqlite-utils' users know for machines.

`--json` one array, `--nl` one object per line, `--csv`, `--tsv`, `-t/--table` and `--fmt NAME` through tabulate.
The forms for machines print the rows as they are, with stable keys; text prints columns made for reading.

Promises: JSON, CSV and TSV are printed as the rows come; in text and tables, which are for terminals, every character
that could steer one is written out as an escape. Not promised: columns when a row has other keys than the first.
"""

import base64
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from typing import Any

import click

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the text form: its title, how a row shows in it, and whether it is set flush right."""

    title: str
    cell: Callable[[Row], str]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are printed: `name` is text, json, nl, csv, tsv or table; `style` is tabulate's name for a table.

    `titles`: whether a line with the columns' names comes first; not in JSON, where each row has them.
    """

    name: str = "text"
    style: str = "simple"
    titles: bool = True


def one_of_flags(into: str, flags: Mapping[str, str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command flags of which one may be given at a time: "--table -t" -> its help.

    The command receives as `into` which it was, "table", or None.
    """
    names = {words.split()[0].removeprefix("--"): (words.split(), doc) for words, doc in flags.items()}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def chosen(*args: Any, **options: Any) -> Any:
            given = [name for name in names if options.pop(f"_{name}")]
            if len(given) > 1:
                raise click.UsageError(f"--{' and --'.join(given)} exclude each other: choose one.")
            return command(*args, **{into: given[0] if given else None}, **options)

        for name, (words, doc) in reversed(names.items()):
            chosen = click.option(*words, f"_{name}", is_flag=True, help=doc)(chosen)
        return chosen

    return decorate


def row_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for its form of output; it receives `form`, a Form."""

    @click.option("--no-headers", is_flag=True, help="Without the line that names the columns.")
    @click.option("--fmt", metavar="NAME", help="A table in one of tabulate's styles: github, grid, html ...")
    @one_of_flags(
        "chosen",
        {
            "--table -t": "A table.",
            "--tsv": "Tab-separated values.",
            "--csv": "Comma-separated values.",
            "--nl": "JSON, one object per line.",
            "--json": "A JSON array of objects with stable keys.",
        },
    )
    @wraps(command)
    def with_form(*args: Any, chosen: str | None, fmt: str | None, no_headers: bool, **options: Any) -> Any:
        if fmt and chosen not in (None, "table"):
            raise click.UsageError(f"--{chosen} and --fmt exclude each other: choose one.")
        form = Form("table" if fmt else chosen or "text", fmt or "simple", titles=not no_headers)
        return command(*args, form=form, **options)

    return with_form


def print_rows(rows: Iterable[Row], form: Form, columns: Sequence[Column] = ()) -> int:
    """Print `rows` in `form`; `columns` are those of the text form (none: the rows' keys). Returns how many."""
    shown = 0

    def counted() -> Iterator[Row]:
        nonlocal shown
        for row in rows:
            shown += 1
            yield row

    for piece in _pieces(counted(), form, columns):
        sys.stdout.write(piece)  # click.echo would take colour codes out of the data
    return shown


def _pieces(rows: Iterator[Row], form: Form, columns: Sequence[Column]) -> Iterator[str]:
    if form.name == "json":
        yield "["
        for number, row in enumerate(rows):
            yield (",\n " if number else "") + as_json(row)
        yield "]\n"
    elif form.name == "nl":
        for row in rows:
            yield as_json(row) + "\n"
    elif form.name in ("csv", "tsv"):
        yield from _separated(rows, "," if form.name == "csv" else "\t", form.titles)
    elif form.name == "table":
        yield from _tabulated(list(rows), form)
    else:
        held = list(rows)
        lines = aligned(held, columns or [_raw(name) for name in (held[0] if held else {})])
        for line in islice(lines, 0 if form.titles else 1, None):
            yield line + "\n"


def as_json(value: Any, indent: int | None = None) -> str:
    """Any value from the spool as JSON; bytes as sqlite-utils writes them, infinities (SQL's 9e999) as null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def printable(text: str) -> str:
    """`text` with every character that could steer a terminal written out as an escape."""
    return text if text.isprintable() else "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in text)


def aligned(rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[str]:
    """Lines of text: titles, then a line per row, columns two spaces apart. Nothing for no rows."""
    if not rows:
        return
    lines = [[each.title for each in columns]]
    lines += [[printable(each.cell(row)) for each in columns] for row in rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def text_of(value: Any) -> str:
    """A value in a cell: empty for NULL, JSON for lists and objects, base64 for bytes."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return as_json(value) if isinstance(value, dict | list | tuple) else str(value)


def _raw(name: str) -> Column:
    return Column(name, lambda row: text_of(row[name]))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _separated(rows: Iterator[Row], delimiter: str, titles: bool) -> Iterator[str]:
    line = io.StringIO()
    out = csv.writer(line, delimiter=delimiter, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0 and titles:
            out.writerow(row)
        out.writerow([text_of(each) for each in row.values()])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _tabulated(rows: Sequence[Row], form: Form) -> Iterator[str]:
    # Imported here: 40 ms that only a table needs.
    from tabulate import tabulate, tabulate_formats  # noqa: PLC0415

    if form.style not in tabulate_formats:
        raise click.UsageError(f"--fmt {form.style}: allowed is one of {', '.join(tabulate_formats)}")
    if rows:
        cells = [[printable(text_of(each)) for each in row.values()] for row in rows]
        numeric = [all(isinstance(row[name], int | float | None) for row in rows) for name in rows[0]]
        sides = ["right" if each else "left" for each in numeric]
        # Left to itself, tabulate shows 1764000000.0 as 1.764e+09.
        titles = list(rows[0]) if form.titles else []
        yield tabulate(cells, titles, tablefmt=form.style, disable_numparse=True, colalign=sides) + "\n"
