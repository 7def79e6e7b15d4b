"""The collector as a real process: lines in, windows in the spool, whatever happens in between."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spool.batch import decode, points_of

ROOT = Path(__file__).parents[2]


class Running:
    """One collector process and its spool."""

    def __init__(self, folder, listen, interval_s):
        self.folder, self.log = folder, folder / "log"
        config = folder / "holdfast.toml"
        config.write_text(
            f'[spool]\ndir = "{folder}/spool"\n[collector]\nlisten = {json.dumps(listen)}\ninterval_s = {interval_s}\n'
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "collector.cli", "run", "-c", str(config)],
                cwd=ROOT,
                stderr=log,
            )

    def text(self):
        return self.log.read_text()

    def wait_for(self, pattern, count=1, within_s=15):
        """The matches of `pattern` in the log, once there are `count`."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            found = re.findall(pattern, self.text(), re.MULTILINE)
            if len(found) >= count:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} not {count} times in:\n{self.text()}")

    def ports(self, count):
        return [int(port) for port in self.wait_for(r"listening url=\S+?:(\d+) ", count)]

    def stop(self):
        """Seconds that a stop takes."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.text()
        assert "Traceback" not in self.text()
        return time.monotonic() - begun

    def windows(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/spool/spool.db?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return db.execute("SELECT * FROM windows ORDER BY seq").fetchall()

    def totals(self):
        """Sum of each counter's and count of each timer's points over all batches, by name."""
        totals = {}
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/spool/spool.db?mode=ro", uri=True)) as db:
            for (payload,) in db.execute("SELECT payload FROM batches"):
                for point in points_of(decode(payload)):
                    amount = point.values["count"] if point.type == "timer" else point.values["value"]
                    totals[point.name] = totals.get(point.name, 0) + amount
        return totals


@pytest.fixture
def start(tmp_path):
    started = []

    def make(listen=("udp://127.0.0.1:0",), interval_s=3600, name="one"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        started.append(Running(folder, list(listen), interval_s))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGCONT)
            each.process.kill()
            each.process.wait()


def send(port, *datagrams, family=socket.AF_INET):
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, (host, port))


def test_lines_from_every_kind_of_socket_are_in_the_partial_window_of_a_stopped_collector(start, tmp_path):
    gram, stream = tmp_path / "g", tmp_path / "s"
    running = start(
        ["udp://127.0.0.1:0", "udp://[::1]:0", "tcp://127.0.0.1:0", f"unixgram://{gram}", f"unix://{stream}"]
    )
    v4, v6, tcp = running.ports(3)
    running.wait_for("listening", 5)
    send(v4, b"hits:1|c|#a:b\nhits:2|c|@0.5\nlat:5|ms\nlat:7|ms\nwho:x|s\ntemp:3|g\ntemp:+2|g")
    send(v6, b"hits:10|c", family=socket.AF_INET6)
    with socket.create_connection(("127.0.0.1", tcp)) as client:
        client.sendall(b"hits:100|c\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"hits:1000|c", str(gram))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(stream))
        client.sendall(b"hits:10000|c")
    assert running.stop() < 2
    totals = running.totals()
    assert totals["hits"] == 1 + 4 + 10 + 100 + 1000 + 10000
    assert (totals["lat"], totals["who"], totals["temp"]) == (2, 1, 5.0)
    (window,) = running.windows()
    assert (window["lines"], window["accepted"], window["partial"]) == (11, 11, 1)
    assert window["datagrams"] == 3
    assert not gram.exists()


def test_every_line_is_in_exactly_one_of_many_aligned_windows(start):
    running = start(interval_s=1)
    (port,) = running.ports(1)
    sent = 0
    while len(re.findall("window_committed", running.text())) < 3:
        send(port, *[b"hits:1|c\nlat:%d|ms" % n for n in range(50)])
        sent += 50
        time.sleep(0.02)
    running.stop()
    assert running.totals()["hits"] == running.totals()["lat"] == sent
    windows = running.windows()
    assert sum(each["lines"] for each in windows) == 2 * sent
    assert [each["seq"] for each in windows] == list(range(1, len(windows) + 1))
    for earlier, later in itertools.pairwise(windows):
        assert earlier["window_end"] == later["window_start"]
        assert earlier["window_end"] % 1 == 0
    assert all(0 <= each["committed_at"] - each["window_end"] < 1 for each in windows[:-1])


def test_bad_input_of_every_kind_is_counted_and_ends_nothing(start, tmp_path):
    gram = tmp_path / "g"
    running = start(["udp://127.0.0.1:0", f"unixgram://{gram}"])
    (port,) = running.ports(1)
    running.wait_for("listening", 2)
    noise = [bytes(range(256)), os.urandom(60_000).replace(b"\n", b"x"), b"x" * 65_000 + b":1|c"]
    absurd = [b"a:1e400|c", b"a:nan|g", b"a:inf|ms", b"a:1|c|@0", b"a:1_000|c", b"|||", b":", b"a:1|zz"]
    send(port, b"", b"\n\n", *noise, *absurd, b"good:-0|c")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"y" * 70_000, str(gram))
    running.stop()
    (window,) = running.windows()
    assert window["accepted"] == 1
    # bytes(range(256)) holds one newline, so it is two lines
    assert window["rejected"] == len(noise) + 1 + len(absurd) + 1
    assert window["lines"] == window["accepted"] + window["rejected"]
    reasons = json.loads(window["rejected_by"])
    assert reasons["datagram_too_long"] == 1
    assert reasons["line_too_long"] == 2
    assert running.totals()["good"] == 0.0


def test_a_frozen_collector_makes_one_long_window_and_loses_nothing(start):
    running = start(interval_s=1)
    (port,) = running.ports(1)
    running.wait_for("window_committed", 2)
    running.process.send_signal(signal.SIGSTOP)
    send(port, b"hits:1|c")
    time.sleep(3.2)
    running.process.send_signal(signal.SIGCONT)
    seen = len(re.findall("window_committed", running.text()))
    running.wait_for("window_committed", seen + 2)
    running.stop()
    windows = running.windows()
    lengths = [each["window_end"] - each["window_start"] for each in windows[1:-1]]
    assert max(lengths) >= 3
    assert lengths.count(1.0) == len(lengths) - 1
    for earlier, later in itertools.pairwise(windows):
        assert earlier["window_end"] == later["window_start"]
    assert running.totals()["hits"] == 1


def test_what_was_committed_survives_a_kill_and_sequence_numbers_go_on(start):
    running = start(interval_s=1)
    send(running.ports(1)[0], b"hits:1|c")
    running.wait_for("window_committed", 2)
    running.process.kill()
    running.process.wait()
    again = start(interval_s=1)
    send(again.ports(1)[0], b"hits:1|c")
    again.stop()
    assert again.totals()["hits"] == 2
    assert [each["seq"] for each in again.windows()] == list(range(1, len(again.windows()) + 1))


def test_sigusr1_prints_the_stack_of_every_thread_and_changes_nothing(start):
    running = start()
    running.wait_for("listening")
    until = time.monotonic() + 15
    while not re.search(r"collector/collect.py.* in _turn", running.text()) and time.monotonic() < until:
        running.process.send_signal(signal.SIGUSR1)  # the first may come before the loop has begun
        time.sleep(0.05)
    running.wait_for(r"collector/committer.py.* in _run")
    running.wait_for(r"collector/collect.py.* in _turn")
    running.stop()


def test_a_flood_of_signals_still_ends_in_a_clean_stop(start):
    running = start()
    running.wait_for("listening")
    until = time.monotonic() + 5
    while running.process.poll() is None and time.monotonic() < until:
        running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 0
    assert len(running.windows()) == 1


def refused(running):
    code = running.process.wait(15)
    lines = [each for each in running.text().splitlines() if not re.match(r"\d{4}-", each)]
    assert len(lines) == 1, running.text()
    return code, lines[0]


def test_a_busy_port_ends_the_start_with_the_address_and_the_key(start):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{taken.getsockname()[1]}"
        running = start([url])
        code, said = refused(running)
    assert code == 1
    assert said.startswith(f"Error: {url}: in use; change [collector] listen")
    # Health takes the lock's time for the collector's start: one that cannot listen must not look like a new one.
    assert not (running.folder / "spool/collector.lock").exists()


def test_a_second_collector_on_one_spool_is_refused(start):
    first = start()
    first.wait_for("listening")
    code, said = refused(start())
    assert code == 2
    assert "already has a collector" in said


def test_a_spool_path_that_is_a_file_is_refused(start, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "spool").write_text("")
    code, said = refused(start())
    assert code == 2
    assert "is a file" in said


def test_a_bad_configuration_ends_with_78(start):
    code, said = refused(start(interval_s=0))
    assert code == 78
    assert "interval_s" in said
