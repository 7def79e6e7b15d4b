"""The database: gaps in any order, retention, what cannot be opened, what an operator asks it."""

import sqlite3
import stat
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.parts import part_of
from shipper.receiver.intake import documents
from shipper.receiver.reader import StoreReader
from shipper.receiver.store import CHECKINS_KEPT, Store, StoreUnusable
from tests.shipper.protocols import sample


def arrivals(*batches):
    return documents(b"".join(each.payload for each in batches), gzipped=True, limit_bytes=1_000_000)


def asked(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seqs=st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_gaps_are_what_lies_between_whatever_the_order_of_arrival(seqs, tmp_path_factory, batch) -> None:
    store = Store.open(tmp_path_factory.mktemp("receiver"))
    try:
        store.add(arrivals(*(batch(number, seq=seq) for number, seq in enumerate(seqs, start=1))), 0)
        [host] = StoreReader(store.path, time.monotonic).hosts()
    finally:
        store.close()
    missing = set(range(min(seqs), max(seqs) + 1)) - set(seqs)
    [spool] = host["spools"]
    assert {seq for gap in spool["gaps"] for seq in range(gap["first"], gap["last"] + 1)} == missing
    assert (host["missing"], spool["first_seq"], spool["last_seq"]) == (len(missing), min(seqs), max(seqs))


def test_two_spools_of_a_host_are_two_sequences(store, reader, batch) -> None:
    store.add(arrivals(batch(1), batch(2), batch(9, spool="beef"), batch(11, spool="beef")), 0)
    [host] = reader.hosts()
    gap = {"first": 10, "last": 10, "after": 1_764_000_090.0, "before": 1_764_000_100.0}
    assert [(each["spool_id"], each["gaps"]) for each in host["spools"]] == [("beef", [gap]), ("cafe", [])]


@given(order=st.permutations(range(1, 9)))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gap_lies_between_the_windows_beside_it_whatever_the_order_of_arrival(order, tmp_path_factory, batch) -> None:
    store = Store.open(tmp_path_factory.mktemp("receiver"))
    try:
        for number in order:
            if number not in (3, 4):
                store.add(arrivals(batch(number)), 0)
        [host] = StoreReader(store.path, time.monotonic).hosts()
    finally:
        store.close()
    [gap] = host["spools"][0]["gaps"]
    assert gap == {"first": 3, "last": 4, "after": 1_764_000_020.0, "before": 1_764_000_040.0}


def test_an_operator_asks_for_sums_in_one_line(store, batch) -> None:
    store.add(arrivals(batch(1, 2.0), batch(2, 3.0)), 0)
    query = "select name, sum(value) from points where type = 'counter' group by 1"
    assert asked(store.path, query) == [("hits", 5.0)]


def test_the_last_value_is_the_newest_windows_whenever_it_arrives(store, reader, batch) -> None:
    store.add(arrivals(batch(9)), 0)
    store.add(arrivals(batch(3)), 1)
    [level] = reader.totals("level", 10)
    assert level["last"] == 9.0


def test_what_was_committed_is_there_after_opening_again(tmp_path, batch) -> None:
    for expected in (["cafe-1"], []):
        store = Store.open(tmp_path)
        try:
            assert store.add(arrivals(batch(1)), 0).accepted == expected
        finally:
            store.close()


def test_old_data_is_forgotten_a_little_at_a_time_and_new_data_stays(store, reader, batch) -> None:
    for number in range(1, 8):
        store.add(arrivals(batch(number)), received_at=number)
    store.add(arrivals(batch(1, host="web-2", spool="beef")), received_at=1)
    assert [store.forget(older_than=6, most=4) for _ in range(3)] == [4, 2, 0]
    assert reader.totals("hits", 10)[0]["windows"] == 2
    assert {each["host"] for each in reader.totals("*", 100)} == {"web-1"}
    for table in ("readings", "sketches"):
        assert asked(store.path, f"select count(*) from {table} where batch not in (select id from batches)") == [(0,)]
    assert asked(store.path, "select count(*) from series where host = 'web-2'") == [(0,)]
    assert [each["host"] for each in reader.hosts()] == ["web-1", "web-2"]


def test_only_the_newest_checkins_of_a_host_are_kept(store, reader) -> None:
    store._connection.execute("pragma synchronous = off")
    for number in range(CHECKINS_KEPT + 5):
        store.check_in("web-1", f'{{"host":"web-1","n":{number}}}', number)
    store.check_in("web-2", '{"host":"web-2"}', 0)
    assert asked(store.path, "select host, count(*), min(received_at) from checkins group by 1") == [
        ("web-1", CHECKINS_KEPT, 5.0),
        ("web-2", 1, 0.0),
    ]
    assert reader.hosts()[0]["checkin"]["body"]["n"] == CHECKINS_KEPT + 4


def test_a_generator_that_fails_leaves_nothing(store, reader, batch) -> None:
    def broken():
        yield from arrivals(batch(1))
        raise ValueError("the body went bad")

    with pytest.raises(ValueError, match="went bad"):
        store.add(broken(), 0)
    assert reader.counts() == {"batches": 0, "last_batch_at": None}
    assert store.add(arrivals(batch(1)), 0).accepted == ["cafe-1"]


def test_readers_see_committed_bodies_only_and_never_wait(store, reader, batch) -> None:
    def watched():
        yield from arrivals(batch(1))
        assert reader.counts()["batches"] == 0

    store.add(watched(), 0)
    assert reader.counts()["batches"] == 1


def test_the_folder_is_for_its_owner_alone(tmp_path) -> None:
    Store.open(tmp_path / "new" / "receiver").close()
    assert stat.S_IMODE((tmp_path / "new" / "receiver").stat().st_mode) == 0o700


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match=r"\[receiver\] dir"):
        Store.open(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "received.db").write_bytes(b"no database, and long enough to be looked at" * 40)
    with pytest.raises(StoreUnusable, match="not a database"):
        Store.open(tmp_path / "other")
    Store.open(tmp_path / "newer").close()
    connection = sqlite3.connect(tmp_path / "newer" / "received.db")
    connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(StoreUnusable, match="schema 99"):
        Store.open(tmp_path / "newer")


def test_events_and_checks_are_kept_with_their_words_once_and_go_with_their_batch(store) -> None:
    whole = sample.batch(1, *sample.SAID, *sample.MIXED)
    assert store.add(arrivals(part_of(whole, 1, 3)), 0).accepted == [f"{whole.key}/1-3"]
    assert store.add(arrivals(whole), 0).accepted == [whole.key]
    assert store.add(arrivals(whole), 0).duplicate == [whole.key]
    found = asked(store.path, "select host, name, type, tags, count, value, fields from events order by name, value")
    assert found == [
        ("web-1", "db.up", "service_check", "{}", 1, 0, "{}"),
        ("web-1", "db.up", "service_check", "{}", 3, 2, '{"text":"no answer"}'),
        ("web-1", "deploy", "event", '{"env":"prod"}', 1, None, '{"text":"v1 \\"out\\"\\nnow\\\\","timestamp":17}'),
        ("web-1", "deploy", "event", '{"env":"prod"}', 2, None, '{"text":"v2"}'),
    ]
    assert asked(store.path, "select count(distinct name) from points") == [(len(sample.MIXED),)]
    assert store.forget(older_than=1) == 1
    assert asked(store.path, "select count(*) from said") == [(0,)]


def test_a_database_of_schema_1_is_taken_over_and_a_gap_of_then_has_no_instants(tmp_path, batch) -> None:
    store = Store.open(tmp_path)
    store.add(arrivals(batch(1), batch(3)), 0)
    for statement in (
        "drop index batches_by_window",
        "drop view events",
        "drop table said",
        "alter table runs drop column first_start",
        "alter table runs drop column last_end",
        "pragma user_version = 1",
    ):
        store._connection.execute(statement)
    store.close()
    store = Store.open(tmp_path)
    try:
        store.add(arrivals(batch(6)), 0)
        [host] = StoreReader(store.path, time.monotonic).hosts()
    finally:
        store.close()
    assert [(gap["first"], gap["last"], gap["after"], gap["before"]) for gap in host["spools"][0]["gaps"]] == [
        (2, 2, None, None),
        (4, 5, None, 1_764_000_050.0),
    ]
