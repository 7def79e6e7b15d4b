"""Charts on the terminal, or with --svg in a file: the options that commands which draw have, and the drawing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from spool.commands.options import Decorator
from spool.errors import HoldfastError
from spool.output import printable
from spool.plot import Chart, svg, text


class NotWritten(HoldfastError):
    """The file for a picture cannot be written."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Canvas:
    """Characters across and lines of a picture in the terminal; or the file that it goes to."""

    width: int
    height: int
    file: Path | None


def drawing(height: int) -> Decorator:
    """Give a command --width, --height and --svg; it receives `canvas`, a Canvas."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--width", type=click.IntRange(10, 500), default=72, show_default=True, help="Characters across.")
        @click.option("--height", type=click.IntRange(2, 100), default=height, show_default=True, help="Lines.")
        @click.option(
            "--svg", "file", metavar="FILE", type=click.Path(path_type=Path), help="Draw into an SVG file; - is stdout."
        )
        @wraps(command)
        def with_canvas(*args: Any, width: int, height: int, file: Path | None, **options: Any) -> Any:
            return command(*args, canvas=Canvas(width, height, file), **options)

        return with_canvas

    return decorate


def draw(charts: Sequence[Chart], canvas: Canvas) -> None:
    """Print the charts one below the other, or write the first, which shows all, to the file. Raises NotWritten."""
    if canvas.file is None:
        for number, chart in enumerate(charts):
            lines = map(printable, text(chart, canvas.width, canvas.height))
            click.echo("\n".join(["", *lines][number == 0 :]))
    elif str(canvas.file) == "-":
        click.echo(svg(charts[0]), nl=False)
    else:
        try:
            canvas.file.write_text(svg(charts[0]), encoding="utf-8")
        except OSError as error:
            raise NotWritten(f"{canvas.file}: {error.strerror}. Name another file.") from None
        click.echo(f"holdfast: wrote {canvas.file}", err=True)
    if not any(True for chart in charts for _ in chart.all_dots):
        click.echo("holdfast: nothing is known about that time", err=True)
