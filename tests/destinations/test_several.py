"""Several destinations at once: one that hangs, and one that is removed, concern nobody else."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.delivery import DeliveryReader
from spool.errors import HoldfastError
from tests.destinations.fleet import Fleet
from tests.destinations.servers import VictoriaMetrics
from tests.processes.pipeline import wait_until

LAG_S = 5.0
"""Windows are 1 s, the shipper looks once a second; the rest is for a busy machine. The hanging one needs 5 s each."""


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path / "victoria")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_one_hangs_and_the_others_stay_live(victoria: VictoriaMetrics, hanging: int, tmp_path: Path) -> None:
    fleet = Fleet(
        tmp_path / "holdfast",
        {
            "hangs": {"protocol": "influx", "url": f"http://127.0.0.1:{hanging}/write?db=m"},
            "live": {"protocol": "influx", "url": f"http://127.0.0.1:{victoria.port}/write"},
            "lines": {"protocol": "graphite", "url": f"tcp://127.0.0.1:{victoria.graphite}"},
        },
    )
    running = []
    try:
        fleet.start("collector")
        for name in fleet.tables:
            command = [sys.executable, "-m", "shipper.cli", "run", "-d", name]
            with (fleet.home / f"{name}.log").open("ab") as log:
                running.append(subprocess.Popen(command, env=fleet.environment(), stderr=log))
        for number in range(1, 4):
            sent_at = time.monotonic()
            fleet.send(f"t.hits:{number}|c")
            for series in ("t.hits_value", "stats.counters.t.hits.count"):
                wait_until(lambda: number in victoria.samples(series).values(), LAG_S, f"{number} in {series}")  # noqa: B023
            assert time.monotonic() - sent_at < LAG_S
        wait_until(lambda: attempts(fleet, "hangs"), 10, "an attempt at the hanging server")
        assert {each["outcome"] for each in attempts(fleet, "hangs")} == {"retry"}
        assert "deadline of 5 s passed" in attempts(fleet, "hangs")[-1]["error"]
    finally:
        for process in running:
            process.kill()
            process.wait(10)
        fleet.stop_all()


def attempts(fleet: Fleet, name: str) -> list[dict[str, object]]:
    try:
        with DeliveryReader(fleet.spool, name) as delivery:
            return delivery.attempts()
    except HoldfastError:
        return []
