"""Options that several subcommands share, so that they have one name and one meaning."""

import os
import pwd
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from spool import timewords
from spool.commands.completing import completing, destinations
from spool.commands.place import Place
from spool.human import clock

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _instant(context: click.Context, parameter: click.Parameter, word: str | None) -> float | None:
    """A word for an instant as Unix seconds; see timewords.py."""
    if word is None:
        return None
    try:
        return timewords.instant(word, context.ensure_object(Place).clock())
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def time_range(what: str) -> Decorator:
    """--since and --until over `what`; a usage error if they are the wrong way round."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def in_order(*args: Any, since: float | None, until: float | None, **options: Any) -> Any:
            if since is not None and until is not None and until < since:
                words = (
                    clock(each, click.get_current_context().ensure_object(Place).clock()) for each in (until, since)
                )
                raise click.UsageError("--until {} lies before --since {}: nothing is between them.".format(*words))
            return command(*args, since=since, until=until, **options)

        until = click.option("--until", metavar="WHEN", callback=_instant, help=f"Only {what} until then.")
        since = click.option(
            "--since",
            metavar="WHEN",
            callback=_instant,
            help=f'Only {what} since then: 2h, yesterday, "2026-11-23 08:00".',
        )
        return since(until(in_order))

    return decorate


def length_s(context: click.Context, parameter: click.Parameter, word: str | None) -> float | None:
    """A callback for an option whose value is a length of time; gives seconds."""
    if word is None:
        return None
    try:
        return timewords.length_s(word)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


BATCH = click.IntRange(1, 2**63 - 1)
"""The type of a batch's ID: what SQLite can count."""

MOST_DIGITS = 30
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def size_bytes(context: click.Context, parameter: click.Parameter, word: str | None) -> int | None:
    """A callback for an option whose value is a size: 500M, 1.5 GiB, 4096. Units are powers of 1024."""
    if word is None:
        return None
    size = _SIZE.fullmatch(word.strip())
    if size is None or len(size[1]) > MOST_DIGITS:
        raise click.BadParameter(f"{word!r}: allowed is a size: 500M, 1.5G, 4096", context, parameter)
    return int(float(size[1]) * 1024 ** " KMGT".index(size[2].upper() or " "))


def limit(default: int, what: str) -> Decorator:
    """-n/--limit: at most so many rows."""
    return click.option(
        "--limit",
        "-n",
        type=click.IntRange(1, 2**31 - 2),  # one more must be a C int
        default=default,
        show_default=True,
        help=f"At most so many {what}.",
    )


def destination(doc: str) -> Decorator:
    """--destination NAME."""
    return click.option("--destination", "-d", metavar="NAME", shell_complete=completing(destinations), help=doc)


def user() -> str:
    """Who gives the command, for the row that tells of it: the user, and who became root by sudo."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user without an entry
        name = str(os.geteuid())
    before = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {before})" if before else name
