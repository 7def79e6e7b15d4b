"""`holdfast drain`: comes back when all is delivered, or at its deadline with what is left and why."""

import threading
import time

from spool.batch import State
from spool.connection import lock
from spool.delivery import Condition, Settled


def test_with_nothing_owed_it_comes_back_at_once(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    assert made.run("drain").stdout == "main: drained\n"
    assert made.json("drain")["drained"] is True


def test_it_waits_until_the_last_batch_is_settled(made) -> None:
    made.commit(3)
    made.acknowledge([1])

    def deliver() -> None:
        time.sleep(0.8)
        made.delivery().settle({2: Settled(State.ACKNOWLEDGED), 3: Settled(State.DEAD, "400")}, time.time())

    shipper = threading.Thread(target=deliver)
    shipper.start()
    begun = time.monotonic()
    assert made.run("drain", "--deadline", "20s").stdout == "main: drained, 1 dead\n"
    shipper.join()
    assert 0.5 < time.monotonic() - begun < 10


def test_what_is_collected_afterwards_is_not_waited_for(made) -> None:
    made.commit(2)

    def collect_and_deliver() -> None:
        time.sleep(0.3)
        made.commit(1)
        made.delivery().settle({1: Settled(State.ACKNOWLEDGED), 2: Settled(State.ACKNOWLEDGED)}, time.time())

    made.acknowledge([1])
    both = threading.Thread(target=collect_and_deliver)
    both.start()
    assert made.run("drain", "--deadline", "20s").stdout == "main: drained\n"
    both.join()


def test_at_the_deadline_it_says_what_is_left_and_why(made) -> None:
    made.commit(4)
    made.acknowledge([1])
    assert "main: 3 batches unsent: no shipper runs" in made.run("drain", "--deadline", "1s", exit_code=1).stdout
    with lock(made.directory, "shipper-main"):
        assert "still sending" in made.run("drain", "--deadline", "0s", exit_code=1).stdout
        made.delivery().set_condition(Condition(failures=3, next_try_at=time.time() + 60, last_error="refused"))
        screen = made.run("drain", "--deadline", "0s", exit_code=1).stdout
        assert "3 attempts in a row failed, next try in" in screen and "refused" in screen
        made.delivery().set_condition(Condition(parked_since=time.time(), parked_reason="401"))
        assert "parked since" in made.run("drain", "--deadline", "0s", exit_code=1).stdout


def test_a_destination_whose_shipper_never_ran_owes_everything(made) -> None:
    made.commit(4)
    document = made.run("drain", "--deadline", "0s", "--json", exit_code=1).stdout
    assert '"unsent": 4' in document and "has never run" in document


def test_held_batches_are_left_and_named(made) -> None:
    made.commit(2)
    made.acknowledge([1])
    made.delivery().hold([2], time.time(), "op")
    with lock(made.directory, "shipper-main"):
        begun = time.monotonic()
        screen = made.run("drain", exit_code=1).stdout
    assert "main: nothing unsent, 1 held: `holdfast release" in screen
    assert time.monotonic() - begun < 10, "no deadline makes a person let them go"


def test_a_running_collector_is_mentioned(made) -> None:
    made.commit(1)
    made.acknowledge([1])
    assert "collector runs" not in made.run("drain").stderr
    with lock(made.directory, "collector"):
        assert "the collector runs" in made.run("drain").stderr
