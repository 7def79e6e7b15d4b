"""P7 on real files: health is red within 60 s of a fault, green within 60 s after it, and never green in between.

Collector, shipper and check-in are played second by second on our own clock; spool, delivery file, heartbeats and what
health makes of them are real. The check-in's own process is real at the end of the file.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.exchange import Response
from spool.batch import Window
from spool.config import SpoolConfig
from spool.health import Health, State, judge
from spool.heartbeat import beat
from spool.survey import survey
from spool.writer import SpoolWriter
from tests.processes.pipeline import Pipeline, free_port, wait_until
from tests.processes.test_outages import Load, black_hole
from tests.shipper.host import Host, reply

RED_S = GREEN_S = 60
LISTED_S = 300
"""What was lost stays lost when its cause is gone: health tells of it for so long (spool.health.RECENT_S)."""


class World(Host):
    """A host whose processes run, second by second, until one of them is made not to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.limits = SpoolConfig(disk_reserve_bytes=0)
        self.running = {"collector", "shipper-main", "checkin"}
        self.dropped = 0
        self._next_turn_at = 0.0
        os.utime(directory / "collector.lock", (self.clock.at, self.clock.at))

    def second(self) -> None:
        """One second of everybody's life; the shipper's turn may take more of them."""
        self._others()
        if "shipper-main" in self.running and self.clock.at >= self._next_turn_at:
            for _ in range(200):
                wait_s = self.drain.turn()
                if wait_s > 0.01:
                    break
            self._next_turn_at = self.clock.at + wait_s

    def _others(self) -> None:
        self.clock.at += 1
        if "collector" in self.running:
            beat(self.directory, "collector", self.clock.at, "receiving")
            if self.clock.at % 10 == 0:
                self._commit_window()
        if "checkin" in self.running and self.clock.at % 5 == 0:
            beat(self.directory, "checkin", self.clock.at, "waiting")

    def _commit_window(self) -> None:
        self.clock.at -= 10  # commit() lets the ten seconds of its window pass
        self.commit(dropped=self.dropped)

    def hang(self, _keys: list[str]) -> str:
        """An attempt that goes to its deadline."""
        for _ in range(20):
            self._others()
        return "deadline of 20 s passed while waiting for the answer of 192.0.2.7:443"

    def health(self) -> Health:
        return judge(survey(self.directory, ["main"], self.limits, 10, self.clock.at))

    def live(self, seconds: float) -> None:
        until = self.clock.at + seconds
        while self.clock.at < until:
            self.second()

    def until(self, wanted: Callable[[State], bool], within_s: float) -> float:
        """Live until the state is as wanted; how many seconds that took."""
        began = self.clock.at
        while not wanted(self.health().state):
            assert self.clock.at - began <= within_s, self.health()
            self.second()
        return self.clock.at - began


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "spool")
    yield world
    world.drain.close()
    world.writer.close()


Undo = Callable[[], None]


def answering(answer: Callable[[World], Callable[[list[str]], Response | str]]) -> Callable[[World], Undo]:
    def fault(world: World) -> Undo:
        world.server.answer = answer(world)

        def undo() -> None:
            world.server.answer = world.server.accept

        return undo

    return fault


def stopped(who: str) -> Callable[[World], Undo]:
    """Dead or frozen: in the files there is no difference."""

    def fault(world: World) -> Undo:
        world.running.remove(who)
        return lambda: world.running.add(who)

    return fault


def disk_low(world: World) -> Undo:
    world.limits = SpoolConfig(disk_reserve_bytes=2**60)

    def undo() -> None:
        world.limits = SpoolConfig(disk_reserve_bytes=0)

    return undo


def windows_shed(world: World) -> Undo:
    at = world.clock.at
    world.writer.shed([Window(world.writer.next_window_seq(), at - 10, at, [])], at, "memory")
    return lambda: None


def kernel_drops(world: World) -> Undo:
    world.dropped = 7

    def undo() -> None:
        world.dropped = 0

    return undo


def one_bad_batch(world: World) -> Undo:
    bad: list[str] = []

    def answer(keys: list[str]) -> Response:
        bad[:] = bad or keys[:1]
        return reply(422)(keys) if bad[0] in keys else world.server.accept(keys)

    world.server.answer = answer
    return lambda: None


PORTAL = Response(200, {"content-type": "text/html"}, b"<html>Welcome</html>")
FAULTS: dict[str, tuple[Callable[[World], Undo], float]] = {  # the fault, and how long after it health may be red
    "server down": (answering(lambda _: lambda _keys: "connection refused by 192.0.2.7:443"), GREEN_S),
    "server hangs": (answering(lambda world: world.hang), GREEN_S),
    "server answers 503": (answering(lambda _: reply(503)), GREEN_S),
    "captive portal": (answering(lambda _: lambda _keys: PORTAL), GREEN_S),
    "token refused": (answering(lambda _: reply(401)), GREEN_S),
    "everything is malformed": (answering(lambda _: reply(400)), GREEN_S),
    "everything is too large": (answering(lambda _: reply(413)), GREEN_S),
    "collector dead or frozen": (stopped("collector"), GREEN_S),
    "shipper dead or frozen": (stopped("shipper-main"), GREEN_S),
    "disk low": (disk_low, GREEN_S),
    "windows shed": (windows_shed, LISTED_S),
    "kernel drops": (kernel_drops, LISTED_S),
    "a dead batch": (one_bad_batch, LISTED_S),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_red_within_a_minute_of_a_fault_never_green_while_it_lasts_green_within_a_minute_after(
    fault: str, world: World
) -> None:
    establish, green_s = FAULTS[fault]
    world.draw = 0.9
    world.live(120)
    assert world.health() == Health(State.OK)
    undo = establish(world)
    world.until(lambda state: state in (State.DEGRADED, State.FAIL), RED_S)
    for _ in range(150):  # false green: not for one second
        world.second()
        assert world.health().state in (State.DEGRADED, State.FAIL)
    undo()
    world.until(lambda state: state is State.OK, green_s)


def test_a_server_that_is_mended_in_the_middle_of_a_hanging_upload_is_green_within_a_minute(world: World) -> None:
    world.draw = 0.999
    world.live(60)
    world.server.answer = world.hang
    world.live(300)

    def last_hang(keys: list[str]) -> str:
        world.server.answer = world.server.accept  # from here on it is mended; this upload has begun too early
        mended_at.append(world.clock.at)
        return world.hang(keys)

    mended_at: list[float] = []
    world.server.answer = last_hang
    while not mended_at:
        world.second()
    world.until(lambda state: state is State.OK, GREEN_S)
    assert world.clock.at - mended_at[0] <= GREEN_S


def test_unknown_at_the_start_and_ok_after_the_first_acknowledgement(world: World) -> None:
    world.live(3)
    assert world.health().state is State.UNKNOWN
    seen = {world.health().state}
    while world.health().state is State.UNKNOWN:
        world.second()
        seen.add(world.health().state)
    assert seen == {State.UNKNOWN, State.OK} and len(world.server.stored) >= 1


def test_a_start_into_a_fault_is_not_unknown_for_longer_than_a_minute(world: World) -> None:
    world.server.answer = reply(503)
    world.live(3)
    assert world.health().state is State.UNKNOWN
    took_s = world.until(lambda state: state in (State.DEGRADED, State.FAIL), RED_S)
    assert took_s > 30


def test_late_data_is_degraded_after_five_minutes_and_a_failure_after_thirty(world: World) -> None:
    world.live(60)
    world.server.answer = reply(503)
    world.live(330)
    assert any("limit 5m" in each for each in world.health().reasons)
    world.live(1500)
    assert world.health().state is State.FAIL
    world.server.answer = world.server.accept
    while len(world.server.stored) < 10:
        world.second()
    world.until(lambda state: state is State.OK, GREEN_S)


def test_an_idle_spool_restarted_on_a_host_that_was_off_is_not_red_for_what_happened_meanwhile(world: World) -> None:
    world.live(60)
    world.clock.at += 8 * 3600
    os.utime(world.directory / "collector.lock", (world.clock.at, world.clock.at))
    assert world.health().state is State.UNKNOWN
    world.until(lambda state: state is State.OK, GREEN_S)


# --- the check-in's own process --------------------------------------------------------------------------------


@contextmanager
def uploads_hang(pipeline: Pipeline) -> Iterator[None]:
    """Uploads go to somebody who accepts and never answers; check-ins to the receiver."""
    port = free_port()
    text = pipeline.file.read_text()
    batches = f'url = "{pipeline.listen}/v1/batches"'
    assert text.count(batches) == 1
    pipeline.file.write_text(text.replace(batches, f'url = "https://127.0.0.1:{port}/v1/batches"'))
    with black_hole(port):
        yield


def test_the_check_in_goes_on_while_uploads_hang_and_says_what_is_owed(pipeline: Pipeline) -> None:
    with uploads_hang(pipeline):
        pipeline.start("receiver", "collector", "shipper", "checkin")
        Load(pipeline).windows(3)
        sql = "SELECT body FROM checkins ORDER BY id DESC LIMIT 1"

        def told() -> dict[str, object]:
            rows = pipeline.received(sql)
            return json.loads(rows[0][0]) if rows else {}

        wait_until(lambda: (told().get("owed") or {}).get("batches", 0) >= 3, 20, "a check-in that owes three batches")
        owed, windows = told()["owed"], {each["seq"] for each in pipeline.windows()}
        assert owed["first_window"] == min(windows) and owed["last_window"] in windows
        assert told()["state"] != "OK"
        count = len(pipeline.received("SELECT id FROM checkins"))
        wait_until(lambda: len(pipeline.received("SELECT id FROM checkins")) >= count + 2, 10, "two more check-ins")


def test_losses_are_told_also_when_the_check_in_was_restarted_in_between(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "checkin")
    Load(pipeline).windows(1)
    wait_until(lambda: pipeline.received("SELECT id FROM checkins"), 20, "a check-in")
    pipeline.end("checkin")
    pipeline.end("collector")
    writer = SpoolWriter.open(pipeline.spool, "web-1")
    (newest,) = pipeline.windows()[-1:]
    lost = Window(writer.next_window_seq(), newest["window_end"], newest["window_end"] + 1, [])
    writer.shed([lost], newest["window_end"] + 2, "memory")
    writer.close()
    before = len(pipeline.received("SELECT id FROM checkins"))
    pipeline.start("checkin")
    sql = "SELECT body FROM checkins WHERE id > ? ORDER BY id LIMIT 1"
    wait_until(lambda: pipeline.received(sql, before), 20, "a check-in of the new process")
    told = json.loads(pipeline.received(sql, before)[0][0])
    assert [each["first_window"] for each in told["losses_since"]] == [lost.seq]
