"""`holdfast status`: one screen, one JSON object, an exit code, and no file made."""

import os
import re
import time

from spool.batch import State
from spool.connection import lock
from spool.delivery import Condition, Settled
from spool.heartbeat import beat


def test_a_spool_that_delivers_shows_ok(made) -> None:
    made.commit(5)
    made.acknowledge(range(1, 6))
    screen = made.run("status", "--exit-code").stdout
    assert "state      OK\n" in screen
    assert "2 series" in screen
    assert "backlog  empty" in screen
    assert "losses     none in 7d" in screen


def test_each_process_says_since_when_it_runs(made) -> None:
    made.commit(1)
    made.acknowledge([1])
    assert re.search(r"collector  receiving, beat \ds ago   since 1h", made.run("status").stdout)
    assert re.search(r"main       waiting, beat \ds ago   last ack", made.run("status").stdout)
    (made.directory / "shipper-main.lock").write_text("1")
    os.utime(made.directory / "shipper-main.lock", (time.time() - 7200,) * 2)
    assert re.search(r"main       waiting, beat \ds ago   since 2h   last ack", made.run("status").stdout)


def test_a_process_that_has_ended_is_told_by_its_lock(made) -> None:
    made.commit(1)
    made.acknowledge([1])
    with lock(made.directory, "collector"):
        beat(made.directory, "collector", time.time() - 8, "collecting")
        assert re.search(r"collector  collecting, beat [89]s ago", made.run("status").stdout)
    assert re.search(r"collector  ended [89]s ago   last commit", made.run("status").stdout)


def test_malformed_lines_are_visible_by_reason(made) -> None:
    made.commit(3, rejected={"bad_value": 2, "no_colon": 1})
    made.acknowledge([1, 2, 3])
    assert "9 of 300 lines in 1h: bad_value 6, no_colon 3" in made.run("status").stdout
    assert made.json("status")["intake"]["rejected_by"] == {"bad_value": 6, "no_colon": 3}


def test_a_failing_destination_shows_its_error_backlog_and_exit_code(made) -> None:
    made.commit(30)
    delivery = made.delivery()
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(1, 11)}, time.time())
    delivery.set_condition(
        Condition(3, time.time() + 20, last_ack_at=time.time() - 200, last_error="connection refused")
    )
    for minute in range(5):
        delivery.note_minute(int(time.time()) - 290 + 60 * minute, (4 * minute, 1000, None), 6, 1)
    result = made.run("status", "--exit-code", exit_code=1)
    assert "failing, 3 in a row   next try in" in result.stdout
    assert "error    connection refused" in result.stdout
    assert "20 batches  40 points" in result.stdout
    assert "▁▃▅▇█   draining 0.3/s, intake 0.1/s, empty in 1m" in result.stdout
    assert (
        "state      DEGRADED: main: last acknowledgement was 3m20s ago, 3 attempts in a row have failed"
        in result.stdout
    )


def test_check_ins_that_fail_have_a_line_that_says_since_when_and_why(made) -> None:
    made.commit(1)
    made.acknowledge([1])
    assert "check-in" not in made.run("status").stdout
    beat(made.directory, "checkin", time.time(), "waiting", failing={"main": [time.time() - 200, "connection refused"]})
    assert re.search(r"\n  check-in +failing since \d\d:\d\d:\d\d: connection refused\n", made.run("status").stdout)
    assert made.run("status", "--exit-code").stdout.count("OK") == 1
    beat(made.directory, "checkin", time.time(), "waiting", failing={"main": [time.time() - 400, "connection refused"]})
    told = "main: check-ins have failed for 6m40s, the server is not told: connection refused"
    assert f"state      DEGRADED: {told}" in made.run("status", "--exit-code", exit_code=1).stdout
    assert made.json("status")["destinations"][0]["checkin_error"] == "connection refused"


def test_of_a_batch_on_its_way_no_rate_is_said_and_of_a_stuck_backlog_that_it_stays(made) -> None:
    made.commit(5)
    made.acknowledge(range(1, 5))
    screen = made.run("status").stdout
    assert "backlog  1 batch  2 points" in screen
    assert "draining" not in screen
    made.run("replay", "1", "--apply")
    delivery = made.delivery()
    delivery.settle({}, time.time())
    with delivery._connection as db:
        db.execute("DELETE FROM changes")
        db.execute("UPDATE states SET at = at - 60")
    assert "draining 0.0/s, intake 0.1/s, never empty at this rate" in made.run("status").stdout


def test_windows_that_wait_in_memory_are_shown(made) -> None:
    made.commit(2)
    assert "in memory" not in made.run("status").stdout
    beat(made.directory, "collector", time.time(), "collecting", windows_waiting=2)
    assert "2 windows in memory, not committed yet" in made.run("status").stdout


def test_the_disk_line_says_how_long_an_outage_may_last(made) -> None:
    made.commit(2)
    assert "full in > 90d if nothing is delivered" in made.run("status").stdout
    made.config.write_text(made.config.read_text().replace("[spool]", "[spool]\nmax_bytes = 50_000_000"))
    assert re.search(r"full in \dd\d\dh if nothing is delivered", made.run("status").stdout)


def test_parked_and_dead_are_shown(made) -> None:
    made.commit(3)
    delivery = made.delivery()
    delivery.settle({1: Settled(State.DEAD, "400 bad type"), 2: Settled(State.HELD)}, time.time())
    delivery.set_condition(
        Condition(parked_since=time.time() - 60, parked_reason="401 Unauthorized", last_ack_at=time.time())
    )
    screen = made.run("status").stdout
    assert "parked since" in screen
    assert "401 Unauthorized" in screen
    assert "dead 1   held 1" in screen


def test_without_a_delivery_file_everything_is_unsent(made) -> None:
    made.commit(4)
    (main,) = made.json("status")["destinations"]
    assert (main["unsent_batches"], main["unsent_points"], main["last_ack_at"]) == (4, 8, None)


def test_a_delivery_file_of_an_unconfigured_destination_is_named(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    made.acknowledge([1], "old")
    _, old = made.json("status")["destinations"]
    assert (old["name"], old["configured"], old["unsent_batches"]) == ("old", False, 1)
    assert made.json("status")["state"] == "OK"
    assert "old        not configured any more" in made.run("status").stdout


def test_a_replay_of_old_batches_is_not_a_late_delivery(made) -> None:
    made.commit(400)  # the first is more than an hour old
    made.acknowledge(range(1, 401))
    assert made.json("status")["state"] == "OK"
    made.run("replay", "1", "--apply")
    document = made.json("status")
    assert (document["state"], document["destinations"][0]["unsent_batches"]) == ("OK", 1)


def test_a_damaged_delivery_file_is_a_reason_and_not_an_error(made) -> None:
    made.commit(2)
    (made.directory / "delivery-main.db").write_bytes(b"not a database" * 100)
    result = made.run("status", "--exit-code", exit_code=2)
    assert "state      FAIL: main: " in result.stdout
    assert "delivery-main.db" in result.stdout


def test_a_silent_collector_is_a_failure_whatever_its_files_say(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    beat(made.directory, "collector", time.time() - 120, "committing")
    with lock(made.directory, "collector"):
        os.utime(made.directory / "collector.lock", (0, 0))  # long ago
        assert "FAIL: collector has been silent for 2m (was in phase committing)" in made.run("status").stdout
    assert "FAIL: collector ended 2m ago: nobody has started it again" in made.run("status").stdout


def test_status_changes_no_file_and_makes_none_but_what_sqlite_needs_to_read(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    made.close()
    before = {path.name: path.stat().st_mtime_ns for path in made.directory.iterdir()}
    made.run("status")
    after = {path.name: path.stat().st_mtime_ns for path in made.directory.iterdir()}
    # Beside a stopped database in WAL mode, SQLite leaves an empty -wal and a -shm when it was opened read-only.
    assert {name: at for name, at in after.items() if not name.endswith(("-wal", "-shm"))} == before
    assert all(path.stat().st_size == 0 for path in made.directory.glob("*-wal"))


def test_a_missing_spool_is_one_sentence_and_makes_nothing(made) -> None:
    result = made.run("status", exit_code=2)
    assert result.stdout == ""
    assert str(made.directory) in result.stderr
    assert "started?" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not os.path.lexists(made.directory)


def test_a_spool_path_that_is_a_file_or_a_folder_in_the_way_is_one_sentence(made) -> None:
    made.directory.write_text("")
    assert len(made.run("status", exit_code=2).stderr.splitlines()) == 1
    made.directory.unlink()
    (made.directory / "spool.db").mkdir(parents=True)
    assert len(made.run("status", exit_code=2).stderr.splitlines()) == 1


def test_a_damaged_spool_is_one_sentence(made) -> None:
    made.directory.mkdir()
    (made.directory / "spool.db").write_bytes(b"no database" * 1000)
    assert "not a database" in made.run("status", exit_code=2).stderr
