"""`holdfast prune`: what goes is what was planned, is recorded with a name, and never what is owed unless asked for."""

import json
import os
import sqlite3

import pytest

from spool.batch import State
from spool.commands.changing import ErrandFailed
from spool.connection import lock
from spool.delivery import Settled
from spool.reader import SpoolReader


def ids(made) -> list[int]:
    with SpoolReader(made.directory) as spool:
        return [each.id for each in spool.headers_after(0)]


def a_spool(made) -> None:
    """Ten windows: 1-4 acknowledged, 5 dead, 6 expired, 7 held, 8-10 unsent."""
    made.commit(10)
    made.acknowledge(range(1, 5))
    made.delivery().settle({5: Settled(State.DEAD, "400"), 6: Settled(State.EXPIRED, "old")}, 1.0)
    made.delivery().hold([7], 1.0, "op")


def test_without_apply_nothing_goes_and_the_plan_says_what_would(made) -> None:
    a_spool(made)
    screen = made.run("prune", "--keep-age", "15s").stdout
    assert "acknowledged: 4 batches (8 points" in screen
    assert "dead: 2 batches (4 points" in screen
    assert "unsent" not in screen
    assert "nothing done (add --apply)" in screen
    assert ids(made) == list(range(1, 11))


def test_by_age_only_what_is_settled_goes_and_only_the_dead_are_losses(made) -> None:
    a_spool(made)
    assert "deleted 6 batches, 12 points" in made.run("prune", "--keep-age", "15s", "--apply").stdout
    assert ids(made) == [7, 8, 9, 10]
    (loss,) = made.json("losses")
    assert (loss["first_batch"], loss["last_batch"], loss["points"]) == (5, 6, 4)
    assert loss["reason"].startswith("pruned by ") and loss["reason"].endswith(" (dead)")
    assert made.json("status")["losses"]["recent_rows"] == 0, "what was dead before is no new loss"
    (change,) = made.json("query", "select * from changes where destination is null")
    assert (change["command"], change["batches"], change["ids"]) == ("prune --keep-age 15s", 6, "1-6")


def test_age_is_counted_from_the_newest_window(made) -> None:
    a_spool(made)
    made.run("prune", "--keep-age", "70s", "--apply")
    assert ids(made) == list(range(3, 11))


def test_what_is_owed_goes_only_when_asked_for_and_is_a_loss_with_its_destination(made) -> None:
    a_spool(made)
    made.run("prune", "--keep-age", "1s", "--unsent", "--apply")
    assert ids(made) == [10], "the newest window stays"
    losses = {each["reason"]: each for each in made.json("losses") if not each["reason"].endswith("(dead)")}
    (loss,) = losses.values()
    assert (loss["first_batch"], loss["last_batch"], json.loads(loss["unsent_at"])) == (7, 9, ["main"])


def test_by_size_the_acknowledged_go_first_and_no_more_than_needed(made) -> None:
    a_spool(made)
    with SpoolReader(made.directory) as spool:
        each_bytes = spool.extent()["payload_bytes"] / 10 + 200
    made.run("prune", "--keep-size", str(int(7.5 * each_bytes)), "--apply")
    assert ids(made) == list(range(4, 11))
    made.run("prune", "--keep-size", str(int(5.5 * each_bytes)), "--apply")
    assert ids(made) == list(range(6, 11))
    made.run("prune", "--keep-size", "0", "--apply")
    assert ids(made) == [7, 8, 9, 10]


def test_many_go_in_pieces_each_with_its_row(made) -> None:
    made.commit(450)
    made.acknowledge(range(1, 451))
    made.run("prune", "--keep-age", "1s", "--apply")
    assert ids(made) == [450]
    changes = made.json("query", "select batches from changes where destination is null")
    assert [each["batches"] for each in changes] == [200, 200, 49]


def test_a_prune_that_is_interrupted_says_how_far_it_was_and_leaves_a_consistent_spool(made, monkeypatch) -> None:
    made.commit(450)
    made.acknowledge(range(1, 451))
    from spool.writer import SpoolWriter

    evict, calls = SpoolWriter.evict, []

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evict(*arguments, **named)

    monkeypatch.setattr(SpoolWriter, "evict", interrupted)
    result = made.run("prune", "--keep-age", "1s", "--apply", exit_code=1)
    assert "interrupted: 200 of 449 batches are done and stay done" in result.stderr
    assert ids(made) == list(range(201, 451))
    monkeypatch.undo()
    made.run("prune", "--keep-age", "1s", "--apply")
    assert ids(made) == [450]


def test_a_batch_made_unsent_after_the_plan_stays(made, monkeypatch) -> None:
    a_spool(made)
    from spool.commands import prune as command

    def meanwhile(*arguments):
        made.delivery().make_unsent([2], 1.0, "op", "replay", [State.ACKNOWLEDGED])
        return have_done(*arguments)

    have_done = command.have_done
    monkeypatch.setattr(command, "have_done", meanwhile)
    made.run("prune", "--keep-age", "15s", "--apply")
    assert ids(made) == [2, 7, 8, 9, 10]


def test_prune_needs_to_know_what_to_keep(made) -> None:
    a_spool(made)
    assert "Say what to keep" in made.run("prune", exit_code=2).stderr
    assert "allowed is a length" in made.run("prune", "--keep-age", "soon", exit_code=2).stderr
    assert "allowed is a size" in made.run("prune", "--keep-size", "much", exit_code=2).stderr
    assert "goes with no other" in made.run("prune", "--keep-size", "1M", "-d", "old", exit_code=2).stderr


def test_a_destination_that_is_gone_from_the_configuration_is_finished_by_setting_its_file_aside(made) -> None:
    made.commit(3)
    made.acknowledge([1], "old")
    made.close()
    assert "2 batches held here never got there" in made.run("prune", "-d", "old").stdout
    assert (made.directory / "delivery-old.db").exists()
    document = made.json("prune", "-d", "old", "--apply")
    assert document["unsent"] == 2
    assert not (made.directory / "delivery-old.db").exists()
    with sqlite3.connect(document["file"]) as db:
        assert db.execute("SELECT batch FROM states").fetchall() == [(1,)]
    db.close()
    assert [each["name"] for each in made.json("status")["destinations"]] == ["main"]


def test_a_destination_that_is_still_wanted_or_still_served_is_not_finished(made) -> None:
    made.commit(3)
    made.acknowledge([1])
    made.acknowledge([1], "old")
    assert "still in the configuration" in made.run("prune", "-d", "main", "--apply", exit_code=2).stderr
    with lock(made.directory, "shipper-old"):
        assert "already has a shipper-old" in made.run("prune", "-d", "old", "--apply", exit_code=2).stderr
    assert (made.directory / "delivery-old.db").exists()


def test_a_collector_that_fails_at_it_is_quoted(made, monkeypatch) -> None:
    a_spool(made)
    from spool.commands import changing
    from spool.errand import Done

    monkeypatch.setattr(changing, "carry_out", lambda *_: Done({}, True, "the disk is full"))
    assert "prune: the disk is full" in made.run("prune", "--keep-age", "1s", "--apply", exit_code=1).stderr
    assert ErrandFailed.exit_code == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_asks_for_belongs_to_the_spools_owner(made) -> None:
    from spool.errand import _write

    made.commit(1)
    os.chown(made.directory, 12_345, 12_345)
    _write(made.directory / "errand-1-a.json", b"{}")
    assert (made.directory / "errand-1-a.json").stat().st_uid == 12_345
