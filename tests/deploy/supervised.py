"""The pipeline of tests/processes as it really runs: every program is supervisord's, by the shipped configuration."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from deploy.render import CONTROL, rendered
from spool.commands.watchdog import Supervisor
from spool.config import load
from tests.processes.pipeline import Pipeline, wait_until

BIN = Path(sys.executable).parent
PROGRAMS = ("collector", "shipper-main", "checkin", "receiver", "watchdog")


class Supervised(Pipeline):
    """A Pipeline under a real supervisord; `stop_all` ends that and all it started."""

    def __init__(self, home: Path, *, stale_after_s: float = 60.0, **settings: Any) -> None:
        super().__init__(home, **settings)
        self.stale_after_s = stale_after_s
        # Elsewhere, because a unix socket's path must be short.
        self.run = Path(tempfile.mkdtemp(prefix="holdfast-"))
        self.supervisor = Supervisor(f"unix://{self.run / CONTROL}")
        self.supervisord: subprocess.Popen[bytes] | None = None

    def render(self) -> None:
        """Write supervisord.conf for the configuration as it is now."""
        text = rendered(load(self.file), self.run / CONTROL, self.home)
        text = text.replace("holdfast watchdog", f"holdfast watchdog --stale-after {self.stale_after_s}")
        (self.run / "supervisord.conf").write_text(text)

    def launch(self) -> None:
        """Start supervisord and wait until every program is RUNNING."""
        self.command("shipper.receiver.cli", "init")
        self.render()
        environment = {**self.environment(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        self.supervisord = subprocess.Popen(
            [BIN / "supervisord", "--silent", "-c", self.run / "supervisord.conf"], env=environment, cwd="/"
        )
        wait_until(lambda: set(PROGRAMS) <= set(self.pids()), 60, "every program running")

    def pids(self) -> dict[str, int]:
        """Process ids of what supervisord holds for RUNNING, by name."""
        try:
            return {name: each.pid for name, each in self.supervisor.running().items()}
        except OSError:
            return {}

    def stop_all(self) -> None:
        """End supervisord and with it all programs."""
        if self.supervisord is not None:
            self.supervisord.terminate()
            try:
                self.supervisord.wait(40)
            finally:
                self.supervisord.kill()
            self.supervisord = None
        shutil.rmtree(self.run, ignore_errors=True)
