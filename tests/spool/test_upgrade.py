"""From one version to the next: all or nothing, also when killed half-way, and an older version keeps its hands off."""

import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from spool.connection import open_writer
from spool.delivery import DeliveryReader, State
from spool.errors import SpoolUnusable
from spool.reader import SpoolReader
from spool.schema import DELIVERY_STEPS, SPOOL_STEPS, migrate
from spool.writer import SpoolWriter
from tests.spool.damaged import window

STEP = (
    "ALTER TABLE batches ADD COLUMN mood TEXT",
    "CREATE TABLE moods (name TEXT) STRICT",
    "UPDATE batches SET mood = 'new'",
    "CREATE INDEX batches_by_mood ON batches (mood)",
)

KILLED_BETWEEN = """
import os, signal, sqlite3, sys
from pathlib import Path
from spool.connection import open_writer
from spool import schema

path, at = Path(sys.argv[1]), int(sys.argv[2])
steps = (*schema.SPOOL_STEPS, sys.argv[3:])
connection = open_writer(path, 1.0)
seen = 0

def count(statement):
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)

connection.set_trace_callback(count)
schema.migrate(connection, path, steps)
connection.close()
print(seen)
"""


def migrated(path, at):
    return subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN, path, str(at), *STEP],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def facts(path):
    connection = sqlite3.connect(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(batches)")]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    rows = connection.execute("SELECT id, key, sha256 FROM batches").fetchall()
    check = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return version, "mood" in columns, rows, check


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    folder = tmp_path_factory.mktemp("older") / "spool"
    writer = SpoolWriter.open(folder, "web-1")
    for seq in range(1, 30):
        writer.commit(window(seq), seq * 10.0)
    writer.close()
    return folder


def copied(older, tmp_path, name):
    shutil.copytree(older, tmp_path / name)
    return tmp_path / name / "spool.db"


def test_a_migration_killed_between_any_two_statements_leaves_the_old_file_and_can_be_repeated(older, tmp_path):
    path = copied(older, tmp_path, "whole")
    before = facts(path)[2]
    done = migrated(path, -1)
    assert done.returncode == 0, done.stderr
    statements = int(done.stdout)
    assert facts(path) == (len(SPOOL_STEPS) + 1, True, before, "ok")
    assert statements > 8
    first = statements - 9  # the last ones are the transaction's
    for at in range(max(1, first), statements + 1):
        path = copied(older, tmp_path, f"killed-{at}")
        assert migrated(path, at).returncode == -signal.SIGKILL
        assert facts(path) == (len(SPOOL_STEPS), False, before, "ok"), at
        SpoolWriter.open(path.parent, "web-1").close()  # the older version goes on with it
        connection = open_writer(path, 1.0)
        migrate(connection, path, (*SPOOL_STEPS, STEP))
        connection.close()
        assert facts(path) == (len(SPOOL_STEPS) + 1, True, before, "ok")


def test_an_older_version_refuses_a_newer_spool_and_leaves_every_byte(older, tmp_path):
    path = copied(older, tmp_path, "newer")
    assert migrated(path, -1).returncode == 0
    before = {each.name: each.read_bytes() for each in path.parent.glob("spool.db*")}
    for refused in (lambda: SpoolWriter.open(path.parent, "web-1"), lambda: SpoolReader(path.parent)):
        with pytest.raises(SpoolUnusable, match="Install the newer version again"):
            refused()
    after = {each.name: each.read_bytes() for each in path.parent.glob("spool.db*")}
    assert after["spool.db"] == before["spool.db"]
    assert not after.get("spool.db-wal")


def test_every_step_of_the_past_leads_to_the_same_tables(tmp_path):
    for name, steps in (("spool.db", SPOOL_STEPS), ("delivery-main.db", DELIVERY_STEPS)):
        shapes = set()
        for known in range(len(steps) + 1):
            path = tmp_path / f"{known}-{name}"
            for part in (steps[:known], steps):
                if part:
                    connection = open_writer(path, 1.0)
                    migrate(connection, path, part)
                    connection.close()
            connection = sqlite3.connect(path)
            shapes.add(tuple(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOTNULL ORDER BY name")))
            connection.close()
        assert len(shapes) == 1


def test_a_collector_sees_what_is_settled_before_the_new_shipper_has_started(tmp_path):
    """Or it would hold everything for unsent, and record what it evicts in that moment as lost."""
    connection = open_writer(tmp_path / "delivery-main.db", 1.0)
    migrate(connection, tmp_path / "delivery-main.db", DELIVERY_STEPS[:1])
    connection.execute("INSERT INTO states (batch, state, at) VALUES (7, 'acknowledged', 1.0)")
    connection.close()
    with DeliveryReader(tmp_path, "main") as delivery:
        assert delivery.states(0, 10) == {7: State.ACKNOWLEDGED}
        assert delivery.renewals(0, 10) == {}
        assert delivery.terms() is None and delivery.condition() is not None


TOGETHER = """
import sys, time
from pathlib import Path
who, directory = sys.argv[1], Path(sys.argv[2])
from spool.delivery import Delivery
from spool.errors import SpoolBusy, SpoolMissing
from spool.reader import SpoolReader
from spool.salvage import open_spool
for number in range(int(sys.argv[3])):
    folder = directory / str(number)
    print("ready", flush=True)
    sys.stdin.readline()
    give_up_at = time.monotonic() + 20
    while True:
        try:
            if who == "collector":
                open_spool(folder, "web-1", time.time(), print).close()
            else:
                with SpoolReader(folder) as spool:
                    spool_id = spool.spool_id
                with Delivery.open(folder, who, spool_id) as delivery, SpoolReader(folder, who) as spool:
                    assert spool.backlog().batches == 0 and delivery.spool_id() == spool_id
            break
        except (SpoolMissing, SpoolBusy):
            assert time.monotonic() < give_up_at
            time.sleep(0.001)
    print("done", flush=True)
"""


def first_starts(tmp_path, rounds):
    """A collector, two shippers of one destination and one of another, all at once, `rounds` times."""
    people = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, who, tmp_path, str(rounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for who in ("collector", "main", "main", "other")
    ]  # fmt: skip
    try:
        for number in range(rounds):
            for each in people:
                assert each.stdout.readline() == "ready\n", (number, each.stderr.read())
            for each in people:
                each.stdin.write("go\n")
                each.stdin.flush()
            for each in people:
                assert each.stdout.readline() == "done\n", (number, each.stderr.read())
    finally:
        for each in people:
            each.kill()
            each.communicate()


def test_all_processes_may_start_for_the_first_time_at_once(tmp_path):
    first_starts(tmp_path, 20)


@pytest.mark.soak
def test_all_processes_may_start_for_the_first_time_at_once_a_hundred_times(tmp_path):
    first_starts(tmp_path, 100)
