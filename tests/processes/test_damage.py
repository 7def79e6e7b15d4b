"""Damage met by real processes: nobody restarts anything, the rest arrives, and the accounts say what did not."""

import os
import signal
import sqlite3
import time

from spool.aside import set_aside_spools, unsalvaged
from spool.batch import State
from spool.delivery import DeliveryReader
from spool.heartbeat import heartbeats
from tests.processes.pipeline import Pipeline, wait_until
from tests.processes.test_outages import Load

PAGE = 4096
SCHEMA_PAGES = 20
"""Tables and indexes have a page of their own each before rows fill the file."""


def zero_pages_of_rows(pipeline: Pipeline, every: int = 5) -> None:
    """Zero pages behind the schema's, as a disk does that forgets."""
    with (pipeline.spool / "spool.db").open("r+b") as file:
        pages = os.fstat(file.fileno()).st_size // PAGE
        for number in range(SCHEMA_PAGES, pages, every):
            os.pwrite(file.fileno(), bytes(PAGE), number * PAGE)
        os.fsync(file.fileno())


def fill(pipeline: Pipeline, load: Load, windows: int) -> None:
    """Windows with so many series that each is several pages."""
    for _ in range(windows):
        seen = len(pipeline.windows())
        for first in range(0, 600, 30):
            pipeline.send(*[f"t.filler.{seen}.{n}.{hash((seen, n))}:1|c" for n in range(first, first + 30)])
        load.burst()
        wait_until(lambda seen=seen: len(pipeline.windows()) > seen, 10, "one more window")  # type: ignore[misc]


def lost_batches(pipeline: Pipeline) -> int:
    """Batches in rows of `losses`."""
    return sum(each["batches"] for each in pipeline.operator("losses"))


def everything_saved_arrives(pipeline: Pipeline, load: Load, before: dict[str, float]) -> None:
    """Every batch that is still held arrives; those that are not are counted."""
    wait_until(lambda: bool(set_aside_spools(pipeline.spool)), 20, "the damaged file set aside")
    wait_until(lambda: not unsalvaged(pipeline.spool), 20, "it is salvaged")
    load.windows(1)
    wait_until(pipeline.everything_acknowledged, 60, "everything acknowledged")
    held = pipeline.committed()
    gone = before.keys() - held.keys()
    with DeliveryReader(pipeline.spool, "main") as delivery:
        dead = {each["batch"] for each in delivery.state_rows(State.DEAD)}  # rotten ones that the shipper met first
    lost = {int(key.rpartition("-")[2]) for key in gone} - dead
    assert gone and len(lost) == lost_batches(pipeline), (gone, dead, pipeline.operator("losses"))
    assert len(held.keys() & before.keys()) >= len(before) // 4
    assert set(held) <= pipeline.received_keys() and not gone & pipeline.received_keys()
    assert pipeline.received_sum("t.hits") == sum(held.values())
    assert "Traceback" not in pipeline.log("collector") + pipeline.log("shipper")


def test_a_collector_starts_at_once_on_a_damaged_spool_and_saves_the_rest(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    fill(pipeline, load, 4)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged")
    arrived = pipeline.committed()
    pipeline.end("shipper")
    fill(pipeline, load, 8)
    pipeline.end("collector")
    before = pipeline.committed()
    pipeline.start("collector")
    pipeline.end("collector", signal.SIGKILL)
    told = heartbeats(pipeline.spool)["collector"]
    assert (told["spool_id"], told["last_batch"]) == (next(iter(before)).rpartition("-")[0], len(before))
    zero_pages_of_rows(pipeline)
    begun = time.monotonic()
    pipeline.start("collector")
    start_s = time.monotonic() - begun
    pipeline.start("shipper")
    wait_until(lambda: not unsalvaged(pipeline.spool) and bool(set_aside_spools(pipeline.spool)), 20, "salvaged")
    load.windows(2)
    wait_until(pipeline.everything_acknowledged, 60, "everything acknowledged")
    held = pipeline.committed()
    gone = before.keys() - held.keys()
    print(f"listening after {start_s:.2f} s; {len(gone)} of {len(before)} batches gone")
    assert start_s <= 3.0, start_s  # 2 s, and what starting a process on a busy machine takes
    assert gone
    assert lost_batches(pipeline) == len(gone - arrived.keys())
    assert pipeline.received_keys() == held.keys() | arrived.keys()
    assert pipeline.received_sum("t.hits") == sum({**arrived, **held}.values())
    assert "spool_replaced" in pipeline.log("collector") and "Traceback" not in pipeline.log("collector")


def test_damage_that_only_the_shipper_meets_is_mended_without_a_restart(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector")
    load = Load(pipeline)
    fill(pipeline, load, 6)
    pipeline.end("collector")  # a clean stop: everything is in spool.db
    before = pipeline.committed()
    zero_pages_of_rows(pipeline, every=3)
    pipeline.start("collector", "shipper")
    everything_saved_arrives(pipeline, load, before)
    assert pipeline.processes["collector"].poll() is None


def test_a_damaged_delivery_file_costs_duplicates_only(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(3)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged")
    pipeline.end("shipper", signal.SIGKILL)
    (pipeline.spool / "delivery-main.db-wal").unlink(missing_ok=True)
    with (pipeline.spool / "delivery-main.db").open("r+b") as file:
        file.write(os.urandom(200))
    pipeline.start("shipper")
    wait_until(lambda: "delivery_file_set_aside" in pipeline.log("shipper"), 10, "the file set aside")
    wait_until((pipeline.spool / "delivery-main.db").exists, 10, "a new file")
    load.windows(1)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged again")
    assert pipeline.received_sum("t.hits") == load.sent
    assert list(pipeline.spool.glob("delivery-main.db.corrupt-*"))


def test_a_rotten_payload_is_never_sent_and_is_listed_as_dead(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector")
    load = Load(pipeline)
    load.windows(3)
    pipeline.end("collector")
    with sqlite3.connect(pipeline.spool / "spool.db") as connection:
        payload = bytearray(connection.execute("SELECT payload FROM batches WHERE id = 2").fetchone()[0])
        payload[len(payload) // 2] ^= 1
        connection.execute("UPDATE batches SET payload = ? WHERE id = 2", (bytes(payload),))
    connection.close()
    pipeline.start("collector", "shipper")
    load.windows(1)
    wait_until(lambda: "payload_rotten" in pipeline.log("shipper"), 20, "the rotten payload is seen")
    load.windows(1)
    key = next(each["key"] for each in pipeline.operator("list") if each["id"] == 2)
    wait_until(lambda: len(pipeline.received_keys()) >= 4, 20, "the others at the receiver")
    assert key not in pipeline.received_keys()
    assert [each["id"] for each in pipeline.operator("list", "--state", "dead")] == [2]
    checked = pipeline.command("spool.cli", "check", check=False)
    assert checked.returncode == 2 and "batches 2" in checked.stdout
