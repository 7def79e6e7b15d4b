"""`holdfast tail`: each thing that happens is told once, in order, with the words of the log."""

import json
import time
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from spool import tail as module
from spool.batch import State
from spool.delivery import Condition, DeliveryReader, Settled
from spool.reader import SpoolReader
from spool.tail import Tail


@pytest.fixture
def look(made):
    """Look for what is new, as pairs of what and batches."""
    watcher = Tail()

    def looked():
        with SpoolReader(made.directory) as spool, DeliveryReader(made.directory, "main") as delivery:
            return [(each.what, each.batches) for each in watcher.look(spool, {"main": delivery})]

    return looked


def test_what_happened_last_is_shown_oldest_first(made) -> None:
    made.commit(3, rejected={"bad_value": 2})
    made.acknowledge([1, 2])
    rows = [json.loads(line) for line in made.run("tail", "--json").stdout.splitlines()]
    assert [(each["what"], each["destination"], each["batches"]) for each in rows] == [
        ("committed", None, "1"), ("committed", None, "2"), ("committed", None, "3"), ("sent", "main", "1-2"),
    ]  # fmt: skip
    assert "2 points of 100 lines, 2 lines rejected" in rows[0]["text"]
    screen = made.run("tail", "-n", "1").stdout
    assert "sent" in screen and "2 batches" in screen and "committed" not in screen


def test_each_thing_is_told_once(made, look, attempt) -> None:
    made.commit(1)
    delivery = made.delivery()
    assert look() == [("committed", "1")]
    assert look() == []
    delivery.record(attempt([1], time.time(), "retry", "deadline"), {}, Condition(failures=1))
    assert look() == [("failed", "1-1")]
    delivery.record(attempt([1], time.time()), {1: Settled(State.ACKNOWLEDGED)}, Condition())
    assert look() == [("sent", "1-1")]
    made.commit(1)
    assert look() == [("committed", "2")]
    delivery.settle({2: Settled(State.DEAD, "400")}, time.time())
    assert look() == [("dead", "2")]
    delivery.make_unsent([2], time.time(), "op", "replay", [State.DEAD])
    assert look() == [("changed", "2")]
    delivery.settle({2: Settled(State.EXPIRED, "old")}, time.time())
    assert look() == [("expired", "2")]
    assert look() == []


def test_parking_and_resuming_are_told(made, look) -> None:
    made.commit(1)
    delivery = made.delivery()
    look()
    delivery.set_condition(Condition(parked_since=1_764_000_000.0, parked_reason="401"))
    assert look() == [("parked", "")]
    assert look() == []
    delivery.set_condition(Condition(last_ack_at=1_764_000_100.0))
    assert look() == [("resumed", "")]


def test_a_parking_that_is_over_is_told_by_who_looks_first_afterwards(made, attempt) -> None:
    made.commit(2)
    delivery, now = made.delivery(), time.time()
    delivery.record(attempt([1], now - 100, "park", "401 no"), {}, Condition(failures=1, parked_since=now - 80))
    delivery.record(attempt([1], now - 70, "park", "401 no"), {}, Condition(failures=2, parked_since=now - 80))
    seen = [json.loads(line) for line in made.run("tail", "--json").stdout.splitlines()]
    assert [each["what"] for each in seen if each["destination"]] == ["failed", "parked", "failed"]
    delivery.record(attempt([1], now - 19), {1: Settled(State.ACKNOWLEDGED)}, Condition(last_ack_at=now - 19))
    seen = [json.loads(line) for line in made.run("tail", "--json").stdout.splitlines()]
    told = [(each["what"], each["text"]) for each in seen if each["what"] in ("parked", "resumed")]
    assert told == [("parked", "401 no"), ("resumed", "after 1m01s")]


def test_of_a_parking_that_began_before_what_is_looked_at_only_the_present_is_told(attempt) -> None:
    rows = [asdict(attempt([1], 1_000.0 + 30 * number, "park", "401")) for number in range(module.MANY)]
    assert module.parked_and_resumed("main", rows, Condition(), None) == ([], None)
    (parked,), since = module.parked_and_resumed("main", rows, Condition(parked_since=7.0), None)
    assert (parked.what, parked.at, since) == ("parked", 7.0, 7.0)


def test_losses_and_what_operators_did_to_the_spool_are_told(made, look) -> None:
    made.commit(4)
    made.delivery()
    look()
    made.run("prune", "--keep-age", "1s", "--unsent", "--apply")
    assert sorted(look()) == [("changed", "1-3"), ("lost", "1-3")]


def test_following_goes_on_until_it_is_interrupted(made, monkeypatch) -> None:
    made.commit(1)
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 1:
            made.last_end += 10
            made.commit(1)
        else:
            raise KeyboardInterrupt

    # This module's alone: threads that other tests have left here sleep, too.
    monkeypatch.setattr("spool.cli.time", SimpleNamespace(**{**vars(time), "sleep": wait}))
    screen = made.run("tail", "-f").stdout
    assert screen.count("committed") == 2 and len(waited) == 2


def test_characters_that_could_steer_a_terminal_are_written_out(made) -> None:
    made.commit(1)
    made.delivery().settle({1: Settled(State.DEAD, "\x1b[2J")}, time.time())
    assert "\x1b[2J" not in made.run("tail").stdout


def test_a_run_of_ids_is_short():
    assert [module._run({"first_batch": a, "last_batch": b}) for a, b in ((None, None), (3, 3), (3, 4), (3, 900))] == [
        "", "3", "3-4", "3-900",
    ]  # fmt: skip
