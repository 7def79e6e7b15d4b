"""A stand-in begins when it is told to, takes what comes, and what it took is in somebody's window."""

import os
import signal
import socket

import pytest

from collector.aggregate import Aggregate
from collector.config import Listen
from collector.listeners import bind
from collector.receiver import Receiver
from collector.reception import Reception
from collector.statsd import STATSD
from collector.workers.child import Datagrams
from collector.workers.standin import StandIn
from tests.processes.pipeline import wait_until


@pytest.fixture
def bound():
    with bind(Listen("udp", "127.0.0.1", 0)) as bound:
        yield bound


@pytest.fixture
def send(bound):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(bound.getsockname())
        yield sender.send


def waiting(bound):
    """Whether a datagram waits in the socket."""
    try:
        return bool(bound.recv(100, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def started(bound, into):
    stand_in = StandIn(lambda: [Datagrams(bound, "udp", STATSD)], 100, into)
    stand_in.start()
    wait_until(stand_in.ready, 20, "the stand-in is ready")
    return stand_in


def test_it_receives_after_it_was_told_to_and_gives_everything(bound, send):
    into = Aggregate(100)
    stand_in = started(bound, into)
    send(b"before:1|c\ntemp:1|g")
    assert waiting(bound)
    assert stand_in.begin() is not None
    wait_until(lambda: not waiting(bound), 10, "the stand-in takes it")
    send(b"after:2|c\ntemp:5|g\ntemp:+2|g")
    assert stand_in.end()
    closed = into.close(10.0)
    assert (closed.counters, closed.gauges) == ({"before": 1.0, "after": 2.0}, {"temp": 7.0})
    assert (closed.lines, closed.datagrams) == (5, 2)


def test_a_successor_goes_on_with_it_by_its_connection_and_its_process(bound, send):
    before = started(bound, Aggregate(100))
    descriptor, pid = before.begin()
    send(b"hits:1|c")
    into = Aggregate(100)
    after = StandIn(list, 100, into, (os.dup(descriptor), pid))
    assert after.end()
    assert into.close(10.0).counters == {"hits": 1.0}
    before.end()  # closes; it has ended already


@pytest.mark.parametrize("inherited", [False, True])
def test_one_that_was_killed_is_told_and_nothing_waits_for_it(bound, send, inherited):
    stand_in = started(bound, Aggregate(100))
    descriptor, pid = stand_in.begin()
    send(b"hits:1|c")
    wait_until(lambda: not waiting(bound), 10, "the stand-in takes it")
    os.kill(pid, signal.SIGKILL)
    successor = StandIn(list, 100, Aggregate(100), (os.dup(descriptor), pid))
    assert not (successor if inherited else stand_in).end()
    for each in (successor, stand_in):
        each.end()


def test_one_that_ends_before_it_is_ready_is_not_waited_for(bound):
    stand_in = StandIn(lambda: [Datagrams(bound, "udp", STATSD)], 100, Aggregate(100))
    stand_in.start()
    os.kill(stand_in.begin()[1], signal.SIGKILL)
    wait_until(stand_in.ready, 20, "nothing to wait for")
    stand_in.end()


def test_without_datagrams_there_is_none_and_nothing_is_lost():
    into = Aggregate(100)
    stand_in = StandIn(list, 100, into)
    stand_in.start()
    assert stand_in.ready()
    assert stand_in.begin() is None
    assert stand_in.end()


def test_what_the_collector_takes_afterwards_is_later_than_what_the_stand_in_took(bound, send):
    into, receiver = Aggregate(100), Receiver(lambda: 0.0)
    stand_in = started(bound, into)
    stand_in.begin()
    send(b"temp:1|g")
    assert stand_in.end()
    send(b"temp:2|g")
    receiver.take(bound, "udp", STATSD)
    Reception(receiver, into, lambda _: None).turn(1.0)
    receiver.close()
    assert into.close(10.0).gauges == {"temp": 2.0}


def test_a_process_that_is_not_its_own_is_left_alone(bound):
    ours, theirs = socket.socketpair()
    theirs.close()
    stand_in = StandIn(list, 100, Aggregate(100), (ours.detach(), os.getppid()))
    assert not stand_in.end()
    os.kill(os.getppid(), 0)


@pytest.mark.parametrize("said", [b"\x02\0\0\0?!", b"\x05\0\0\0c\x01\xff\0\0", b"\x00\0\0\0", b"half a sh"])
def test_a_share_of_another_release_that_cannot_be_read_is_told(said):
    ours, theirs = socket.socketpair()
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    assert not StandIn(list, 100, Aggregate(100), (ours.detach(), os.getppid())).end()
    theirs.close()
