"""`holdfast replay --as-new` from end to end: the hub, real files, and a reference server that lost its data."""

import sqlite3
from contextlib import closing
from pathlib import Path

from shipper.receiver.store import Store
from spool.batch import State
from spool.delivery import Delivery
from tests.shipper.host import Host, reply


def replay(host: Host, ids: list[int], as_new: bool) -> None:
    """What the operator's command does, in a process of its own."""
    with Delivery.open(host.directory, "main", host.writer.spool_id) as delivery:
        assert delivery.make_unsent(ids, host.clock.at, "root", "replay", [State.ACKNOWLEDGED], as_new) == len(ids)


def received(tmp_path: Path, sql: str) -> list[tuple[float, ...]]:
    with closing(sqlite3.connect(tmp_path / "receiver" / "received.db", isolation_level=None)) as db:
        return db.execute(sql).fetchall()


def lose_the_data(tmp_path: Path) -> None:
    received(tmp_path, "delete from readings")


def total(tmp_path: Path) -> float:
    """How many points are there: each is a counter of 1."""
    return received(tmp_path, "select total(value) from points")[0][0]


def test_a_server_that_kept_the_keys_of_what_it_lost_takes_it_as_new(host: Host, store: Store, tmp_path: Path) -> None:
    host.server.answer = host.server.reference(store)
    ids = host.commit(windows=3)
    host.run()
    lose_the_data(tmp_path)
    replay(host, ids, as_new=False)
    host.run()
    assert total(tmp_path) == 0, "the test's server does not remember keys"
    replay(host, ids[:2], as_new=True)
    host.run()
    assert total(tmp_path) == 2
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    replay(host, ids[1:], as_new=True)  # the second once more: as new again, which is what was asked for
    host.run()
    first, second, third = (f"{host.writer.spool_id}-{each}" for each in ids)
    assert set(host.server.bodies) == {first, second, third, f"{first}~1", f"{second}~1", f"{second}~2", f"{third}~1"}
    runs = received(tmp_path, "select first_seq, last_seq from runs")
    assert runs == [(1, 3)], "its windows are those of the spool"


def test_what_is_sent_as_new_has_the_same_key_and_bytes_on_each_retry_and_after_a_restart(host: Host) -> None:
    (batch,) = host.commit(points=20)
    host.run()
    replay(host, [batch], as_new=True)
    for answer in (reply(503), lambda _keys: "reset by peer"):
        host.server.answer = answer
        host.run()
        host.clock.at += 900
        host.drain.close()
        host.restarted()
    host.server.answer = host.server.accept
    host.run()
    key = f"{host.writer.spool_id}-{batch}~1"
    assert len([keys for keys in host.server.requests if keys == [key]]) >= 3
    assert len(host.server.bodies[key]) == 1
    assert host.states() == {batch: State.ACKNOWLEDGED}
    replay(host, [batch], as_new=False)  # afterwards it stays what it is
    host.run()
    assert host.server.requests[-1] == [key]


def test_what_a_server_took_in_parts_goes_as_new_with_all_its_points(host: Host, store: Store, tmp_path: Path) -> None:
    take = host.server.reference(store, 1_000)
    host.server.answer = lambda keys: "reset by peer" if len(host.server.requests) > 5 else take(keys)
    (batch,) = host.commit(points=1_000)
    host.run()
    assert 0 < total(tmp_path) < 1_000
    with Delivery.open(host.directory, "main", host.writer.spool_id) as delivery:
        delivery.hold([batch], host.clock.at, "root")
        delivery.make_unsent([batch], host.clock.at, "root", "replay", [State.HELD], True)
    lose_the_data(tmp_path)
    host.server.answer = take
    host.clock.at += 900
    host.run(seconds=60)
    assert host.states() == {batch: State.ACKNOWLEDGED}
    assert total(tmp_path) == 1_000
