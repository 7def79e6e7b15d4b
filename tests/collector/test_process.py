"""The collector as a real process: lines in, windows in the spool, whatever happens in between."""

import contextlib
import itertools
import json
import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from datadog.dogstatsd import DogStatsd

from collector.cli import main
from collector.listeners import LONG_QUEUE, queue_length
from spool.heartbeat import heartbeats
from tests.collector.running import send
from tests.processes.pipeline import free_port, wait_until


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


def test_a_small_receive_buffer_is_a_warning_that_says_what_to_do(start, monkeypatch):
    monkeypatch.setenv("HOLDFAST_COLLECTOR_RECEIVE_BUFFER_BYTES", str(2**30))  # one byte more than the kernel has
    running = start()
    granted = int(running.wait_for(r"listening url=\S+ .*receive_buffer_bytes=(\d+)")[0])
    assert 0 < granted < 2**30
    warned = running.wait_for(r"receive_buffer_small url=udp://\S+ asked_bytes=(\d+) granted_bytes=(\d+) (.*)")[0]
    assert warned == (str(2**30), str(granted), f'advice="sysctl -w net.core.rmem_max={2**30}"')
    running.stop()


def test_hostile_stream_clients_harm_nobody(start):
    running = start(["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], interval_s=1)
    port, tcp = running.ports(2)
    with contextlib.ExitStack() as open_ones:

        def client():
            return open_ones.enter_context(socket.create_connection(("127.0.0.1", tcp)))

        honest, endless, dripping = client(), client(), client()
        endless.setblocking(False)
        for _ in range(300):  # more than there are places for
            client()
        sent = flooded = 0
        until = time.monotonic() + 2
        while time.monotonic() < until:
            send(port, *[b"udp:1|c"] * 20)
            honest.sendall(b"tcp:1|c\n" * 10)
            with contextlib.suppress(BlockingIOError):
                flooded += endless.send(b"x" * 1_000_000)
            dripping.send(b"y")
            rude = socket.create_connection(("127.0.0.1", tcp))
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            rude.send(b"half:1")
            rude.close()
            sent += 10
            time.sleep(0.01)
    running.stop()
    totals = running.totals()
    assert flooded > 1_000_000
    assert (totals["udp"], totals["tcp"]) == (2 * sent, sent)
    assert "half" not in totals
    assert totals["holdfast.kernel_drops"] == 0
    assert totals["holdfast.refused_connections"] >= 47
    windows = running.windows()
    assert all(each["window_end"] - each["window_start"] <= 1 for each in windows)
    assert sum(json.loads(each["rejected_by"]).get("line_too_long", 0) for each in windows) == 1


def test_events_and_what_overflows_are_told(start, monkeypatch):
    monkeypatch.setenv("HOLDFAST_COLLECTOR_MAX_SERIES", "2")
    monkeypatch.setenv("HOLDFAST_COLLECTOR_NAME_TAGS", "influx")
    running = start()
    events = b"_e{6,2}:deploy|v2|t:info|#env:prod\n_sc|db.up|2|m:no answer\n_sc|db.up|2|m:no answer"
    lines = b"hits,env=prod:1|c\nhits:1|c|#env:prod\nlat:1|ms"
    send(running.ports(1)[0], events, lines, *[b"user.%d:1|c" % n for n in range(7)])
    running.stop()
    assert "overflowed=7 overflowed_by=user.*:7" in running.text()
    (window,) = running.windows()
    assert (window["lines"], window["accepted"], window["rejected"]) == (13, 13, 0)
    found = {(each.name, each.type): each for each in running.points()}
    assert found["hits", "counter"].tags == {"env": "prod"}
    assert found["hits", "counter"].values == {"value": 2.0}
    assert found["deploy", "event"].values == {"count": 1, "fields": {"text": "v2", "alert": "info"}}
    assert found["db.up", "service_check"].values == {"count": 2, "value": 2, "fields": {"text": "no answer"}}
    assert found["holdfast.overflowed_by", "counter"].tags == {"prefix": "user.*"}


def queued_bytes(port):
    """What waits in the receive buffer of a UDP port."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if int(row[1].partition(":")[2], 16) == port)


def ended_children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("series", "at_most_s"), [(20_000, 1.0), pytest.param(100_000, 2.0, marks=pytest.mark.soak)])
def test_a_stop_commits_100_000_series_within_two_seconds_of_the_processor(start, series, at_most_s):
    running = start()
    (port,) = running.ports(1)
    for first in range(0, series, 50):
        kinds = [(n, n, (b"c", b"ms")[n % 2]) for n in range(first, first + 50)]
        send(port, b"\n".join(b"api.%d:%d|%s|#env:prod" % each for each in kinds))
        wait_until(lambda: queued_bytes(port) < 100_000, 20, "the collector to keep up, or else the kernel drops")
    stat = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    before_s = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK") + ended_children_s()
    running.stop()
    assert ended_children_s() - before_s < at_most_s
    assert running.windows()[0]["series"] == series


def test_the_datadog_client_is_understood_on_a_unix_stream(start, tmp_path):
    running = start([f"unix://{tmp_path}/s"])
    running.wait_for("listening")
    client = DogStatsd(socket_path=f"unixstream://{tmp_path}/s", disable_telemetry=True, disable_buffering=True)
    for n in range(50):
        client.increment("hits", 2, tags=["env:prod"])
        client.timing("lat", n)
    client.event("deploy", "v2\nis out")
    client.stop()
    running.stop()
    (window,) = running.windows()
    assert (window["accepted"], window["rejected"]) == (101, 0)
    assert (running.totals()["hits"], running.totals()["lat"]) == (100, 50)


def test_senders_to_a_unix_datagram_socket_are_not_held_up(start, tmp_path):
    """Only so many datagrams may wait there, ten by default: a collector that naps holds its clients up."""
    running = start([f"unixgram://{tmp_path}/s"])
    running.wait_for("listening")
    if queue_length() < LONG_QUEUE:
        running.wait_for(r"unix_queue_short url=\S+ datagrams=\d+ advice=.*net.unix.max_dgram_qlen=512")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(f"{tmp_path}/s")
        begun = time.monotonic()
        for _ in range(5_000):
            sender.send(b"hits:1|c")
        took_s = time.monotonic() - begun
    running.stop()
    assert running.totals()["hits"] == 5_000
    assert took_s < 5, "with naps of 20 ms it would be 10 s where ten may wait"


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
    while not re.search(r"collector/reception.py.* in turn", running.text()) and time.monotonic() < until:
        running.process.send_signal(signal.SIGUSR1)  # the first may come before the loop has begun
        time.sleep(0.05)
    running.wait_for(r"collector/committer.py.* in _run")
    running.wait_for(r"collector/reception.py.* in turn")
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


def check(running):
    result = CliRunner().invoke(main, ["check", "-c", str(running.folder / "holdfast.toml")])
    return result.exit_code, [each.split()[2] for each in result.stdout.splitlines() if each.startswith("bad ")]


def test_check_finds_no_fault_with_the_addresses_of_the_collector_that_runs_but_with_those_of_others(start, tmp_path):
    port = free_port(socket.SOCK_DGRAM)
    url = f"udp://127.0.0.1:{port}"
    running = start([url, f"unixgram://{tmp_path}/g"], more=f'admin = "127.0.0.1:{free_port()}"')
    wait_until(lambda: "collector" in heartbeats(running.folder / "spool"), 10, "a heartbeat")
    assert check(running) == (0, [])
    other = start([url], name="two")
    assert refused(other)[0] == 1
    assert check(other) == (1, [f"{url}:"])
    running.stop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", port))
        assert check(running) == (1, [f"{url}:"])


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
