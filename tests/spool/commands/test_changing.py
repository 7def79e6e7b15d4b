"""`holdfast replay`, `hold` and `release`: a plan first, then exactly the plan."""

import sqlite3
import threading
import time

from spool.batch import State
from spool.delivery import DeliveryReader, Settled, Terms


def states(made) -> dict[int, str]:
    with DeliveryReader(made.directory, "main") as delivery:
        return {each: str(state) for each, state in delivery.states(1, 10_000).items()}


def test_replay_without_apply_changes_nothing_and_says_so(made) -> None:
    made.commit(5)
    made.acknowledge(range(1, 5))
    before = states(made)
    screen = made.run("replay", "--since", "1h").stdout
    assert "main: 4 of 5 batches (8 points) would be sent again: 4 acknowledged" in screen
    assert "left as they are: 1 unsent, 0 held" in screen
    assert "nothing done (add --apply)" in screen
    assert states(made) == before


def test_replay_makes_batches_unsent_and_leaves_a_row_that_says_who(made) -> None:
    made.commit(5)
    made.acknowledge(range(1, 5))
    assert "main: 2 batches will be sent again" in made.run("replay", "2", "3", "--apply").stdout
    assert sorted(states(made)) == [1, 4]
    (change,) = made.json("query", "select command, batches, ids, who from changes")
    assert (change["command"], change["batches"], change["ids"]) == ("replay", 2, "2-3")
    assert change["who"]
    assert made.json("status")["destinations"][0]["unsent_batches"] == 3


def test_replay_of_a_range_works_in_chunks_and_only_on_the_state_asked_for(made) -> None:
    made.commit(1200)
    made.acknowledge(range(1, 1101))
    made.delivery().settle({1150: Settled(State.DEAD, "400"), 1160: Settled(State.HELD)}, time.time())
    assert made.json("replay", "--since", "1d", "--state", "dead", "--apply")["plans"][0]["sent_again"] == 1
    plan = made.json("replay", "--since", "1d", "--apply")["plans"][0]
    assert (plan["batches"], plan["sent_again"], plan["held"]) == (1100, 1100, 1)
    assert states(made) == {1160: "held"}
    assert [row["batches"] for row in made.json("query", "select batches from changes")] == [1, 500, 500, 100]


def test_replay_as_new_is_for_one_destination_and_done_all_at_once(made) -> None:
    made.commit(1200)
    made.acknowledge(range(1, 1101))
    made.delivery("backup").settle({1: Settled(State.ACKNOWLEDGED)}, time.time())
    assert "for one destination" in made.run("replay", "--since", "1d", "--as-new", exit_code=2).stderr
    screen = made.run("replay", "--since", "1d", "--as-new", "-d", "main").stdout
    assert "main: 1,100 of 1,200 batches (2,200 points) would be sent as new, under new keys: 1,100 ack" in screen
    done = made.json("replay", "--since", "1d", "--as-new", "-d", "main", "--apply")
    assert (done["as_new"], done["plans"][0]["sent_again"]) == (True, 1100)
    assert made.json("query", "select command, batches from changes") == [
        {"command": "replay --as-new", "batches": 1100}
    ]
    with DeliveryReader(made.directory, "main") as delivery:
        assert delivery.renewals(1, 10_000) == dict.fromkeys(range(1, 1101), 1)
    with DeliveryReader(made.directory, "backup") as delivery:
        assert delivery.renewals(1, 10_000) == {} and delivery.states(1, 1) == {1: State.ACKNOWLEDGED}


def test_replay_warns_of_batches_older_than_the_destination_takes(made) -> None:
    made.commit(400)  # max_age_s is an hour, 360 windows
    made.acknowledge(range(1, 401))
    plan = made.json("replay", "--since", "2h")["plans"][0]
    assert 39 <= plan["too_old"] <= 41
    assert (
        "of them are older than 1h ([destination.main] max_age_s) and would expire"
        in made.run("replay", "--since", "2h").stdout
    )


def test_replay_says_what_the_server_makes_of_copies_and_of_old_points(made) -> None:
    made.commit(400)
    made.acknowledge(range(1, 401), "backup")
    assert made.json("replay", "--since", "2h", "-d", "backup")["plans"][0]["terms"] is None
    made.delivery("backup").set_terms(Terms("counts twice", "are dropped after half an hour", 1800))
    plan = made.json("replay", "--since", "2h", "-d", "backup")["plans"][0]
    assert plan["terms"] == {"again": "counts twice", "old": "are dropped after half an hour", "takes_s": 1800}
    assert 219 <= plan["doubtful"] <= 221
    said = made.run("replay", "--since", "2h", "-d", "backup").stdout
    assert "there a batch sent twice counts twice; old points are dropped after half an hour" in said
    assert "of them are older than 30m: the server may not take them" in said
    said = made.run("replay", "--since", "2h", "-d", "backup", "--as-new").stdout
    assert "there a batch sent twice under one key counts twice" in said


def test_replay_is_per_destination(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    made.acknowledge([1, 2], "old")
    made.run("replay", "1", "2", "-d", "old", "--apply")
    rows = made.json("query", "select destination, count(*) n from states group by 1")
    assert rows == [{"destination": "main", "n": 2}]


def test_replay_needs_a_selection_and_known_ids(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    assert "Say which batches" in made.run("replay", "--apply", exit_code=2).stderr
    assert "Say which batches" in made.run("replay", "1", "--since", "1h", exit_code=2).stderr
    assert "holds no batch 9" in made.run("replay", "1", "9", "--apply", exit_code=2).stderr
    assert sorted(states(made)) == [1, 2]


def test_replay_before_anything_was_delivered_has_nothing_to_do(made) -> None:
    made.commit(2)
    assert "main: 0 of 2 batches" in made.run("replay", "1", "2", "--apply").stdout
    assert not (made.directory / "delivery-main.db").exists()


def shipper_that_settles(made, ids: list[int], state: State) -> threading.Thread:
    def settle() -> None:
        until = time.monotonic() + 10
        while states(made) and time.monotonic() < until:
            time.sleep(0.01)
        made.delivery().settle({each: Settled(state) for each in ids}, time.time())

    thread = threading.Thread(target=settle)
    thread.start()
    return thread


def test_waiting_ends_when_all_are_acknowledged_again(made) -> None:
    made.commit(3)
    made.acknowledge([1, 2, 3])
    shipper = shipper_that_settles(made, [1, 2, 3], State.ACKNOWLEDGED)
    result = made.run("replay", "1", "2", "3", "--apply", "--wait")
    shipper.join()
    assert "3 acknowledged" in result.stderr


def test_waiting_ends_with_attention_when_one_was_not_taken(made) -> None:
    made.commit(1)
    made.acknowledge([1])
    shipper = shipper_that_settles(made, [1], State.DEAD)
    assert "1 dead" in made.run("replay", "1", "--apply", "--wait", exit_code=1).stderr
    shipper.join()


def test_waiting_does_not_wait_for_what_was_evicted_meanwhile(made) -> None:
    made.commit(3)
    made.acknowledge([1, 2, 3])

    def evict() -> None:
        while len(states(made)) == 3:
            time.sleep(0.01)
        with sqlite3.connect(made.directory / "spool.db") as db:
            db.execute("DELETE FROM batches WHERE id = 1")
        db.close()

    collector = threading.Thread(target=evict)
    collector.start()
    assert "1 evicted" in made.run("replay", "1", "--apply", "--wait", exit_code=1).stderr
    collector.join()


def test_what_is_not_unsent_is_not_held_and_it_is_said_why(made) -> None:
    made.commit(3)
    made.acknowledge([1])
    for words in (["1"], ["1", "2", "--apply"]):
        told = made.run("hold", *words, exit_code=2).stderr
        assert "not unsent: 1 (acknowledged at main)." in told
    assert states(made) == {1: "acknowledged"}, "all or nothing, as with `dead requeue`"
    made.delivery("other")
    assert made.json("hold", "1")["batches"] == {"main": 0, "other": 1}, "unsent somewhere"


def test_hold_and_release_are_plans_until_applied(made) -> None:
    made.commit(3)
    made.acknowledge([1])
    assert "main: 1 batch to hold" in made.run("hold", "2").stdout
    assert states(made) == {1: "acknowledged"}
    assert "main: 2 batches held" in made.run("hold", "2", "3", "--apply").stdout
    assert states(made) == {1: "acknowledged", 2: "held", 3: "held"}
    assert "main: 2 batches to release" in made.run("release", "--all").stdout
    assert "main: 1 batch released" in made.run("release", "1", "2", "--apply").stdout
    assert states(made) == {1: "acknowledged", 3: "held"}
    assert made.json("release", "--all") == {"applied": False, "batches": {"main": 1}}
    assert "Say which batches" in made.run("release", exit_code=2).stderr
    assert "holds no batch 9" in made.run("hold", "9", exit_code=2).stderr
