"""What a line costs other StatsD servers, beside the collector, on this machine and with the same load.

    python tests/bench/peers.py [--seconds 10] [--rate 50000] [--tags] [--only holdfast,netdata,...]

Needs Debian's `collectd-core` and `netdata` and the npm registry (statsd 0.9); what is missing is said and left out.
Each server runs on one core, flushes every 5 s (netdata every second, as it cannot do otherwise for a window of ours)
and gets 10,000 names, 1 and 25 lines per datagram. CPU is user + system time of all its processes, flushes included,
in seconds per million lines that reached it: those that its socket dropped (/proc/net/udp) are not counted.

netdata charts 200 names unless it is told otherwise and does not look at the values of others; `netdata, all` is told.
`floor` is a loop in C that only receives.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.collector_cost import OURS, Bench, Load, free_port

FLUSH_S = 5


class Peer:
    """A server that listens: its processor time, and what its socket dropped."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port, self.process = port, process

    def cpu_s(self) -> float:
        """Processor time of all threads of it and of its children."""
        return sum(_thread_cpu_s(each) for pid in _family(self.process.pid) for each in _tasks(pid))

    def dropped(self) -> int:
        """Datagrams that its socket could not hold."""
        rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
        return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) == self.port)

    def listening(self) -> bool:
        """Whether there is a socket at its port."""
        rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
        return any(int(row[1].partition(":")[2], 16) == self.port for row in rows)


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _thread_cpu_s(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except OSError:  # it ended meanwhile
        return 0.0


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in _tasks(pid):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        found += [each for child in children for each in _family(int(child))]
    return found


def holdfast(home: Path, port: int) -> list[str]:
    """The collector with its spool."""
    (home / "holdfast.toml").write_text(
        f'[spool]\ndir = "spool"\ndisk_reserve_bytes = 0\n[collector]\nlisten = "udp://127.0.0.1:{port}"\n'
        f'interval_s = {FLUSH_S}\n[destination.main]\nurl = "http://127.0.0.1:9/"\n'
    )
    return [sys.executable, "-m", "collector.cli", "run", "--config", str(home / "holdfast.toml")]


def node_statsd(home: Path, port: int) -> list[str]:
    """etsy's statsd 0.9 in Node."""
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), "statsd@0.9"]
    subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)
    config = home / "config.js"
    config.write_text(
        f'{{port: {port}, address: "127.0.0.1", mgmt_port: {free_port()}, flushInterval: {1000 * FLUSH_S},'
        ' backends: ["./backends/console"], console: {prettyprint: false}}'
    )
    return ["node", str(home / "node_modules/statsd/stats.js"), str(config)]


def collectd(home: Path, port: int) -> list[str]:
    """collectd with its statsd plugin, writing CSV files."""
    (home / "collectd.conf").write_text(
        f'BaseDir "{home}"\nPIDFile "{home}/pid"\nInterval {FLUSH_S}\nTypesDB "/usr/share/collectd/types.db"\n'
        f'LoadPlugin statsd\nLoadPlugin csv\n<Plugin statsd>\nHost "127.0.0.1"\nPort "{port}"\nDeleteCounters true\n'
        f'TimerPercentile 50\nTimerPercentile 99\n</Plugin>\n<Plugin csv>\nDataDir "{home}/csv"\n</Plugin>\n'
    )
    return ["collectd", "-f", "-C", str(home / "collectd.conf")]


def netdata(home: Path, port: int, charts: int = 200) -> list[str]:
    """netdata with nothing but its statsd plugin."""
    off = ("proc", "diskspace", "cgroups", "tc", "idlejitter", "timex", "profile", "checks", "apps", "charts.d")
    for each in ("cache", "lib", "log"):
        (home / each).mkdir()
    (home / "netdata.conf").write_text(
        f"[directories]\ncache = {home}/cache\nlib = {home}/lib\nlog = {home}/log\n[global]\nrun as user = root\n"
        "[db]\nmode = ram\n[web]\nmode = none\n[health]\nenabled = no\n[ml]\nenabled = no\n[plugins]\n"
        "enable running new plugins = no\nstatsd = yes\n" + "".join(f"{each} = no\n" for each in off) + "[statsd]\n"
        f"bind to = udp:127.0.0.1:{port}\n"
        f"max private charts hard limit = {charts}\nmax private charts allowed = {charts}\n"
    )
    return ["netdata", "-D", "-c", str(home / "netdata.conf")]


PEERS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "holdfast": (sys.executable, holdfast),
    "netdata": ("netdata", netdata),
    "netdata, all": ("netdata", lambda home, port: netdata(home, port, 20_000)),
    "collectd": ("collectd", collectd),
    "npm statsd": ("npm", node_statsd),
}


@contextmanager
def started(name: str) -> Iterator[Peer]:
    """A server that listens, on one core."""
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        command = PEERS[name][1](home, port)
        with (home / "output").open("wb") as output:
            root = str(Path(__file__).parents[2])
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=root, start_new_session=True)
        os.sched_setaffinity(process.pid, OURS)
        peer = Peer(port, process)
        try:
            give_up = time.monotonic() + 30
            while not peer.listening():
                if time.monotonic() > give_up or process.poll() is not None:
                    raise SystemExit(f"{name} does not listen:\n{(home / 'output').read_text()[-2000:]}")
                time.sleep(0.05)
            for pid in _family(process.pid):
                for task in _tasks(pid):
                    os.sched_setaffinity(int(task.name), OURS)
            yield peer
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def cost(bench: Bench, name: str, load: Load, seconds: float) -> tuple[float, float]:
    """CPU-s per million lines that arrived, and the share that was lost."""
    with started(name) as peer:
        before_s = peer.cpu_s()
        sent = bench.send(peer.port, load, seconds)
        time.sleep(FLUSH_S + 1)  # the last flush
        lost = peer.dropped() * load.lines
        return 1e6 * (peer.cpu_s() - before_s) / (sent - lost), lost / sent


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(each.replace(", ", " ") for each in PEERS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tags", action="store_true", help="three tags on each line, for those that know tags")
    parser.add_argument("--rate", type=float, default=50_000, help="lines per second; 0 is flat out")
    asked = parser.parse_args()
    wanted = asked.only.split(",")
    print(f"CPU-s per M lines at {asked.rate or 'full'} lines/s    1 per datagram  lost    25 per datagram  lost")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), 8 * 1024 * 1024)
        floors = [bench.floor(bench.command, Load(lines, asked.rate, tags=asked.tags), 3)[0] for lines in (1, 25)]
        print(f"{'floor (C, throws away)':<32}{floors[0]:>12.2f}{'':>10}{floors[1]:>14.2f}", flush=True)
        for name, (program, _) in PEERS.items():
            if name.replace(", ", " ") not in wanted:
                continue
            if shutil.which(program) is None:
                print(f"{name:<32}  not installed")
                continue
            found = [cost(bench, name, Load(lines, asked.rate, tags=asked.tags), asked.seconds) for lines in (1, 25)]
            (one, one_lost), (many, many_lost) = found
            print(f"{name:<32}{one:>12.2f}{one_lost:>10.1%}{many:>14.2f}{many_lost:>10.1%}", flush=True)


if __name__ == "__main__":
    main()
