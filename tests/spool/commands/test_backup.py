"""`holdfast backup`: a copy that is whole, of its own identity, and for which no commit waits."""

import os
import sqlite3
import threading
import time

import pytest

from spool.audit import audited
from spool.backup import backup
from spool.batch import Point, Window
from spool.delivery import DeliveryReader, Settled, State
from spool.reader import SpoolReader
from spool.writer import SpoolWriter


def held(directory) -> dict[str, bytes]:
    with SpoolReader(directory) as spool:
        return {each.key: spool.batch(each.id).verified() for each in spool.headers_after(0, 100_000)}


def test_the_copy_holds_every_batch_and_every_state(made, tmp_path) -> None:
    made.commit(5)
    made.acknowledge([1, 2])
    made.delivery("old").settle({3: Settled(State.DEAD, "400")}, 1.0)
    made.run("backup", str(tmp_path / "copy"))
    files = sorted((tmp_path / "copy").iterdir())
    assert [each.name for each in files] == ["delivery-main.db", "delivery-old.db", "spool.db"]
    assert {oct(each.stat().st_mode & 0o777) for each in files} == {"0o600"}
    assert held(tmp_path / "copy") == held(made.directory)
    for name in ("main", "old"):
        with DeliveryReader(made.directory, name) as one, DeliveryReader(tmp_path / "copy", name) as other:
            assert one.state_rows() == other.state_rows()
            assert one.attempts() == other.attempts()


def test_a_copy_put_to_work_uses_other_keys_than_the_original(made, tmp_path) -> None:
    made.commit(3)
    made.acknowledge([1])
    document = made.json("backup", str(tmp_path / "copy"))
    assert document["spool_id"] != made.spool_id
    original = set(held(made.directory))
    made.commit(1)
    made.directory = tmp_path / "copy"
    made.commit(1)
    assert set(held(tmp_path / "copy")) == {*original, f"{document['spool_id']}-4"}
    delivery = made.delivery()  # of the copy: it is taken for the copy's, not set aside
    assert delivery.states(1, 10) == {1: State.ACKNOWLEDGED}


def test_a_folder_that_is_there_is_not_written_to(made, tmp_path) -> None:
    made.commit(1)
    (tmp_path / "copy").mkdir()
    assert "is there already" in made.run("backup", str(tmp_path / "copy"), exit_code=2).stderr
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_copy_within_the_spool_would_push_out_what_it_is_a_copy_of(made, tmp_path) -> None:
    made.commit(1)
    (tmp_path / "link").symlink_to(made.directory)
    for each in (made.directory / "copy", made.directory / "hangs" / "copy", tmp_path / "link" / "copy"):
        assert "within the spool's folder" in made.run("backup", str(each), exit_code=2).stderr
    assert not list(made.directory.rglob("copy"))


def test_what_is_delivered_and_evicted_during_a_backup_is_not_missed_in_the_copy(made, tmp_path) -> None:
    made.commit(8, rejected={"no_value": 2})
    made.acknowledge([1])
    writer = SpoolWriter.open(made.directory, "web-1")
    steps = []

    def meanwhile() -> None:
        if not steps:  # after the delivery file, which is copied in one step
            made.acknowledge([2, 3, 4])
            writer.evict([], [1, 2, 3], time.time())
        steps.append(1)

    backup(made.directory, tmp_path / "copy", lambda *_: None, meanwhile)
    writer.close()
    for each in (made.directory, tmp_path / "copy"):
        assert audited(each, ["main"], lambda _: None).problems == ()
    with DeliveryReader(tmp_path / "copy", "main") as delivery:
        assert sorted(delivery.states(1, 9)) == [1, 2, 3], "and 4, which is held, goes again"


def test_a_backup_that_is_interrupted_leaves_nothing(made, tmp_path, monkeypatch) -> None:
    made.commit(3)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("spool.backup._identities", interrupt)
    made.run("backup", str(tmp_path / "copy"), exit_code=1)
    assert not (tmp_path / "copy").exists()


def test_no_commit_waits_for_a_backup_and_the_copy_is_of_one_instant(made, tmp_path, monkeypatch) -> None:
    """20 MB of payloads, and commits that would make a backup without a snapshot start anew again and again."""
    made.commit(1)
    with sqlite3.connect(made.directory / "spool.db") as db:
        db.executemany(
            "INSERT INTO batches VALUES (?, ?, 0, 1, 1, 1, 1, 1, 1, ?, '')",
            [(number, f"filler-{number}", os.urandom(100_000)) for number in range(2, 202)],
        )
    db.close()
    writer = SpoolWriter.open(made.directory, "web-1")
    stop, took_s, committed = threading.Event(), [], []

    def commit() -> None:
        while not stop.is_set():
            seq = writer.next_window_seq()
            begun = time.monotonic()
            committed.append(writer.commit(Window(seq, 0, 1, [Point("a", "counter", {}, {"value": 1.0})]), 1.0)[0].id)
            took_s.append(time.monotonic() - begun)

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        made.run("backup", str(tmp_path / "copy"))
    finally:
        stop.set()
        thread.join()
        writer.close()
    assert len(took_s) > 5
    assert max(took_s) < 1.0
    with sqlite3.connect(tmp_path / "copy" / "spool.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        batches, windows = (
            [row[0] for row in db.execute(sql)]
            for sql in (
                "SELECT id FROM batches WHERE id > 201",
                "SELECT last_batch FROM windows WHERE last_batch > 201",
            )
        )
    db.close()
    assert batches == windows == committed[: len(batches)]


def test_without_a_spool_there_is_nothing_to_back_up(made, tmp_path) -> None:
    assert "nothing to back up" in made.run("backup", str(tmp_path / "copy"), exit_code=2).stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("target", ["copy", "deep/er/copy"])
def test_folders_on_the_way_are_made(made, tmp_path, target) -> None:
    made.commit(1)
    made.run("backup", str(tmp_path / target))
    assert len(held(tmp_path / target)) == 1
