"""What the collector's side of the spool promises: durable, all or nothing, never the same number twice."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from spool.batch import MAX_POINTS, Point, Window, decode, points_of
from spool.errors import SpoolBusy, SpoolDamaged, SpoolMissing, SpoolUnusable
from spool.reader import SpoolReader
from spool.retention import Loss, Reason
from spool.writer import BUSY_S, SpoolWriter


@pytest.fixture
def writer(tmp_path):
    writer = SpoolWriter.open(tmp_path / "spool", "host-1")
    yield writer
    writer.close()


def window(seq, points=1, **changed):
    values = [Point(f"hits.{n}", "counter", {"env": "prod"}, {"value": float(n)}) for n in range(points)]
    return Window(seq, seq * 10.0, seq * 10.0 + 10, values, **changed)


def noisy(seq, size_bytes):
    point = Point("hits", "counter", {"n": os.urandom(size_bytes).hex()}, {"value": 1.0})
    return Window(seq, seq * 10.0, seq * 10.0 + 10, [point])


def held(directory):
    with SpoolReader(directory) as reader:
        return [each.id for each in reader.headers_after(0)]


UNTIL_KILLED = """
import sys
from pathlib import Path
from spool.batch import Point, Window
from spool.writer import SpoolWriter

writer = SpoolWriter.open(Path(sys.argv[1]), "host-1")
while True:
    seq = writer.next_window_seq()
    points = [Point("hits", "counter", {}, {"value": 1.0})] * int(sys.argv[2])
    for batch in writer.commit(Window(seq, seq, seq + 1, points), seq):
        print(batch.id, batch.sha256, flush=True)
"""


@pytest.mark.parametrize("points", [1, 2 * MAX_POINTS + 1])
def test_what_commit_returned_for_survives_sigkill(tmp_path, points):
    told = []
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", UNTIL_KILLED, tmp_path, str(points)], stdout=subprocess.PIPE, text=True
        )
        with child:
            told += [child.stdout.readline().split() for _ in range(9)]
            child.send_signal(signal.SIGKILL)
            told += [line.split() for line in child.stdout if line.endswith("\n")]
        assert child.returncode == -signal.SIGKILL
    with SpoolReader(tmp_path) as reader:
        for number, sha256 in told:
            batch = reader.batch(int(number))
            batch.verified()
            assert batch.sha256 == sha256
        batches = [each.id for each in reader.headers_after(0, 100_000)]
        by_window = [row["last_batch"] - row["first_batch"] + 1 for row in reader.windows(100_000)]
    assert batches == list(range(1, len(batches) + 1))
    assert set(by_window) == {-(-points // MAX_POINTS)}  # no window is there in part
    assert sum(by_window) == len(batches)


def test_a_commit_that_finds_no_room_leaves_nothing_and_can_be_repeated(writer):
    writer.commit(noisy(1, 20_000), 1.0)
    writer._connection.execute("PRAGMA max_page_count = 40")
    for _ in range(2):
        with pytest.raises(SpoolBusy, match=r"spool.db: .*full.* Nothing was written"):
            writer.commit(noisy(2, 500_000), 2.0)
        assert held(writer.directory) == [1]
        assert writer.next_window_seq() == 2
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert [each.id for each in writer.commit(noisy(2, 500_000), 2.0)] == [2]


def test_a_write_that_the_file_system_refuses_leaves_nothing_and_can_be_repeated(writer):
    writer.commit(noisy(1, 20_000), 1.0)
    wal_bytes = (writer.directory / "spool.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes + 10_000, hard))
    try:
        with pytest.raises(SpoolBusy, match=r"spool\.db"):
            writer.commit(noisy(2, 500_000), 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert held(writer.directory) == [1]
    assert [each.id for each in writer.commit(noisy(2, 500_000), 2.0)] == [2]


def test_a_lock_that_nobody_should_hold_costs_one_second_and_nothing_else(writer):
    intruder = sqlite3.connect(writer.path, isolation_level=None)
    try:
        intruder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(SpoolBusy, match="locked"):
            writer.commit(window(1), 1.0)
        assert BUSY_S * 0.9 <= time.monotonic() - began < BUSY_S + 2
        intruder.execute("ROLLBACK")
    finally:
        intruder.close()
    assert [each.id for each in writer.commit(window(1), 1.0)] == [1]


def test_a_number_that_json_cannot_carry_is_refused_before_anything_is_written(writer):
    bad = Window(1, 0, 10, [Point("hits", "gauge", {}, {"value": float("nan")})])
    with pytest.raises(ValueError, match="JSON"):
        writer.commit(bad, 1.0)
    assert held(writer.directory) == []


def test_a_large_window_is_several_batches_in_one_transaction(writer):
    batches = writer.commit(window(1, 2 * MAX_POINTS + 1), 1.0)
    assert [each.points for each in batches] == [MAX_POINTS, MAX_POINTS, 1]
    assert {each.window_seq for each in batches} == {1}
    names = [point.name for each in batches for point in points_of(decode(each.payload))]
    assert names == [f"hits.{n}" for n in range(2 * MAX_POINTS + 1)]


def test_an_empty_window_is_one_batch_without_points(writer):
    (batch,) = writer.commit(window(1, 0), 1.0)
    assert (batch.points, decode(batch.payload)["points"]) == (0, [])


def test_what_is_stored_is_what_commit_returned(writer):
    (batch,) = writer.commit(window(1, 3), 1.25)
    with SpoolReader(writer.directory) as reader:
        assert reader.batch(batch.id) == batch
        (row,) = reader.windows()
    assert batch.key == f"{writer.spool_id}-1"
    assert (row["first_batch"], row["last_batch"], row["points"]) == (1, 1, 3)


def test_every_received_line_is_accounted_for_in_the_windows_row(writer):
    counted = window(*(1, 2), lines=10, accepted=7, rejected={"no_value": 1, "bad_type": 2}, dropped=4, datagrams=5)
    writer.commit(counted, 1.0)
    with SpoolReader(writer.directory) as reader:
        (row,) = reader.windows()
    assert row["lines"] == row["accepted"] + row["rejected"] == 10
    assert row["rejected_by"] == '{"bad_type": 2, "no_value": 1}'
    assert (row["dropped"], row["datagrams"], row["partial"]) == (4, 5, 0)


def test_ids_and_sequence_numbers_never_repeat_not_even_after_everything_is_deleted(writer):
    for seq in (1, 2, 3):
        writer.commit(window(seq), 1.0)
    writer.evict([], [1, 2, 3], 1.0)
    writer.forget_windows(before=1e12)
    assert held(writer.directory) == []
    writer.close()
    again = SpoolWriter.open(writer.directory, "host-1")
    try:
        assert again.next_window_seq() == 4
        assert [each.id for each in again.commit(window(4), 1.0)] == [4]
    finally:
        again.close()


def test_a_window_that_was_shed_is_recorded_and_its_number_not_given_again(writer):
    writer.commit(window(1), 1.0)
    writer.shed([window(2, 5, lines=8), window(3, 6, lines=9)], 50.0, "memory full")
    assert writer.next_window_seq() == 4
    writer.evict([], [1], 60.0)
    writer.forget_windows(before=1e12)
    assert writer.next_window_seq() == 4
    with SpoolReader(writer.directory) as reader:
        rows = reader.losses()
    assert [(row["first_window"], row["points"], row["lines"], row["reason"]) for row in rows] == [
        (3, 6, 9, "memory full")  # the row of window 2 was older than the number that must stay
    ]


def test_an_eviction_and_its_loss_are_one_transaction(writer):
    for seq in (1, 2, 3):
        writer.commit(window(seq, 4, lines=seq * 100), 1.0)
    loss = Loss(Reason.SIZE, 1, 2, 1, 2, 10.0, 30.0, 2, 8, ("main", "copy"))
    writer._connection.execute("CREATE TEMP TRIGGER no BEFORE DELETE ON batches BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        writer.evict([loss], [1, 2], 99.0)
    writer._connection.execute("DROP TRIGGER no")
    with SpoolReader(writer.directory) as reader:
        assert reader.losses() == []
    writer.evict([loss], [1, 2], 99.0)
    with SpoolReader(writer.directory) as reader:
        (row,) = reader.losses()
    assert held(writer.directory) == [3]
    assert (row["at"], row["reason"], row["batches"], row["points"]) == (99.0, "size", 2, 8)
    assert (row["lines"], row["unsent_at"]) == (300, '["main", "copy"]')


def test_the_spool_keeps_its_name_and_takes_the_hosts_new_one(tmp_path):
    first = SpoolWriter.open(tmp_path, "old-name")
    first.close()
    second = SpoolWriter.open(tmp_path, "new-name")
    (batch,) = second.commit(window(1), 1.0)
    second.close()
    assert second.spool_id == first.spool_id
    assert decode(batch.payload)["host"] == "new-name"


def test_a_second_collector_is_refused_and_told_who_is_there(writer):
    code = (
        "import sys; from pathlib import Path; from spool.writer import SpoolWriter\n"
        "SpoolWriter.open(Path(sys.argv[1]), 'host-1')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, writer.directory], capture_output=True, text=True, timeout=30, check=False
    )
    assert f"already has a collector (process {os.getpid()}). Stop that one first." in ran.stderr
    writer.commit(window(1), 1.0)


def test_the_folder_and_the_files_are_for_their_owner_only(writer):
    writer.commit(window(1), 1.0)
    assert writer.directory.stat().st_mode & 0o777 == 0o700
    assert (writer.directory / "spool.db").stat().st_mode & 0o777 == 0o600


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(SpoolUnusable, match=r"is a file; \[spool\] dir must name a folder"):
        SpoolWriter.open(tmp_path / "spool", "host-1")
    with pytest.raises(SpoolUnusable, match="cannot be made"):
        SpoolWriter.open(tmp_path / "spool" / "deeper", "host-1")


def test_a_folder_where_the_file_should_be_is_a_clear_error(tmp_path):
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(SpoolUnusable, match=r"spool.db: is a folder"):
        SpoolWriter.open(tmp_path, "host-1")


def test_a_damaged_file_is_told_from_an_unusable_one_and_the_lock_given_back(tmp_path):
    (tmp_path / "spool.db").write_bytes(b"garbage " * 1_000)
    for _ in range(2):  # twice: the first attempt left nothing open
        with pytest.raises(SpoolDamaged, match=r"spool\.db"):
            SpoolWriter.open(tmp_path, "host-1")
    (tmp_path / "spool.db").unlink()
    SpoolWriter.open(tmp_path, "host-1").close()


def test_the_wal_is_cut_by_a_checkpoint_unless_a_reader_stands_in_the_way(writer):
    wal = writer.directory / "spool.db-wal"
    with SpoolReader(writer.directory) as reader:
        snapshot = reader._connection.execute("SELECT * FROM sqlite_master")
        next(snapshot)
        writer.commit(noisy(1, 50_000), 1.0)
        began = time.monotonic()
        writer.checkpoint()
        assert time.monotonic() - began < BUSY_S / 2  # did not wait for it
        assert wal.stat().st_size > 50_000
        snapshot.close()
        writer.checkpoint()
    assert wal.stat().st_size == 0


def test_free_pages_are_given_back_as_many_as_asked_for(writer):
    for seq in range(1, 41):
        writer.commit(noisy(seq, 50_000), 1.0)
    writer.evict([], list(range(1, 41)), 1.0)
    _, before = writer.pages_bytes()
    writer.give_back(1_000_000)
    _, after = writer.pages_bytes()
    assert before > 1_500_000
    assert 950_000 <= before - after <= 1_050_000


FROZEN_READER = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = connection.execute("SELECT payload FROM batches")
next(rows)
print("reading", flush=True)
sys.stdin.readline()
"""


def test_a_reader_stopped_in_the_middle_of_a_read_does_not_delay_a_commit(writer):
    for seq in range(1, 21):
        writer.commit(noisy(seq, 50_000), 1.0)
    child = subprocess.Popen(
        [sys.executable, "-c", FROZEN_READER, writer.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout.readline() == "reading\n"
            child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
            longest_s = 0.0
            for seq in range(21, 121):  # beyond several automatic checkpoints
                began = time.monotonic()
                writer.commit(noisy(seq, 100_000), 1.0)
                longest_s = max(longest_s, time.monotonic() - began)
            assert longest_s < 1.0
            assert len(held(writer.directory)) == 120
        finally:
            child.kill()
    writer.checkpoint()
    assert (writer.directory / "spool.db-wal").stat().st_size == 0


def test_a_file_that_somebody_removed_is_not_written_to_any_more(tmp_path):
    writer = SpoolWriter.open(tmp_path, "host-1")
    writer.commit(Window(1, 0.0, 10.0, []), 10.0)
    (tmp_path / "spool.db").unlink()
    with pytest.raises(SpoolMissing, match="no longer the file"):
        writer.commit(Window(2, 10.0, 20.0, []), 20.0)
    writer.close()
