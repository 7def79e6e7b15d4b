"""SIGHUP: the collector reads its configuration anew, in the same process, and nothing that comes meanwhile is lost."""

import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from spool.batch import decode
from spool.reader import SpoolReader
from tests.processes.pipeline import Pipeline, free_port, wait_until

LINES_PER_S = 2_000
"""By UDP; each of the other sockets gets a tenth of it."""
LOCK = threading.Lock()
ROOT = Path(__file__).parents[2]


class Reloaded(Pipeline):
    """A collector whose configuration changes while it runs."""

    def write(self, listen: list[str], interval_s: int = 1, extra: str = "") -> None:
        listen = [*listen, f"udp://[::1]:{self.statsd6[1]}"]
        self.file.write_text(
            f'[spool]\ndir = "spool"\ndisk_reserve_bytes = 0\n'
            f"[collector]\nlisten = {json.dumps(listen)}\ninterval_s = {interval_s}\n{extra}\n"
        )

    def environment(self) -> Mapping[str, str]:
        # The root, too: what sitecustomize imports is to be what is tested, whichever checkout is installed.
        return {**super().environment(), "PYTHONPATH": os.pathsep.join([str(self.home), str(ROOT)])}

    def delay_successors(self, by_s: float) -> None:
        """Let a collector that takes another's place need longer until it begins to read its program."""
        only = '"state"' + ' in os.environ.get("HOLDFAST_INHERITED", "")'
        (self.home / "sitecustomize.py").write_text(f"import os, time\nif {only}:\n    time.sleep({by_s})\n")

    def begin(self) -> None:
        self.start("collector")
        wait_until(lambda: " window_committed " in self.log("collector"), 15, "a window is committed")

    def hang_up(self, answer: str = "reloaded") -> None:
        """Send SIGHUP and wait for the answer in the log."""
        seen = self.log("collector").count(f" {answer} ")
        self.processes["collector"].send_signal(signal.SIGHUP)
        wait_until(lambda: self.log("collector").count(f" {answer} ") > seen, 20, answer)

    def totals(self) -> dict[str, float]:
        """Sums of counters by name, and the last value of gauges, over the whole spool."""
        totals: dict[str, float] = {}
        with SpoolReader(self.spool) as spool:
            for header in spool.headers_after(0, 100_000):
                for point in decode(spool.batch(header.id).payload)["points"]:
                    before = totals.get(point["name"], 0.0) if point["type"] == "counter" else 0.0
                    totals[point["name"]] = before + point["value"]
        return totals

    def check_windows(self) -> None:
        """Each window begins where the one before ended, and none is missing."""
        windows = self.windows()
        assert [each["seq"] for each in windows] == list(range(1, len(windows) + 1))
        for before, after in itertools.pairwise(windows):
            assert before["window_end"] == after["window_start"]


@pytest.fixture
def pipeline(tmp_path):
    made = Reloaded(tmp_path / "holdfast")
    yield made
    made.stop_all()
    print(made.log("collector")[-8000:])


class Load:
    """Clients of every kind of socket, each at a constant rate; what they have sent is known exactly."""

    def __init__(self, udp: tuple[str, int], tcp: tuple[str, int], gram: Path) -> None:
        self.sent = {"t.udp": 0, "t.tcp": 0, "t.gram": 0}
        self._ending = threading.Event()
        # Of their own each, because a unix socket and a connection make their clients wait.
        self._clients = [
            threading.Thread(target=client, args=(where,))
            for client, where in ((self._udp, udp), (self._udp, udp), (self._gram, gram), (self._tcp, tcp))
        ]
        for each in self._clients:
            each.start()

    def end(self) -> None:
        self._ending.set()
        for each in self._clients:
            each.join()

    def _every(self, pause_s: float) -> Iterator[int]:
        begun = time.monotonic()
        for turn in itertools.count():
            yield turn
            if self._ending.wait(max(0.0, begun + turn * pause_s - time.monotonic())):
                return

    def _udp(self, where: tuple[str, int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(where)
            for _ in self._every(0.01):
                for _ in range(LINES_PER_S // 200):
                    client.send(b"t.udp:1|c")
                with LOCK:
                    self.sent["t.udp"] += LINES_PER_S // 200

    def _gram(self, where: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(where))
            for _ in self._every(0.01):
                client.send(b"t.gram:1|c\nt.gram:2|c")
                self.sent["t.gram"] += 3

    def _tcp(self, where: tuple[str, int]) -> None:
        with socket.create_connection(where) as client:
            for _ in self._every(0.01):  # a reload may come in the middle of a line
                client.sendall(b"t.tcp:1|c\nt.t")
                self._ending.wait(0.005)
                client.sendall(b"cp:1|c\n")
                self.sent["t.tcp"] += 2


def reload_under_load(pipeline: Reloaded, times: int, *extra: str) -> None:
    """Reload so often, with one of `extra` after the other in the configuration."""
    lines = itertools.cycle(extra or [""])
    ports = free_port(socket.SOCK_DGRAM), free_port()
    gram = pipeline.home / "gram"
    listen = [f"udp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}", f"unixgram://{gram}"]
    pipeline.write(listen, extra=next(lines))
    pipeline.begin()
    load = Load(("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), gram)
    try:
        for _ in range(times):
            pipeline.write(listen, extra=next(lines))
            pipeline.hang_up()
    finally:
        load.end()
    assert pipeline.end("collector") == 0  # the process that was started
    assert {name: pipeline.totals()[name] for name in load.sent} == load.sent
    assert sum(each["dropped"] + each["rejected"] for each in pipeline.windows()) == 0
    pipeline.check_windows()
    log = pipeline.log("collector")
    took = sorted(float(each) for each in re.findall(r" reloaded took_ms=([\d.]+)", log))
    print(f"{sum(load.sent.values())} lines, {times} reloads: each took {took[0]:.0f} to {took[-1]:.0f} ms")
    assert len(took) == times
    assert "Traceback" not in log


def test_every_line_is_in_a_window_although_a_successor_takes_longer_than_buffers_hold(pipeline: Reloaded) -> None:
    pipeline.delay_successors(3)
    reload_under_load(pipeline, 1, "receive_buffer_bytes = 1_000_000")  # for a second and a quarter


def test_every_line_is_in_a_window_although_workers_are_exchanged_and_their_number_changes(pipeline: Reloaded) -> None:
    reload_under_load(pipeline, 3, "workers = 2", "workers = 2", "workers = 1", "workers = 3")


@pytest.mark.soak
def test_every_line_is_in_a_window_although_the_configuration_is_read_anew_twenty_times(pipeline: Reloaded) -> None:
    reload_under_load(pipeline, 20)


def send(port: int, *lines: str, host: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for each in lines:
            out.sendto(each.encode(), (host, port))


def test_addresses_and_the_interval_change_and_gauges_and_held_lines_live_on(pipeline: Reloaded) -> None:
    stays, goes, moves, comes = (free_port(socket.SOCK_DGRAM) for _ in range(4))
    gram = pipeline.home / "gram"
    pipeline.write(
        [f"udp://127.0.0.1:{stays}", f"udp://127.0.0.1:{goes}", f"udp://127.0.0.1:{moves}", f"unixgram://{gram}"]
    )
    pipeline.begin()
    send(stays, "temp:20|g", "one:1|c")
    send(goes, "one:1|c")
    pipeline.write([f"udp://127.0.0.1:{stays}", f"udp://0.0.0.0:{moves}", f"udp://127.0.0.1:{comes}"], interval_s=2)
    pipeline.hang_up()
    assert not gram.exists()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", goes))
    send(stays, "temp:+2|g", "two:1|c")
    send(moves, "two:1|c")
    send(comes, "two:1|c")
    lengths = lambda: [each["window_end"] - each["window_start"] for each in pipeline.windows()]  # noqa: E731
    wait_until(lambda: lengths()[-1] == 2, 20, "a window of the new length")
    assert pipeline.end("collector") == 0
    assert {name: pipeline.totals()[name] for name in ("one", "two", "temp")} == {"one": 2, "two": 3, "temp": 22}
    pipeline.check_windows()


def test_a_configuration_that_would_not_start_is_refused_and_everything_stays(pipeline: Reloaded) -> None:
    port = free_port(socket.SOCK_DGRAM)
    pipeline.write([f"udp://127.0.0.1:{port}"])
    pipeline.begin()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        other = f"udp://127.0.0.1:{taken.getsockname()[1]}"
        pipeline.write([other])
        pipeline.hang_up("reload_refused")
    pipeline.write([f"udp://127.0.0.1:{port}"], interval_s=0)
    pipeline.hang_up("reload_refused")
    pipeline.file.write_text("[collector")
    pipeline.hang_up("reload_refused")
    refused = re.findall(r"reload_refused reason=\"(.*)\"", pipeline.log("collector"))
    assert [wanted in reason for wanted, reason in zip((other, "interval_s", "not TOML"), refused, strict=True)] == [
        True
    ] * 3
    send(port, "hits:1|c")
    assert pipeline.end("collector") == 0
    assert pipeline.totals()["hits"] == 1
    assert " reloaded " not in pipeline.log("collector")
    pipeline.check_windows()


def test_a_stop_during_a_reload_is_a_stop_and_a_second_reload_is_another(pipeline: Reloaded) -> None:
    port = free_port(socket.SOCK_DGRAM)
    pipeline.write([f"udp://127.0.0.1:{port}"])
    pipeline.begin()
    process = pipeline.processes["collector"]
    for _ in range(50):
        process.send_signal(signal.SIGHUP)
    wait_until(lambda: " reloaded " in pipeline.log("collector"), 20, "reloaded")
    send(port, "hits:1|c")
    pipeline.hang_up("reloading")
    process.send_signal(signal.SIGTERM)  # to whichever of the two has the process by now
    assert process.wait(10) == 0
    assert pipeline.totals()["hits"] == 1
    pipeline.check_windows()


STOP_TOO_LATE = """
import os, signal
from collector.collect import Collector
def run(self, before=Collector.run):
    reloading = before(self)
    os.kill(os.getpid(), signal.SIGTERM)
    return reloading
if '"state"' not in os.environ.get("HOLDFAST_INHERITED", ""):
    Collector.run = run
"""


def test_a_stop_that_comes_too_late_for_a_collector_that_reloads_is_its_successors(pipeline: Reloaded) -> None:
    pipeline.write([f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"])
    (pipeline.home / "sitecustomize.py").write_text(STOP_TOO_LATE)
    pipeline.begin()
    pipeline.hang_up("reloading")
    assert pipeline.processes["collector"].wait(10) == 0
    assert " reloaded " in pipeline.log("collector")
    pipeline.check_windows()


HANG_WHEN_CLOSED = """
import os, time
import collector.run
from spool.writer import SpoolWriter
if '"state"' not in os.environ.get("HOLDFAST_INHERITED", ""):
    collector.run.STOP_S = 0.2
    SpoolWriter.close = lambda _: time.sleep(60)
"""


def test_a_spool_that_hangs_once_all_is_committed_ends_no_collector_that_reloads(pipeline: Reloaded) -> None:
    (pipeline.home / "sitecustomize.py").write_text(HANG_WHEN_CLOSED)
    reload_under_load(pipeline, 1)


HANG_WITH_LINES = """
import time
import collector.run
from spool.writer import SpoolWriter
collector.run.STOP_S = 0.2
def commit(self, window, *others, before=SpoolWriter.commit):
    time.sleep(60 if window.lines else 0)
    return before(self, window, *others)
SpoolWriter.commit = commit
"""


def test_a_stop_that_a_hung_spool_does_not_wait_for_tells_how_much_is_lost(pipeline: Reloaded) -> None:
    port = free_port(socket.SOCK_DGRAM)
    pipeline.write([f"udp://127.0.0.1:{port}"])
    (pipeline.home / "sitecustomize.py").write_text(HANG_WITH_LINES)
    pipeline.begin()
    send(port, "hits:1|c\nhits:2|c\nbad")
    pipeline.processes["collector"].terminate()
    assert pipeline.processes["collector"].wait(10) == 0
    told = r'windows_lost windows=[12] lines=3 reason="the spool did not answer for 0.2 s'
    assert re.search(told, pipeline.log("collector"))


def test_the_admin_port_is_the_same_before_and_after(pipeline: Reloaded) -> None:
    port, admin = free_port(socket.SOCK_DGRAM), free_port()
    pipeline.write([f"udp://127.0.0.1:{port}"], extra=f'admin = "127.0.0.1:{admin}"')
    pipeline.begin()

    def asked(line: str) -> str:
        with socket.create_connection(("127.0.0.1", admin), timeout=10) as client, client.makefile("rw") as file:
            file.write(f"{line}\nquit\n")
            file.flush()
            return file.read()

    assert '"interval_s": 1,' in asked("config")
    pipeline.write([f"udp://127.0.0.1:{port}"], interval_s=2, extra=f'admin = "127.0.0.1:{admin}"')
    pipeline.hang_up()
    assert '"interval_s": 2,' in asked("config")
    send(port, "hits:3|c")
    wait_until(lambda: '"hits": 3.0' in asked("counters"), 10, "the window with the line")
    assert asked("health") == "health: up\n"


REFUSE_PARTIAL_WINDOWS = """
from pathlib import Path
from spool.errors import SpoolBusy
from spool.writer import SpoolWriter
before = SpoolWriter.commit
def commit(self, window, *others):
    if window.partial and Path(__file__).with_name("full").exists():
        raise SpoolBusy("disk full")
    return before(self, window, *others)
SpoolWriter.commit = commit
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_whose_last_window_the_disk_refuses_is_given_up_and_nothing_is_lost(
    pipeline: Reloaded, workers: int
) -> None:
    ports, full = (free_port(socket.SOCK_DGRAM), free_port()), pipeline.home / "full"
    listen = [f"udp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}", f"unixgram://{pipeline.home}/gram"]
    pipeline.write(listen, extra=f"workers = {workers}")
    (pipeline.home / "sitecustomize.py").write_text(REFUSE_PARTIAL_WINDOWS)
    pipeline.begin()
    load = Load(("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), pipeline.home / "gram")
    try:
        full.touch()
        pipeline.hang_up("reload_refused")
        full.unlink()
        committed = pipeline.log("collector").count(" window_committed ")
        wait_until(
            lambda: pipeline.log("collector").count(" window_committed ") > committed + 1, 15, "windows are committed"
        )
        pipeline.hang_up()
    finally:
        load.end()
    assert pipeline.end("collector") == 0
    assert {name: pipeline.totals()[name] for name in load.sent} == load.sent
    pipeline.check_windows()
    log = pipeline.log("collector")
    assert "windows wait for the spool" in log and "_lost" not in log
