"""What the shipper does about damage: it sets its own file aside, tells of the spool's, and sends what comes back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.aside import set_aside_spools
from spool.batch import State
from spool.delivery import DeliveryReader
from spool.salvage import pieces
from spool.writer import SpoolWriter
from tests.shipper.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.drain.close()
    host.writer.close()


def test_batches_that_come_back_below_those_already_settled_are_sent(host: Host) -> None:
    ids = host.commit(windows=5)
    host.writer.close()
    aside = host.directory / "spool.db.corrupt-20261123T000000Z"
    shutil.copy(host.directory / "spool.db", aside)
    host.writer = SpoolWriter.open(host.directory, "web-1")
    with host.writer.transaction() as db:
        db.execute("DELETE FROM batches WHERE id <= 3")
    host.run(seconds=5)
    assert set(host.states()) == set(ids[3:])
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.settled_through() == ids[-1], "below this nobody looks any more"
    for _ in pieces(host.writer, aside, ["main"], host.clock()):
        host.run()
    host.run()
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert all(count == 1 for count in host.server.stored.values()), "and nothing is sent twice"


def test_a_damaged_delivery_file_is_set_aside_and_everything_held_goes_again(host: Host) -> None:
    ids = host.commit(windows=3)
    host.run()
    host.drain.close()
    (host.directory / "delivery-main.db").write_bytes(b"no longer a database" * 400)
    host.run(seconds=5)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert set(host.server.stored.values()) == {2}
    assert (next(host.directory.glob("delivery-main.db.corrupt-*"))).read_bytes().startswith(b"no longer")


def test_damage_in_the_spool_is_told_to_the_collector_and_nothing_is_set_aside_by_the_shipper(host: Host) -> None:
    host.commit(windows=3)
    host.run()
    host.writer.close()
    whole = (host.directory / "spool.db").read_bytes()
    (host.directory / "spool.db").write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    host.drain.close()
    host.run(seconds=3)
    assert (host.directory / "errand-suspect-shipper-main.json").exists()
    assert not set_aside_spools(host.directory)
    assert not list(host.directory.glob("delivery-main.db.corrupt-*"))
    (host.directory / "spool.db").write_bytes(whole)
    host.writer = SpoolWriter.open(host.directory, "web-1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"write_ms REAL", b"wrire_ms REAL"),
        (b"CREATE TABLE condition", b"CREATE TABLE cond\xfftion"),
        (b"CREATE TABLE states", b"CREATE TABLD states"),
        (b'{"again": ', b'{"a\xf1ain": '),
        (b'{"again": ', b'{"aga n": '),
        (b'{"again": ', b'"\x00again": '),
        (b"settled_through3", b"settled_throughx"),
        (b"'acknowledged', 'dead'", b"'acknowlddged', 'dead'"),
    ],
)
def test_damage_that_sqlite_does_not_notice_is_damage_too(host: Host, before: bytes, after: bytes) -> None:
    ids = host.commit(windows=3)
    host.run()
    host.run(seconds=61)
    host.drain.close()
    file = host.directory / "delivery-main.db"
    whole = file.read_bytes()
    assert before in whole
    file.write_bytes(whole.replace(before, after, 1))
    host.restarted()
    host.run(seconds=5)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert set(host.server.stored.values()) == {2}
    assert len(list(host.directory.glob("delivery-main.db.corrupt-*"))) == 1


def test_a_delivery_file_that_somebody_removed_is_made_anew_and_everything_held_goes_again(host: Host) -> None:
    ids = host.commit(windows=3)
    host.run()
    for each in host.directory.glob("delivery-main.db*"):
        each.unlink()
    ids += host.commit()
    host.run(seconds=5)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED), "else the collector takes all of it for unsent"


def test_a_delivery_file_that_somebody_put_back_is_the_one_that_is_written(host: Host, tmp_path: Path) -> None:
    ids = host.commit()
    host.run()
    host.drain.close()
    shutil.copy(host.directory / "delivery-main.db", tmp_path / "yesterday")
    ids += host.commit()
    host.run()
    for each in host.directory.glob("delivery-main.db-*"):
        each.unlink()
    (tmp_path / "yesterday").replace(host.directory / "delivery-main.db")
    ids += host.commit()
    host.run(seconds=5)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)


@pytest.mark.parametrize("column", ["key", "sha256"])
def test_a_byte_that_is_no_text_any_more_costs_the_batch_that_it_is_in(host: Host, column: str) -> None:
    ids = host.commit(windows=4)
    with host.writer.transaction() as db:
        flipped = f"CAST(X'B1' || substr(CAST({column} AS BLOB), 2) AS TEXT)"
        db.execute(f"UPDATE batches SET {column} = {flipped} WHERE id = 2")
    host.run(seconds=20)
    states = host.states()
    assert {each for each in ids if states.get(each) is State.ACKNOWLEDGED} == {1, 3, 4}
    assert states.get(2) is (State.DEAD if column == "sha256" else None)
