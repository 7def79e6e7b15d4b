"""What every subcommand begins with: the configuration in force, the spool it names, and the clock.

Read when first asked for, so that `--help` works whatever the configuration looks like.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import click

from spool.config import Config, SpoolConfig, load, spool_dir
from spool.delivery import DeliveryReader, destinations_on_disk
from spool.errors import HoldfastError, SpoolMissing, SpoolUnusable
from spool.reader import SpoolReader


class UnknownDestination(HoldfastError):
    """A destination that is neither configured nor on disk."""

    exit_code = 2


class Place:
    """The configuration and spool that a command works on. `clock` gives Unix seconds, `wait` sleeps."""

    def __init__(
        self, named: Callable[[], Path | None], clock: Callable[[], float], wait: Callable[[float], None]
    ) -> None:
        self._named, self.clock, self.wait = named, clock, wait

    @cached_property
    def config(self) -> Config:
        """The configuration. Raises ConfigError."""
        return load(self._named())

    @cached_property
    def directory(self) -> Path:
        """The spool's folder."""
        return spool_dir(self.config)

    @property
    def limits(self) -> SpoolConfig:
        """Table [spool]."""
        return self.config.section(SpoolConfig, "spool")

    @property
    def interval_s(self) -> int:
        """[collector] interval_s."""
        return self.config.window_s()

    def whole(self, table: str, key: str) -> int | None:
        """A whole number from another package's table, None where there is none.

        Unchecked: to load the package that declares the key would cost more than the whole command.
        """
        value = self.config.raw(table, key, None)
        return value if isinstance(value, int) else None

    def names(self, only: str | None = None) -> list[str]:
        """Destinations, the configured ones first, then others that have a file here; with `only`, that one.

        Raises UnknownDestination if there is no such one.
        """
        configured = self.config.destinations()
        everything = [
            *configured,
            *(each for each in destinations_on_disk(self.directory) if each not in configured),
        ]
        if only is None:
            return everything
        if only not in everything:
            known = ", ".join(everything) or "none"
            raise UnknownDestination(f"no destination is named {only!r}. Known here are: {known}.")
        return [only]

    @contextmanager
    def opened(self, only: str | None = None) -> Iterator[tuple[SpoolReader, Mapping[str, DeliveryReader | None]]]:
        """The spool and its delivery files by destination; None where there is none yet: all is unsent there.

        A delivery file that cannot be used is named on stderr and counts as none: what is sent from it will be
        everything, once its shipper has set it aside. Raises what SpoolReader raises.
        """
        with ExitStack() as stack:
            spool = stack.enter_context(SpoolReader(self.directory))
            deliveries: dict[str, DeliveryReader | None] = dict.fromkeys(self.names(only))
            for name in deliveries:
                try:
                    delivery = stack.enter_context(DeliveryReader(self.directory, name))
                except SpoolMissing:
                    continue
                except SpoolUnusable as error:
                    _left_out(str(error))
                    continue
                if delivery.spool_id() in (None, spool.spool_id):
                    deliveries[name] = delivery
                else:
                    _left_out(f"{delivery.path}: belongs to another spool.")
            yield spool, deliveries


def _left_out(why: str) -> None:
    click.echo(f"holdfast: {why} Shown as if nothing had been sent.", err=True)


def known(deliveries: Mapping[str, DeliveryReader | None]) -> Sequence[tuple[str, DeliveryReader]]:
    """The destinations that have a delivery file."""
    return [(name, delivery) for name, delivery in deliveries.items() if delivery is not None]
