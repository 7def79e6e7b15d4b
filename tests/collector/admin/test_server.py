"""The admin port: bounded in clients, in the length of a line and in patience, whoever is at the other end."""

import contextlib
import socket
import time

import pytest

from collector.admin.server import CONNECTIONS, LINE_BYTES, SILENT_S, Admin
from tests.processes.pipeline import wait_until


def answer(line):
    if line.strip() == "quit":
        return None
    if line.strip() == "much":
        return ("x" * 1_000 for _ in range(100_000))
    return ["you said ", line.strip(), "\n"]


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def port(now, idle_s):
    listening = socket.create_server(("127.0.0.1", 0))
    admin = Admin(listening, answer, idle_s, lambda: now[0])
    admin.start()
    yield listening.getsockname()[1]
    admin.close()


@pytest.fixture
def idle_s():
    return 0.5


@contextlib.contextmanager
def connected(port):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
        client.makefile("rw", newline="\n") as file,
    ):
        yield file


def ask(port, line):
    with connected(port) as client:
        client.write(line)
        client.flush()
        return client.readline()


def test_a_client_may_ask_again_and_again_until_it_quits(port):
    with connected(port) as client:
        for word in ("one", "two"):
            client.write(f"{word}\r\n")
            client.flush()
            assert client.readline() == f"you said {word}\n"
        client.write("quit\n")
        client.flush()
        assert client.readline() == ""


def test_a_line_without_an_end_is_answered_when_the_client_has_ended_its_side(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"stats")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile().read() == "you said stats\n"


def test_a_line_that_is_too_long_ends_the_connection(port):
    with connected(port) as client:
        client.write("x" * LINE_BYTES * 2)
        with contextlib.suppress(ConnectionError):
            client.flush()
            assert client.readline() == ""


def test_a_silent_client_is_closed(port):
    with connected(port) as client:
        begun = time.monotonic()
        assert client.readline() == ""
        assert 0.4 < time.monotonic() - begun < 5


def test_clients_over_the_limit_are_closed_and_the_others_served_and_room_is_made_again(port):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(CONNECTIONS)]
        for client in clients:  # all of them are being served
            client.write("here\n")
            client.flush()
            assert client.readline() == "you said here\n"
        with connected(port) as refused, contextlib.suppress(ConnectionError):
            assert refused.readline() == ""

    def served():
        with contextlib.suppress(ConnectionError):
            return ask(port, "now\n") == "you said now\n"

    wait_until(served, 10, "room for another client")


@pytest.mark.parametrize("idle_s", [60.0])
def test_clients_that_never_end_a_command_give_way_and_those_that_do_keep_their_places(port, now):
    with contextlib.ExitStack() as stack:
        asking, *dripping = (stack.enter_context(connected(port)) for _ in range(CONNECTIONS))

        def served(clients):
            for each in clients:
                each.write("here\n")
                each.flush()
                assert each.readline() == "you said here\n"

        served([asking, *dripping])
        now[0] = SILENT_S - 1
        served([asking])
        for each in dripping:
            each.write("x")
            each.flush()
        with connected(port) as refused, contextlib.suppress(ConnectionError):
            assert refused.readline() == ""
        now[0] = SILENT_S
        served([stack.enter_context(connected(port)) for _ in dripping])
        served([asking])
        assert [each.readline() for each in dripping] == [""] * len(dripping)


def test_a_client_that_takes_nothing_of_a_large_answer_stops_nobody(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as greedy:
        greedy.sendall(b"much\n")
        for _ in range(5):
            assert ask(port, "meanwhile\n") == "you said meanwhile\n"
