"""`holdfast dead`: what was refused for good is seen with the server's words, and decided about by a person."""

import time

from spool.batch import State
from spool.delivery import DeliveryReader, Settled
from spool.human import clock
from spool.writer import SpoolWriter


def states(made) -> dict[int, str]:
    with DeliveryReader(made.directory, "main") as delivery:
        return {each: str(state) for each, state in delivery.states(1, 10_000).items()}


def a_spool(made) -> None:
    """Five windows: 1 acknowledged, 2 and 3 dead, 4 expired."""
    made.commit(5)
    made.acknowledge([1])
    dead = Settled(State.DEAD, "400 field type conflict")
    made.delivery().settle({2: dead, 3: dead, 4: Settled(State.EXPIRED, "old")}, time.time() - 3600)


def test_the_dead_are_listed_with_the_servers_words(made) -> None:
    a_spool(made)
    rows = made.json("dead", "list")
    assert [(each["batch"], each["destination"], each["held"]) for each in rows] == [
        (3, "main", True),
        (2, "main", True),
    ]
    assert {each["reason"] for each in rows} == {"400 field type conflict"}
    assert "400 field type conflict" in made.run("dead", "list").stdout
    assert len(made.json("dead", "list", "-n", "1")) == 1


def test_without_a_dead_batch_the_list_says_so(made) -> None:
    made.commit(1)
    assert made.json("dead", "list") == []
    assert "no dead batches" in made.run("dead", "list").stderr


def test_one_is_shown_with_what_can_be_done(made) -> None:
    a_spool(made)
    screen = made.run("dead", "show", "2").stdout
    assert "400 field type conflict" in screen
    assert "holdfast dead requeue 2 --apply" in screen and "holdfast dead drop 2 --apply" in screen
    assert made.json("dead", "show", "2")["states"]["main"]["state"] == "dead"
    assert "batch 1 is dead nowhere" in made.run("dead", "show", "1", exit_code=2).stderr


def test_requeued_they_are_unsent_under_a_name(made) -> None:
    a_spool(made)
    assert "main: 1 batch would be sent again" in made.run("dead", "requeue", "2").stdout
    assert states(made)[2] == "dead"
    made.run("dead", "requeue", "2", "--apply")
    assert states(made) == {1: "acknowledged", 3: "dead", 4: "expired"}
    assert made.json("dead", "requeue", "--all", "--apply") == {"applied": True, "batches": {"main": 1}}
    assert states(made) == {1: "acknowledged", 4: "expired"}
    changes = made.json("query", "select command, ids from changes order by id")
    assert changes == [{"command": "dead requeue", "ids": "2"}, {"command": "dead requeue", "ids": "3"}]


def test_requeued_are_those_that_are_held_and_no_others_are_said_to_be(made) -> None:
    a_spool(made)
    writer = SpoolWriter.open(made.directory, "web-1")
    writer.evict([], [2], 1.0)
    writer.close()
    assert made.json("dead", "requeue", "--all", "--apply") == {"applied": True, "batches": {"main": 1}}
    assert states(made)[2] == "dead", "how it ended"


def test_dropped_they_are_expired_with_who_did_it_and_why_they_were_dead(made) -> None:
    a_spool(made)
    before = made.json("dead", "list")[0]["at"]
    assert "main: 2 batches would be dropped" in made.run("dead", "drop", "--all").stdout
    made.run("dead", "drop", "3", "--apply")
    with DeliveryReader(made.directory, "main") as delivery:
        row = delivery.state_row(3)
    assert row["state"] == "expired" and row["at"] == before
    assert row["reason"].startswith("dropped by ") and row["reason"].endswith("; was dead: 400 field type conflict")
    assert states(made)[2] == "dead"
    (change,) = made.json("query", "select command, who, ids from changes")
    assert (change["command"], change["ids"]) == ("dead drop", "3") and change["who"]
    # It is a decision, not a new loss: health stays as it was.
    assert made.json("status")["destinations"][0]["recent_dead"] == 0


def test_what_was_dropped_is_expired_since_then_and_no_matter_of_health(made) -> None:
    made.commit(2)
    made.delivery().settle({1: Settled(State.DEAD, "400 bad"), 2: Settled(State.EXPIRED, "old")}, time.time() - 200)
    died = clock(made.json("dead", "list")[0]["at"], time.time())
    made.run("dead", "drop", "1", "--apply")
    dropped = made.json("query", "select at from changes")[0]["at"]
    screen = made.run("explain", "1").stdout
    assert f"Expired {clock(dropped, time.time())}: dropped by " in screen
    assert f"; was dead: 400 bad, since {died}." in screen
    told = made.json("status")["destinations"][0]
    assert (told["dead"], told["expired"], told["recent_dead"], told["recent_expired"]) == (0, 2, 1, 1)


def test_a_dropped_batch_can_still_be_replayed(made) -> None:
    a_spool(made)
    made.run("dead", "drop", "3", "--apply")
    made.run("replay", "3", "--state", "expired", "--apply")
    assert 3 not in states(made)


def test_a_destination_where_nothing_of_it_is_dead_is_not_named(made) -> None:
    a_spool(made)
    made.delivery("other")
    for command, done in (("requeue", "would be sent again"), ("drop", "would be dropped")):
        assert made.run("dead", command, "2").stdout.splitlines()[:-1] == [f"main: 1 batch {done}"]
    made.run("dead", "drop", "--all", "--apply")
    assert len(made.run("dead", "drop", "--all").stdout.splitlines()) == 3, "nowhere: said of each"


def test_what_is_not_dead_is_refused_and_nothing_is_changed(made) -> None:
    a_spool(made)
    before = states(made)
    for command in ("requeue", "drop"):
        assert "not dead: 1, 9" in made.run("dead", command, "1", "2", "9", "--apply", exit_code=2).stderr
        assert "Say which batches" in made.run("dead", command, "--apply", exit_code=2).stderr
        assert "Say which batches" in made.run("dead", command, "2", "--all", "--apply", exit_code=2).stderr
    assert states(made) == before
