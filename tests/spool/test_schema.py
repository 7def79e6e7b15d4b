"""How a file gets its tables: all at once or not at all, whoever else starts at the same time."""

import hashlib
import sqlite3
import subprocess
import sys

import pytest

from spool.connection import APPLICATION_ID, open_reader, open_writer
from spool.errors import SpoolMissing, SpoolUnusable
from spool.schema import DELIVERY_STEPS, SPOOL_STEPS, check, migrate


def tables(path):
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return version, {name for name in names if not name.startswith(("sqlite_", "_sqlite"))}


def opened(path, steps):
    connection = open_writer(path, 1.0)
    try:
        migrate(connection, path, steps)
    finally:
        connection.close()


def test_a_new_file_gets_all_tables_our_mark_and_its_version(tmp_path):
    opened(tmp_path / "spool.db", SPOOL_STEPS)
    assert tables(tmp_path / "spool.db") == (
        len(SPOOL_STEPS),
        {"meta", "batches", "windows", "losses", "points", "recent_points", "changes"},
    )
    opened(tmp_path / "delivery-main.db", DELIVERY_STEPS)
    assert tables(tmp_path / "delivery-main.db") == (
        len(DELIVERY_STEPS),
        {"meta", "states", "attempts", "condition", "minutes", "changes", "renewals"},
    )
    connection = sqlite3.connect(tmp_path / "spool.db")
    assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.close()


def test_migrating_again_changes_nothing(tmp_path):
    path = tmp_path / "spool.db"
    opened(path, SPOOL_STEPS)
    before = path.read_bytes()
    opened(path, SPOOL_STEPS)
    assert path.read_bytes() == before


MORE = (*SPOOL_STEPS, ("ALTER TABLE batches ADD COLUMN mood TEXT", "CREATE TABLE more (a) STRICT"))
BROKEN = (*SPOOL_STEPS, ("CREATE TABLE more (a INTEGER) STRICT", "CREATE TABLE broken ("))


def test_an_older_file_gets_the_steps_it_lacks(tmp_path):
    path = tmp_path / "spool.db"
    opened(path, SPOOL_STEPS)
    opened(path, (*SPOOL_STEPS, ("CREATE TABLE more (a INTEGER) STRICT",)))
    version, names = tables(path)
    assert (version, "more" in names) == (len(SPOOL_STEPS) + 1, True)


def test_a_step_that_fails_half_way_leaves_the_old_schema(tmp_path):
    path = tmp_path / "spool.db"
    opened(path, SPOOL_STEPS)
    with pytest.raises(sqlite3.OperationalError):
        opened(path, BROKEN)
    version, names = tables(path)
    assert (version, "more" in names) == (len(SPOOL_STEPS), False)


def test_a_newer_file_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "spool.db"
    opened(path, (*SPOOL_STEPS, ("CREATE TABLE more (a INTEGER) STRICT",)))
    before = path.read_bytes()
    with pytest.raises(SpoolUnusable, match=rf"has schema {len(MORE)}, this Holdfast knows {len(SPOOL_STEPS)}"):
        opened(path, SPOOL_STEPS)
    assert path.read_bytes() == before


def test_a_reader_of_a_file_that_awaits_its_migration_waits_too(tmp_path):
    path = tmp_path / "spool.db"
    opened(path, SPOOL_STEPS)
    connection = open_reader(path)
    try:
        check(connection, path, SPOOL_STEPS)
        with pytest.raises(SpoolMissing, match="sets it up when it starts"):
            check(connection, path, MORE)
    finally:
        connection.close()


FIRST_OPEN = """
import sys
from pathlib import Path
from spool.connection import open_writer
from spool.schema import SPOOL_STEPS, migrate
path = Path(sys.argv[1])
sys.stdin.readline()
connection = open_writer(path, 5.0)
migrate(connection, path, SPOOL_STEPS)
connection.close()
"""


def test_processes_that_migrate_at_once_all_succeed(tmp_path):
    for number in range(10):
        path = tmp_path / f"{number}.db"
        together = [
            subprocess.Popen([sys.executable, "-c", FIRST_OPEN, path], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(4)
        ]
        for child in together:
            child.stdin.write(b"\n")
            child.stdin.flush()
        assert [child.communicate(timeout=30)[1].decode() for child in together] == [""] * 4
        assert tables(path)[0] == len(SPOOL_STEPS)


def test_the_words_of_released_steps_are_those_of_the_files_out_there():
    words = [" ".join(each.split()) for steps in (SPOOL_STEPS, DELIVERY_STEPS) for step in steps for each in step]
    told = hashlib.sha256("\n".join(words).encode()).hexdigest()
    assert told[:16] == "82c37a0ceab6c9e7", "make a further step (schema.py), and then this"
