"""Turns of reception: nothing is given away while more waits, and others give way to it then and only then."""

import contextlib
import itertools
import threading
import time

from collector.aggregate import Aggregate
from collector.receiver import DRAIN_BYTES, TURN_READS
from collector.reception import TURN_DATAGRAMS, Reception
from tests.collector.receiving import Receiving, tcp, udp


def test_no_time_is_given_away_while_more_waits_however_large_the_datagrams_are(receiver):
    waits = []
    reception = Reception(receiver, Aggregate(1_000), waits.append)
    with udp(receiver, buffer_bytes=8 << 20) as sender:
        for _ in range(4 * DRAIN_BYTES // 1_400):
            sender.send(b"\n".join([b"api.hits:1|c"] * 100))
        turns = 0
        while reception.aggregate.lines < 4 * DRAIN_BYTES // 1_400 * 100 and turns < 20:
            assert not waits
            assert reception.turn(1.0)
            turns += 1
        assert 1 < turns < 20
        assert not reception.turn(0.0)  # and then it lets them gather
    assert len(waits) == 1


def send_too_much(sender):
    for _ in range(2 * DRAIN_BYTES // 1_400):
        sender.send(b"\n".join([b"api.hits:1|c"] * 100))


def test_reception_goes_first_while_it_has_left_something_in_a_socket(receiver):
    reception = Reception(receiver, Aggregate(1_000), lambda _: None)
    with udp(receiver, buffer_bytes=8 << 20) as sender:
        send_too_much(sender)
        assert reception.give_way(60.0) == 0.0
        reception.turn(1.0)
        assert reception.give_way(0.001) > 0.0
        while reception.turn(0.0):
            pass
        assert reception.give_way(60.0) == 0.0


def test_reception_that_waits_goes_not_first_however_full_the_last_turn_was(receiver):
    reception = Reception(receiver, Aggregate(1_000), lambda _: None)
    with udp(receiver, buffer_bytes=8 << 20) as sender:
        for _ in range(TURN_DATAGRAMS):  # as many as a turn takes: it cannot tell that there are no more
            sender.send(b"api.hits:1|c")
        reception.turn(1.0)
        assert reception.give_way(0.001) > 0.0
        waiting = threading.Thread(target=lambda: reception.turn(20.0) or reception.turn(20.0))
        waiting.start()
        assert reception.give_way(60.0) < 10.0
        sender.send(b"api.hits:1|c")
        waiting.join(10.0)
    assert reception.aggregate.lines == TURN_DATAGRAMS + 1


def test_who_is_woken_after_a_full_turn_does_not_go_on_to_wait(receiver):
    reception = Reception(receiver, Aggregate(1_000), lambda _: None)
    with udp(receiver, buffer_bytes=8 << 20) as sender:
        for _ in range(TURN_DATAGRAMS):
            sender.send(b"api.hits:1|c")
        reception.turn(1.0)
        receiver.wake()
        begun = time.monotonic()
        assert not reception.turn(30.0)
        assert time.monotonic() - begun < 10.0


def test_streams_do_not_go_first_because_they_lose_nothing(receiver):
    reception, connect = Reception(receiver, Aggregate(1_000), lambda _: None), tcp(receiver)
    with contextlib.ExitStack() as clients:
        for _ in range(TURN_READS):
            clients.enter_context(connect()).sendall(b"api.hits:1|c\n")
        give_up = time.monotonic() + 10
        while reception.aggregate.lines < TURN_READS and time.monotonic() < give_up:
            reception.turn(0.1)
            assert reception.give_way(60.0) == 0.0
    assert reception.aggregate.lines == TURN_READS


def test_reception_that_ends_goes_first_no_more_whatever_it_leaves():
    now = itertools.count()  # so that no time is left for last turns
    receiving = Receiving(lambda: float(next(now)))
    try:
        reception = Reception(receiving, Aggregate(1_000), lambda _: None)
        with udp(receiving, buffer_bytes=8 << 20) as sender:
            send_too_much(sender)
            reception.turn(1.0)
            assert reception.give_way(0.001) > 0.0
            reception.last_turns()
            assert reception.give_way(60.0) == 0.0
            assert reception.turn(0.0)  # there was something left
    finally:
        receiving.close()
