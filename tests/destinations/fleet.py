"""One collector's spool and a shipper for each of several destinations, as real processes."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spool.batch import decode
from spool.delivery import DeliveryReader
from spool.ledger import State
from spool.reader import SpoolReader
from tests.destinations.servers import Samples
from tests.processes.pipeline import Pipeline


class Fleet(Pipeline):
    """A Pipeline whose destinations are `tables`: name -> the keys of its [destination.NAME]."""

    def __init__(self, home: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self.tables = tables
        super().__init__(home)

    def configure(self, *, deadline_s: float, url: str, extra: str = "") -> None:
        """Write the configuration."""
        lines = [
            f'[spool]\ndir = "spool"\ndisk_reserve_bytes = 0\n[collector]\ninterval_s = 1\nlisten = '
            f'["udp://127.0.0.1:{self.statsd[1]}", "udp://[::1]:{self.statsd6[1]}"]\n[shipper]\ndeadline_s = 5\n{extra}'
        ]
        for name, table in self.tables.items():
            lines.append(f"[destination.{name}]")
            lines += [f"{key} = {value!r}" for key, value in table.items()]  # TOML takes '...' as it is
        self.file.write_text("\n".join(lines) + "\n")

    def ship(self, names: Iterable[str], wait_s: float = 15) -> dict[str, tuple[int, str]]:
        """`holdfast-shipper once` for each destination, all at once: exit code and stderr by name."""
        command = [sys.executable, "-m", "shipper.cli", "once", f"--wait={wait_s}", "-d"]
        running = {
            name: subprocess.Popen([*command, name], env=self.environment(), stderr=subprocess.PIPE, text=True)
            for name in names
        }
        said = {name: process.communicate(timeout=60)[1] for name, process in running.items()}
        return {name: (process.returncode, said[name]) for name, process in running.items()}

    def truth(self, name: str, stat: str = "value") -> Samples:
        """What the spool has of one metric: the window's end in whole seconds -> the value."""
        found: Samples = {}
        with SpoolReader(self.spool) as spool:
            for header in spool.headers_after(0, 100_000):
                for point in decode(spool.batch(header.id).payload)["points"]:
                    if point["name"] == name:
                        found[int(header.window_end)] = found.get(int(header.window_end), 0) + point[stat]
        return found

    def states(self, name: str) -> set[State]:
        """The states that batches have at one destination; those that it never heard of are UNSENT."""
        with SpoolReader(self.spool) as spool, DeliveryReader(self.spool, name) as delivery:
            known = delivery.states(0, 2**40)
            return {known.get(each.id, State.UNSENT) for each in spool.headers_after(0, 100_000)}
