"""How files are opened and written, and how SQLite's errors become ours."""

import fcntl
import resource
import sqlite3
from pathlib import Path

import pytest

from spool.connection import APPLICATION_ID, WAL_LIMIT_BYTES, attach, lock, open_reader, open_writer, translated, write
from spool.errors import SpoolBusy, SpoolDamaged, SpoolMissing, SpoolUnusable

HERE = Path("/nowhere/spool.db")


@pytest.fixture
def writer(tmp_path):
    connection = open_writer(tmp_path / "spool.db", 0.1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
    yield connection
    connection.close()


def rows(connection):
    return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY a").fetchall()]


def test_a_writer_is_durable_and_its_files_come_back_from_a_burst(writer):
    asked = ("journal_mode", "synchronous", "auto_vacuum", "mmap_size", "journal_size_limit")
    assert [writer.execute(f"PRAGMA {each}").fetchone()[0] for each in asked] == [
        *("wal", 2, 2, 0),
        WAL_LIMIT_BYTES,
    ]


def test_nothing_remains_of_a_write_that_failed(writer, tmp_path):
    with pytest.raises(RuntimeError), write(writer, tmp_path) as db:
        db.execute("INSERT INTO t VALUES (1)")
        raise RuntimeError
    assert rows(writer) == []
    assert not writer.in_transaction
    with write(writer, tmp_path) as db:
        db.execute("INSERT INTO t VALUES (2)")
    assert rows(writer) == [2]


def test_a_commit_that_fails_is_rolled_back(writer, tmp_path):
    writer.execute("PRAGMA foreign_keys = ON")
    writer.execute("CREATE TABLE u (a INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED) STRICT")
    with pytest.raises(sqlite3.IntegrityError), write(writer, tmp_path) as db:
        db.execute("INSERT INTO u VALUES (99)")  # found out by COMMIT
    assert not writer.in_transaction
    assert writer.execute("SELECT count(*) FROM u").fetchone()[0] == 0


def failing(code, text="it failed"):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "ours", "exit_code"),
    [
        (sqlite3.SQLITE_BUSY, SpoolBusy, 75),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, SpoolBusy, 75),
        (sqlite3.SQLITE_FULL, SpoolBusy, 75),
        (sqlite3.SQLITE_IOERR_FSYNC, SpoolBusy, 75),
        (sqlite3.SQLITE_CORRUPT, SpoolDamaged, 2),
        (sqlite3.SQLITE_NOTADB, SpoolDamaged, 2),
        (sqlite3.SQLITE_READONLY, SpoolUnusable, 2),
        (sqlite3.SQLITE_PERM, SpoolUnusable, 2),
        (sqlite3.SQLITE_CANTOPEN, SpoolMissing, 2),
    ],
)
def test_each_cause_that_a_caller_treats_differently_is_a_class_of_its_own(code, ours, exit_code):
    with pytest.raises(ours, match=r"^/nowhere/spool\.db: ") as caught, translated(HERE):
        raise failing(code)
    assert type(caught.value) is ours
    assert caught.value.exit_code == exit_code


def test_a_file_that_is_there_and_cannot_be_opened_is_not_called_missing(tmp_path):
    (tmp_path / "spool.db").touch()
    with pytest.raises(SpoolUnusable, match="run this as the spool's owner"), translated(tmp_path / "spool.db"):
        raise failing(sqlite3.SQLITE_CANTOPEN)


def test_a_mistake_of_ours_is_not_dressed_up_as_trouble_with_the_disk(writer):
    with pytest.raises(sqlite3.OperationalError, match="no such table"), translated(HERE):
        writer.execute("SELECT * FROM nonsense")


def test_a_lock_held_by_somebody_else_is_busy(writer, tmp_path):
    other = open_writer(tmp_path / "spool.db", 0.05)
    try:
        with (
            write(writer, tmp_path),
            pytest.raises(SpoolBusy, match=r"locked\. Nothing was written"),
            write(other, tmp_path),
        ):
            pytest.fail("two writers at once")
    finally:
        other.close()


def test_a_reader_sees_commits_and_cannot_write(writer, tmp_path):
    reader = open_reader(tmp_path / "spool.db")
    try:
        with write(writer, tmp_path) as db:
            db.execute("INSERT INTO t VALUES (1)")
        assert rows(reader) == [1]
        with pytest.raises(SpoolUnusable, match="readonly"), translated(tmp_path / "spool.db"):
            reader.execute("INSERT INTO t VALUES (2)")
    finally:
        reader.close()


def test_names_that_mean_something_in_a_uri_are_only_names(tmp_path):
    folder = tmp_path / "a?b#c%20d e"
    folder.mkdir()
    connection = open_writer(folder / "spool.db", 1.0)
    connection.execute("CREATE TABLE t (a)")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()
    reader = open_reader(folder / "spool.db")
    attach(reader, folder / "spool.db", "again")
    assert reader.execute("SELECT count(*) FROM again.sqlite_master").fetchone()[0] == 1
    reader.close()


def test_attaching_a_file_that_is_not_there_creates_none(writer, tmp_path):
    with pytest.raises(SpoolMissing, match=r"other\.db: no such file"):
        attach(writer, tmp_path / "other.db", "other")
    assert not (tmp_path / "other.db").exists()


def test_a_lock_is_held_as_long_as_its_file_is_open(tmp_path):
    held = lock(tmp_path, "shipper-main")
    with pytest.raises(SpoolUnusable, match=r"already has a shipper-main \(process \d+\)"):
        lock(tmp_path, "shipper-main")
    lock(tmp_path, "shipper-copy").close()
    held.close()
    lock(tmp_path, "shipper-main").close()


def test_who_only_looks_whether_somebody_runs_keeps_nobody_from_starting(tmp_path, monkeypatch):
    lock(tmp_path, "collector").close()
    with (tmp_path / "collector.lock").open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        monkeypatch.setattr("spool.connection.time.sleep", lambda _s: fcntl.flock(look, fcntl.LOCK_UN))
        lock(tmp_path, "collector").close()


def test_on_a_full_disk_a_lock_holds_without_its_label_and_is_given_back(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with lock(tmp_path, "shipper-main"), pytest.raises(SpoolUnusable, match=r"process \?"):
            lock(tmp_path, "shipper-main")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_lock_whose_holder_did_not_say_who_it_is_still_holds(tmp_path):
    with (tmp_path / "collector.lock").open("w") as anonymous:
        fcntl.flock(anonymous, fcntl.LOCK_EX)
        with pytest.raises(SpoolUnusable, match=r"process \?"):
            lock(tmp_path, "collector")
