"""Real sockets on loopback: nothing is cut, nothing is lost without being counted, nobody harms the others."""

import contextlib
import resource
import socket
import struct
import time

import pytest

from collector.config import Listen
from collector.receiver import TURN_ACCEPTS, TURN_READS
from collector.rules import EXAMPLE_BYTES, MAX_LINE_BYTES, Reason, Rejection
from collector.statsd import parse
from tests.collector.receiving import Receiving, tcp, udp


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


def test_a_datagram_over_the_limit_is_counted_and_none_of_it_is_read(receiver, tmp_path):
    path = str(tmp_path / "s")
    receiver.listen(Listen("unixgram", path=path), 1 << 20)
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
        drops = receiver.listeners.take_drops()
        assert drops > 0
        assert len(taken) + drops == 500
        assert receiver.listeners.take_drops() == 0


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


def test_an_endless_line_is_passed_on_once_with_its_beginning_and_too_long(receiver):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(b" " + b"y" * 200_000 + b"\na:1|c\n")
        taken = []
        until = time.monotonic() + 5
        while not (taken and taken[-1].endswith(b"a:1|c")) and time.monotonic() < until:
            taken += drain(receiver, 1)[0]
    lines = b"\n".join(taken).split(b"\n")
    assert lines == [b"y" * EXAMPLE_BYTES + b"x" * (MAX_LINE_BYTES + 1), b"a:1|c"]


@pytest.mark.parametrize("line", [b"a:1|c" + b" " * MAX_LINE_BYTES + b"|#x", b" a:1|c|#k:" + b"v" * MAX_LINE_BYTES])
def test_a_line_that_is_too_long_is_rejected_also_where_spaces_are_around_the_cut(receiver, line):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(line)
        (taken,) = drain(receiver, 1)[0]
    rejection = parse(taken)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == Reason.LINE_TOO_LONG


def test_the_longest_line_is_taken_however_its_end_is_cut(receiver):
    connect = tcp(receiver)
    line = b"a:1|c|#k:".ljust(MAX_LINE_BYTES, b"v")
    with connect() as client:
        for piece in (line + b"\r", b"\n" + line, b"\nb:1|c\r\n"):
            client.sendall(piece)
            drained = drain(receiver, 1, within_s=0.2)[0]
            assert [each.strip() for each in b"\n".join(drained).split(b"\n")] in ([b""], [line], [line, b"b:1|c"])
    assert drain(receiver, 1, within_s=0.1) == ([], 0)


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
    assert receiver.take_refused() == 1
    assert receiver.take_refused() == 0


def test_hundreds_of_clients_that_connect_while_nobody_looks_are_heard(receiver):
    listen = receiver.listen(Listen("tcp", "127.0.0.1", 0))
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", listen.port), timeout=0.5) as client:
            client.sendall(b"a:1|c")
    assert len(drain(receiver, 300)[0]) == 300
    assert receiver.take_refused() == 0


def test_a_client_for_whom_there_is_no_descriptor_keeps_no_processor_busy_and_is_heard_later(receiver):
    connect = tcp(receiver)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect() as client:
        client.sendall(b"a:1|c\n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            begun = time.monotonic()
            turns = 0
            while time.monotonic() < begun + 0.5:
                assert not receiver.wait(0.1)
                turns += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert turns < 20
        assert drain(receiver, 1) == ([b"a:1|c"], 0)


def test_clients_that_connect_at_once_are_accepted_several_in_a_turn_and_no_more_than_have_turns(receiver):
    connect = tcp(receiver)
    clients = [connect() for _ in range(4 * TURN_ACCEPTS)]
    for each in clients:
        each.sendall(b"a:1|c\n")
        each.close()
    taken = 0
    for turn in range(1, 13):  # a client takes two reads of TURN_READS: its lines, and its end
        ready = receiver.wait(0)
        taken += sum(len(each.drain(1_024)[0]) for each in ready)
        assert taken <= turn * TURN_ACCEPTS
    assert taken == len(clients)
    assert receiver.carry() == []


def test_a_connection_that_is_silent_for_long_is_closed():
    now = [0.0]
    receiver = Receiving(lambda: now[0])
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
    receiver.wake()
    begun = time.monotonic()
    assert receiver.wait(30) == []
    assert time.monotonic() - begun < 5


def test_a_client_without_whole_lines_gives_way_to_a_new_one(monkeypatch):
    monkeypatch.setattr("collector.receiver._MAX_CONNECTIONS", 2)
    now = [0.0]
    receiver = Receiving(lambda: now[0])
    connect = tcp(receiver)
    with connect() as dripping, connect() as honest:
        for second in range(12):
            now[0] = float(second)
            dripping.sendall(b"x")
            honest.sendall(b"a:1|c\n")
            assert drain(receiver, 1)[0] == [b"a:1|c"]
        with connect() as newcomer:
            newcomer.sendall(b"b:1|c\n")
            assert drain(receiver, 1)[0] == [b"b:1|c"]
            honest.sendall(b"a:2|c\n")
            assert drain(receiver, 1)[0] == [b"a:2|c"]
        dripping.settimeout(5)
        with pytest.raises(ConnectionResetError):
            assert dripping.recv(1) == b""
            raise ConnectionResetError  # either is an end
    assert receiver.take_refused() == 1
    receiver.close()


def test_clients_that_never_pause_share_a_turn_and_all_of_them_have_one(receiver):
    connect = tcp(receiver)
    clients = [connect() for _ in range(TURN_READS + 8)]
    line = b"a:1|c\n"
    with udp(receiver) as sender:
        for each in clients:
            each.setblocking(False)
        ready, served = [], set()
        until = time.monotonic() + 10
        while len(served) < len(clients) and time.monotonic() < until:
            for each in clients:
                with contextlib.suppress(BlockingIOError):
                    each.send(line * 50_000)
            sender.send(b"u:1|c")
            ready = receiver.wait(0.1)
            taken = {each: each.drain(1_024)[0] for each in ready}
            streams = [each for each in ready if not each.datagrams]
            assert sum(len(b"".join(taken[each])) for each in streams) <= TURN_READS * 65_536 + len(streams) * 8_192
            served |= {each for each in streams if taken[each]}
        assert len(served) == len(clients)
        assert b"u:1|c" in b"".join(b"".join(each) for source, each in taken.items() if source.datagrams)
    for each in clients:
        each.close()


def test_a_full_unix_datagram_socket_holds_its_senders_up_and_drops_nothing(receiver, tmp_path):
    path = str(tmp_path / "s")
    receiver.listen(Listen("unixgram", path=path), 4_096)
    sent = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        sender.setblocking(False)
        with pytest.raises(BlockingIOError):
            while sent < 100_000:
                sender.send(b"a:1|c")
                sent += 1
        assert drain(receiver, sent) == ([b"a:1|c"] * sent, 0)
        sender.send(b"b:1|c")
        assert drain(receiver, 1)[0] == [b"b:1|c"]
    assert sent > 0
    assert receiver.listeners.take_drops() == 0


def frame(lines):
    return struct.pack("<I", len(lines)) + lines


def test_a_stream_of_frames_gives_whole_lines_however_it_is_cut(receiver):
    connect = tcp(receiver)
    stream = frame(b"a:1|c\nb:2|c\n") + frame(b"") + frame(b"c:3|c") + frame(b"x" * 65_535)
    with connect() as client:
        taken = []
        for first in range(0, 60, 3):
            client.sendall(stream[first : first + 3])
            taken += drain(receiver, 1, within_s=0.01)[0]
        client.sendall(stream[60:] + b"\x06\0\0\0half")
        while sum(map(len, taken)) < 65_535:
            taken += drain(receiver, 1)[0]
    assert drain(receiver, 1, within_s=0.2) == ([], 0)
    assert [each for each in b"\n".join(taken).split(b"\n") if each] == [b"a:1|c", b"b:2|c", b"c:3|c", b"x" * 65_535]


@pytest.mark.parametrize("length", [10, 0x0A05, 0x0A0A])
def test_a_length_that_has_a_newline_in_it_is_none_of_a_line(receiver, length):
    connect = tcp(receiver)
    line = b"a:1|c|#".ljust(length, b"v")
    with connect() as client:
        for piece in (frame(line)[:1], frame(line)[1:2], frame(line)[2:3]):
            client.sendall(piece)
            assert drain(receiver, 1, within_s=0.05)[0] == []
        client.sendall(frame(line)[3:])
        assert drain(receiver, 1)[0] == [line]


def test_a_length_that_is_none_ends_the_connection_and_is_a_bad_line(receiver):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(frame(b"a:1|c") + b"garbage" * 100)
        taken, _ = drain(receiver, 1)
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            assert client.recv(1) == b""
            raise ConnectionResetError  # either is an end
    assert b"\n".join(taken).split(b"\n") == [b"a:1|c", b"garb"]


def test_a_short_first_line_is_not_taken_for_a_length(receiver):
    connect = tcp(receiver)
    with connect() as client:
        client.sendall(b"a")
        assert drain(receiver, 1, within_s=0.05)[0] == []
        client.sendall(b":")
        assert drain(receiver, 1, within_s=0.05)[0] == []
        client.sendall(b"1|c\nb:1|c\n")
        assert drain(receiver, 1)[0] == [b"a:1|c\nb:1|c"]
    with connect() as client:
        client.sendall(b"\n")
        client.sendall(b"a")
    assert drain(receiver, 1)[0] == [b"a"]
