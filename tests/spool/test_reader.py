"""Looking in never writes, never creates, never holds on to anything."""

import os
import sqlite3
import subprocess
import sys

import pytest

from spool.batch import Point, State, Window
from spool.delivery import Delivery, Settled
from spool.errors import SpoolDamaged, SpoolMissing, SpoolUnusable, UnknownBatch
from spool.reader import SpoolReader
from spool.writer import SpoolWriter


@pytest.fixture
def writer(tmp_path):
    writer = SpoolWriter.open(tmp_path / "spool", "host-1")
    yield writer
    writer.close()


def commit(writer, windows, **changed):
    for _ in range(windows):
        seq = writer.next_window_seq()
        points = [Point("hits", "counter", {"noise": os.urandom(2_000).hex()}, {"value": 1.0})]
        writer.commit(Window(seq, seq * 10.0, seq * 10.0 + 10, points, **changed), seq * 10.0 + 10)


@pytest.fixture
def main(writer):
    delivery = Delivery.open(writer.directory, "main", writer.spool_id)
    yield delivery
    delivery.close()


def delete(writer, batch_id):
    """As eviction does, by another connection."""
    other = sqlite3.connect(writer.directory / "spool.db")
    with other:
        deleted = other.execute("DELETE FROM batches WHERE id = ?", (batch_id,)).rowcount
    other.close()
    return deleted


def settle(delivery, *ids):
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in ids}, 1.0)


def test_pages_are_oldest_first_and_bounded(writer):
    commit(writer, 7)
    with SpoolReader(writer.directory) as reader:
        assert [each.id for each in reader.headers_after(0, 3)] == [1, 2, 3]
        assert [each.id for each in reader.headers_after(3, 3)] == [4, 5, 6]
        assert [each.id for each in reader.headers_after(6, 3)] == [7]
        assert [each.id for each in reader.headers_before(None, 3)] == [7, 6, 5]
        assert [each.id for each in reader.headers_before(5, 3)] == [4, 3, 2]
        assert [each.id for each in reader.headers_between(30.0, 50.0)] == [2, 3, 4]
        assert [each.id for each in reader.headers_between(30.0, 50.0, after=2, limit=1)] == [3]


def test_batches_come_newest_first_and_what_was_evicted_meanwhile_is_left_out(writer):
    commit(writer, 7)
    with SpoolReader(writer.directory) as reader:
        found = reader.batches_newest(30.0, 60.0)
        assert next(found).id == 5
        assert delete(writer, 4) == 1
        assert [each.id for each in found] == [3, 2]
        assert list(reader.batches_newest(1e9, 2e9)) == []


def test_a_reader_sees_each_commit_without_opening_anew(writer):
    with SpoolReader(writer.directory) as reader:
        assert reader.headers_after(0) == []
        commit(writer, 1)
        assert [each.id for each in reader.headers_after(0)] == [1]


def test_an_open_reader_holds_no_snapshot(writer):
    commit(writer, 5)
    with SpoolReader(writer.directory) as reader:
        reader.headers_after(0)
        reader.batch(3)
        reader.extent()
        reader.windows()
        writer.checkpoint()  # cuts the WAL only if nobody reads from it
        assert (writer.directory / "spool.db-wal").stat().st_size == 0


def test_a_reader_cannot_write(writer):
    commit(writer, 1)
    with SpoolReader(writer.directory) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM batches")


def test_looking_for_a_spool_creates_nothing(tmp_path):
    with pytest.raises(SpoolMissing, match=r"spool.db: no such file\. .*started\?"):
        SpoolReader(tmp_path)
    with pytest.raises(SpoolMissing):
        SpoolReader(tmp_path / "no-folder")
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_never_ran_is_missing_and_nothing_stays_open(writer):
    before = {path.name for path in writer.directory.iterdir()}
    with pytest.raises(SpoolMissing, match=r"delivery-main\.db"):
        SpoolReader(writer.directory, "main")
    assert {path.name for path in writer.directory.iterdir()} == before


def test_a_database_of_another_program_is_refused_untouched(tmp_path):
    for version in (0, 1):
        path = tmp_path / "spool.db"
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (a)")
        other.execute(f"PRAGMA user_version = {version}")
        other.commit()
        other.close()
        before = path.read_bytes()
        with pytest.raises(SpoolUnusable, match="of another program"):
            SpoolReader(tmp_path)
        with pytest.raises(SpoolUnusable, match="of another program"):
            SpoolWriter.open(tmp_path, "host-1")
        assert path.read_bytes() == before
        path.unlink()


def test_a_file_from_a_newer_holdfast_is_refused_untouched(writer):
    commit(writer, 1)
    writer._connection.execute("PRAGMA user_version = 999")
    with pytest.raises(SpoolUnusable, match=r"has schema 999.* Install the newer version again"):
        SpoolReader(writer.directory)


def test_a_file_that_is_not_set_up_yet_is_not_there_yet(tmp_path):
    (tmp_path / "spool.db").touch()
    with pytest.raises(SpoolMissing, match="is empty yet"):
        SpoolReader(tmp_path)


def test_garbage_is_damage(tmp_path):
    (tmp_path / "spool.db").write_bytes(b"garbage " * 1_000)
    with pytest.raises(SpoolDamaged, match=r"spool\.db"):
        SpoolReader(tmp_path)


def test_a_folder_in_the_files_place_is_a_clear_error(tmp_path):
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(SpoolUnusable, match="is not a file"):
        SpoolReader(tmp_path)


AS_NOBODY = """
import os, sys
from pathlib import Path
from spool.errors import SpoolUnusable
from spool.reader import SpoolReader
if os.geteuid() == 0:
    os.setuid(65534)
try:
    SpoolReader(Path(sys.argv[1]))
except SpoolUnusable as error:
    print(error)
"""


def test_somebody_elses_spool_is_a_clear_error(writer):
    if os.geteuid() != 0:
        writer.directory.chmod(0)
    ran = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, writer.directory],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    writer.directory.chmod(0o700)
    assert "Permission denied. Run this as the spool's owner." in ran.stdout, ran.stderr


def test_a_file_that_was_set_aside_is_noticed(writer):
    with SpoolReader(writer.directory) as reader:
        assert not reader.replaced()
        writer.path.rename(writer.path.with_name("spool.db.corrupt-1"))
        assert reader.replaced()
        writer.path.touch()
        assert reader.replaced()


def test_an_unknown_batch_says_where_to_look(writer):
    with SpoolReader(writer.directory) as reader, pytest.raises(UnknownBatch, match=r"no batch 7\. `holdfast list`"):
        reader.batch(7)


@pytest.mark.parametrize("rotten", ["x", "", "[", "7"])
def test_reasons_that_the_disk_changed_do_not_hide_those_of_other_windows(writer, rotten):
    for seq in (1, 2):
        writer.commit(Window(seq, seq, seq + 1.0, [], lines=1, rejected={"no_value": 1}), seq)
    with writer.transaction() as db:
        db.execute("UPDATE windows SET rejected_by = ? WHERE seq = 1", (rotten,))
    with SpoolReader(writer.directory) as reader:
        assert reader.intake(since=0.0)["rejected_by"]["no_value"] == 1


def test_extent_and_intake_add_up(writer):
    commit(writer, 3, lines=10, accepted=8, rejected={"no_value": 1, "bad_type": 1}, dropped=2)
    with SpoolReader(writer.directory) as reader:
        extent, intake = reader.extent(), reader.intake(since=25.0)
    assert (extent["batches"], extent["points"], extent["first_id"], extent["last_id"]) == (3, 3, 1, 3)
    assert (extent["first_end"], extent["last_end"]) == (20.0, 40.0)
    assert (intake["windows"], intake["lines"], intake["accepted"], intake["dropped"]) == (2, 20, 16, 4)
    assert intake["rejected_by"] == {"no_value": 2, "bad_type": 2}


def test_unsent_is_what_the_destination_has_not_settled(writer, main):
    commit(writer, 5)
    settle(main, 1, 3, 5)
    with SpoolReader(writer.directory, "main") as reader:
        assert [each.id for each in reader.unsent_oldest()] == [2, 4]
        assert [each.id for each in reader.unsent_oldest(1)] == [2]
        assert reader.unsent_newest() == []
        backlog = reader.backlog()
        assert (backlog.batches, backlog.points, backlog.oldest_end) == (2, 2, 30.0)
        main.make_unsent([5], 2.0, "op", "replay", of=[State.ACKNOWLEDGED])
        assert [each.id for each in reader.unsent_newest()] == [5]


def test_a_reader_beside_a_destination_pins_neither_file(writer, main):
    commit(writer, 5)
    with SpoolReader(writer.directory, "main") as reader:
        reader.unsent_oldest()
        reader.backlog()
        settle(main, 1)
        busy, _, _ = main._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        writer.checkpoint()
    assert busy == 0
    assert (writer.directory / "spool.db-wal").stat().st_size == 0
