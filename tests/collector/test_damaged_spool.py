"""Damage that shows itself while the collector runs: the window that met it is committed to the file that follows."""

import os
import sqlite3
import threading
import time

import pytest

from collector.aggregate import Aggregate
from collector.committer import Committed, Committer, Kept
from collector.finished import Finished
from collector.selfmetrics import Circumstances
from collector.tally import Tally
from collector.window import Bounds
from spool.aside import set_aside_spools, unsalvaged
from spool.audit import audited
from spool.config import SpoolConfig
from spool.doers import doers
from spool.errand import Errands
from spool.errors import SpoolDamaged
from spool.evict import Evictor
from spool.reader import SpoolReader
from spool.salvage import open_spool, suspect


def finished(end):
    aggregate = Aggregate(1000)
    Tally().fold([b"a:1|c"], aggregate)
    return Finished(Bounds(end - 10, end, False), aggregate.close(end), Circumstances())


def until(condition):
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        threading.Event().wait(0.01)


@pytest.fixture
def running(tmp_path):
    told, replaced = [], []
    committer = Committer(
        lambda: open_spool(tmp_path, "web-1", time.time(), replaced.append),
        directory=tmp_path,
        quantiles=(0.5,),
        interval_s=0.05,
        evictor=lambda writer: Evictor(writer, SpoolConfig(disk_reserve_bytes=0), ["main"]),
        errands=lambda writer: Errands(writer, doers(["main"])),
        tell=told.append,
        wall=time.time,
        mono=time.monotonic,
        wait=time.sleep,
    )
    committer.start()
    committer.hand_over(finished(10.0))
    until(lambda: [each for each in told if isinstance(each, Committed)])
    yield committer, told, replaced
    committer.finish(5)


def spoil_the_schema(directory):
    """The damage: the next insert is refused, which a whole file never does."""
    connection = sqlite3.connect(directory / "spool.db")
    connection.execute("CREATE TRIGGER t BEFORE INSERT ON batches BEGIN SELECT raise(ABORT, 'spoilt'); END")
    connection.commit()
    connection.close()


def test_a_damaged_file_is_followed_by_the_next_without_waiting_for_a_window(running, tmp_path):
    _, _, replaced = running
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (tmp_path / "spool.db").open("r+b") as file:
        size_bytes = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xde" * (size_bytes - 4096))
    suspect(tmp_path, "shipper-main", time.time(), "database disk image is malformed")
    until(lambda: replaced)
    assert "met damage while in use" in replaced[0].why
    with SpoolReader(tmp_path) as reader:
        assert reader.last_id() >= 1


@pytest.mark.parametrize("stopped_at_once", [False, True])
def test_a_window_that_meets_damage_is_committed_to_the_next_file(running, tmp_path, stopped_at_once):
    committer, told, replaced = running
    spoil_the_schema(tmp_path)
    committer.hand_over(finished(20.0))
    if stopped_at_once:
        assert committer.finish(5)
    until(lambda: len([each for each in told if isinstance(each, Committed)]) == 2)
    assert [type(each.error) for each in told if isinstance(each, Kept)] == [SpoolDamaged]
    assert len(replaced) == 1 and len(set_aside_spools(tmp_path)) == 1
    if not stopped_at_once:
        until(lambda: not unsalvaged(tmp_path))
        with SpoolReader(tmp_path) as reader:
            assert [each.window_end for each in reader.headers_after(0)] == [10.0, 20.0]
            assert len({each.key.rpartition("-")[0] for each in reader.headers_after(0)}) == 1
        assert audited(tmp_path, ["main"], time.sleep).problems == ()


def test_a_file_that_was_emptied_is_followed_by_the_next_though_the_log_takes_commits(running, tmp_path):
    committer, told, replaced = running
    os.truncate(tmp_path / "spool.db", 0)
    committer.hand_over(finished(20.0))
    until(lambda: replaced)
    committer.hand_over(finished(30.0))
    until(lambda: len([each for each in told if isinstance(each, Committed)]) == 3 and not unsalvaged(tmp_path))
    with SpoolReader(tmp_path) as reader:
        ends = [each.window_end for each in reader.headers_after(0)]
    assert sorted(ends) == [10.0, 20.0, 30.0], "what the log held is put back"
    assert audited(tmp_path, ["main"], lambda _: None).problems == ()
