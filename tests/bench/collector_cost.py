"""What a line costs the collector, and how many it takes before one is lost.

    python tests/bench/collector_cost.py [--seconds 5] [--only cost|rate|memory|stall|floor] [--buffer BYTES]

Starts the real `holdfast-collector run` on one core and the load (load.c if there is a compiler, else load.py) on
another, reads what was committed from the spool and the processor time from the kernel, and prints tables. What was
sent is known and what the spool holds is counted, so loss is exact. CPU is user + system time of all threads of the
process, statistics, encoding and commit included, in seconds per million lines (equal to microseconds per line).

The numbers depend on the machine and on what else runs: compare rows of one run, and with two loops that run between
them: the floor, which only receives, and the sketch, which also splits, parses and adds up, in plain Python without a
rule (load.py). A search for loss says how long the collector waited for its core; if it did, the loss is that.
"""

import argparse
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORES = sorted(os.sched_getaffinity(0))
OURS, THEIRS = {CORES[0]}, {CORES[-1]}  # the collector's core and the load's; one and the same where there is one


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: `rate` in lines per second (0: flat out)."""

    lines: int = 1
    rate: float = 50_000
    names: int = 10_000
    tags: bool = False
    mix: str = "mixed"

    def __str__(self) -> str:
        tags = ", tags" if self.tags else ""
        kind = "timers, all distinct" if self.mix == "timers" else f"{self.names:,} names{tags}"
        return f"{self.lines:>2} per datagram, {kind}"


def free_port() -> int:
    """A UDP port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generator(home: Path) -> list[str]:
    """The command that makes load: compiled if that is possible."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        subprocess.run([compiler, "-O2", "-o", str(home / "load"), str(HERE / "load.c")], check=True)
        return [str(home / "load")]
    return [sys.executable, str(HERE / "load.py")]


def pinned(command: list[str], cores: set[int], **how: Any) -> subprocess.Popen[bytes]:
    """A process on these cores; what it prints can be read."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **how)
    os.sched_setaffinity(process.pid, cores)  # long before its threads are there
    return process


class Bench:
    """A folder, the load's command, and one collector at a time."""

    def __init__(self, home: Path, buffer_bytes: int) -> None:
        self.home, self.buffer_bytes = home, buffer_bytes
        self.command = generator(home)
        self.trials = 0

    def send(self, port: int, load: Load, seconds: float) -> int:
        """Send, and return how many lines were sent."""
        arguments = [load.rate / load.lines, seconds, load.lines, load.names, int(load.tags), load.mix]
        with pinned([*self.command, "send", "127.0.0.1", str(port), *map(str, arguments)], THEIRS) as process:
            sent, _ = process.communicate()
        return int(json.loads(sent)["lines"])

    def floor(
        self, command: list[str], load: Load, seconds: float, loop: Literal["floor", "sketch"] = "floor"
    ) -> tuple[float, float]:
        """A loop that only receives, or one of load.py's others: CPU-s per million lines, and lines/s that it took."""
        port = free_port()
        with pinned([*command, loop, str(port), str(self.buffer_bytes)], OURS) as process:
            assert process.stdout is not None
            process.stdout.readline()
            self.send(port, load, seconds)
            found = json.loads(process.stdout.readline())
        lines = found["datagrams"] * load.lines
        return 1e6 * found["cpu_s"] / lines, lines / seconds

    def slow_disk(self) -> Path:
        """A library that makes fsync slow."""
        library = self.home / "slow_disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "slow_disk.c", "-ldl"], check=True)
        return library

    @contextmanager
    def collector(self, interval_s: int, *, slow_disk: bool = False) -> Iterator["Running"]:
        """A collector that receives, on one core."""
        self.trials += 1
        home = self.home / str(self.trials)
        home.mkdir()
        running = Running(home, free_port(), interval_s)
        (home / "holdfast.toml").write_text(
            f'[spool]\ndir = "spool"\ndisk_reserve_bytes = 0\n[collector]\nlisten = "udp://127.0.0.1:{running.port}"\n'
            f"interval_s = {interval_s}\nreceive_buffer_bytes = {self.buffer_bytes}\n"
            '[destination.main]\nurl = "http://127.0.0.1:9/"\n'
        )
        environment = {"HOLDFAST_CONFIG": str(home / "holdfast.toml"), "PYTHONPATH": str(ROOT)}
        if slow_disk:
            environment |= {"LD_PRELOAD": str(self.slow_disk()), "SLOW_DISK": str(home / "slow")}
        with (home / "log").open("w") as log:
            command = [sys.executable, "-m", "collector.cli", "run"]
            running.process = pinned(command, OURS, cwd=ROOT, env={**os.environ, **environment}, stderr=log)
        try:
            running.wait_for_log(" listening ")
            if slow_disk:
                (home / "slow").touch()
            yield running
        finally:
            running.process.terminate()
            running.process.communicate(timeout=60)
            shutil.rmtree(home)


class Running:
    """A collector process and its spool."""

    process: subprocess.Popen[bytes]

    def __init__(self, home: Path, port: int, interval_s: int) -> None:
        self.home, self.port, self.interval_s = home, port, interval_s

    def wait_for_log(self, words: str) -> None:
        """Until the collector has logged that."""
        give_up = time.monotonic() + 20
        while words not in (self.home / "log").read_text():
            if time.monotonic() > give_up:
                raise SystemExit((self.home / "log").read_text())
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """Processor time of all its threads, from the scheduler: to the nanosecond."""
        return self._scheduled(0)

    def waited_s(self) -> float:
        """Time that its threads could have run, but for others on their core."""
        return self._scheduled(1)

    def _scheduled(self, column: int) -> float:
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((each / "schedstat").read_text().split()[column]) for each in tasks.iterdir()) / 1e9

    def memory_mib(self) -> float:
        """The most memory it ever had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def committed(self) -> tuple[int, int, int]:
        """Lines, kernel drops and windows so far."""
        return self._ask("SELECT total(lines), total(dropped), count(*) FROM windows")

    def shed(self) -> int:
        """Lines of windows that were given up, as `losses` has them."""
        return self._ask("SELECT total(lines) FROM losses")[0]

    def _ask(self, sql: str) -> tuple[int, ...]:
        with sqlite3.connect(f"file:{self.home}/spool/spool.db?mode=ro", uri=True) as spool:
            row = spool.execute(sql).fetchone()
        spool.close()
        return tuple(map(int, row))

    def settle(self) -> tuple[int, int]:
        """Lines and drops once two more windows are committed: nothing that was sent can come later."""
        until = time.monotonic() + 30 + 2 * self.interval_s
        before = self.committed()[2]
        while self.committed()[2] < before + 2 and time.monotonic() < until:
            time.sleep(0.05)
        return self.committed()[:2]

    def align(self) -> None:
        """Until a window has just begun, so that a load fits into one."""
        time.sleep(self.interval_s - time.time() % self.interval_s + 0.05)


def cost(bench: Bench, load: Load, seconds: int) -> tuple[float, float, int]:
    """CPU-s per million lines taken, with one window that holds all of them; lines taken; lines lost."""
    with bench.collector(seconds) as collector:
        collector.align()
        before_s = collector.cpu_s()
        sent = bench.send(collector.port, load, seconds - 0.5)
        lines, _ = collector.settle()
        return 1e6 * (collector.cpu_s() - before_s) / lines, lines, sent - lines


def lossless(bench: Bench, load: Load, lowest: float, highest: float, seconds: float) -> float:
    """The highest of a geometric ladder of rates (lines/s) at which nothing was lost; 0 if it always was."""
    best, ladder = 0.0, [lowest * (highest / lowest) ** (step / 7) for step in range(8)]
    first, last = 0, len(ladder) - 1
    with bench.collector(1) as collector:
        while first <= last:
            middle = (first + last) // 2
            before, _ = collector.committed()[:2]
            asked = Load(load.lines, ladder[middle], load.names, load.tags, load.mix)
            begun = time.monotonic()
            waited_s = collector.waited_s()
            sent = bench.send(collector.port, asked, seconds)
            waited_s = collector.waited_s() - waited_s
            reached = sent / max(seconds, time.monotonic() - begun - 0.5)
            lost = sent - (collector.settle()[0] - before)
            disturbed = f"; waited {waited_s:.1f} s for its core" if waited_s > 0.2 else ""
            print(f"    {reached:>12,.0f} lines/s: {lost:,} lost{disturbed}", file=sys.stderr)
            if lost:
                last = middle - 1
            else:
                best, first = max(best, reached), middle + 1
    return best


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="floor,cost,flat,rate,memory,stall")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--buffer", type=int, default=8 * 1024 * 1024)
    parser.add_argument("--full", action="store_true", help="all names and tags, not a selection")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked.buffer)
        for each in asked.only.split(","):
            {"floor": floors, "cost": costs, "flat": flat, "rate": rates, "memory": memory, "stall": stall}[each](
                bench, asked.seconds, asked.full
            )


def loads(full: bool) -> list[Load]:
    """The cases of a table."""
    if full:
        every = [
            Load(lines, names=names, tags=tags)
            for lines in (1, 25)
            for names in (100, 10_000, 100_000)
            for tags in (False, True)
        ]
    else:
        every = [Load(n, tags=tags) for n in (1, 25) for tags in (False, True)]
    return [*every, Load(1, mix="timers"), Load(25, mix="timers")]


def floors(bench: Bench, seconds: int, _full: bool) -> None:
    """The bare loops, flat out."""
    print("\nfloor, flat out                            CPU-s per M lines   lines/s")
    for words, command in (("C recv", bench.command), ("Python recv", [sys.executable, str(HERE / "load.py")])):
        for lines in (1, 25):
            spent, rate = bench.floor(command, Load(lines, 0), min(seconds, 3))
            print(f"{words:<12} {lines:>2} per datagram            {spent:>12.2f} {rate:>18,.0f}", flush=True)


def costs(bench: Bench, seconds: int, full: bool) -> None:
    """At 50,000 lines per second, where most of the cost is waking up and the flush."""
    print("\nat 50,000 lines/s, one flush              CPU-s per M lines   lost")
    for load in loads(full):
        spent, _, lost = cost(bench, load, seconds)
        print(f"{load!s:<44} {spent:>8.2f} {lost:>12,}", flush=True)


def flat(bench: Bench, seconds: int, full: bool) -> None:
    """As fast as the load can send: what a line costs where all of it is lines, and the two loops beside each row."""
    print(
        "\nflat out, one flush                       CPU-s per M taken   / floor   / sketch   M lines per CPU-s   lost"
    )
    for load in loads(full):
        most = Load(load.lines, 0, load.names, load.tags, load.mix)
        floor, _ = bench.floor(bench.command, most, min(seconds, 3))
        sketch, _ = bench.floor([sys.executable, str(HERE / "load.py")], most, min(seconds, 3), "sketch")
        spent, _, lost = cost(bench, most, seconds)
        beside = f"{spent / floor:>14.2f} {spent / sketch:>10.2f}"
        print(f"{load!s:<44} {spent:>8.2f} {beside} {1 / spent:>14.2f} {lost:>15,}", flush=True)


def rates(bench: Bench, seconds: int, full: bool) -> None:
    """The highest rate without loss, a flush each second."""
    print("\nhighest rate without loss, a flush each second: lines/s")
    for load in loads(full) if full else [Load(1), Load(25)]:
        lowest, highest = (50_000, 620_000) if load.lines == 1 else (250_000, 5_000_000)
        print(f"{load!s:<44} {lossless(bench, load, lowest, highest, min(seconds, 3)):>12,.0f}", flush=True)


def memory(bench: Bench, seconds: int, _full: bool) -> None:
    """The most memory with so many series."""
    print("\nmemory                                    MiB at its highest")
    for names in (10_000, 100_000):
        load = Load(25, 100_000, names)
        with bench.collector(seconds) as collector:
            for _ in range(2):
                collector.align()
                bench.send(collector.port, load, seconds)
            collector.settle()
            print(f"{load!s:<44} {collector.memory_mib():>8.0f}", flush=True)


def stall(bench: Bench, _seconds: int, _full: bool) -> None:
    """A disk that needs 2 s for each fsync, 100,000 one-line datagrams per second of 100,000 series."""
    print("\nfsync takes 2 s, window 1 s, 100,000 lines/s, 100,000 names, buffer 4 MiB")
    slow = Bench(bench.home / "slow", 4 * 1024 * 1024) if (bench.home / "slow").mkdir() is None else bench
    with slow.collector(1, slow_disk=True) as collector:
        sent = slow.send(collector.port, Load(1, 100_000, 100_000), 10)
        until = time.monotonic() + 60
        while (lines := collector.committed()[0]) + (shed := collector.shed()) < sent and time.monotonic() < until:
            time.sleep(0.2)
        print(
            f"sent {sent:,}, committed {lines:,}, given up with their windows (memory full) {shed:,}, not received"
            f" {sent - lines - shed:,}; memory {collector.memory_mib():.0f} MiB; waited"
            f" {collector.waited_s():.1f} s for its core"
        )


if __name__ == "__main__":
    main()
