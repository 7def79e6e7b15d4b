import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from shipper.budget import Budget, NoBudget, Phase
from shipper.deadline import Deadline, DeadlineExceeded
from shipper.resolver import Address
from shipper.sockets import STAGGER_S, AnsweredEarly, NoConnection, PlainSocket, StrayAnswer, dial, tls_context


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def dead() -> Iterator[Address]:
    """An address that never answers: its backlog is full, so further SYNs are dropped."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        yield Address(socket.AF_INET, full.getsockname())
        for each in fillers:
            each.close()


def of(listener: socket.socket) -> Address:
    return Address(socket.AF_INET, listener.getsockname())


def refused() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return of(gone)


def budget(seconds: float) -> Budget:
    made = Budget(Deadline.after(seconds, time.monotonic))
    made.allow(1_000_000, "it is")
    return made


def test_a_socket_outside_an_attempt_fails_at_once(listener: socket.socket) -> None:
    with budget(5).in_force():
        sock = dial([of(listener)])
    with sock:
        for use in (lambda: sock.recv(1), lambda: sock.send(b"x"), lambda: sock.sendall(b"x")):
            with pytest.raises(NoBudget):
                use()


@pytest.mark.parametrize("loosened", [None, 1000.0])
def test_settings_from_above_cannot_loosen_the_deadline(loosened: float | None, listener: socket.socket) -> None:
    with budget(0.2).in_force(), dial([of(listener)]) as sock:
        sock.settimeout(loosened)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert time.monotonic() - began < 0.4


def test_each_attempt_has_its_own_deadline_on_a_connection_that_is_kept(listener: socket.socket) -> None:
    with budget(0.1).in_force():
        sock = dial([of(listener)])
    server, _ = listener.accept()
    with sock, server:
        with budget(5).in_force():
            server.sendall(b"x")
            assert sock.recv(1) == b"x"
        expired = budget(5)
        expired.limit = Deadline.after(0, time.monotonic)
        with expired.in_force(), pytest.raises(DeadlineExceeded):
            sock.sendall(b"x")


def test_a_dead_address_costs_the_stagger_and_no_more(listener: socket.socket, dead: Address) -> None:
    began = time.monotonic()
    with budget(5).in_force() as spent, dial([dead, of(listener)]) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert spent.address == str(of(listener))
    assert STAGGER_S * 0.9 <= time.monotonic() - began < STAGGER_S + 0.3


def test_a_refused_address_costs_nothing(listener: socket.socket) -> None:
    began = time.monotonic()
    with budget(5).in_force(), dial([refused(), refused(), of(listener)]):
        assert time.monotonic() - began < STAGGER_S * 0.8


def test_when_all_refuse_each_is_named() -> None:
    first, second = refused(), refused()
    with budget(5).in_force(), pytest.raises(NoConnection) as told:
        dial([first, second])
    assert str(told.value) == f"connection refused by {first}; connection refused by {second}"


def test_only_dead_addresses_end_at_the_deadline_with_no_socket_left(dead: Address) -> None:
    began = time.monotonic()
    with budget(0.6).in_force(), pytest.raises(DeadlineExceeded):  # an open socket would be a ResourceWarning
        dial([dead, dead, dead])
    assert 0.6 <= time.monotonic() - began < 0.8


def test_an_early_answer_stops_the_sending_and_is_read_afterwards(listener: socket.socket) -> None:
    with budget(5).in_force() as spent, dial([of(listener)]) as sock:
        server, _ = listener.accept()
        with server:
            server.sendall(b"HTTP/1.1 413")
            spent.enter(Phase.WRITE)
            with pytest.raises(AnsweredEarly):
                sock.sendall(bytes(50_000_000))
            assert sock.recv(5) + sock.recv(100) == b"HTTP/1.1 413"


def test_an_answer_before_the_question_is_stray_on_a_kept_connection(listener: socket.socket) -> None:
    with budget(5).in_force():
        sock = dial([of(listener)])
    server, _ = listener.accept()
    with server, sock, budget(5).in_force() as spent:
        spent.enter(Phase.WRITE)
        server.sendall(b"HTTP/1.1 200 OK")
        assert select.select([sock], [], [], 5)[0]
        with pytest.raises(StrayAnswer):
            sock.sendall(b"POST / HTTP/1.1")


def test_an_abandoned_connection_leaves_nothing_in_the_kernel(listener: socket.socket) -> None:
    """The peer that reads at last gets a reset, not the rest of a batch that was reported as failed."""
    with budget(0.3).in_force() as spent:
        sock = dial([of(listener)])
        server, _ = listener.accept()
        with pytest.raises(DeadlineExceeded):
            sock.sendall(bytes(50_000_000))
        spent.wire.abort()
    with server:
        got = 0
        with pytest.raises(ConnectionResetError):
            while part := server.recv(65536):
                got += len(part)
        assert got < 50_000_000
    assert sock.fileno() == -1


def test_a_completed_connection_is_closed_in_order(listener: socket.socket) -> None:
    with budget(5).in_force():
        sock = dial([of(listener)])
        server, _ = listener.accept()
        sock.sendall(b"x")
        sock.close_in_order()
        sock.close()
    with server:
        assert server.recv(10) == b"x"
        assert server.recv(10) == b""


def test_closing_never_waits_for_unsent_data(listener: socket.socket) -> None:
    with budget(0.2).in_force():
        sock = dial([of(listener)])
        with pytest.raises(DeadlineExceeded):
            sock.sendall(bytes(50_000_000))
        began = time.monotonic()
        sock.close()
    assert time.monotonic() - began < 0.05


def test_the_context_verifies_and_wants_tls_1_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None
    assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF
    assert not any("trustme" in str(each) for each in context.get_ca_certs()), "the environment was asked"


@pytest.mark.timeout(10)  # a pipe would be waited for
def test_a_ca_file_that_is_none_is_an_error_at_once(tmp_path: Path) -> None:
    not_pem, pipe = tmp_path / "ca.pem", tmp_path / "pipe"
    not_pem.write_text("hello")
    os.mkfifo(pipe)
    for wrong in (not_pem, tmp_path / "missing.pem", pipe):
        with pytest.raises(OSError):
            tls_context(wrong)


def test_large_bodies_arrive_whole_over_tls(listener: socket.socket, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    body = bytes(range(256)) * 20_000
    got = bytearray()

    def serve() -> None:
        plain, _ = listener.accept()
        with server_context.wrap_socket(plain, server_side=True) as server:
            while len(got) < len(body):
                got.extend(server.recv(65536))
            server.sendall(b"thanks")

    thread = threading.Thread(target=serve)
    thread.start()
    with budget(10).in_force() as spent:
        plain = dial([of(listener)])
        assert isinstance(plain, PlainSocket)
        with tls_context(tmp_path / "ca.pem").wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(body)
            assert sock.recv(100) == b"thanks"
        assert spent.timings().tls_ms > 0
        assert spent.sent_bytes == len(body)
    thread.join(10)
    assert bytes(got) == body


def test_the_kernel_s_own_errors_are_said_in_words() -> None:
    with budget(5).in_force(), pytest.raises(NoConnection, match=r"no connection to 255\.255\.255\.255:9"):
        dial([Address(socket.AF_INET, ("255.255.255.255", 9))])
