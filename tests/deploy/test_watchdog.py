"""Under a real supervisord: what freezes is ended and replaced, what beats is left alone, no batch is lost or doubled.

The rules of who is stuck are in tests/spool/test_silence.py, the protocol's corners here as well.
"""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spool.commands.watchdog import KEPT, Guard, NotUnderSupervisord, Running, ticks
from spool.heartbeat import heartbeats
from spool.silence import Silence
from tests.deploy.supervised import Supervised
from tests.processes.pipeline import wait_until
from tests.processes.test_outages import Load

CHECKOUT = Path(__file__).resolve().parents[2]
FROZEN = ("shipper-main", "collector")


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Supervised]:
    pipeline = Supervised(tmp_path / "holdfast", stale_after_s=10.0)
    yield pipeline
    pipeline.stop_all()
    for log in sorted(pipeline.home.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")


def test_frozen_programs_are_replaced_their_hang_is_kept_and_everything_arrives_once(pipeline: Supervised) -> None:
    pipeline.launch()
    load = Load(pipeline)
    load.windows(2)
    before = pipeline.pids()
    for each in FROZEN:
        os.kill(before[each], signal.SIGSTOP)

    def replaced() -> bool:
        now = pipeline.pids()
        return all(each in now and now[each] != before[each] for each in FROZEN)

    wait_until(replaced, 60, "both replaced")
    load.windows(2)
    wait_until(pipeline.everything_acknowledged, 30, "everything acknowledged")
    assert pipeline.received_keys() == set(pipeline.committed())
    assert pipeline.received_sum("t.hits") == sum(pipeline.committed().values()) == load.sent
    now = pipeline.pids()
    assert {each for each in now if now[each] != before[each]} == set(FROZEN), "whoever beats is left alone"
    hangs = {each["who"]: each for each in pipeline.operator("hangs") if each["name"].startswith("hang-")}
    assert set(hangs) == set(FROZEN)
    for each in FROZEN:
        assert hangs[each]["phase"] and "ended by the watchdog" in hangs[each]["ended"]
        told = pipeline.command("spool.cli", "hangs", hangs[each]["name"]).stdout
        assert f"{each}, process {before[each]}, had not beaten" in told
        assert f"{before[each]}  " in told and "  T  " in told, "the kernel says that it was stopped"
        assert f"killed program={each} pid={before[each]}" in pipeline.log("watchdog")


def answered(heard: bytes) -> tuple[int, bytes]:
    """How many turns so many events make, and what was said to supervisord."""
    said = io.BytesIO()
    return sum(1 for _ in ticks(io.BytesIO(heard), said)), said.getvalue()


def test_every_event_is_answered_before_anything_is_done_about_it() -> None:
    said = io.BytesIO()
    turns = ticks(io.BytesIO(b"ver:3.0 eventname:TICK_5 len:4\nwhen" * 2), said)
    next(turns)
    assert said.getvalue() == b"READY\nRESULT 2\nOK"


@pytest.mark.parametrize(
    "event",
    [
        b"ver:3.0 server:x serial:2 pool:watchdog poolserial:1 eventname:PROCESS_STATE_EXITED len:6\na:b c:",
        b"len:0\n",
        b"len:3 eventname:NEVER_SEEN odd: :odd nothing\n\xff\n:",
    ],
)
def test_odd_events_are_answered_like_any_other(event: bytes) -> None:
    assert answered(event * 3) == (3, b"READY\nRESULT 2\nOK" * 3 + b"READY\n")


@pytest.mark.parametrize("header", [b"hello\n", b"len:-1\n", b"len:many\n", b"\n"])
def test_what_is_no_event_ends_it_so_that_supervisord_begins_afresh(header: bytes) -> None:
    with pytest.raises(NotUnderSupervisord, match="standard input"):
        answered(header)


def test_it_shows_its_own_stacks_when_asked_and_goes_on(pipeline: Supervised) -> None:
    environment = {**pipeline.environment(), "SUPERVISOR_SERVER_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "spool.cli", "watchdog"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout.readline() == b"READY\n"
        process.send_signal(signal.SIGUSR1)
        _, said = process.communicate(b"", timeout=10)
    assert b"in ticks" in said and b"Current thread" in said and process.returncode == 0, said


class Wedged:
    """A process that beats once and then hangs in a call that returns never, as a program of supervisord would."""

    PROGRAM = """
import faulthandler, pathlib, signal, sys, time
from spool.heartbeat import beat
faulthandler.register(signal.SIGUSR1, all_threads=True)
def never_returns():
    beat(pathlib.Path(sys.argv[1]), "collector", 1.0, "collecting")
    time.sleep(60)
never_returns()
"""

    def __init__(self, spool: Path) -> None:
        self.spool, self.log, self.clock = spool, spool / "collector.log", 0.0
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.PROGRAM, spool], stderr=log, start_new_session=True, cwd=CHECKOUT
            )
        wait_until(lambda: "collector" in heartbeats(spool), 10, "its only beat")
        self.silence = Silence(10.0)

    def look(self, wait: Callable[[float], None]) -> None:
        """What the watchdog does at a tick 10 s after the last one."""
        self.clock += 10.0
        running = {"collector": Running(self.process.pid, self.log)}
        Guard(self.spool, self.silence, lambda: running, lambda: self.clock, lambda: 1_764_000_000.0, wait).look()


@pytest.fixture
def wedged(tmp_path: Path) -> Iterator[Wedged]:
    wedged = Wedged(tmp_path)
    yield wedged
    wedged.process.kill()
    wedged.process.wait()


def test_a_wedged_program_leaves_its_stacks_in_the_kept_hang(wedged: Wedged) -> None:
    for _ in range(3):
        wedged.look(lambda _: wait_until(lambda: "never_returns" in wedged.log.read_text(), 10, "its stacks"))
    assert wedged.process.wait(10) == -signal.SIGKILL
    (hang,) = (wedged.spool / "hangs").iterdir()
    assert hang.name == "hang-20251124T160000.000000Z-collector.txt"
    told = hang.read_text()
    assert "had not beaten for 20 s" in told and '"phase": "collecting"' in told and "in never_returns" in told


def test_a_program_that_wakes_up_when_asked_for_its_stacks_is_spared(wedged: Wedged) -> None:
    def wakes_up(_: float) -> None:
        os.utime(wedged.spool / "heartbeat-collector.json")

    for _ in range(5):
        wedged.look(wakes_up)
    assert wedged.process.poll() is None and not (wedged.spool / "hangs").exists()


def test_only_so_many_hangs_are_kept(wedged: Wedged) -> None:
    folder = wedged.spool / "hangs"
    folder.mkdir()
    for number in range(KEPT + 5):
        (folder / f"hang-2020{number:04}T000000.0Z-shipper-main.txt").write_text("old")
    for _ in range(3):
        wedged.look(lambda _: None)
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == KEPT and kept[-1].endswith("-collector.txt") and "20200004" not in str(kept)
