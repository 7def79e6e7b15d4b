"""The server on real sockets: TLS, stalled and dripping clients, bodies left unread, a clean stop."""

import gzip
import json
import socket
import ssl
import threading
import time

import pytest
import requests

from shipper.receiver.config import Listen
from shipper.receiver.serve import PortTaken, WebServer, try_address

NDJSON_GZIP = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
SCHEMES = pytest.mark.parametrize("scheme", ["http", "https"])


def post(served, *batches):
    return requests.post(
        f"{served.url}/v1/batches",
        data=b"".join(each.payload for each in batches),
        headers=NDJSON_GZIP,
        verify=str(served.ca),
        timeout=20,
    )


def connected(served) -> socket.socket:
    """A connection on which TLS, if any, is established."""
    sock = socket.create_connection(served.address, timeout=20)
    if served.ca is None:
        return sock
    context = ssl.create_default_context(cafile=str(served.ca))
    return context.wrap_socket(sock, server_hostname="localhost")


def still_open(sock: socket.socket) -> bool:
    """Whether the peer has neither answered nor closed; TLS may have sent its tickets."""
    sock.setblocking(False)
    try:
        sock.recv(65_536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def ended(sock: socket.socket, within_s: float) -> bool:
    """Whether the peer closes the connection in time; what it says before that is read."""
    sock.settimeout(within_s)
    try:
        while sock.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@SCHEMES
def test_batches_go_in_and_totals_come_out(served, batch, scheme) -> None:
    running = served(scheme)
    assert post(running, batch(1, 2.0), batch(2, 3.0)).json()["accepted"] == ["cafe-1", "cafe-2"]
    assert post(running, batch(1, 2.0)).json()["duplicate"] == ["cafe-1"]
    found = requests.get(f"{running.url}/v1/totals?name=hits", verify=str(running.ca), timeout=20).json()
    assert found["totals"][0]["sum"] == 5.0


def test_a_client_without_our_authority_refuses_us(served, batch) -> None:
    running = served("https")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{running.url}/healthz", timeout=20)
    assert post(running, batch(1)).status_code == 200


def test_tls_before_1_2_is_refused(served) -> None:
    running = served("https")
    context = ssl.create_default_context(cafile=str(running.ca))
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with (
        socket.create_connection(running.address, timeout=20) as sock,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(sock, server_hostname="localhost")


@SCHEMES
def test_stalled_and_dripping_clients_do_not_delay_another_one(served, batch, scheme) -> None:
    running = served(scheme)
    stalled = socket.create_connection(running.address, timeout=20)
    stalled.sendall(b"\x16\x03\x01")  # a TLS record begins, and never goes on
    silent = socket.create_connection(running.address, timeout=20)
    dripping = [connected(running) for _ in range(20)]
    for each in dripping:
        each.sendall(b"POST /v1/batches HTTP/1.1\r\nX-Slow: ")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.05):
            for each in dripping:
                each.sendall(b"a")

    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        for number in range(1, 11):
            begun = time.monotonic()
            assert post(running, batch(number)).json()["accepted"] == [f"cafe-{number}"]
            assert time.monotonic() - begun < 1.0
        stop.set()
        dripper.join()
        assert all(map(still_open, dripping)), "a dripping client was cut off, so it held up nobody"
    finally:
        stop.set()
        dripper.join()
        for each in (stalled, silent, *dripping):
            each.close()


@SCHEMES
def test_silent_connections_cost_no_thread(served, batch, scheme) -> None:
    running = served(scheme, threads=2)
    silent = [socket.create_connection(running.address, timeout=20) for _ in range(10)]
    try:
        begun = time.monotonic()
        assert post(running, batch(1)).json()["accepted"] == ["cafe-1"]
        assert time.monotonic() - begun < 1.0
    finally:
        for each in silent:
            each.close()


@SCHEMES
def test_a_request_that_drips_ends_by_its_deadline(served, scheme) -> None:
    running = served(scheme, request_deadline_s=1.0)
    with connected(running) as sock:
        begun = time.monotonic()
        sock.sendall(b"POST /v1/batches HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 5000\r\n\r\n")
        sock.settimeout(0.1)
        while time.monotonic() - begun < 10:
            try:
                sock.sendall(b"a")
                if not sock.recv(1_000):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert 0.9 < time.monotonic() - begun < 2.0


def test_a_handshake_that_stalls_ends_by_the_deadline(served) -> None:
    running = served("https", request_deadline_s=0.5)
    with socket.create_connection(running.address) as sock:
        sock.sendall(b"\x16\x03\x01")
        begun = time.monotonic()
        assert ended(sock, within_s=5)
        assert 0.4 < time.monotonic() - begun < 2.0
    assert [event for event, _ in running.reports] == ["tls_handshake_failed"]


def test_plain_http_to_the_tls_port_is_reported_in_one_line_and_hurts_nobody(served, batch) -> None:
    running = served("https")
    with socket.create_connection(running.address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert ended(sock, within_s=5)
    assert running.reports[0][0] == "tls_handshake_failed"
    assert post(running, batch(1)).status_code == 200


@SCHEMES
def test_a_refused_body_does_not_hide_the_answer(served, scheme) -> None:
    running = served(scheme, token="secret")
    body = gzip.compress(bytes(100)) + bytes(3_000_000)
    for headers, status in ((NDJSON_GZIP, 401), (NDJSON_GZIP | {"Authorization": "Bearer secret"}, 413)):
        answered = requests.post(
            f"{running.url}/v1/batches", data=body, headers=headers, verify=str(running.ca), timeout=20
        )
        assert answered.status_code == status
        assert answered.json()["error"]


def test_an_announced_monster_is_cut_off_unread(served) -> None:
    running = served("http", token="secret")
    with connected(running) as sock:
        sock.sendall(b"POST /v1/batches HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")
        sock.settimeout(5)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 401")
        assert ended(sock, within_s=5)


def test_a_chunked_body_is_411_and_never_taken_for_the_next_request(served) -> None:
    running = served("http")
    with connected(running) as sock:
        sock.sendall(
            b"POST /v1/batches HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b"1c\r\nGET /healthz HTTP/1.1\r\n\r\n\r\n\r\n0\r\n\r\n"
        )
        sock.settimeout(5)
        said = b""
        try:
            while piece := sock.recv(65_536):
                said += piece
        except ConnectionResetError:
            pass
        assert said.startswith(b"HTTP/1.1 411")
        assert said.count(b"HTTP/1.1") == 1
        assert b"Connection: close" in said


def test_headers_have_a_limit(served) -> None:
    running = served("http")
    with connected(running) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n")
        sock.settimeout(5)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 413")


@SCHEMES
def test_a_connection_is_kept_for_the_next_request(served, batch, scheme) -> None:
    running = served(scheme)
    with connected(running) as sock:
        for number in (1, 2, 3):
            payload = batch(number).payload
            sock.sendall(
                b"POST /v1/batches HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"
                b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload
            )
            said = b""
            while b'"rejected":[]}\n' not in said:
                piece = sock.recv(65_536)
                assert piece, "the connection was closed"
                said += piece
            assert b"cafe-%d" % number in said


@SCHEMES
def test_stopping_takes_less_than_2_s_even_with_clients_under_way(served, scheme) -> None:
    running = served(scheme)
    clients = [connected(running) for _ in range(5)]
    try:
        for each in clients:
            each.sendall(b"POST /v1/batches HTTP/1.1\r\nX-Slow: ")
        begun = time.monotonic()
        running.server.stop()
        assert time.monotonic() - begun < 2.0
        with pytest.raises(OSError, match=r"refused"):
            socket.create_connection(running.address, timeout=5)
    finally:
        for each in clients:
            each.close()


def test_a_taken_port_is_named_with_the_key_to_change(store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{port}.*\[receiver\] listen .*checkin_url"):
            WebServer.start(
                lambda environ, start_response: [],
                Listen("http", "127.0.0.1", port),
                certificate=None,
                threads=1,
                request_deadline_s=1,
                report=lambda event, **facts: None,
            )


def test_health_answers_on_ipv4_with_a_length(served) -> None:
    running = served("http")
    answered = requests.get(f"{running.url}/healthz", timeout=20)
    assert json.loads(answered.content)["ok"] is True
    assert int(answered.headers["Content-Length"]) == len(answered.content)


def test_a_taken_address_is_known_before_anything_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = Listen("http", "127.0.0.1", other.getsockname()[1])
        with pytest.raises(PortTaken, match=r"\[receiver\] listen"):
            try_address(listen)
    try_address(listen)
