"""The transport against a server that does what each test says. What peers can do wrong in time is in tests/faults."""

import base64
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.budget import Phase
from shipper.connections import IDLE_LIMIT_S
from shipper.exchange import Attempt, Request
from shipper.transport import Transport

ACK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nacks"


class Server:
    """Answers each request with what `answer` makes of its head. Keeps the heads; counts connections."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[bytes], bytes] = lambda _head: ACK
        self.hang_up_after_answer = False
        self.heads: list[bytes] = []
        self.connections = 0
        self._over = False
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        serving = []
        while not self._over:
            sock, _ = self._listener.accept()
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,))
            serving.append((sock.dup(), thread))
            thread.start()
        for sock, thread in serving:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # gone already
            sock.close()
            thread.join(10)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            rest = b""
            while True:
                while b"\r\n\r\n" not in rest:
                    part = sock.recv(65536)
                    if not part:
                        return
                    rest += part
                head, _, rest = rest.partition(b"\r\n\r\n")
                size = next(
                    (int(each[15:]) for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:")), 0
                )
                while len(rest) < size:
                    rest += sock.recv(65536)
                rest = rest[size:]
                self.heads.append(head)
                sock.sendall(self.answer(head))
                if self.hang_up_after_answer:
                    return
        except OSError:
            pass  # the client has gone
        finally:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # for the duplicate too
            except OSError:
                pass  # gone already
            sock.close()

    def close(self) -> None:
        self._over = True
        with socket.create_connection(("127.0.0.1", self.port)):  # wakes the loop up
            self._thread.join(10)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    made = Server(context)
    yield made
    made.close()


@pytest.fixture
def transport(ca_file: Path) -> Iterator[Transport]:
    made = Transport(ca_file=ca_file)
    yield made
    made.close()


def post(transport: Transport, url: str, deadline_s: float = 5, **headers: str) -> Attempt:
    return transport.attempt(Request("POST", url, headers, b"batch"), deadline_s)


def of(server: Server, path: str = "/v1/batches") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def test_an_answer_comes_back_whole(transport: Transport, server: Server) -> None:
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\nX-Some: Thing\r\nContent-Length: 4\r\n\r\nacks"
    attempt = post(transport, of(server), Authorization="Bearer t")
    assert attempt.response.status == 200
    assert attempt.response.headers == {"x-some": "Thing", "content-length": "4"}
    assert attempt.response.body == b"acks"
    assert attempt.error is None and attempt.phase is Phase.READ and attempt.overshoot_ms == 0
    assert attempt.address == f"127.0.0.1:{server.port}"
    head = server.heads[0].lower()
    assert head.startswith(b"post /v1/batches http/1.1")
    for line in (
        b"authorization: bearer t",
        b"accept-encoding: identity",
        b"content-length: 5",
        b"user-agent: holdfast",
    ):
        assert line in head.split(b"\r\n")
    assert attempt.sent_bytes == len(server.heads[0]) + 4 + 5
    assert attempt.received_bytes == len(b"HTTP/1.1 200 OK\r\nX-Some: Thing\r\nContent-Length: 4\r\n\r\nacks")


def test_each_phase_that_was_needed_has_its_time(transport: Transport, tls_server: Server) -> None:
    first = post(transport, f"https://localhost:{tls_server.port}/")
    assert first.error is None
    reached = [first.timings.dns_ms, first.timings.connect_ms, first.timings.tls_ms, first.timings.write_ms]
    reached += [first.timings.wait_ms, first.timings.read_ms]
    assert all(each is not None and each >= 0 for each in reached)
    assert sum(reached) <= first.total_ms
    assert first.timings.close_ms is None
    second = post(transport, f"https://localhost:{tls_server.port}/")
    assert second.timings.dns_ms is None and second.timings.connect_ms is None and second.timings.tls_ms is None
    assert second.timings.write_ms is not None
    assert second.address == first.address


def test_a_burst_uses_one_connection_and_close_ends_it(transport: Transport, server: Server) -> None:
    for _ in range(3):
        assert post(transport, of(server)).error is None
    assert server.connections == 1
    transport.close()
    assert post(transport, of(server)).error is None
    assert server.connections == 2


def test_a_connection_that_idled_too_long_is_not_used_again(ca_file: Path, server: Server) -> None:
    ahead = [0.0]
    transport = Transport(ca_file=ca_file, clock=lambda: time.monotonic() + ahead[0])
    assert post(transport, of(server)).error is None
    ahead[0] += IDLE_LIMIT_S + 1
    assert post(transport, of(server)).error is None
    assert server.connections == 2
    transport.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_reported_and_never_followed(status: int, transport: Transport, server: Server) -> None:
    server.answer = lambda _: b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (
        status, of(server, "/elsewhere").encode()
    )  # fmt: skip
    assert post(transport, of(server)).response.status == status
    assert len(server.heads) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_nothing_is_tried_twice(status: int, transport: Transport, server: Server) -> None:
    server.answer = lambda _: b"HTTP/1.1 %d No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n" % status
    assert post(transport, of(server)).response.status == status
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "answer",
    [
        ACK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nack\r\n1;x=y\r\ns\r\n0\r\nX-T: t\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 4\r\n\r\nacks",
        b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    ],
    ids=["length", "chunked", "interim", "empty"],
)
def test_an_answer_cut_anywhere_is_no_answer(answer: bytes, ca_file: Path, server: Server) -> None:
    server.hang_up_after_answer = True
    for cut in range(len(answer)):
        server.answer = lambda _, cut=cut: answer[:cut]
        transport = Transport(ca_file=ca_file)
        attempt = post(transport, of(server))
        transport.close()
        assert attempt.response is None, answer[:cut]
        assert not attempt.deadline_exceeded, "the end should have been noticed"
    server.answer = lambda _: answer
    assert post(Transport(ca_file=ca_file), of(server)).response is not None


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(lambda each: b"HTTP/1.1 200 OK\r\n" + each),
        st.lists(
            st.sampled_from(
                [b"HTTP/1.1 ", b"200 OK", b"100 ", b"\r\n", b"\n", b"\r\n\r\n", b": ", b"Content-Length", b"chunked",
                 b"Transfer-Encoding", b"Content-Encoding", b"gzip", b"5", b"0", b"-1", b"ffffffffff", b"\x00", b"\xff",
                 b"Set-Cookie: a=b", b"Location: //[", b" ", b";"]
            ),
            max_size=30,
        ).map(b"".join),
    )
)  # fmt: skip
def test_no_bytes_make_the_transport_raise(fuzzing: tuple[Server, Transport], answer: bytes) -> None:
    server, transport = fuzzing
    server.answer = lambda _: answer
    attempt = post(transport, of(server))
    assert (attempt.response is None) == (attempt.error is not None)
    assert attempt.error is None or attempt.error.isprintable()
    assert not attempt.deadline_exceeded


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[tuple[Server, Transport]]:
    server, transport = Server(), Transport()
    server.hang_up_after_answer = True
    yield server, transport
    transport.close()
    server.close()


def test_the_environment_chooses_neither_proxy_nor_credentials_nor_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca_file: Path, server: Server, tls_server: Server
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(ca_file))
    transport = Transport()
    assert post(transport, of(server)).error is None
    assert b"uthorization" not in server.heads[0]
    assert "certificate verify failed" in post(transport, f"https://localhost:{tls_server.port}/").error
    transport.close()


def test_the_host_name_must_be_in_the_certificate(transport: Transport, tls_server: Server) -> None:
    attempt = post(transport, f"https://127.0.0.1:{tls_server.port}/")
    assert attempt.response is None and attempt.phase is Phase.TLS
    assert "certificate verify failed" in attempt.error and "ca_file" in attempt.error
    assert tls_server.heads == []


def test_a_plain_request_goes_to_a_proxy_as_a_whole_url(ca_file: Path, server: Server) -> None:
    transport = Transport(ca_file=ca_file, proxy=f"http://me:secret@127.0.0.1:{server.port}")
    attempt = post(transport, "http://metrics.invalid/v1/batches")
    transport.close()
    assert attempt.error is None
    assert server.heads[0].startswith(b"POST http://metrics.invalid/v1/batches HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:secret") in server.heads[0]


def test_a_plain_request_goes_through_a_proxy_reached_over_tls(ca_file: Path, tls_server: Server) -> None:
    transport = Transport(ca_file=ca_file, proxy=f"https://localhost:{tls_server.port}")
    assert post(transport, "http://metrics.invalid/v1/batches").error is None
    transport.close()
    assert tls_server.heads[0].startswith(b"POST http://metrics.invalid/v1/batches HTTP/1.1\r\n")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "127.0.0.1:3128", "ftp://x"])
def test_other_kinds_of_proxies_are_refused_when_configured(proxy: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        Transport(proxy=proxy)


def test_no_secret_gets_into_an_error(ca_file: Path) -> None:
    secret = "s3cr3t"
    broken_header = Transport(ca_file=ca_file)
    refusing_proxy = Transport(ca_file=ca_file, proxy=f"http://me:{secret}@127.0.0.1:1")
    unknown_proxy = Transport(ca_file=ca_file, proxy=f"http://me:{secret}@proxy.invalid:1")
    for attempt in (
        post(broken_header, "http://127.0.0.1:1/", Authorization=f"Bearer {secret}\n"),
        post(broken_header, f"http://me:{secret}@127.0.0.1:1/", Authorization=f"Bearer {secret}"),
        post(broken_header, f"http://me:{secret}@[bad/"),
        post(refusing_proxy, "https://metrics.invalid/", Authorization=f"Bearer {secret}"),
        post(unknown_proxy, "http://metrics.invalid/", Authorization=f"Bearer {secret}"),
    ):
        assert attempt.response is None
        assert secret not in attempt.error and "s3cr" not in attempt.error


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "connection refused by 127.0.0.1:1"),
        ("http://[::1]:1/", "connection refused by [::1]:1"),
        ("http://nowhere.invalid/", "name nowhere.invalid could not be resolved: "),
        ("http://" + "a" * 64 + ".test/", "could not be resolved"),
    ],
)
def test_errors_say_what_and_where(url: str, error: str, transport: Transport) -> None:
    attempt = post(transport, url)
    assert attempt.response is None
    assert error in attempt.error
    assert not attempt.deadline_exceeded


def test_the_limit_for_connecting_is_said_by_its_name(ca_file: Path, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = Transport(ca_file=ca_file, connect_deadline_s=0.2)
        attempt = post(transport, f"https://127.0.0.1:{silent.getsockname()[1]}/")
        transport.close()
    assert attempt.total_ms < 450
    assert attempt.error.startswith("connect deadline of 0.2 s passed during the TLS handshake with 127.0.0.1:")
    assert not attempt.deadline_exceeded
    assert attempt.out_of_time


def test_an_attempt_that_a_signal_breaks_off_leaves_nothing_behind(transport: Transport) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR2, stop)
    reset = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def interrupt() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(10)
                os.kill(os.getpid(), signal.SIGUSR2)
                try:
                    while sock.recv(65536):
                        pass
                except ConnectionResetError:
                    reset.append(True)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            with pytest.raises(Stop):
                post(transport, f"http://127.0.0.1:{listener.getsockname()[1]}/", deadline_s=10)
        finally:
            signal.signal(signal.SIGUSR2, before)
            thread.join(10)
    assert reset == [True]


def test_what_a_server_repeats_of_the_token_is_in_no_answer(transport: Transport, server: Server) -> None:
    server.answer = lambda head: b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head)
    for header, value in (("Authorization", "Bearer a-secret-token"), ("DD-API-KEY", "a-secret-token")):
        attempt = transport.attempt(Request("POST", f"http://127.0.0.1:{server.port}/", {header: value}, b"x"), 5.0)
        assert attempt.response and b"(hidden)" in attempt.response.body and b"secret" not in attempt.response.body


def test_a_failed_attempt_does_not_spoil_the_next(transport: Transport, server: Server) -> None:
    answers = [b"garbage\r\n\r\n", ACK]
    server.answer = lambda _: answers.pop(0)
    first, second = post(transport, of(server)), post(transport, of(server))
    assert first.response is None and first.timings.close_ms is not None
    assert second.response.body == b"acks"
    assert server.connections == 2
