"""`holdfast list` and `holdfast show`: the same ids everywhere, newest first, with what was tried."""

import json
import sqlite3
import time

from spool.batch import State
from spool.delivery import Condition, Settled


def test_list_shows_the_newest_first_with_states_tries_and_the_last_error(made, attempt) -> None:
    made.commit(10)
    made.acknowledge(range(1, 5))
    for _ in range(3):
        failed = attempt(range(5, 9), time.time(), "retry", "deadline 20 s passed while waiting for the answer")
        made.delivery().record(failed, {}, Condition(failures=1))
    rows = made.json("list")
    assert [row["id"] for row in rows] == list(range(10, 0, -1))
    assert [row["states"]["main"] for row in rows] == ["unsent"] * 6 + ["acknowledged"] * 4
    assert [row["tries"]["main"] for row in rows] == [0, 0, 3, 3, 3, 3, 1, 1, 1, 1]
    assert rows[2]["last_error"] == {"main": "deadline 20 s passed while waiting for the answer"}
    assert list(rows[0]) == [
        "id", "key", "window_start", "window_end", "window_seq", "committed_at", "points", "series", "raw_bytes",
        "payload_bytes", "states", "tries", "last_error",
    ]  # fmt: skip
    head, first, *_ = made.run("list").stdout.splitlines()
    assert head.split() == ["ID", "COLLECTED", "AGE", "POINTS", "SIZE", "STATE", "TRIES", "LAST", "ERROR"]
    assert first.split()[0] == "10"


def test_list_chooses_by_state_time_and_number(made) -> None:
    made.commit(700)  # more than a page
    made.acknowledge(range(1, 600))
    made.delivery().settle({650: Settled(State.DEAD, "400")}, time.time())
    assert [row["id"] for row in made.json("list", "--state", "dead")] == [650]
    assert [row["id"] for row in made.json("list", "--state", "acknowledged", "-n", "2")] == [599, 598]
    assert len(made.json("list", "-n", "10000")) == 700
    since = made.last_end - 55
    assert [row["id"] for row in made.json("list", "--since", f"@{since}")] == [700, 699, 698, 697, 696, 695]
    assert [row["id"] for row in made.json("list", "--until", f"@{since}", "-n", "1")] == [694]


def test_list_tells_destinations_apart(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    made.acknowledge([1], "old")
    assert made.json("list")[0]["states"] == {"main": "acknowledged", "old": "unsent"}
    assert "main:acknowledged old:unsent" in made.run("list").stdout
    assert made.json("list", "-d", "old", "-n", "1")[0]["states"] == {"old": "unsent"}
    assert made.json("list", "--state", "unsent") == made.json("list", "-n", "1")
    result = made.run("list", "-d", "prom", exit_code=2)
    assert "no destination is named 'prom'. Known here are: main, old." in result.stderr


def test_a_wrong_word_for_an_instant_is_usage(made) -> None:
    made.commit(1)
    assert "allowed is a length before now" in made.run("list", "--since", "noonish", exit_code=2).stderr


def test_show_tells_of_one_batch_and_its_attempts(made, attempt) -> None:
    made.commit(3)
    made.delivery().record(attempt([1, 2], time.time(), "retry", "connection refused"), {}, Condition(failures=1))
    made.acknowledge([2])
    screen = made.run("show", "2").stdout
    assert "main       acknowledged since" in screen
    assert ", 2 attempts" in screen
    assert "connection refused" in screen
    document = made.json("show", "2", "--points")
    assert document["states"]["main"]["state"] == "acknowledged"
    assert [each["outcome"] for each in document["attempts"]] == ["acknowledged", "retry"]
    assert document["attempts"][0]["wait_ms"] == 5.0
    assert [row["name"] for row in document["rows"]] == ["api.hits", "holdfast.lines"]
    assert "payload" not in document
    assert made.json("show", "3")["states"]["main"]["state"] == "unsent"


def test_show_raw_is_what_a_destination_gets(made) -> None:
    made.commit(1)
    document = json.loads(made.run("show", "1", "--raw").stdout)
    assert (document["v"], document["id"], document["host"]) == (1, 1, "web-1")
    assert document["key"] == f"{made.spool_id}-1"


def test_an_unknown_id_is_one_sentence(made) -> None:
    made.commit(1)
    result = made.run("show", "99", exit_code=2)
    assert "holds no batch 99" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_rotten_batch_is_shown_as_far_as_possible_and_ends_with_damage(made) -> None:
    made.commit(2)
    with sqlite3.connect(made.directory / "spool.db") as db:
        db.execute("UPDATE batches SET payload = x'1f8b00' WHERE id = 1")
    db.close()
    result = made.run("show", "1", "--points", exit_code=2)
    assert "!undecodable" in result.stdout
    assert "the disk changed it" in result.stderr and "see `holdfast show 1`" in result.stderr
    assert "the disk changed it" in made.run("show", "1", "--raw", exit_code=2).stderr
    assert {row["name"] for row in made.json("points")} == {"api.hits", "!undecodable"}


def test_a_delivery_file_that_cannot_be_read_does_not_keep_the_spool_from_being_seen(made) -> None:
    made.commit(2)
    broken = made.directory / "delivery-main.db"
    broken.write_bytes(b"")  # its shipper has just begun to make it
    assert made.json("list")[0]["states"] == {"main": "unsent"}
    broken.write_bytes(b"no database" * 1000)
    result = made.run("list", "--json")
    assert [row["id"] for row in json.loads(result.stdout)] == [2, 1]
    assert "delivery-main.db" in result.stderr
    assert "Shown as if nothing had been sent." in result.stderr
