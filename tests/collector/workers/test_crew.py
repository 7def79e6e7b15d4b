"""Several receiving processes: one batch per window, nothing lost but what died with a process, and that is counted."""

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from collector.config import Listen
from collector.listeners import Bound
from collector.statsd import STATSD
from collector.workers.crew import LATE_S, shared_out
from spool.audit import audited
from spool.reader import SpoolReader
from tests.collector.running import send

TWO = "workers = 2"


class Clients(threading.Thread):
    """16 UDP clients, each with a port of its own, and others; what they have sent is known exactly."""

    def __init__(self, running, port, others):
        super().__init__()
        self.running, self.port, self.others = running, port, others
        self.ending = threading.Event()
        self.turns = 0

    def run(self):
        with contextlib.ExitStack() as open_ones:
            udp = [open_ones.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(16)]
            for each in udp:
                each.connect(("127.0.0.1", self.port))
            others = [open_ones.enter_context(each()) for each in self.others]
            while not self.ending.wait(0.005):
                for each in udp:
                    each.send(b"hits:1|c\nlat:%d|ms\nlevel:+1|g" % (self.turns % 100))
                for each in others:
                    each.sendall(b"hits:1|c\nlevel:+1|g\n")
                self.turns += 1

    def end(self):
        self.ending.set()
        self.join()

    @property
    def hits(self):
        return self.turns * (16 + len(self.others))

    @property
    def lines(self):
        return 2 * self.hits + 16 * self.turns


@pytest.fixture
def clients(start, tmp_path):
    """Clients that send to a collector with two workers, which they bring along."""
    made = []

    def unix():
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.connect(str(tmp_path / "g"))
        return sender

    def begin(gram=True):
        running = start(["udp://127.0.0.1:0", "tcp://127.0.0.1:0", f"unixgram://{tmp_path}/g"], 1, more=TWO)
        port, tcp = running.ports(2)
        running.wait_for("listening", 3)
        others = [lambda: socket.create_connection(("127.0.0.1", tcp)), *([unix] if gram else [])]
        made.append(Clients(running, port, others))
        made[-1].start()
        return made[-1]

    yield begin
    for each in made:
        each.end()


def workers(running, count=2):
    """Process ids of the workers, in the order of their starts."""
    return [int(each) for each in running.wait_for(r"worker_started pid=(\d+)", count)]


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(true, within_s=10.0):
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def gauge(running, name):
    """A gauge's last value."""
    return [each.values["value"] for each in running.points() if each.name == name][-1]


def check_windows(running):
    """Each window is in one batch and begins where the one before ended; numbers that are missing are losses'."""
    windows = running.windows()
    assert all(each["first_batch"] == each["last_batch"] for each in windows)
    for earlier, later in itertools.pairwise(windows):
        assert earlier["window_end"] == later["window_start"]
    return windows


def test_what_many_clients_send_to_two_workers_is_exactly_in_one_batch_per_window(clients):
    load = clients()
    running = load.running
    running.wait_for("window_committed", 3)
    load.end()
    assert running.stop() < 2
    totals = running.totals()
    assert (totals["hits"], totals["lat"], gauge(running, "level")) == (load.hits, 16 * load.turns, load.hits)
    windows = check_windows(running)
    assert sum(each["lines"] for each in windows) == sum(each["accepted"] for each in windows) == load.lines
    assert all(0 <= each["committed_at"] - each["window_end"] < 2 for each in windows[:-1])
    assert all(map(is_gone, workers(running)))


def test_a_killed_worker_is_replaced_and_costs_only_what_it_had_which_is_counted(clients):
    load = clients()
    running, chance = load.running, random.Random(7)
    for killed in range(1, 4):
        running.wait_for("window_committed", 1 + killed)
        time.sleep(chance.random())
        victim = chance.choice([each for each in workers(running, 1 + killed) if not is_gone(each)])
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        workers(running, 2 + killed)
        assert time.monotonic() - begun < 5  # the new one receives: a start of Python on a busy machine
    running.wait_for("window_committed", len(re.findall("window_committed", running.text())) + 2)
    load.end()
    running.stop()
    totals = running.totals()
    assert totals["holdfast.worker_restarts"] == 3
    assert totals["holdfast.kernel_drops"] == 0
    lost = totals["holdfast.worker_lost_lines"]
    with SpoolReader(running.folder / "spool") as spool:
        assert lost == sum(each["lines"] for each in spool.losses())
    assert not audited(running.folder / "spool", [], time.sleep).problems
    committed = sum(each["lines"] for each in check_windows(running))
    # What a victim had read in its last turn, nobody knows.
    last_turns = 3 * (16 * 3 + 2) * 10
    assert load.lines - last_turns <= committed + lost <= load.lines
    assert lost < load.lines / 2


def test_a_stopped_worker_holds_up_no_window_and_its_lines_come_later(clients):
    load = clients(gram=False)  # who sends to a unix socket waits, for all the others of this test
    running = load.running
    running.wait_for("window_committed", 2)
    (stopped, _) = workers(running)
    os.kill(stopped, signal.SIGSTOP)
    late = int(running.wait_for(r"worker_late pid=(\d+)")[0])
    seen = len(re.findall("window_committed", running.text()))
    running.wait_for("window_committed", seen + 2)
    os.kill(stopped, signal.SIGCONT)
    seen = len(re.findall("window_committed", running.text()))
    running.wait_for("window_committed", seen + 2)
    load.end()
    running.stop()
    assert late == stopped
    windows = check_windows(running)
    delays = [each["committed_at"] - each["window_end"] for each in windows[:-1]]
    assert max(delays) < 2
    assert sorted(delays)[-2] < 0.7  # it is waited for once
    assert min(each["lines"] for each in windows[2:-1]) > 0
    totals = running.totals()
    assert (totals["hits"], gauge(running, "level")) == (load.hits, load.hits)
    assert totals["holdfast.worker_restarts"] == totals["holdfast.worker_lost_lines"] == 0


def test_a_collector_that_stops_kills_a_stopped_worker_says_what_it_had_and_takes_what_waits_for_it(start):
    running = start(more=TWO, interval_s=3600)
    (port,) = running.ports(1)
    running.wait_for("worker_started", 2)
    for _ in range(40):
        send(port, b"hits:1|c")
    (stopped, other) = workers(running)
    time.sleep(1)  # what was sent has been taken
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(40):
        send(port, b"hits:1|c")
    assert running.stop() < 2
    assert is_gone(stopped)
    assert is_gone(other)
    totals = running.totals()
    (lost,) = map(int, re.findall(r"worker_ended .* code=-9 lost_lines=(\d+)", running.text()))
    assert lost > 0
    assert totals["hits"] + lost == 80


def test_a_worker_has_time_to_take_what_waits_for_it_before_a_stop_kills_it(start):
    running = start(more=TWO, interval_s=3600)
    (port,) = running.ports(1)
    running.wait_for("worker_started", 2)
    for _ in range(40):
        send(port, b"hits:1|c")
    time.sleep(1)  # what was sent has been taken
    (busy, _) = workers(running)
    os.kill(busy, signal.SIGSTOP)
    running.process.terminate()
    time.sleep(LATE_S + 0.1)
    os.kill(busy, signal.SIGCONT)
    assert running.process.wait(10) == 0
    assert running.totals()["hits"] == 40
    assert "worker_ended" not in running.text()


def test_no_worker_outlives_a_killed_collector_not_even_a_stopped_one(start):
    running = start(more=TWO)
    running.wait_for("listening")
    pids = workers(running)
    os.kill(pids[0], signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    wait_until(lambda: all(map(is_gone, pids)), within_s=2)
    again = start([f"udp://127.0.0.1:{running.ports(1)[0]}"], name="two", more=TWO)
    again.wait_for("listening")
    again.stop()


def test_a_second_collector_does_not_share_the_address_of_workers(start):
    first = start(more=TWO)
    url = f"udp://127.0.0.1:{first.ports(1)[0]}"
    second = start([url], name="two", more=TWO)
    assert second.process.wait(15) == 1
    assert f"{url}: in use" in second.text()
    assert "worker_started" not in second.text()
    first.stop()


def test_series_are_bounded_in_the_merged_window(start):
    running = start(more=TWO + "\nmax_series = 5")
    (port,) = running.ports(1)
    for number in range(20):
        send(port, b"n%d:1|c" % number)
    running.stop()
    (window,) = running.windows()
    assert window["series"] == 6
    totals = running.totals()
    assert sum(amount for name, amount in totals.items() if name.startswith("n")) == 5
    assert totals["holdfast.overflow"] == window["overflowed"] == 15


class Named:
    """Stands for a socket."""

    def __init__(self, name):
        self.name = name


def test_each_datagram_socket_has_one_worker_and_connections_have_none():
    def bound(scheme, *names):
        listen = Listen(scheme)
        return Bound(listen, listen, [Named(each) for each in names], 0)

    everything = [bound("udp", "a1", "a2", "a3"), bound("tcp", "t"), bound("unixgram", "g"), bound("unixgram", "h")]
    given = shared_out(everything, lambda _: STATSD, 2)
    assert [[each.socket.name for each in one] for one in given] == [["a1", "a3", "g"], ["a2", "h"]]
