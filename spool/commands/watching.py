"""`--watch`: a reading command again and again on the same screen, until Ctrl-C.

On a terminal each round is drawn over the one before it, whole and without flicker, on a screen of its own; what does
not fit is left out, so that the first line stays where it is. The last round stays in the terminal afterwards.
Elsewhere, as in a pipe or a log, the rounds follow each other, so `--json` gives one JSON document after the other. A
spool that goes away is a sentence on the screen, and looked for again.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from typing import Any

import click

from spool.commands.place import Place
from spool.errors import HoldfastError

EVERY_S = 2.0

OWN_SCREEN, BEFORE = "\x1b[?1049h", "\x1b[?1049l"
HOME, TO_LINE_END, TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def watchable(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that only prints the option --watch. Stands below its other options and below `pass_obj`."""

    @click.option("--watch", "-w", is_flag=True, help=f"Show it anew every {EVERY_S:g} s until Ctrl-C.")
    @wraps(command)
    def with_watch(*args: Any, watch: bool, **options: Any) -> None:
        if watch:
            _watch(lambda: command(*args, **options))
        else:
            command(*args, **options)

    return with_watch


def _watch(show: Callable[[], object]) -> None:
    context = click.get_current_context()
    place = context.ensure_object(Place)
    over = sys.stdout.isatty()
    if over and not os.environ.get("NO_COLOR"):
        context.color = True  # what is drawn is held in memory first, which is no terminal
    drawn, code = "", 0
    _put(OWN_SCREEN if over else "")
    try:
        while True:
            drawn, code = _round(show)
            _put(_screen(drawn) if over else drawn)
            place.wait(EVERY_S)
    except KeyboardInterrupt:
        pass  # how watching is ended
    finally:
        _put(BEFORE + drawn if over else "")
    context.exit(code)


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _screen(drawn: str) -> str:
    # Imported here: it brings every kind of archive with it, and `status` must start within 150 ms.
    import shutil  # noqa: PLC0415

    size = shutil.get_terminal_size()
    lines = _fitting(drawn, size.columns, size.lines - 1)
    return HOME + "".join(f"{line}{TO_LINE_END}\n" for line in lines) + TO_SCREEN_END


def _round(show: Callable[[], object]) -> tuple[str, int]:
    """What one round prints, and the exit code that it would end with."""
    page, code = io.StringIO(), 0
    try:
        with redirect_stdout(page), redirect_stderr(page):
            show()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except HoldfastError as error:
        page.write(f"Error: {error}\n")
        code = error.exit_code
    return page.getvalue(), code


def _fitting(text: str, columns: int, most: int) -> Iterator[str]:
    """The lines of `text` that fit, counting those that the terminal will wrap; colours take no room."""
    room = most
    for line in text.splitlines():
        room -= max(1, -(-len(click.unstyle(line)) // columns))
        if room < 0:
            return
        yield line
