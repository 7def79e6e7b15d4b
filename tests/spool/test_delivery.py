"""What became of each batch at one destination, and what operators may change about it."""

import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.batch import State
from spool.delivery import (
    AttemptRow,
    Condition,
    Delivery,
    DeliveryReader,
    Settled,
    Terms,
    destinations_on_disk,
    ranges,
    within,
)
from spool.errors import SpoolMissing, SpoolUnusable

ACKED = Settled(State.ACKNOWLEDGED)


@pytest.fixture
def delivery(tmp_path):
    delivery = Delivery.open(tmp_path, "main", "spool-1")
    yield delivery
    delivery.close()


def attempt(*ids, started_at=100.0, outcome="acknowledged", total_ms=250.0):
    return AttemptRow(
        *(started_at, "backlog", min(ids), max(ids), len(ids), ranges(ids), 7, 1_000, outcome, "done", 200, None),
        *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, None, total_ms, 0.0, 1_200, 300, "127.0.0.1:443"),
    )


def test_a_batch_without_a_row_is_unsent(delivery):
    delivery.settle({2: ACKED, 4: Settled(State.DEAD, "400")}, 1.0)
    assert delivery.states(1, 5) == {2: State.ACKNOWLEDGED, 4: State.DEAD}
    assert delivery.state_row(3) is None
    assert delivery.state_row(4)["reason"] == "400"
    assert delivery.counts() == {"acknowledged": 1, "dead": 1}


def test_an_attempt_its_states_and_the_condition_are_one_transaction(delivery):
    condition = Condition(failures=0, last_ack_at=100.25)
    delivery._connection.execute(
        "CREATE TEMP TRIGGER no BEFORE UPDATE ON condition BEGIN SELECT raise(ABORT, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        delivery.record(attempt(1, 2), {1: ACKED, 2: ACKED}, condition)
    delivery._connection.execute("DROP TRIGGER no")
    assert (delivery.counts(), delivery.attempts()) == ({}, [])
    delivery.record(attempt(1, 2), {1: ACKED, 2: ACKED}, condition)
    (row,) = delivery.attempts()
    assert delivery.state_row(2) == {
        "batch": 2,
        "state": "acknowledged",
        "at": 100.25,
        "attempt": row["id"],
        "reason": None,
    }
    assert delivery.condition() == condition
    assert (row["ids"], row["close_ms"], row["total_ms"]) == ("1-2", None, 250.0)


def test_what_was_recorded_is_there_after_a_restart(delivery, tmp_path):
    delivery.record(attempt(1), {1: ACKED}, Condition(failures=3, next_try_at=160.0))
    delivery.close()
    with Delivery.open(tmp_path, "main", "spool-1") as again:
        assert again.condition() == Condition(failures=3, next_try_at=160.0)
        assert again.states(1, 9) == {1: State.ACKNOWLEDGED}


def test_attempts_are_found_by_each_batch_they_carried(delivery):
    delivery.record(attempt(1, 2, 5, started_at=10.0), {}, Condition())
    delivery.record(attempt(3, started_at=20.0), {}, Condition())
    assert [row["started_at"] for row in delivery.attempts(batch_id=5)] == [10.0]
    assert [row["started_at"] for row in delivery.attempts(batch_id=3)] == [20.0]  # within 1-5, not among them
    assert [row["started_at"] for row in delivery.attempts()] == [20.0, 10.0]
    assert [row["started_at"] for row in delivery.attempts(since=15.0)] == [20.0]


def test_an_acknowledgement_counts_whatever_stood_there(delivery):
    delivery.hold([1], 1.0, "op")
    delivery.settle({1: ACKED}, 2.0)
    assert delivery.states(1, 1) == {1: State.ACKNOWLEDGED}


def test_what_was_acknowledged_does_not_die_of_a_late_refusal(delivery):
    delivery.settle({1: ACKED}, 1.0)
    delivery.settle({1: Settled(State.DEAD, "400")}, 2.0)
    delivery.hold([2], 1.0, "op")
    delivery.settle({2: Settled(State.EXPIRED, "old")}, 2.0)
    assert delivery.states(1, 2) == {1: State.ACKNOWLEDGED, 2: State.HELD}


def test_hold_takes_unsent_batches_only_and_release_brings_them_back(delivery):
    delivery.settle({1: ACKED}, 1.0)
    assert delivery.hold([1, 2, 3], 2.0, "op") == 2
    assert delivery.states(1, 3) == {1: State.ACKNOWLEDGED, 2: State.HELD, 3: State.HELD}
    assert delivery.make_unsent([1, 2], 3.0, "op", "release", of=[State.HELD]) == 1
    assert delivery.states(1, 3) == {1: State.ACKNOWLEDGED, 3: State.HELD}


def test_every_change_by_an_operator_leaves_who_when_and_what(delivery):
    delivery.settle({1: ACKED, 2: ACKED}, 1.0)
    delivery.make_unsent([1, 2, 9], 50.0, "carol", "replay", of=[State.ACKNOWLEDGED])
    (row,) = delivery.changes()
    assert (row["who"], row["at"], row["command"], row["batches"], row["ids"]) == (
        *("carol", 50.0, "replay", 2),
        "1-2,9",
    )


def test_what_is_sent_as_new_counts_up_only_where_there_was_a_state_and_is_forgotten_with_its_batch(delivery):
    delivery.settle({1: ACKED, 2: ACKED}, 1.0)
    for _ in range(2):
        delivery.make_unsent([1, 2, 9], 50.0, "carol", "replay --as-new", [State.ACKNOWLEDGED], as_new=True)
    assert delivery.renewals(1, 9) == {1: 1, 2: 1}  # the second time they were unsent
    delivery.settle({2: ACKED}, 60.0)
    delivery.make_unsent([2], 70.0, "carol", "replay", [State.ACKNOWLEDGED])
    assert delivery.renewals(1, 9) == {1: 1, 2: 1}
    delivery.settle({2: ACKED}, 80.0)
    delivery.make_unsent([2], 90.0, "carol", "replay --as-new", [State.ACKNOWLEDGED], as_new=True)
    assert delivery.renewals(1, 9) == {1: 1, 2: 2}
    delivery.forget(0.0, below_batch=2)
    assert delivery.renewals(1, 9) == {2: 2}


def advance(delivery, batch_id):
    """Until it takes: after an operator's change the first call declines."""
    for _ in range(2):
        delivery.settle_through(batch_id)


def test_an_attempt_moves_the_mark_with_it_unless_an_operator_changed_something_meanwhile(delivery):
    delivery.settle(dict.fromkeys(range(1, 11), ACKED), 1.0)
    advance(delivery, 5)
    delivery.record(attempt(9, 10), {9: ACKED, 10: ACKED}, Condition(), 8)
    assert delivery.settled_through() == 8
    delivery.make_unsent([3], 2.0, "op", "replay", of=[State.ACKNOWLEDGED])
    delivery.record(attempt(11), {11: ACKED}, Condition(), 10)
    assert delivery.settled_through() == 2


def test_terms_are_kept_until_they_change(delivery):
    assert delivery.terms() is None
    for terms in (Terms("is known", "are taken"), Terms("counts twice", "are dropped", 3600)):
        delivery.set_terms(terms)
        assert delivery.terms() == terms
        before = delivery._connection.total_changes
        delivery.set_terms(terms)
        assert delivery._connection.total_changes == before


def test_a_replay_lowers_the_mark_below_what_it_made_unsent(delivery):
    delivery.settle(dict.fromkeys(range(1, 101), ACKED), 1.0)
    advance(delivery, 100)
    delivery.make_unsent([60, 40], 2.0, "op", "replay", of=[State.ACKNOWLEDGED])
    assert delivery.settled_through() == 39


def test_the_mark_does_not_pass_a_batch_that_an_operator_made_unsent_meanwhile(delivery, tmp_path):
    delivery.settle(dict.fromkeys(range(1, 101), ACKED), 1.0)
    advance(delivery, 50)
    # The shipper has just seen that everything up to 100 is settled ...
    with Delivery.open(tmp_path, "main", "spool-1") as operator:
        operator.make_unsent([60], 2.0, "op", "replay", of=[State.ACKNOWLEDGED])
    delivery.settle_through(100)  # ... and notes it too late.
    assert delivery.settled_through() == 50
    delivery.settle_through(59)  # it has looked again
    assert delivery.settled_through() == 59


def test_forgetting_keeps_the_states_of_what_is_still_held(delivery):
    delivery.settle(dict.fromkeys(range(1, 11), ACKED), 1.0)
    delivery.settle({11: ACKED}, 100.0)
    delivery.record(attempt(1, started_at=1.0), {}, Condition())
    delivery.note_minute(0, (1, 2, None), 3, 4)
    delivery.note_minute(60, (1, 2, 3.0), 3, 4)
    delivery.forget(before=50.0, below_batch=6)
    assert sorted(delivery.states(1, 99)) == [6, 7, 8, 9, 10, 11]
    assert delivery.attempts() == []
    assert [row["minute"] for row in delivery.minutes()] == [60]


def test_the_file_of_another_spool_is_set_aside_not_mixed_in(delivery, tmp_path):
    delivery.settle({1: ACKED}, 1.0)
    delivery.close()
    with Delivery.open(tmp_path, "main", "spool-2") as ours:
        assert ours.states(1, 9) == {}
        assert ours.spool_id() == "spool-2"
    aside = sqlite3.connect(tmp_path / "delivery-main.db.of-spool-spool-1")
    assert aside.execute("SELECT batch, state FROM states").fetchall() == [(1, "acknowledged")]
    aside.close()
    assert destinations_on_disk(tmp_path) == ["main"]


def test_a_reader_never_creates_a_delivery_file(tmp_path):
    with pytest.raises(SpoolMissing, match=r"delivery-main\.db: no such file"):
        DeliveryReader(tmp_path, "main")
    (tmp_path / "delivery-main.db").touch()
    with pytest.raises(SpoolMissing, match="is empty yet"):
        DeliveryReader(tmp_path, "main")
    assert [path.name for path in tmp_path.iterdir()] == ["delivery-main.db"]
    assert (tmp_path / "delivery-main.db").stat().st_size == 0


def test_a_file_from_a_newer_holdfast_is_refused(delivery, tmp_path):
    delivery._connection.execute("PRAGMA user_version = 999")
    with pytest.raises(SpoolUnusable, match="schema 999"):
        DeliveryReader(tmp_path, "main")
    with pytest.raises(SpoolUnusable, match="schema 999"):
        Delivery.open(tmp_path, "main", "spool-1")


FIRST_OPEN = """
import sys
from pathlib import Path
from spool.delivery import Delivery
sys.stdin.readline()
delivery = Delivery.open(Path(sys.argv[1]), "main", "spool-1")
delivery.hold([int(sys.argv[2])], 1.0, "op")
delivery.close()
"""


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        together = [
            subprocess.Popen(
                [sys.executable, "-c", FIRST_OPEN, folder, str(each)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for each in range(4)
        ]
        for child in together:
            child.stdin.write(b"\n")
            child.stdin.flush()
        errors = [child.communicate(timeout=30)[1].decode() for child in together]
        assert errors == [""] * 4
        with DeliveryReader(folder, "main") as reader:
            assert sorted(reader.states(0, 9)) == [0, 1, 2, 3]


@given(st.sets(st.integers(1, 200)))
def test_ids_as_text_are_the_ids(ids):
    assert {each for each in range(1, 202) if within(each, ranges(ids))} == ids


@pytest.mark.parametrize("text", ["", "-", "x", "1-x,5", "x-9,5", ",,5"])
def test_ids_that_the_disk_changed_are_left_out(text):
    assert [each for each in range(10) if within(each, text)] == ([5] if "5" in text else [])


def test_ids_as_text_are_short():
    assert ranges([8841, 8842, 8843, 8850]) == "8841-8843,8850"
    assert ranges([]) == ""
