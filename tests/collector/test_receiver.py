"""Real sockets on loopback: nothing is cut, nothing is lost without being counted, nobody harms the others."""

import socket
import time

import pytest

from collector.config import Listen
from collector.receiver import AddressBusy, Receiver
from collector.statsd import MAX_LINE_BYTES


@pytest.fixture
def receiver():
    made = Receiver(time.monotonic)
    yield made
    made.close()


def udp(receiver, host="127.0.0.1", buffer_bytes=1 << 20):
    listen, _ = receiver.listen(Listen("udp", host, 0), "delta", buffer_bytes)
    sender = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((host, listen.port))
    return sender


def drain(receiver, pieces, within_s=5.0):
    """What arrives, until there are that many pieces."""
    taken, too_long = [], 0
    until = time.monotonic() + within_s
    while len(taken) + too_long < pieces and time.monotonic() < until:
        for source in receiver.wait(0.1):
            got, over = source.drain(1024)
            taken += got
            too_long += over
    return taken, too_long


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_arrive_whole_and_in_order(receiver, host):
    with udp(receiver, host) as sender:
        sent = [b"", b"a:1|c", b"x" * 65_000, b"b:1|c\nc:1|c\n"]
        for each in sent:
            sender.send(each)
        assert drain(receiver, 4) == (sent, 0)


def test_a_port_of_zero_is_chosen_by_the_kernel_and_told(receiver):
    listen, granted = receiver.listen(Listen("udp", "127.0.0.1", 0), "delta", 8192)
    assert listen.port > 0
    assert granted >= 2048


def test_a_datagram_over_the_limit_is_counted_and_none_of_it_is_read(receiver, tmp_path):
    path = str(tmp_path / "s")
    receiver.listen(Listen("unixgram", path=path), "delta", 1 << 20)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        for each in (b"a:1|c", b"b:1|c\n" * 11_000, b"y" * 65_535, b"c:1|c"):
            sender.send(each)
        assert drain(receiver, 4) == ([b"a:1|c", b"y" * 65_535, b"c:1|c"], 1)


def test_what_the_kernel_drops_is_counted_once(receiver):
    with udp(receiver, buffer_bytes=4096) as sender:
        for _ in range(500):
            sender.send(b"x" * 100)
        taken, _ = drain(receiver, 500, within_s=0.3)
        drops, _ = receiver.take_counts()
        assert drops > 0
        assert len(taken) + drops == 500
        assert receiver.take_counts() == (0, 0)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_busy_port_is_an_error_that_names_the_address_and_the_key(receiver, scheme):
    listen, _ = receiver.listen(Listen(scheme, "127.0.0.1", 0), "delta", 8192)
    with pytest.raises(AddressBusy, match=r"(udp|tcp)://127.0.0.1:\d+: in use; change \[collector\] listen"):
        receiver.listen(listen, "delta", 8192)


@pytest.mark.parametrize(("scheme", "kind"), [("unixgram", socket.SOCK_DGRAM), ("unix", socket.SOCK_STREAM)])
def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(receiver, tmp_path, scheme, kind):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(str(path))
    receiver.listen(Listen(scheme, path=str(path)), "delta", 8192)
    assert path.stat().st_mode & 0o777 == 0o666
    with pytest.raises(AddressBusy, match="in use"):
        receiver.listen(Listen(scheme, path=str(path)), "delta", 8192)
    assert path.exists()


def test_a_file_that_is_not_a_socket_is_left_alone(receiver, tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(AddressBusy):
        receiver.listen(Listen("unixgram", path=str(path)), "delta", 8192)
    assert path.read_text() == "precious"


def test_a_socket_file_is_removed_at_the_end(tmp_path):
    path = tmp_path / "s"
    receiver = Receiver(time.monotonic)
    receiver.listen(Listen("unix", path=str(path)), "delta", 8192)
    assert path.exists()
    receiver.close()
    assert not path.exists()


def tcp(receiver):
    listen, _ = receiver.listen(Listen("tcp", "127.0.0.1", 0), "delta", 65_536)
    return lambda: socket.create_connection(("127.0.0.1", listen.port))


def test_a_stream_gives_whole_lines_however_it_is_cut(receiver):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(b"a:1|c\nb:")
        assert drain(receiver, 1)[0] == [b"a:1|c"]
        client.sendall(b"2|c\nc:3|c")
        assert drain(receiver, 1)[0] == [b"b:2|c"]
    assert drain(receiver, 1)[0] == [b"c:3|c"]


def test_a_client_that_breaks_off_does_not_get_half_a_line_taken(receiver):
    connect = tcp(receiver)
    client = connect()
    client.sendall(b"a:1|c\nb:1")
    assert drain(receiver, 1)[0] == [b"a:1|c"]
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # a reset
    assert drain(receiver, 1, within_s=0.3) == ([], 0)


def test_an_endless_line_is_passed_on_once_and_just_too_long(receiver):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(b"x" * 200_000 + b"\na:1|c\n")
        taken = []
        until = time.monotonic() + 5
        while not (taken and taken[-1].endswith(b"a:1|c")) and time.monotonic() < until:
            taken += drain(receiver, 1)[0]
    lines = b"\n".join(taken).split(b"\n")
    assert lines == [b"x" * (MAX_LINE_BYTES + 1), b"a:1|c"]


def test_connections_beyond_the_limit_are_refused_and_counted(receiver, monkeypatch):
    monkeypatch.setattr("collector.receiver._MAX_CONNECTIONS", 1)
    connect = tcp(receiver)
    with connect() as first, connect() as second:
        second.settimeout(5)
        until = time.monotonic() + 5
        while receiver.refused_connections == 0 and time.monotonic() < until:
            receiver.wait(0.1)
        assert second.recv(1) == b""
        first.sendall(b"a:1|c\n")
        assert drain(receiver, 1)[0] == [b"a:1|c"]
    assert receiver.take_counts() == (0, 1)


def test_a_connection_that_is_silent_for_long_is_closed():
    now = [0.0]
    receiver = Receiver(lambda: now[0])
    connect = tcp(receiver)
    with connect() as client:
        client.settimeout(5)
        client.sendall(b"a:1|c\n")
        assert drain(receiver, 1)[0] == [b"a:1|c"]
        now[0] = 599.0
        receiver.close_idle()
        client.sendall(b"b:1|c\n")
        assert drain(receiver, 1)[0] == [b"b:1|c"]
        now[0] = 1200.0
        receiver.close_idle()
        assert client.recv(1) == b""
    receiver.close()


def test_a_wake_up_ends_the_wait_at_once(receiver):
    receiver.wakeup.send(b"\0")
    begun = time.monotonic()
    assert receiver.wait(30) == []
    assert time.monotonic() - begun < 5
