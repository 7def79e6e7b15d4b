"""P1 and P5 at named points: the process dies exactly there; all that was committed arrives, and at most one request of
it twice, under the same keys with the same bytes.

One pipeline for all points, so that each dies on what the others left. Points inside SQLite's own work (half a
checkpoint, half a log) are system calls: there strace sends the signal.
"""

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.processes.fronted import Fronted
from tests.processes.interrupted import COLLECTOR, MIGRATION, SALVAGE, SHIPPER
from tests.processes.pipeline import Pipeline, wait_until
from tests.processes.test_damage import everything_saved_arrives, fill, zero_pages_of_rows
from tests.processes.test_outages import Load


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    pipeline = Fronted(tmp_path_factory.mktemp("crash") / "holdfast")
    try:
        pipeline.start("receiver", "collector", "shipper")
        one_more_window(pipeline)
        pipeline.settled()
        yield pipeline
        pipeline.audit()
    finally:
        pipeline.stop_all()


def one_more_window(pipeline: Fronted) -> None:
    """Lines that a running collector commits."""
    seen = len(pipeline.windows())
    pipeline.send("t.hits:1|c", "t.lat:5|ms")
    wait_until(lambda: len(pipeline.windows()) > seen, 10, "one more window")


def goes_on(pipeline: Fronted, name: str) -> None:
    """It starts again, and the pipeline goes on as if nothing had been."""
    pipeline.start(name)
    one_more_window(pipeline)
    pipeline.settled()
    assert "Traceback" not in pipeline.log(name)


def dies_in_a_full_folder(pipeline: Fronted, start: Callable[[], None]) -> None:
    """The folder is larger than allowed while the collector runs, so that it cuts its log after each commit."""
    pipeline.settled()  # what goes for want of room is acknowledged
    filler = pipeline.spool / "filler"
    filler.write_bytes(bytes(4_194_304))
    with pipeline.with_limits(max_bytes=4_194_304):
        start()
        pipeline.dies("collector")
    filler.unlink()


@pytest.mark.parametrize("point", COLLECTOR)
def test_nothing_is_lost_or_sent_again_when_the_collector_dies(point: str, running: Fronted) -> None:
    before = running.sent_again()
    running.end("collector", signal.SIGKILL)
    if "checkpoint" in point:
        dies_in_a_full_folder(running, lambda: running.start_interrupted("collector", point))
    else:
        with running.with_limits(max_age_sent_s=0):  # what is acknowledged is evicted at once
            running.start_interrupted("collector", point)
            running.dies("collector")
    goes_on(running, "collector")
    assert running.sent_again() == before


@pytest.mark.parametrize(
    ("file", "call", "nth"),
    [("spool.db", "pwrite64", 2), ("spool.db", "fdatasync", 1), ("spool.db-wal", "ftruncate", 1)],
    ids=["while_pages_are_moved", "before_they_are_synced", "before_the_log_is_cut"],
)
def test_nothing_is_lost_when_the_collector_dies_inside_a_checkpoint(
    file: str, call: str, nth: int, running: Fronted
) -> None:
    running.end("collector", signal.SIGKILL)
    inject = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(running.spool / file), "-e", f"trace={call}"]
    inject += ["-e", f"inject={call}:signal=KILL:when={nth}"]
    dies_in_a_full_folder(running, lambda: running.start_under("collector", inject))
    goes_on(running, "collector")


@pytest.mark.parametrize("point", SHIPPER)
def test_one_batch_at_most_is_sent_again_when_the_shipper_dies(point: str, running: Fronted) -> None:
    running.end("shipper", signal.SIGKILL)
    one_more_window(running)
    before = running.sent_again()
    running.start_interrupted("shipper", point)
    running.dies("shipper")
    running.start("shipper")
    running.settled()
    arrived_whole = point in ("after_body", "mid_answer", "before_record", "before_acknowledgement")
    assert running.sent_again() - before == (1 if arrived_whole else 0)


@pytest.mark.parametrize("point", MIGRATION)
def test_a_first_start_that_dies_half_way_is_as_if_it_had_not_been(point: str, pipeline: Pipeline) -> None:
    """Half a schema would be worse than none."""
    fronted = Fronted(pipeline.home)
    try:
        fronted.start("receiver")
        if point.endswith("delivery_file"):
            fronted.start("collector")
            fronted.start_interrupted("shipper", point)
            fronted.dies("shipper")
        else:
            fronted.start_interrupted("collector", point)
            fronted.dies("collector")
            fronted.start("collector")
        fronted.start("shipper")
        one_more_window(fronted)
        fronted.settled()
    finally:
        fronted.stop_all()


def test_a_damaged_spool_is_saved_although_the_collector_dies_at_each_step_of_it(pipeline: Pipeline) -> None:
    """One damaged spool for all of them: each start takes up what the one before left."""
    fronted = Fronted(pipeline.home)
    try:
        fronted.start("collector")
        load = Load(fronted)
        fill(fronted, load, 6)
        fronted.end("collector")  # all of it is in the file
        before = fronted.committed()
        fronted.start("collector")
        fronted.end("collector", signal.SIGKILL)  # and the next start looks at it
        zero_pages_of_rows(fronted)
        for point in SALVAGE:
            fronted.start_interrupted("collector", point)
            fronted.dies("collector")
        fronted.start("receiver", "collector", "shipper")
        everything_saved_arrives(fronted, load, before)
        fronted.audit()
    finally:
        fronted.stop_all()
