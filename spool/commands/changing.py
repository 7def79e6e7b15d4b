"""What the changing commands have in common: `--apply`, how far they are, and what is left when they are interrupted.

    [################--------------]  391/720   54%  eta 1m07s         on a terminal
    391 of 720 batches, 54 %, eta 1m07s                                elsewhere, every 10 s

A command that is interrupted (Ctrl-C) says how much it had done; each piece of its work is a transaction of its own,
so what is done is done and the rest is as it was. Giving it again goes on.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click

from spool.commands.place import Place
from spool.delivery import Delivery
from spool.errand import Done, Errand, carry_out
from spool.errors import HoldfastError
from spool.human import count, span
from spool.reader import SpoolReader

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
    """How far a command is, on stderr. Use it as a context, and call it with the number done so far."""

    def __init__(self, place: Place, total: int, what: str = "batches") -> None:
        self._place, self._what = place, what
        self.total, self.done = total, 0
        self._on_terminal = sys.stderr.isatty()
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
        line = f"{count(self.done)} of {count(self.total)} {self._what}"
        if self.done and self.total:
            left_s = (now - self._begun_at) * (self.total - self.done) / self.done
            line += f", {100 * self.done // self.total} %, eta {span(left_s)}"
        return line

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


def have_done(place: Place, errand: Errand, data: bytes, told: Callable[[Done], None]) -> Done:
    """Have an errand done by whoever writes spool.db; see errand.py. Raises ErrandFailed with the collector's words."""
    # Imported here: what does errands is half of the spool, and only --apply needs it.
    from spool.doers import doers  # noqa: PLC0415

    with SpoolReader(place.directory) as spool:
        host = spool.host
    done = carry_out(place.directory, host, errand, data, doers(place.config.destinations()), place.wait, told)
    if done.error:
        raise ErrandFailed(f"{errand.what}: {done.error}")
    return done
