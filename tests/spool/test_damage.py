"""Damage of every kind costs at most the damaged rows: the collector starts, the file is kept, the rest is saved."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from spool.aside import set_aside_spools, unsalvaged
from spool.audit import audited
from spool.batch import State
from spool.delivery import Delivery, Settled
from spool.errors import SpoolUnusable
from spool.heartbeat import beat
from spool.reader import SpoolReader
from spool.schema import SPOOL_STEPS
from spool.writer import SpoolWriter
from tests.spool import damaged
from tests.spool.damaged import WINDOWS, fates, restart, window

START_S = 2.0

EMPTY_BYTES = 14 * 4096
"""About where the rows begin: every table and index has a page of its own before them."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "spool"
    return folder, damaged.make(folder)


@pytest.fixture
def fresh(template, tmp_path):
    """Gives copies of the damaged-to-be spool, each with its keys."""
    made = []

    def copy():
        folder, keys = template
        directory = tmp_path / f"spool-{len(made)}"
        made.append(directory)
        shutil.copytree(folder, directory)
        return directory, keys

    yield copy
    for each in made:
        shutil.rmtree(each, ignore_errors=True)


def went_on(directory, keys, least_whole, may_be_untold=frozenset()):
    """What must hold after any damage; returns the ids that are whole and what the start did."""
    again = restart(directory)
    try:
        assert again.start_s <= START_S
        assert all(done.error is None for done in again.errands), again.errands
        assert not unsalvaged(directory)
        committed = again.writer.commit(window(again.writer.next_window_seq()), time.time())
        assert min(each.id for each in committed) > max(keys), "an id was given twice"
        if again.writer.spool_id == keys[1].rpartition("-")[0]:
            assert again.writer.next_window_seq() > WINDOWS + 1
        whole, rotten, untold = fates(directory, keys)
        assert untold <= may_be_untold, untold
        assert len(whole) >= least_whole, (len(whole), again.replaced)
        return whole, rotten, again
    finally:
        again.writer.close()


def test_an_undamaged_spool_after_a_kill_is_complete_and_nothing_is_set_aside(fresh):
    directory, keys = fresh()
    whole, rotten, again = went_on(directory, keys, WINDOWS)
    assert (len(whole), rotten, again.replaced, again.errands) == (WINDOWS, set(), [], [])
    assert audited(directory, ["main"], lambda _: None).problems == ()


def test_one_flipped_bit_anywhere_costs_at_most_the_rows_of_one_page(fresh):
    chance = random.Random(20261123)
    replaced = rotten_rows = lost_rows = 0
    for number in range(100):
        directory, keys = fresh()
        path = directory / chance.choice(["spool.db", "spool.db", "spool.db", "spool.db-wal"])
        content = bytearray(path.read_bytes())
        at = chance.randrange(len(content))
        if number % 2:  # most of a file is payload: every other flip hits the beginning of a page, which is structure
            at = at // 4096 * 4096 + chance.randrange(16 if at >= 4096 else 100)
        content[at] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        # A flip in the log invalidates it from there on: its windows are told of as lost.
        least = WINDOWS - 25 if path.suffix == ".db" else WINDOWS - damaged.IN_WAL
        try:
            whole, rotten, again = went_on(directory, keys, least)
        except SpoolUnusable as error:
            assert 60 <= at < 64 and "schema" in str(error), (at, error)  # it looks like one from the future
            continue
        if again.replaced and again.replaced[0].aside is not None:
            replaced += 1
            assert path.suffix != ".db" or again.replaced[0].aside.read_bytes() == content
        rotten_rows += len(rotten)
        lost_rows += WINDOWS - len(whole) - len(rotten)
        shutil.rmtree(directory)
    print(f"100 bit flips: {replaced} files replaced, {rotten_rows} rotten rows kept, {lost_rows} rows lost")
    assert replaced and rotten_rows


def test_a_truncated_file_keeps_what_is_before_the_cut(fresh):
    chance = random.Random(7)
    for _ in range(50):
        directory, keys = fresh()
        path = directory / "spool.db"
        size = path.stat().st_size
        os.truncate(path, cut := chance.randrange(size))
        if chance.random() < 0.5:
            (directory / "spool.db-wal").unlink()
        part = (cut - EMPTY_BYTES) / (size - EMPTY_BYTES)
        least = int((WINDOWS - damaged.IN_WAL) * part * 0.8) - 5
        _, _, again = went_on(directory, keys, least)
        assert again.replaced, cut
        shutil.rmtree(directory)


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5, 6, 7, 8, "middle", "last", "ten"])
def test_zeroed_pages_cost_no_more_than_was_on_them(fresh, page):
    directory, keys = fresh()
    path = directory / "spool.db"
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    chosen = {"middle": [pages // 2], "last": [pages], "ten": random.Random(3).sample(range(2, pages), 10)}
    for number in chosen.get(page, [page]):
        content[(number - 1) * 4096 : number * 4096] = bytes(4096)
    path.write_bytes(content)
    went_on(directory, keys, WINDOWS - 25)


def test_a_missing_wal_is_told_of_and_its_ids_are_not_given_again(fresh):
    directory, keys = fresh()
    (directory / "spool.db-wal").unlink()
    whole, _, again = went_on(directory, keys, WINDOWS - damaged.IN_WAL)
    assert whole == set(range(1, WINDOWS - damaged.IN_WAL + 1))
    assert "was committed" in again.replaced[0].why
    assert audited(directory, ["main"], lambda _: None).problems == ()


def test_a_missing_wal_that_had_everything_is_told_of_too(tmp_path):
    alive, left = tmp_path / "alive", tmp_path / "left"
    writer = SpoolWriter.open(alive, "web-1")
    keys = [writer.commit(window(seq), time.time())[0].key for seq in (1, 2, 3)]
    beat(alive, "collector", time.time(), "collecting", **writer.numbers())
    shutil.copytree(alive, left)
    writer.close()
    for each in ("collector.lock", "spool.db-wal", "spool.db-shm"):
        (left / each).unlink()
    assert (left / "spool.db").stat().st_size == 4096
    again = restart(left)
    assert again.writer.spool_id == keys[0].rpartition("-")[0]
    assert again.writer.commit(window(again.writer.next_window_seq()), time.time())[0].id > 3
    with SpoolReader(left) as reader:
        assert sum(row["batches"] for row in reader.losses()) == 3
    again.writer.close()


def test_a_missing_or_foreign_shm_costs_nothing(fresh):
    for content in (None, b"", b"\0" * 32768, os.urandom(32768)):
        directory, keys = fresh()
        path = directory / "spool.db-shm"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        whole, _, again = went_on(directory, keys, WINDOWS)
        assert (len(whole), again.replaced) == (WINDOWS, [])


def stale_wal(folder, windows):
    """The -wal of another spool that was never checkpointed."""
    other = SpoolWriter.open(folder, "other")
    for seq in range(1, windows + 1):
        other.commit(window(1000 + seq), seq)
    content = (folder / "spool.db-wal").read_bytes()
    other.close()
    return content


@pytest.mark.parametrize("windows", [1, 10])
def test_the_wal_of_another_spool_does_not_pass_for_ours(fresh, tmp_path, windows):
    directory, keys = fresh()
    (directory / "spool.db-wal").write_bytes(stale_wal(tmp_path / "other", windows))
    went_on(directory, keys, WINDOWS - damaged.IN_WAL)


def test_a_wal_of_noise_is_no_wal(fresh):
    directory, keys = fresh()
    (directory / "spool.db-wal").write_bytes(os.urandom(100_000))
    went_on(directory, keys, WINDOWS - damaged.IN_WAL)


@pytest.mark.parametrize("content", [b"", b"x" * 50, b"not a database" * 1000, os.urandom(65536)])
def test_an_empty_or_foreign_content_is_replaced_and_the_ids_go_on(fresh, content):
    directory, keys = fresh()
    (directory / "spool.db").write_bytes(content)
    (directory / "spool.db-wal").unlink()
    _, _, again = went_on(directory, keys, 0)
    assert again.writer.spool_id == keys[1].rpartition("-")[0], "the heartbeat knows it"


def test_a_removed_file_is_replaced_and_the_ids_go_on(fresh):
    directory, keys = fresh()
    (directory / "spool.db").unlink()
    (directory / "spool.db-wal").unlink()
    went_on(directory, keys, 0)


def test_an_identity_that_the_disk_changed_is_damage_and_the_heartbeat_knows_better(fresh):
    directory, keys = fresh()
    connection = sqlite3.connect(directory / "spool.db")
    connection.execute("UPDATE meta SET value = CAST(X'B1B2' AS TEXT) WHERE name = 'spool_id'")
    connection.commit()
    connection.close()
    _, _, again = went_on(directory, keys, WINDOWS)
    assert again.writer.spool_id == keys[1].rpartition("-")[0]


def test_what_an_older_copy_holds_again_is_not_passed_over_as_settled(fresh, tmp_path):
    directory, _ = fresh()
    again = restart(directory)
    again.writer.checkpoint()
    shutil.copy(directory / "spool.db", tmp_path / "older")
    delivery = Delivery.open(directory, "main", again.writer.spool_id)
    with SpoolReader(directory) as reader:
        delivery.rewind(reader.put_back())
    again.writer.evict([], [30], time.time())
    last = again.writer.commit(window(again.writer.next_window_seq()), time.time())[0].id
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(21, last + 1) if each != 30}, 1.0)
    delivery.settle_through(last)
    delivery.settle_through(last)
    beat(directory, "collector", time.time(), "collecting", **again.writer.numbers())
    again.writer.close()
    shutil.copy(tmp_path / "older", directory / "spool.db")
    again = restart(directory)
    with SpoolReader(directory, "main") as reader:
        assert reader.unsent_oldest() == []
        assert delivery.rewind(reader.put_back()), "so its shipper does before it looks for the next one"
        assert [each.id for each in reader.unsent_oldest()] == [30]
    delivery.close()
    again.writer.close()


def test_a_link_in_its_place_is_refused_because_the_log_is_elsewhere(fresh, tmp_path):
    directory, _ = fresh()
    (tmp_path / "disk").mkdir()
    for each in ("spool.db", "spool.db-wal"):
        (directory / each).rename(tmp_path / "disk" / each)
    (directory / "spool.db").symlink_to(tmp_path / "disk" / "spool.db")
    with pytest.raises(SpoolUnusable, match="symbolic link"):
        restart(directory)
    assert (tmp_path / "disk" / "spool.db-wal").stat().st_size > 0


def test_a_linked_folder_is_as_good_as_a_folder(fresh, tmp_path):
    directory, keys = fresh()
    (tmp_path / "link").symlink_to(directory)
    went_on(tmp_path / "link", keys, WINDOWS)


def test_a_schema_from_the_future_is_refused_and_nothing_is_touched(fresh):
    directory, _ = fresh()
    (directory / "spool.db-wal").unlink()
    connection = sqlite3.connect(directory / "spool.db")
    connection.execute(f"PRAGMA user_version = {len(SPOOL_STEPS) + 7}")
    connection.close()
    before = (directory / "spool.db").read_bytes()
    with pytest.raises(SpoolUnusable, match="Install the newer version again"):
        restart(directory)
    assert (directory / "spool.db").read_bytes() == before
    assert not set_aside_spools(directory)


def test_a_folder_in_its_place_is_refused(fresh):
    directory, _ = fresh()
    for each in directory.glob("spool.db*"):
        each.unlink()
    (directory / "spool.db").mkdir()
    with pytest.raises(SpoolUnusable, match="folder"):
        restart(directory)
    assert (directory / "spool.db").is_dir()


AS_NOBODY = """
import codecs, os, sys, time
from pathlib import Path
from spool.salvage import open_spool
from spool.errors import SpoolUnusable
codecs.lookup("ascii")
os.setgid(65534), os.setuid(65534)
try:
    open_spool(Path(sys.argv[1]), "web-1", time.time(), print)
except SpoolUnusable as error:
    print("refused:", error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that belongs to somebody else")
@pytest.mark.parametrize("mode", [0o600, 0o444])
def test_a_file_of_another_owner_is_refused_and_not_set_aside(fresh, mode):
    directory, keys = fresh()
    for folder in (directory, *directory.parents):
        if folder.stat().st_uid != 0 or folder.stat().st_mode & 0o005 == 0o005:
            break
        folder.chmod(0o755)
    directory.chmod(0o777)
    (directory / "spool.db").chmod(mode)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, directory], capture_output=True, text=True, timeout=30, check=False
    )
    assert "refused:" in done.stdout and "owner" in done.stdout, done.stdout + done.stderr
    assert not set_aside_spools(directory)
    directory.chmod(0o700)
    (directory / "spool.db").chmod(0o600)
    went_on(directory, keys, WINDOWS)


def test_what_was_saved_is_sent_where_it_was_unsent_and_nowhere_else(fresh):
    directory, keys = fresh()
    content = bytearray((directory / "spool.db").read_bytes())
    content[:100] = bytes(100)
    (directory / "spool.db").write_bytes(content)
    went_on(directory, keys, WINDOWS)
    from spool.delivery import Delivery

    with SpoolReader(directory) as reader:
        put_back, spool_id = reader.put_back(), reader.spool_id
    assert put_back
    with Delivery.open(directory, "main", spool_id) as delivery:
        assert delivery.rewind(put_back) and not delivery.rewind(put_back)
        with SpoolReader(directory, "main") as reader:
            unsent = {each.id for each in reader.unsent_oldest()}
    assert unsent & set(keys) == set(range(WINDOWS // 2 + 1, WINDOWS + 1))
