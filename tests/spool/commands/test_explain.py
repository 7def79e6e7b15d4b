"""`holdfast explain`: for each state one says why, and what happens next."""

import time

import pytest

from spool.batch import State
from spool.connection import lock
from spool.delivery import Condition, Settled
from spool.explain import SHOWN_ATTEMPTS, Kept, Standing, history, what_next, why
from spool.heartbeat import beat


def test_an_acknowledged_batch_says_when_and_how_long_it_is_kept(made) -> None:
    made.commit(2)
    made.acknowledge([1])
    screen = made.run("explain", "1").stdout
    assert "Batch 1: collected" in screen and "(0.1 s after the window closed), 2 points." in screen
    assert "Attempt 1," in screen and "live -> 200, acknowledged after 0.02 s." in screen
    assert "Acknowledged" in screen and "Kept for replay until about" in screen


def test_an_unsent_batch_says_what_it_waits_for(made) -> None:
    made.commit(3)
    assert "no shipper has run" not in made.run("explain", "3").stdout, "its heartbeat is there"
    made.delivery().set_condition(Condition(failures=2, next_try_at=time.time() + 30, last_error="deadline 20 s"))
    screen = made.run("explain", "3").stdout
    assert "Unsent: 2 attempts in a row failed, the last with: deadline 20 s." in screen
    assert "the next try is in" in screen and "the newest window goes first, before 2 older batches" in screen
    assert "1 older batch is before it" in made.run("explain", "2").stdout
    made.delivery().set_condition(Condition(parked_since=time.time(), parked_reason="token_file t: gone. Mend it."))
    screen = made.run("explain", "3").stdout
    assert "parked since" in screen and "token_file t: gone. Mend it.\n" in screen
    beat(made.directory, "shipper-main", time.time() - 600, "waiting")
    made.delivery().set_condition(Condition())
    assert "Unsent: the shipper has been silent for 10m" in made.run("explain", "3").stdout
    beat(made.directory, "shipper-main", time.time() - 15, "waiting")
    lock(made.directory, "shipper-main").close()
    screen = made.run("explain", "3").stdout
    assert "Unsent: the shipper ended 15s ago." in screen and "it is sent when the shipper runs" in screen


def test_dead_expired_and_held_name_the_command_that_changes_it(made) -> None:
    made.commit(3)
    made.delivery().settle({1: Settled(State.DEAD, "400 bad"), 2: Settled(State.EXPIRED, "too old")}, time.time())
    made.delivery().hold([3], time.time(), "ann")
    assert "`holdfast dead requeue 1 --apply`" in made.run("explain", "1").stdout
    assert "`holdfast replay 2 --apply`" in made.run("explain", "2").stdout
    held = made.run("explain", "3").stdout
    assert "held by ann" in held and "`holdfast release 3 --apply`" in held and "hold by ann." in held


def test_a_batch_that_is_gone_is_explained_by_its_loss_or_by_its_age(made) -> None:
    made.commit(5)
    made.acknowledge([1, 2])
    made.delivery().settle({3: Settled(State.DEAD, "400 bad")}, time.time())
    made.run("prune", "--keep-age", "15s", "--apply")
    sent = made.run("explain", "1").stdout
    assert "not held any more" in sent and "No loss is recorded" in sent and "main: acknowledged" in sent
    lost = made.run("explain", "3").stdout
    assert "pruned by" in lost and "dead or expired" in lost
    assert made.json("explain", "3")["losses"][0]["first_batch"] == 3
    assert "there was never a batch 6; the newest is 5" in made.run("explain", "6", exit_code=2).stderr


def test_json_has_the_same_sentences(made) -> None:
    made.commit(1)
    document = made.json("explain", "1")
    (there,) = document["destinations"]
    assert (document["batch"]["id"], there["destination"], there["state"]) == (1, "main", "unsent")
    assert there["why"] and there["next"] and there["history"] == []


def row(number, outcome="retry"):
    return {
        "started_at": 1000.0 + number, "lane": "live", "batches": 1, "status": None, "phase": "wait",
        "outcome": outcome, "total_ms": 20_000.0, "error": "deadline",
    }  # fmt: skip


def standing(**given):
    known = {
        "destination": "main", "state": None, "attempts": (), "changes": (), "condition": Condition(),
        "older_unsent": 0, "silent_s": 1.0, "max_age_s": None,
    }  # fmt: skip
    return Standing(**known | given)


def test_of_many_attempts_the_first_and_the_last_are_told_and_how_many_are_not():
    told = list(history(standing(attempts=[row(number) for number in range(1, 15)]), 2000.0))
    assert len(told) == 2 * SHOWN_ATTEMPTS + 1
    assert told[0].startswith("Attempt 1,") and told[-1].startswith("Attempt 14,")
    assert told[SHOWN_ATTEMPTS] == f"... {14 - 2 * SHOWN_ATTEMPTS} attempts more; see `holdfast attempts --batch`."


def test_who_changed_it_is_told_at_its_place_in_time():
    changes = [{"at": 1001.5, "command": "replay", "who": "ann"}]
    told = list(history(standing(attempts=[row(1), row(2)], changes=changes), 2000.0))
    assert "replay by ann." in told[1]


@pytest.mark.parametrize("state", [None, *[each for each in State if each is not State.UNSENT]])
@pytest.mark.parametrize("silent_s", [None, 1.0, 100.0])
@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("max_age_s", [None, 60.0])
def test_there_is_a_sentence_for_everything(state, silent_s, configured, max_age_s):
    given = None if state is None else {"state": str(state), "at": 1000.0, "reason": "so"}
    at = standing(state=given, silent_s=silent_s, configured=configured, max_age_s=max_age_s)
    kept = Kept(1000.0, 86_400, 2_592_000, 604_800)
    for sentence in (why(at, 2000.0), what_next(7, at, kept, 2000.0)):
        assert len(sentence) > 10 and sentence.endswith(".") and ".." not in sentence
