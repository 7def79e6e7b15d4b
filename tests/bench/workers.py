"""What `workers` gains: how fast a backlog in the receive buffers is taken by one process, and by several.

    python -m tests.bench.workers [--workers 1,2] [--lines 1000000] [--names 10000]

Everything of the collector is stopped (SIGSTOP) while clients with 32 ports fill its receive buffers, and continued
then, so that the load has no part in what is measured: the time until the buffers are empty. What was sent is known and
what the spool holds is counted, so loss is exact; `lost` must be 0. CPU is that of all processes and threads until the
lines are committed, in seconds per million lines; `receiving` is that until the buffers are empty, of whoever receives.

The numbers depend on what else runs: `waited` is how long the receiving processes could have run, but for others.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.collector_cost import ROOT, Load, Running, free_port, generator
from tests.bench.measure import table

CLIENTS = 32
BUFFER_BYTES = 2**30


class Crew(Running):
    """A collector and its workers."""

    def start(self, workers: int) -> None:
        """Begin, and wait until all receive."""
        self.home.mkdir()
        (self.home / "holdfast.toml").write_text(
            f'[spool]\ndir = "spool"\ndisk_reserve_bytes = 0\n[collector]\nlisten = "udp://127.0.0.1:{self.port}"\n'
            f"interval_s = {self.interval_s}\nreceive_buffer_bytes = {BUFFER_BYTES}\nworkers = {workers}\n"
            '[destination.main]\nurl = "http://127.0.0.1:9/"\n'
        )
        environment = {**os.environ, "HOLDFAST_CONFIG": str(self.home / "holdfast.toml"), "PYTHONPATH": str(ROOT)}
        with (self.home / "log").open("w") as log:
            command = [sys.executable, "-m", "collector.cli", "run"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        self.wait_for_log(" window_committed ")
        self.receiving = [self.process.pid]
        while workers > 1 and len(self.receiving) != workers:
            time.sleep(0.02)
            self.receiving = list(map(int, re.findall(r"worker_started pid=(\d+)", (self.home / "log").read_text())))
        self.pids = sorted({self.process.pid, *self.receiving})

    def signal(self, number: int) -> None:
        """To all of its processes."""
        for each in self.pids:
            os.kill(each, number)

    def scheduled_s(self, pids: Sequence[int]) -> tuple[float, float]:
        """Seconds that threads of these processes ran, and that they waited for a core."""
        threads = [task / "schedstat" for each in pids for task in Path(f"/proc/{each}/task").iterdir()]
        ran, waited, _ = zip(*(map(int, each.read_text().split()) for each in threads), strict=True)
        return sum(ran) / 1e9, sum(waited) / 1e9

    def waiting_bytes(self) -> list[int]:
        """What is in each of its receive buffers."""
        rows = (row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:])
        return [int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{self.port:04X}")]


def send(command: Sequence[str], port: int, load: Load, lines: int) -> int:
    """Send about so many lines from CLIENTS ports; returns how many they were."""
    datagrams = lines // CLIENTS // load.lines
    arguments = ["127.0.0.1", port, datagrams * 10, 0.1, load.lines, load.names, int(load.tags), load.mix]
    sent = 0
    for _ in range(CLIENTS):
        done = subprocess.run([*command, "send", *map(str, arguments)], check=True, capture_output=True)
        sent += json.loads(done.stdout)["lines"]
    return sent


def drained(home: Path, command: Sequence[str], workers: int, load: Load, lines: int) -> Sequence[object]:
    """One row of the table."""
    crew = Crew(home / f"{workers}-{load.lines}", free_port(), 5)
    crew.start(workers)
    try:
        before, *_ = crew.committed()
        crew.signal(signal.SIGSTOP)
        sent = send(command, crew.port, load, lines)
        fullest = max(crew.waiting_bytes()) / max(sum(crew.waiting_bytes()), 1)
        ran_s, waited_s = crew.scheduled_s(crew.receiving)
        everybody_s, _ = crew.scheduled_s(crew.pids)
        begun = time.monotonic()
        crew.signal(signal.SIGCONT)
        while any(crew.waiting_bytes()):
            time.sleep(0.002)
        took_s = time.monotonic() - begun
        ran_after_s, waited_after_s = crew.scheduled_s(crew.receiving)
        give_up = time.monotonic() + 30
        while (taken := crew.committed()[0] - before) < sent and time.monotonic() < give_up:
            time.sleep(0.05)
        everybody_s = crew.scheduled_s(crew.pids)[0] - everybody_s
    finally:
        crew.signal(signal.SIGCONT)
        crew.process.terminate()
        crew.process.wait(30)
    per_million = 1e6 / sent
    return (
        workers,
        load.lines,
        f"{sent / took_s:,.0f}",
        f"{100 * fullest:.0f} %",
        f"{(ran_after_s - ran_s) * per_million:.2f}",
        f"{everybody_s * per_million:.2f}",
        f"{waited_after_s - waited_s:.1f}",
        sent - taken,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--names", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = generator(Path(folder))
        rows = [
            drained(Path(folder), command, workers, Load(lines, names=asked.names), asked.lines * times)
            for lines, times in ((1, 1), (25, 5))  # they take about as long
            for workers in map(int, asked.workers.split(","))
        ]
    head = "workers", "lines/datagram", "lines/s", "fullest buffer", "receiving us", "all us", "waited s", "lost"
    table(head, rows)


if __name__ == "__main__":
    main()
