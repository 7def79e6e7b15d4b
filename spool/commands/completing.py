"""What the tab key offers for destinations, batches, hangs and names of metrics: what this spool has.

Functions for click's `shell_complete`. Promises: read-only, and whatever is wrong with configuration or spool gives no
offers, for nobody wants to read about it in the middle of a line. Batches come newest first, with when they were
collected where the shell shows such notes (zsh, fish).
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from itertools import islice
from typing import TYPE_CHECKING

import click

from spool.batch import State
from spool.commands.place import Place, known
from spool.errors import HoldfastError
from spool.human import clock
from spool.pointrows import OWN, point_rows
from spool.shell import named_config

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
Offer = tuple[str, str]
"""A value and a note about it."""

MOST = 50
LOOKED_AT = 3
"""Batches whose metrics are offered: the newest."""


def completing(offers: Callable[[Place], Iterable[Offer]]) -> Complete:
    """For `shell_complete`: those of `offers` that begin with what has been typed, and are not there yet."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> "list[CompletionItem]":
        # Imported here: only a shell that completes needs it.
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        there = context.params.get(parameter.name or "") or ()
        chosen = {str(each) for each in there} if isinstance(there, tuple) else set()
        try:
            with context.scope(cleanup=False), redirect_stderr(io.StringIO()):
                place = Place(named=named_config, clock=time.time, wait=time.sleep)
                fitting = (each for each in offers(place) if each[0].startswith(typed) and each[0] not in chosen)
                return [CompletionItem(value, help=note) for value, note in islice(fitting, MOST)]
        except (HoldfastError, OSError):
            return []

    return complete


def destinations(place: Place) -> Iterator[Offer]:
    """The destinations, those that are not configured any more, too."""
    configured = place.config.destinations()
    for name in place.names():
        yield name, "" if name in configured else "not configured any more"


def batches(place: Place) -> Iterator[Offer]:
    """The batches that the spool holds."""
    with place.opened() as (spool, _):
        before: int | None = None
        while page := spool.headers_before(before):
            before = page[-1].id
            yield from ((str(each.id), f"collected {clock(each.window_end, place.clock())}") for each in page)


def batches_in(state: State) -> Callable[[Place], Iterator[Offer]]:
    """The batches that are in `state` at some destination."""

    def offers(place: Place) -> Iterator[Offer]:
        with place.opened() as (_, deliveries):
            found = [(row["batch"], name) for name, each in known(deliveries) for row in each.state_rows(state)]
        for batch, name in sorted(found, reverse=True):
            yield str(batch), f"{state} at {name}"

    return offers


def names(place: Place) -> Iterator[Offer]:
    """Names of metrics in the newest batches; the collector's own last."""
    with place.opened() as (spool, _):
        held = [spool.batch(each.id) for each in spool.headers_before(None, LOOKED_AT)]
    found = {row["name"]: row["type"] for each in held for row in point_rows(each)}
    yield from sorted(found.items(), key=lambda each: (each[0].startswith(OWN), each[0]))


def hangs(place: Place) -> Iterator[Offer]:
    """Files about what hung, the newest first."""
    found = [path for path in (place.directory / "hangs").glob("*.txt") if path.stat().st_size]
    for path in sorted(found, key=lambda each: each.stat().st_mtime, reverse=True):
        yield path.name, clock(path.stat().st_mtime, place.clock())
