"""A Holdfast of real processes in a temporary folder: what the tests of whole behaviours are told in.

Every process is started by the test and ended by it; ports are free ones on loopback; waiting is for a condition, with
a bound. Windows are 1 s long, uploads have 1 s, so that outages of "some windows" take seconds.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spool.batch import decode
from spool.delivery import DeliveryReader, State
from spool.errors import HoldfastError, SpoolMissing
from spool.reader import SpoolReader

PROGRAMS = {
    "receiver": ["shipper.receiver.cli", "run"],
    "collector": ["collector.cli", "run"],
    "shipper": ["shipper.cli", "run"],
    "checkin": ["shipper.cli", "checkin"],
}


def free_port(kind: int = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A port that nobody uses at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first truthy value of `condition`, asked for at most `within_s` seconds."""
    give_up_at = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)


class Pipeline:
    """Folder, configuration and processes; `stop_all` ends what is left and keeps logs for a failed test."""

    def __init__(self, home: Path, *, deadline_s: float = 1.0, url: str | None = None, tls: bool = True) -> None:
        self.home = home
        self.spool = home / "spool"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.statsd = ("127.0.0.1", free_port(socket.SOCK_DGRAM))
        self.statsd6 = ("::1", free_port(socket.SOCK_DGRAM, "::1"))
        self.listen = f"{'https' if tls else 'http'}://127.0.0.1:{free_port()}"
        self.file = home / "holdfast.toml"
        home.mkdir(parents=True, exist_ok=True)
        self.configure(deadline_s=deadline_s, url=url or f"{self.listen}/v1/batches")

    def configure(self, *, deadline_s: float, url: str, extra: str = "") -> None:
        """Write the configuration; processes started from now on read it."""
        ca = 'ca_file = "receiver/ca.pem"' if url.startswith("https") else ""
        self.file.write_text(f"""
[spool]
dir = "spool"
disk_reserve_bytes = 0
[collector]
listen = ["udp://127.0.0.1:{self.statsd[1]}", "udp://[::1]:{self.statsd6[1]}"]
interval_s = 1
[shipper]
deadline_s = {deadline_s}
connect_deadline_s = {deadline_s}
checkin_interval_s = 1
checkin_deadline_s = 1
[destination.main]
url = "{url}"
checkin_url = "{url.replace("/v1/batches", "/v1/checkin")}"
token_file = "receiver/token"
{ca}
[receiver]
listen = "{self.listen}"
dir = "receiver"
token_file = "receiver/token"
{extra}
""")

    def environment(self) -> Mapping[str, str]:
        """What every process gets: this configuration, nothing of the caller's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        return {**kept, "HOLDFAST_CONFIG": str(self.file), "PYTHONUNBUFFERED": "1"}

    def command(self, module: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of our commands to its end, as `python -m module`."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def operator(self, *arguments: str) -> Any:
        """What `holdfast ... --json` says."""
        return json.loads(self.command("spool.cli", *arguments, "--json").stdout)

    def start(self, *names: str) -> None:
        """Start processes, and wait until the receiver answers and the collector receives."""
        for name in names:
            if name == "receiver":
                self.command("shipper.receiver.cli", "init")
            heard = self.log(name).count(" listening ")
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", *PROGRAMS[name]], env=self.environment(), stdout=log, stderr=log
                )
            if name == "receiver":
                wait_until(self.receiver_answers, 15, "the receiver answers")
            if name == "collector":
                sockets = heard + 2
                wait_until(lambda: self.log("collector").count(" listening ") >= sockets, 15, "the collector listens")  # noqa: B023

    def receiver_answers(self) -> bool:
        """Whether somebody accepts connections where the receiver should be."""
        host, port = self.listen.partition("://")[2].split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def end(self, name: str, how: signal.Signals = signal.SIGTERM, within_s: float = 10) -> int:
        """End one process and wait for it; returns its exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        return process.wait(within_s)

    def stop_all(self) -> None:
        """End everything this pipeline started."""
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)

    def log(self, name: str) -> str:
        """What a process has logged so far."""
        file = self.home / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def send(self, *lines: str) -> None:
        """One datagram."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto("\n".join(lines).encode(), self.statsd)

    def received(self, sql: str, *values: object) -> list[Any]:
        """Rows of the receiver's database; none while there is none."""
        try:
            with sqlite3.connect(f"file:{self.home}/receiver/received.db?mode=ro", uri=True) as connection:
                rows = connection.execute(sql, values).fetchall()
            connection.close()
        except sqlite3.OperationalError:
            return []
        return rows

    def received_sum(self, name: str, stat: str = "value") -> float:
        """The sum of one statistic of one metric over everything that the receiver stored."""
        return float(self.received("SELECT total(value) FROM points WHERE name = ? AND stat = ?", name, stat)[0][0])

    def received_keys(self) -> set[str]:
        """The keys that the receiver has stored."""
        return {row[0] for row in self.received("SELECT key FROM batches")}

    def committed(self) -> dict[str, float]:
        """Every key in the spool with the sum of the counter `t.hits` in it."""
        with SpoolReader(self.spool) as spool:
            sums = {}
            for header in spool.headers_after(0, 100_000):
                points = decode(spool.batch(header.id).payload)["points"]
                sums[header.key] = sum(each["value"] for each in points if each["name"] == "t.hits")
            return sums

    def windows(self) -> list[dict[str, Any]]:
        """Rows of `windows`, oldest first; none while there is no spool."""
        try:
            with SpoolReader(self.spool) as spool:
                return spool.windows(100_000)[::-1]
        except HoldfastError:
            return []

    def everything_acknowledged(self) -> bool:
        """Whether the delivery file says so of every batch in the spool; no, while one of them is not there yet."""
        try:
            with SpoolReader(self.spool) as spool, DeliveryReader(self.spool, "main") as delivery:
                ids = [each.id for each in spool.headers_after(0, 100_000)]
                states = delivery.states(0, 2**40)
                return all(states.get(each) is State.ACKNOWLEDGED for each in ids)
        except SpoolMissing:
            return False

    def audit(self) -> dict[str, Any]:
        """What `holdfast audit` says; it must add up, and the receiver must have what is acknowledged."""
        if (self.spool / "delivery-main.db").exists():
            with SpoolReader(self.spool) as spool, DeliveryReader(self.spool, "main") as delivery:
                states = delivery.states(0, 2**40)
                acknowledged = {
                    each.key for each in spool.headers_after(0, 100_000) if states.get(each.id) is State.ACKNOWLEDGED
                }
            assert acknowledged <= self.received_keys()
        result = json.loads(self.command("spool.cli", "audit", "--json", check=False).stdout)
        assert result["problems"] == [], result
        return dict(result)

    def attempts(self) -> list[dict[str, Any]]:
        """Rows of `attempts`, newest first; none while there is no delivery file."""
        try:
            with DeliveryReader(self.spool, "main") as delivery:
                return delivery.attempts(limit=100_000)
        except HoldfastError:
            return []
