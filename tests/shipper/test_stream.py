"""Bodies over bare TCP and TLS: what acknowledges them, and that the deadline holds in every phase."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from shipper.budget import Phase
from shipper.exchange import NO_STATUS, Attempt, Request
from shipper.transport import Transport

BODY = b"stats.counters.a.count 1.0 10\n" * 50_000

Peer = Callable[[socket.socket, list[bytes]], None]


def reads_all_and_closes(sock: socket.socket, heard: list[bytes]) -> None:
    while part := sock.recv(65536):
        heard.append(part)
    if isinstance(sock, ssl.SSLSocket):
        sock.unwrap()


def closes_in_the_middle(sock: socket.socket, heard: list[bytes]) -> None:
    heard.append(sock.recv(1000))


def resets_after_the_end(sock: socket.socket, heard: list[bytes]) -> None:
    while part := sock.recv(65536):
        heard.append(part)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def speaks(sock: socket.socket, heard: list[bytes]) -> None:
    while part := sock.recv(65536):
        heard.append(part)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n")


over = threading.Event()


def never_closes(sock: socket.socket, heard: list[bytes]) -> None:
    while part := sock.recv(65536):
        heard.append(part)
    over.wait(10)


def never_reads(_sock: socket.socket, _heard: list[bytes]) -> None:
    over.wait(10)


@contextmanager
def peer(act: Peer, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server for one connection; what it heard is complete after the block."""
    heard: list[bytes] = []
    over.clear()

    def serve() -> None:
        sock, _ = listener.accept()
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            act(sock, heard)
        except OSError:
            pass  # the client has gone
        finally:
            sock.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        over.set()
        thread.join(10)


def attempted(url: str, deadline_s: float = 5.0, ca_file: Path | None = None, body: bytes = BODY) -> Attempt:
    transport = Transport(ca_file=ca_file)
    attempt = transport.attempt(Request("TCP", url, {}, body), deadline_s)
    transport.close()
    return attempt


def test_who_reads_to_the_end_and_closes_has_acknowledged() -> None:
    with peer(reads_all_and_closes) as (port, heard):
        attempt = attempted(f"tcp://127.0.0.1:{port}")
    assert attempt.response is not None and attempt.error is None
    assert (attempt.response.status, attempt.response.body, attempt.phase) == (NO_STATUS, b"", Phase.READ)
    assert b"".join(heard) == BODY and attempt.sent_bytes == len(BODY)
    assert attempt.timings.write_ms is not None and attempt.timings.wait_ms is not None


def test_a_name_is_resolved_and_several_attempts_each_have_a_connection() -> None:
    for _ in range(2):
        with peer(reads_all_and_closes) as (port, heard):
            assert attempted(f"tcp://localhost:{port}").response is not None
        assert b"".join(heard) == BODY


@pytest.mark.parametrize("act", [closes_in_the_middle, resets_after_the_end])
def test_another_end_is_a_failed_attempt(act: Peer) -> None:
    with peer(act) as (port, _):
        attempt = attempted(f"tcp://127.0.0.1:{port}")
    assert attempt.response is None and attempt.error


def test_what_the_peer_says_is_in_the_answer() -> None:
    with peer(speaks) as (port, _):
        attempt = attempted(f"tcp://127.0.0.1:{port}")
    assert attempt.response is not None and attempt.response.body.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("act", "phase"), [(never_closes, Phase.WAIT), (never_reads, Phase.WRITE)])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_the_deadline_holds(act: Peer, phase: Phase, scheme: str, tls: tuple[ssl.SSLContext, Path]) -> None:
    with peer(act, tls[0] if scheme == "tls" else None) as (port, _):
        body = BODY * 10 if phase is Phase.WRITE else BODY  # more than the kernel takes in advance
        attempt = attempted(f"{scheme}://localhost:{port}", 0.5, tls[1], body)
        over.set()
    assert attempt.response is None and attempt.deadline_exceeded and attempt.phase is phase
    assert attempt.overshoot_ms < 250
    assert "deadline of 0.5 s passed" in str(attempt.error)


def test_nobody_there_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert attempted(f"tcp://127.0.0.1:{port}").error == f"connection refused by 127.0.0.1:{port}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return context, file


def test_over_tls_the_peers_close_notify_acknowledges(tls: tuple[ssl.SSLContext, Path]) -> None:
    with peer(reads_all_and_closes, tls[0]) as (port, heard):
        attempt = attempted(f"tls://localhost:{port}", ca_file=tls[1])
    assert attempt.response is not None, attempt.error
    assert b"".join(heard) == BODY and attempt.timings.tls_ms is not None


def test_over_tls_a_cut_is_no_acknowledgement(tls: tuple[ssl.SSLContext, Path]) -> None:
    def cut(sock: socket.socket, heard: list[bytes]) -> None:
        while part := sock.recv(65536):
            heard.append(part)

    with ExitStack() as stack:
        port, _ = stack.enter_context(peer(cut, tls[0]))
        assert attempted(f"tls://localhost:{port}", ca_file=tls[1]).response is None


def test_over_tls_a_stranger_gets_nothing(tls: tuple[ssl.SSLContext, Path]) -> None:
    with peer(reads_all_and_closes, tls[0]) as (port, heard):
        attempt = attempted(f"tls://localhost:{port}")  # the system does not know this authority
    assert heard == [] and attempt.response is None and "not to be trusted" in str(attempt.error)
