"""Addresses: had whole or not at all, shared with nobody, and left as they were found."""

import os
import socket
from pathlib import Path

import pytest

from collector.config import Listen
from collector.listeners import AddressBusy, Listeners

LOOPBACK = Listen("udp", "127.0.0.1", 0)


@pytest.fixture
def listeners():
    made = Listeners()
    yield made
    made.close()


def test_a_port_of_zero_is_chosen_by_the_kernel_and_told(listeners):
    bound = listeners.open(LOOPBACK, 8192)
    assert bound.listen.port > 0
    assert bound.asked == LOOPBACK
    assert bound.granted_bytes >= 2048


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@pytest.mark.parametrize("receivers", [1, 2])
def test_a_busy_port_is_an_error_that_names_the_address_and_the_key(listeners, scheme, receivers):
    taken = listeners.open(Listen(scheme, "127.0.0.1", 0), 8192, receivers).listen
    with pytest.raises(AddressBusy, match=r"(udp|tcp)://127.0.0.1:\d+: in use; change \[collector\] listen"):
        listeners.open(taken, 8192, receivers)
    assert [each.listen for each in listeners.bound] == [taken]


def test_a_link_local_address_is_bound_on_the_interface_that_it_names(listeners):
    # None of this host's: only on an interface is it one that could be, elsewhere it is an "Invalid argument".
    with pytest.raises(AddressBusy, match=r"udp://\[fe80::dead%lo\]:0: Cannot assign requested address; change"):
        listeners.open(Listen("udp", "fe80::dead%lo", 0), 8192)
    with pytest.raises(AddressBusy, match=r"tcp://\[fe80::dead%no\]:0: Name or service not known; change"):
        listeners.open(Listen("tcp", "fe80::dead%no", 0), 8192)


@pytest.mark.parametrize(("scheme", "kind"), [("unixgram", socket.SOCK_DGRAM), ("unix", socket.SOCK_STREAM)])
def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(listeners, tmp_path, scheme, kind):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(str(path))
    listeners.open(Listen(scheme, path=str(path)), 8192)
    assert path.stat().st_mode & 0o777 == 0o666
    with pytest.raises(AddressBusy, match="in use"):
        listeners.open(Listen(scheme, path=str(path)), 8192)
    assert path.exists()


def test_a_file_that_is_not_a_socket_is_left_alone(listeners, tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(AddressBusy, match="a file that is not a socket"):
        listeners.open(Listen("unixgram", path=str(path)), 8192)
    assert path.read_text() == "precious"


def test_a_socket_file_that_is_another_listeners_by_now_is_left_alone(listeners, tmp_path):
    listen = Listen("unixgram", path=str(tmp_path / "s"))
    before = Listeners()
    before.open(listen, 4096)
    Path(listen.path).unlink()
    listeners.open(listen, 4096)
    before.close()
    assert Path(listen.path).is_socket()


def test_a_socket_file_is_removed_at_the_end(tmp_path):
    path = tmp_path / "s"
    listeners = Listeners()
    listeners.open(Listen("unix", path=str(path)), 8192)
    assert path.exists()
    listeners.close()
    assert not path.exists()


def read(bound):
    """What waits in each of a listener's sockets."""
    waiting = []
    for each in bound.sockets:
        waiting.append([])
        while True:
            try:
                waiting[-1].append(each.recv(100))
            except BlockingIOError:
                break
    return waiting


def test_each_of_several_receivers_has_clients_of_its_own_and_all_that_each_sent_in_order(listeners):
    bound = listeners.open(LOOPBACK, 65_536, receivers=3)
    assert len(bound.sockets) == 3
    for client in range(60):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(3):
                sender.sendto(b"%d %d" % (client, number), ("127.0.0.1", bound.listen.port))
    waiting = read(bound)
    assert all(waiting)
    pairs = [tuple(map(int, each.split())) for one in waiting for each in one]
    assert sorted(pairs) == [(client, number) for client in range(60) for number in range(3)]
    for one in waiting:
        assert one == sorted(one, key=lambda each: int(each.split()[0]))


def test_inherited_sockets_are_gone_on_with_and_what_waits_in_them_is_kept(listeners):
    first = Listeners()
    bound = first.open(LOOPBACK, 65_536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"a:1|c", ("127.0.0.1", bound.listen.port))
    handed = {name: [os.dup(each) for each in descriptors] for name, descriptors in first.handed().items()}
    again = Listeners(handed)
    taken_over = again.open(LOOPBACK, 65_536, receivers=2)
    assert taken_over.listen == bound.listen
    assert len(taken_over.sockets) == 2
    assert read(taken_over)[0] == [b"a:1|c"]
    again.close()
    first.close()
