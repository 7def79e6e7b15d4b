"""Stuck processes, for real: what ends them, what is left to look at, and that a stop never waits for an upload."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spool.batch import Point, Window
from spool.delivery import DeliveryReader, State
from spool.errors import HoldfastError
from spool.writer import SpoolWriter
from tests.processes.pipeline import PROGRAMS, Pipeline, free_port, wait_until

WEDGE = Path(__file__).parent / "wedge"
WEDGES = {
    "names_in_the_main_thread": "getaddrinfo (wedge/sitecustomize.py",
    "interpreter": "attempt (wedge/sitecustomize.py",
    "database": "record (wedge/sitecustomize.py",
}


# --- the last resort, under supervisord ----------------------------------------------------------------------

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
"""
PROGRAM = """
[program:shipper-{name}]
command={python} -m shipper.cli run --destination {name}
environment=PYTHONPATH="{wedge}:{root}",WEDGE="{name}",WEDGE_ONCE="%(here)s/{name}.wedged"
autorestart=true
startsecs=0
startretries=1000
stdout_logfile=%(here)s/shipper-{name}.log
redirect_stderr=true
"""


@contextmanager
def supervised(pipeline: Pipeline) -> Iterator[subprocess.Popen[bytes]]:
    """supervisord with one wedged shipper per destination."""
    text = SUPERVISORD
    for name in WEDGES:
        text += PROGRAM.format(name=name, python=sys.executable, wedge=WEDGE, root=Path(__file__).parents[2])
    file = pipeline.home / "supervisord.conf"
    file.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
        env=pipeline.environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def states(pipeline: Pipeline, destination: str) -> dict[int, State]:
    try:
        with DeliveryReader(pipeline.spool, destination) as delivery:
            return delivery.states(0, 2**40)
    except HoldfastError:
        return {}


def test_a_wedged_shipper_is_ended_restarted_and_explained_and_its_batch_arrives_once(pipeline: Pipeline) -> None:
    """In getaddrinfo, in C that keeps the interpreter, and in SQLite: three shippers at once, to save time."""
    url = f"{pipeline.listen}/v1/batches"
    more = "".join(
        f'[destination.{name}]\nurl = "{url}"\ntoken_file = "receiver/token"\nca_file = "receiver/ca.pem"\n'
        for name in WEDGES
    )
    pipeline.configure(deadline_s=1.0, url=url, extra=more)
    pipeline.start("receiver", "collector")
    pipeline.send("t.hits:7|c")
    wait_until(lambda: sum(pipeline.committed().values()) == 7, 15, "the batch in the spool")
    key = next(key for key, hits in pipeline.committed().items() if hits)
    batch = int(key.rpartition("-")[2])
    with supervised(pipeline):
        for name in WEDGES:
            wait_until(lambda: states(pipeline, name).get(batch) is State.ACKNOWLEDGED, 60, f"delivered after {name}")  # noqa: B023
    hangs = {each["who"]: each for each in pipeline.operator("hangs") if each["name"].startswith("hang-")}
    assert set(hangs) == {f"shipper-{name}" for name in WEDGES}
    for name, where in WEDGES.items():
        hang = hangs[f"shipper-{name}"]
        assert hang["phase"] == "sending" and "last resort" in hang["ended"] and where in hang["where"]
        shown = pipeline.command("spool.cli", "hangs", hang["name"]).stdout
        assert "Timeout (" in shown and '"ids": "' in shown and "most recent call first" in shown
    assert pipeline.received("SELECT count(*) FROM batches WHERE key = ?", key) == [(1,)]
    assert pipeline.received_sum("t.hits") == 7


# --- stacks on demand ----------------------------------------------------------------------------------------


def test_sigusr1_shows_the_stacks_of_every_process_and_ends_none(pipeline: Pipeline) -> None:
    pipeline.start(*PROGRAMS)
    for name in ("shipper", "checkin"):
        wait_until(lambda: list(pipeline.spool.glob(f"heartbeat-{name}*")), 15, f"{name} runs")  # noqa: B023
    for name, process in pipeline.processes.items():
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "in <module>" in pipeline.log(name), 10, f"the stacks of {name}")  # noqa: B023
        assert "most recent call first" in pipeline.log(name) and process.poll() is None


# --- a stop in every phase -----------------------------------------------------------------------------------


@contextmanager
def listening(port: int, serve: Callable[[socket.socket], None], backlog: int = 8) -> Iterator[None]:
    """Hands each connection to `serve` and then leaves it open. `serve` reads at most a request."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", port))
        server.listen(backlog)
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                    serve(held[-1])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        for each in held:
            each.close()
        thread.join(5)


@contextmanager
def full(port: int) -> Iterator[None]:
    """A backlog that is full: the kernel drops every further SYN."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield
        for each in waiting:
            each.close()


def nothing(_connection: socket.socket) -> None:
    """Neither read nor answer."""


def half_an_answer(connection: socket.socket) -> None:
    head, body = b"", b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < size:
        body += connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")


PHASES = {  # scheme and host, the server, bytes in the batch, and the function that the attempt is in then
    "dns": ("http://slow.invalid", lambda port: listening(port, nothing), 100, "in resolve"),
    "connect": ("http://127.0.0.1", full, 100, "in dial"),
    "tls": ("https://127.0.0.1", lambda port: listening(port, nothing), 100, "in do_handshake"),
    "write": ("http://127.0.0.1", lambda port: listening(port, nothing), 12_000_000, "in sendall"),
    "wait": ("http://127.0.0.1", lambda port: listening(port, nothing), 100, "in _read_status"),
    "read": ("http://127.0.0.1", lambda port: listening(port, half_an_answer), 100, "in readinto"),
}


def commit(pipeline: Pipeline, size_bytes: int) -> None:
    """One batch whose payload has about that many bytes; what is random is not made smaller by gzip."""
    writer = SpoolWriter.open(pipeline.spool, "web-1")
    names = [os.urandom(1000).hex() for _ in range(size_bytes // 1000)] or ["small"]
    points = [Point(each, "counter", {}, {"value": 1.0}) for each in names]
    for first in range(0, len(points), 5000):
        writer.commit(Window(writer.next_window_seq(), 0, 10, points[first : first + 5000]), 11.0)
    writer.close()


@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_takes_no_two_seconds_in_any_phase_of_a_hung_upload(phase: str, tmp_path: Path) -> None:
    base, server, size_bytes, function = PHASES[phase]
    port = free_port()
    pipeline = Pipeline(
        tmp_path / "holdfast", deadline_s=20, url=f"{base}:{port}/v1/batches", tls=base.startswith("https")
    )
    text = pipeline.file.read_text().replace("[shipper]", "[shipper]\ndns_deadline_s = 20")
    pipeline.file.write_text(text.replace('token_file = "receiver/token"\n', "", 1))
    pipeline.command("shipper.receiver.cli", "init")
    commit(pipeline, size_bytes)
    wedged = {"PYTHONPATH": str(WEDGE), "WEDGE": "names"} if phase == "dns" else {}
    try:
        with server(port), (pipeline.home / "shipper.log").open("wb") as log:
            shipper = subprocess.Popen(
                [sys.executable, "-m", *PROGRAMS["shipper"]],
                env={**pipeline.environment(), **wedged},
                stdout=log,
                stderr=log,
            )
            pipeline.processes["shipper"] = shipper

            def there() -> bool:
                """Asked for its stacks, once it listens to SIGUSR1, the shipper shows that it is there."""
                if (pipeline.spool / "heartbeat-shipper-main.json").exists():
                    shipper.send_signal(signal.SIGUSR1)
                return function in pipeline.log("shipper")

            wait_until(there, 20, f"an upload in phase {phase}")
            pipeline.end("shipper", within_s=2)
        assert [each["error"] for each in pipeline.attempts()] == []
    finally:
        pipeline.stop_all()


# --- what is kept of an attempt that the deadline ended ---------------------------------------------------------


def test_an_attempt_that_nobody_reads_leaves_the_kernels_view_of_it(tmp_path: Path) -> None:
    port = free_port()
    pipeline = Pipeline(tmp_path / "holdfast", deadline_s=1, url=f"http://127.0.0.1:{port}/v1/batches", tls=False)
    pipeline.command("shipper.receiver.cli", "init")
    commit(pipeline, 12_000_000)
    try:
        with listening(port, nothing):
            pipeline.start("shipper")
            wait_until(pipeline.attempts, 20, "one attempt")
            hangs = wait_until(lambda: pipeline.operator("hangs"), 10, "its evidence")
            wait_until(lambda: len(pipeline.attempts()) > 1, 20, "another attempt")
    finally:
        pipeline.stop_all()
    (hang,) = pipeline.operator("hangs")  # one a minute, however many attempts
    assert hang == hangs[0] and (hang["who"], hang["phase"]) == ("shipper-main", "write")
    assert hang["ended"].startswith("gave up: deadline of 1 s passed while sending the request to 127.0.0.1")
    [shown] = pipeline.operator("hangs", hang["name"])
    facts = dict(line.split(": ", 1) for line in shown["text"].splitlines()[1:] if ": " in line)
    socket_state = dict(each.split("=") for each in facts["socket"].split()[1:])
    assert facts["socket"].startswith("ESTABLISHED") and int(socket_state["unsent_bytes"]) > 0
    assert float(facts["write_ms"]) > 900 and '"phase": "sending"' in facts["last heartbeat"]
    assert "most recent call first" in shown["text"]
