"""P1 and P5 at random: SIGKILL of collector or shipper under load, while the server is having a bad day.

One request in ten is answered 503, one in twenty is processed and its answer cut off. Every window that the collector
logged as committed arrives; none that it did not commit; each time with the same bytes.
"""

import itertools
import random
import signal
import time
from pathlib import Path

import pytest

from tests.processes.fronted import Fronted, steady_load
from tests.processes.pipeline import wait_until

SEED = 20261123
LINES_PER_S = 1_000
BAD_DAY = [*[None] * 3, "503", *[None] * 4, "cut", *[None] * 4, "503", *[None] * 6]


def kill_at_random(home: Path, kills: int, apart_s: float) -> None:
    chance = random.Random(SEED)
    moods = itertools.cycle(BAD_DAY)
    pipeline = Fronted(home, lambda: next(moods))
    try:
        pipeline.start("receiver", "collector", "shipper")
        with steady_load(pipeline, LINES_PER_S):
            for _ in range(kills):
                time.sleep(chance.uniform(0, apart_s))  # not to wait for anything: the instant of the kill is the test
                victim = chance.choice(["collector", "shipper"])
                pipeline.end(victim, signal.SIGKILL)
                pipeline.start(victim)
        seen = len(pipeline.logged())
        wait_until(lambda: len(pipeline.logged()) >= seen + 2, 20, "the last lines are in a window")
        pipeline.settled(within_s=60)
        windows, front = pipeline.windows(), pipeline.front
        print(
            f"{kills} kills: {len(windows)} windows, {len(front.arrived)} batches, {front.troubles['503']} answers 503,"
            f" {front.troubles['cut']} cut, {pipeline.sent_again()} sent again"
        )
        assert len({each["seq"] for each in windows}) == len(windows)
        assert pipeline.received_sum("t.hits") == sum(pipeline.committed().values()) > 0
        assert front.troubles["503"] and front.troubles["cut"], "the server was too kind for a test"
        pipeline.audit()
        assert "Traceback" not in pipeline.log("collector") + pipeline.log("shipper")
    finally:
        pipeline.stop_all()


def test_every_committed_window_arrives_although_50_processes_are_killed(tmp_path: Path) -> None:
    kill_at_random(tmp_path / "holdfast", 50, 0.8)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_every_committed_window_arrives_although_500_processes_are_killed(tmp_path: Path) -> None:
    kill_at_random(tmp_path / "holdfast", 500, 2.0)
