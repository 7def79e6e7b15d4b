"""What can be read of a broken file: page by page, without SQLite, by the hash that each row carries."""

import json
import sqlite3
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.aside import mark_salvaged, remove_salvaged, set_aside, set_aside_spools, unsalvaged
from spool.audit import audited
from spool.batch import State
from spool.carve import Kind, free_pages, rows
from spool.config import SpoolConfig
from spool.connection import FILE
from spool.delivery import Delivery, Settled
from spool.errors import SpoolUnusable
from spool.evict import Evictor
from spool.image import Image
from spool.reader import SpoolReader
from spool.salvage import contents, open_spool, pieces
from spool.writer import SpoolWriter
from tests.spool import damaged
from tests.spool.damaged import WINDOWS, restart, window


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool", damaged.make(tmp_path / "spool")


def carved(path):
    with Image(path) as image:
        return [row for row in image.rows() if row is not None]


def test_every_row_that_sqlite_reads_is_carved_with_the_same_values(spool):
    directory, keys = spool
    found = {(row.kind, row.rowid): row.values for row in carved(directory / FILE)}
    connection = sqlite3.connect(directory / FILE)
    for kind, table in ((Kind.BATCH, "batches"), (Kind.WINDOW, "windows")):
        told = {row[0]: row for row in connection.execute(f"SELECT * FROM {table}")}
        assert {rowid: values for (each, rowid), values in found.items() if each is kind} == told
    connection.close()
    assert len(keys) == WINDOWS


@given(
    length=st.integers(0, 40_000),
    rowid=st.integers(1, 2**53 - 1),
    number=st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)),
)
def test_a_row_of_any_size_is_carved_as_it_was_written(tmp_path_factory, length, rowid, number):
    path = tmp_path_factory.mktemp("row") / "one.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE losses (id INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h, i, j, k, l)")
    values = (number, "x" * (length % 200), None, 7, 1, 2, 0.5, number, 3, 4, 5, json.dumps(["y" * length]))
    connection.execute(f"INSERT INTO losses VALUES (?{', ?' * 12})", (rowid, *values))
    connection.commit()
    connection.close()
    found = [row for row in carved(path) if row.kind is Kind.LOSS]
    assert [(row.rowid, row.values[1:]) for row in found] == [(rowid, values)]


@given(st.binary(max_size=4096))
def test_no_page_makes_it_raise_or_run_on(page):
    list(rows(page, 1, lambda number: page))
    list(rows(b"\x0d" + page, 2, lambda number: page))
    free_pages(page, lambda number: page, 100)


def test_a_page_that_leads_to_itself_ends():
    page = bytearray(4096)
    page[0:8] = b"\x0d\0\0\0\1\0\0\0"
    page[8:10] = (100).to_bytes(2, "big")
    page[100:104] = b"\x9f\xff\xff\x7f"  # a payload of almost 64 MiB
    assert list(rows(bytes(page), 2, lambda number: bytes(page))) == []


def test_deleted_batches_do_not_come_back(tmp_path):
    writer = SpoolWriter.open(tmp_path / "spool", "web-1")
    for seq in range(1, 61):
        writer.commit(window(seq), seq)
    writer.evict([], list(range(1, 41)), 100.0)
    writer.close()
    assert set(contents(tmp_path / "spool" / FILE).batches.values()) == set(range(41, 61))


def test_a_file_without_header_and_schema_still_gives_its_rows(spool):
    directory, keys = spool
    content = bytearray((directory / FILE).read_bytes())
    content[:4096] = bytes(4096)
    (directory / FILE).write_bytes(content)
    assert set(contents(directory / FILE).batches) == set(keys.values())


def test_salvaging_again_changes_nothing(spool):
    directory, keys = spool
    (directory / FILE).write_bytes((directory / FILE).read_bytes()[: 20 * 4096])
    again = restart(directory)
    (aside,) = set_aside_spools(directory)

    def everything():
        with SpoolReader(directory) as reader:
            return [each.key for each in reader.headers_after(0)], reader.losses(), reader.windows()

    before = everything()
    *_, totals = pieces(again.writer, aside, ["main"], time.time())
    assert everything() == before and totals["saved"] == totals["lost"] == 0
    assert totals["known"] >= 1 and keys
    again.writer.close()


def test_an_interrupted_salvage_is_taken_up_at_the_next_start(spool):
    directory, keys = spool
    content = bytearray((directory / FILE).read_bytes())
    content[:100] = bytes(100)
    (directory / FILE).write_bytes(content)
    replaced = []

    writer = open_spool(directory, "web-1", time.time(), replaced.append)
    (aside,) = set_aside_spools(directory)
    next(pieces(writer, aside, ["main"], time.time()))
    writer.close()
    assert unsalvaged(directory) == [aside]
    again = restart(directory)
    assert again.replaced == [] and [done.error for done in again.errands] == [None]
    assert unsalvaged(directory) == []
    with SpoolReader(directory) as reader:
        assert {each.key for each in reader.headers_after(0)} == set(keys.values())
    again.writer.close()


def test_a_salvaged_file_goes_before_any_batch_when_room_is_needed(spool):
    directory, _ = spool
    content = bytearray((directory / FILE).read_bytes())
    content[:100] = bytes(100)
    (directory / FILE).write_bytes(content + bytes(20_000_000))
    again = restart(directory)
    assert set_aside_spools(directory)
    evicted = Evictor(again.writer, SpoolConfig(max_bytes=16_777_216, disk_reserve_bytes=0), ["main"]).run(time.time())
    assert set_aside_spools(directory) == []
    assert evicted.by_reason == {}
    again.writer.close()


def test_a_file_that_is_not_salvaged_yet_is_neither_counted_nor_removed(tmp_path):
    writer = SpoolWriter.open(tmp_path / "spool", "web-1")
    writer.commit(window(1), 1.0)
    aside = writer.directory / f"{FILE}.corrupt-20261123T000000Z"
    aside.write_bytes(bytes(30_000_000))
    evictor = Evictor(writer, SpoolConfig(max_bytes=16_777_216, disk_reserve_bytes=0), ["main"])
    assert evictor.run(time.time()).used_bytes < 5_000_000
    assert aside.exists()
    mark_salvaged(aside, "all of it")
    evictor.run(time.time())
    assert not aside.exists()
    writer.close()


def test_setting_aside_takes_the_wal_along_and_never_overwrites(tmp_path):
    for number in range(3):
        for side in ("", "-wal", "-shm"):
            (tmp_path / f"spool.db{side}").write_text(f"{number}{side}")
        aside = set_aside(tmp_path / FILE, 1_764_000_000.0)
        assert [(tmp_path / f"{aside.name}{side}").read_text() for side in ("", "-wal")] == [
            str(number), f"{number}-wal",
        ]  # fmt: skip
        assert not list(tmp_path.glob("spool.db")) + list(tmp_path.glob("spool.db-*"))
    assert len(set_aside_spools(tmp_path)) == 3
    assert not remove_salvaged(tmp_path)


def test_batches_of_another_spool_are_taken_in_under_ids_that_have_no_state_here(tmp_path, spool):
    directory, _ = spool
    writer = restart(directory).writer
    with writer.transaction() as db:  # as an eviction does: they were acknowledged, and their states stay
        db.execute("DELETE FROM batches WHERE id <= 20")
    other = SpoolWriter.open(tmp_path / "other", "db-1")
    keys = {each.key for seq in range(1, 31) for each in other.commit(window(seq), seq)}
    other.close()
    *_, totals = pieces(writer, tmp_path / "other" / FILE, ["main"], 900.0, "ann")
    assert totals == {"saved": 30, "known": 0, "rotten": 0, "lost": 0}
    with SpoolReader(directory, "main") as reader:
        unsent = {each.key for each in reader.unsent_oldest()}
        assert reader.changes()[0]["who"] == "ann"
    assert keys <= unsent, "an id that stands for an acknowledged batch of ours would never be sent"
    assert audited(directory, ["main"], time.sleep).problems == ()
    *_, again = pieces(writer, tmp_path / "other" / FILE, ["main"], 901.0, "ann")
    assert (again["saved"], again["known"]) == (0, 30)
    writer.close()


@pytest.mark.parametrize("states", [{30: "acknowledged"}, {}], ids=["it sent the newest", "it sent nothing yet"])
def test_what_was_settled_and_evicted_before_a_destination_was_added_is_no_loss_there(spool, states):
    directory, keys = spool
    writer = SpoolWriter.open(directory, "web-1")
    writer.evict([], list(range(1, 11)), 500.0)
    writer.checkpoint()
    with Delivery.open(directory, "later", writer.spool_id) as later:
        later.settle({each: Settled(State(word)) for each, word in states.items()}, 600.0)
    writer.close()
    content = bytearray((directory / FILE).read_bytes())
    content[:100] = bytes(100)
    (directory / FILE).write_bytes(content)
    writer = open_spool(directory, "web-1", 700.0, lambda _: None)
    (aside,) = set_aside_spools(directory)
    *_, totals = pieces(writer, aside, ["main", "later"], 700.0)
    assert (totals["saved"], totals["lost"]) == (len(keys) - 10, 0)
    assert audited(directory, ["main", "later"], time.sleep).problems == ()
    writer.close()


def test_what_damage_took_that_a_new_destination_was_still_owed_is_a_loss_there(spool):
    directory, keys = spool
    writer = SpoolWriter.open(directory, "web-1")
    writer.evict([], list(range(1, 6)), 500.0)
    writer.checkpoint()
    with Delivery.open(directory, "later", writer.spool_id) as later:
        later.settle({30: Settled(State.ACKNOWLEDGED)}, 600.0)  # the newest go first
    with writer.transaction() as db:
        db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id IN (12, 13)")
    writer.close()
    aside = set_aside(directory / FILE, 700.0)
    writer = open_spool(directory, "web-1", 700.0, lambda _: None)
    *_, totals = pieces(writer, aside, ["main", "later"], 700.0)
    assert (totals["saved"], totals["lost"]) == (len(keys) - 7, 2)
    with SpoolReader(directory) as reader:
        (loss,) = [each for each in reader.losses() if each["batches"]]
    assert (loss["first_batch"], loss["last_batch"], loss["unsent_at"]) == (12, 13, '["later"]')
    writer.close()


def test_the_spool_itself_is_not_salvaged_from(spool, tmp_path):
    directory, _ = spool
    writer = restart(directory).writer
    link = tmp_path / "link.db"
    link.symlink_to(directory / FILE)
    for name in (directory / FILE, link):
        with pytest.raises(SpoolUnusable, match="is the spool itself"):
            list(pieces(writer, name, ["main"], 900.0))
    # Had its locks been dropped, this would take the log away: whoever closes a file last does so.
    other = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM batches'); db.close()"
    writer.commit(window(writer.next_window_seq()), 901.0)
    subprocess.run([sys.executable, "-c", other, directory / FILE], check=True)
    assert (directory / f"{FILE}-wal").exists()
    writer.close()


def test_a_file_named_by_another_way_to_the_folder_is_marked_as_salvaged_too(spool, tmp_path):
    directory, _ = spool
    aside = set_aside(directory / FILE, 1_764_000_000.0)
    writer = SpoolWriter.open(directory, "web-1")
    (tmp_path / "link").symlink_to(directory)
    list(pieces(writer, tmp_path / "link" / aside.name, ["main"], 900.0))
    assert unsalvaged(directory) == []
    writer.close()
