"""What a collector has open survives its exec: the same sockets, what waits in them, and no drop counted twice."""

import os
import socket
from pathlib import Path

import pytest

from collector.carried import Carried, Held, Stream
from collector.config import CollectorConfig, Listen
from collector.inherit import hand_on, in_memory, take_over
from collector.ports import Ports
from collector.statsd import Dialect


def udp(port=0):
    return Listen("udp", "127.0.0.1", port)


def flood(port, datagrams=200):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(datagrams):
            sender.sendto(b"x" * 1_000, ("127.0.0.1", port))


def after_an_exec(before, config, **more):
    """Ports in a process that has inherited from one that had `before`. Descriptors get other numbers here."""
    handed = {name: [os.dup(each) for each in they] for name, they in {**before.listeners.handed(), **more}.items()}
    return Ports(config, take_over(hand_on(handed)))


def test_an_address_is_kept_with_what_waits_there_and_drops_are_counted_once():
    config = CollectorConfig(listen=(udp(),), receive_buffer_bytes=8_192)
    before = Ports(config, {})
    (bound,) = before.open()
    flood(bound.listen.port)
    first = before.listeners.take_drops()
    assert first > 0
    flood(bound.listen.port)  # nobody looks any more
    copy = os.dup(bound.sockets[0].fileno())
    carried = Carried((10.0, 1.0), drops={copy: first})
    inherited = {str(udp()): [copy], "state": [in_memory(carried.as_json())]}
    after = Ports(config, take_over(hand_on(inherited)))
    (again,) = after.open()
    assert again.listen.port == bound.listen.port
    assert 0 < after.listeners.take_drops() == before.listeners.take_drops() <= 200
    assert again.sockets[0].recv(2_000) == b"x" * 1_000
    before.close()
    after.close()


def test_drops_at_an_address_that_is_given_up_are_none_of_the_one_that_gets_its_descriptor():
    gone, comes = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), udp()
    gone.bind(("127.0.0.1", 0))
    descriptor, name = gone.detach(), "udp://127.0.0.1:1"
    handed = hand_on({name: [descriptor], "state": [in_memory(Carried((10.0, 1.0), drops={descriptor: 7}).as_json())]})
    ports = Ports(CollectorConfig(listen=(comes,)), take_over(handed))
    (bound,) = ports.open()
    assert bound.sockets[0].fileno() == descriptor
    assert ports.listeners.take_drops() == 0
    ports.close()


def test_an_address_that_is_not_wanted_any_more_is_free_for_another(tmp_path):
    gram, stays = Listen("unixgram", path=str(tmp_path / "gram")), udp()
    before = Ports(CollectorConfig(listen=(gram, stays)), {})
    port = before.open()[1].listen.port
    after = after_an_exec(before, CollectorConfig(listen=(Listen("udp", "0.0.0.0", port),)))  # noqa: S104
    before.listeners.bound.pop().sockets[0].close()  # as an exec does
    after.open()
    assert not Path(gram.path).exists()
    after.close()
    before.close()


def test_the_admin_port_is_never_one_where_lines_are_received():
    config = CollectorConfig(listen=(udp(),), admin=Listen("tcp", "127.0.0.1", 0))
    before = Ports(config, {})
    assert [each.listen.scheme for each in before.open()] == ["udp"]
    after = after_an_exec(before, config, **before.admin.handed())
    assert [each.listen.scheme for each in after.open()] == ["udp"]
    assert [each.listen.port for each in after.admin.bound] == [each.listen.port for each in before.admin.bound]
    before.close()
    after.close()


def test_an_address_that_was_the_admin_ports_keeps_nobody_waiting_where_lines_are_received():
    admin = Listen("tcp", "127.0.0.1", 0)
    before = Ports(CollectorConfig(listen=(udp(),), admin=admin), {})
    before.open()
    before.admin.bound[0].sockets[0].setblocking(True)  # as the admin port does
    after = after_an_exec(before, CollectorConfig(listen=(udp(), admin)), **before.admin.handed())
    received = after.open()[1]
    assert received.listen.port == before.admin.bound[0].listen.port
    assert not os.get_blocking(received.sockets[0].fileno())
    with pytest.raises(BlockingIOError):
        received.sockets[0].accept()
    before.close()
    after.close()


def test_connections_are_resumed_only_if_they_are_there():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        streams = [Stream(each.fileno(), Dialect("value"), b"a:", False) for each in (ours, theirs)]
        state = in_memory(Carried((10.0, 1.0), Held({"g": 1.0}), streams).as_json())
        ports = Ports(CollectorConfig(), take_over(hand_on({"state": [state], "streams": [ours.fileno()]})))
    assert ports.streams == streams[:1]
    assert ports.carried is not None and ports.carried.held.gauges == {"g": 1.0}


def test_a_state_that_cannot_be_read_is_told_and_nothing_is_carried_or_kept_open():
    client, accepted = socket.socketpair()
    stand_in, connection = socket.socketpair()
    with client, stand_in:
        handed = {"streams": [accepted.detach()], "stand_in": [connection.detach()]}
        handed["state"] = [in_memory({"ended": "never"})]
        ports = Ports(CollectorConfig(), take_over(hand_on(handed)))
        assert (ports.carried, list(ports.streams), ports.stand_in) == (None, [], None)
        assert "ValueError" in ports.unread
        for each in (client, stand_in):
            each.settimeout(5)
            assert each.recv(1) == b"", "whoever is there hears that nobody goes on"
