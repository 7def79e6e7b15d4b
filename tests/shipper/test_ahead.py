"""What is read while the server works on the request before."""

import threading

from shipper.ahead import Ahead
from spool.delivery import State
from spool.reader import SpoolReader
from tests.processes.pipeline import wait_until
from tests.shipper.host import Host


def test_what_was_guessed_is_there_once_and_what_was_not_picked_is_forgotten(host: Host) -> None:
    ids = host.commit(windows=4)
    ahead = Ahead()
    with SpoolReader(host.directory) as spool:
        with ahead.reading(spool, ids):
            pass
        assert ahead.take(ids[1:3]) == {each: spool.batch(each) for each in ids[1:3]}
        assert ahead.take(ids) == {}


def reading() -> bool:
    return any(each.name == "reading-ahead" for each in threading.enumerate())


def test_it_is_read_beside_what_the_block_does_and_no_thread_is_made_for_nothing(host: Host) -> None:
    ids = host.commit()
    ahead = Ahead()
    with SpoolReader(host.directory) as spool:
        with ahead.reading(spool, ids):
            wait_until(lambda: not reading(), 10, "it is read while the block goes on")
        assert set(ahead.take(ids)) == set(ids)
        with ahead.reading(spool, []):
            assert not reading()


def test_a_rotten_payload_and_an_evicted_batch_are_left_to_the_loop(host: Host) -> None:
    first, second, third = host.commit(windows=3)
    db = host.writer._connection
    db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id = ?", (second,))
    ahead = Ahead()
    with SpoolReader(host.directory) as spool, ahead.reading(spool, [first, second, third, 99]):
        pass
    assert set(ahead.take([first, second, third, 99])) == {first}


def test_a_backlog_of_many_requests_arrives_but_for_a_rotten_batch(host: Host) -> None:
    host.settings = type(host.settings)(backlog_requests_per_s=1000, request_bytes=1_024)
    host.restarted()
    ids = host.commit(windows=40)
    rotten = ids[20]
    db = host.writer._connection
    db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id = ?", (rotten,))
    host.run(seconds=5)
    assert host.states() == {each: State.DEAD if each == rotten else State.ACKNOWLEDGED for each in ids}
    assert set(host.server.stored.values()) == {1} and len(host.server.requests) > 5


def test_where_no_thread_can_be_started_the_loop_reads_everything_itself(host: Host) -> None:
    host.settings = type(host.settings)(backlog_requests_per_s=1000, request_bytes=1_024)
    host.restarted()
    ids = host.commit(windows=40)
    before = threading.stack_size(2**47)  # more than there are addresses: starting one fails as at the host's limit
    try:
        host.run(seconds=5)
    finally:
        threading.stack_size(before)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
