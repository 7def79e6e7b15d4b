"""What every subcommand begins with: the configuration in force, the spool it names, and the clock.

Read when first asked for, so that `--help` works whatever the configuration looks like.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

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

    def __init__(self, named: Path | None, clock: Callable[[], float], wait: Callable[[float], None]) -> None:
        self._named, self.clock, self.wait = named, clock, wait

    @cached_property
    def config(self) -> Config:
        """The configuration. Raises ConfigError."""
        return load(self._named)

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
        """[collector] interval_s, read raw: the collector's own check of it would cost its import."""
        value = self.config_value("collector", "interval_s", 10)  # the default of collector/config.py
        return value if isinstance(value, int) else 10

    def config_value(self, table: str, key: str, default: Any) -> Any:
        """A key of another package's table, unchecked; a whole number where the environment overrides it."""
        override = self.config.environment.get(
            "HOLDFAST_" + f"{table}_{key}".upper().replace(".", "_").replace("-", "_")
        )
        if override is not None and override.isascii() and override.isdecimal():
            return int(override)
        return self.config.tables.get(table, {}).get(key, default)

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
                    if delivery.spool_id() not in (None, spool.spool_id):
                        raise SpoolUnusable(f"{delivery.path}: belongs to another spool.")
                except SpoolMissing:
                    continue
                except SpoolUnusable as error:
                    click.echo(f"holdfast: {error} Shown as if nothing had been sent.", err=True)
                    continue
                deliveries[name] = delivery
            yield spool, deliveries


def known(deliveries: Mapping[str, DeliveryReader | None]) -> Sequence[tuple[str, DeliveryReader]]:
    """The destinations that have a delivery file."""
    return [(name, delivery) for name, delivery in deliveries.items() if delivery is not None]
