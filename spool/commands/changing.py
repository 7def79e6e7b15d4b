"""What the changing commands have in common: `--apply`, how far they are, and what is left when they are interrupted.

    batches  [###################-----------------]  391/720  00:01:07            on a terminal: so much is left to do
    391 of 720 batches, 54 %, eta 1m07s                                           elsewhere, every 10 s
    {"progress": "batches", "done": 391, "total": 720, "eta_s": 67.0}             the same with --json

All of it goes to stderr: what is asked for goes to stdout.

A command that is interrupted (Ctrl-C) says how much it had done; each piece of its work is a transaction of its own,
so what is done is done and the rest is as it was. Giving it again goes on.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click

from spool.commands.place import Place
from spool.delivery import Delivery
from spool.errand import Done, Errand, carry_out
from spool.errors import HoldfastError
from spool.human import count, counted, span
from spool.output import as_json
from spool.reader import SpoolReader
from spool.replay import CHUNK, chunks
from spool.writer import SpoolWriter

TALK_S = 10.0
"""Away from a terminal a command says how far it is this often."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

apply_option: Decorator = click.option(
    "--apply", "do_it", is_flag=True, help="Do it; without, only the plan is printed."
)

NOT_DONE = "nothing done (add --apply)"


def json_option(keys: str) -> Decorator:
    """--json for one object with `keys`."""
    return click.option("--json", "as_object", is_flag=True, help=f"One JSON object: {keys}.")


class ErrandFailed(HoldfastError):
    """The collector could not do what it was asked."""


class Progress:
    """How far a command is, on stderr. Use it as a context, and call it with the number done so far.

    `as_object`: the command was given --json. `bar`: whether a bar may be drawn on a terminal.
    """

    def __init__(
        self, place: Place, total: int, what: str = "batches", as_object: bool = False, bar: bool = True
    ) -> None:
        self._place, self._what, self._as_object = place, what, as_object
        self.total, self.done = total, 0
        self._on_terminal = bar and sys.stderr.isatty()
        self._begun_at = self._told_at = place.clock()
        self._bar = click.progressbar(
            length=total, label=what, show_pos=True, file=sys.stderr, hidden=not self._on_terminal
        )

    def __enter__(self) -> "Progress":
        self._bar.__enter__()
        return self

    def of(self, total: int) -> None:
        """So many it will be: where that is known only now."""
        self.total = self._bar.length = total

    def __call__(self, done: int) -> None:
        """So many are done."""
        self._bar.update(max(0, done - self.done))
        self.done = max(self.done, done)
        now = self._place.clock()
        if not self._on_terminal and now - self._told_at >= TALK_S:
            self._told_at = now
            click.echo(self._line(now), err=True)

    def _line(self, now: float) -> str:
        left_s = None
        if self.done and self.total:
            left_s = (now - self._begun_at) * (self.total - self.done) / self.done
        if self._as_object:
            return as_json({"progress": self._what, "done": self.done, "total": self.total, "eta_s": left_s})
        line = f"{count(self.done)} of {count(self.total)} {self._what}"
        return line if left_s is None else f"{line}, {100 * self.done // self.total} %, eta {span(left_s)}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        if kind is KeyboardInterrupt:
            click.echo(
                f"interrupted: {count(self.done)} of {count(self.total)} {self._what} are done and stay done, the rest"
                " is as it was. Give the command again to go on.",
                err=True,
            )


@contextmanager
def writable(place: Place, name: str, spool_id: str) -> Iterator[Delivery]:
    """The delivery file of destination `name`, open for writing."""
    delivery = Delivery.open(place.directory, name, spool_id)
    try:
        yield delivery
    finally:
        delivery.close()


def change_each(
    place: Place,
    chosen: Mapping[str, Sequence[int]],
    change: Callable[[Delivery, Sequence[int]], int],
    as_object: bool,
) -> None:
    """Give the batches `chosen` by destination to `change`, some hundred at a time, each time one transaction."""
    with SpoolReader(place.directory) as spool:
        spool_id = spool.spool_id
    with Progress(place, sum(map(len, chosen.values())), as_object=as_object) as progress:
        for name, ids in chosen.items():
            if ids:
                with writable(place, name, spool_id) as delivery:
                    for chunk in chunks(ids, CHUNK):
                        change(delivery, chunk)
                        progress(progress.done + len(chunk))


def tell_each(what: str, chosen: Mapping[str, Sequence[int]], did_it: bool, as_object: bool) -> None:
    """Say of how many batches at each destination `what` was done or would be: "main: 2 batches held".

    As text, destinations with none are left out if another has some.
    """
    if as_object:
        click.echo(as_json({"applied": did_it, "batches": {name: len(ids) for name, ids in chosen.items()}}))
        return
    for name, ids in ({name: ids for name, ids in chosen.items() if ids} or chosen).items():
        click.echo(f"{name}: {counted(len(ids), 'batch', 'batches')} {what}")
    if not did_it:
        click.echo(NOT_DONE)


def have_done(place: Place, errand: Errand, data: bytes, told: Callable[[Done], None]) -> Done:
    """Have an errand done by whoever writes spool.db; see errand.py. Raises ErrandFailed with the collector's words."""
    # Imported here: what does errands is half of the spool, and only --apply needs it.
    from spool.doers import doers  # noqa: PLC0415
    from spool.salvage import Replaced, open_spool  # noqa: PLC0415

    def tell(replaced: Replaced) -> None:
        aside = f" It is now {replaced.aside}." if replaced.aside else ""
        click.echo(f"holdfast: {replaced.why}{aside} See `holdfast losses` and `holdfast check`.", err=True)

    def opened() -> SpoolWriter:
        return open_spool(place.directory, host, place.clock(), tell)

    with SpoolReader(place.directory) as spool:
        host = spool.host
    done = carry_out(place.directory, opened, errand, data, doers(place.config.destinations()), place.wait, told)
    if done.error:
        raise ErrandFailed(f"{errand.what}: {done.error}")
    return done
