"""The watchdog, with real processes that get stuck in ways no socket deadline can see."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.evidence import KEPT, Watchdog

ROOT = Path(__file__).parents[2]
DEADLINE_S = 0.4
GRACE_S = 0.3


@pytest.fixture(autouse=True)
def _alarm_as_before() -> Iterator[None]:
    """A watchdog changes what SIGALRM does to the process, and pytest-timeout uses it too."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


STUCK = {
    "in a name server that does not answer": """
        import ctypes
        ctypes.CDLL(None).sleep(60)  # as getaddrinfo: C that has let go of the interpreter
    """,
    "in C that keeps the interpreter": """
        import ctypes
        ctypes.PyDLL(None).sleep(60)
    """,
    "in a regular expression": """
        import re
        re.match(r"(a+)+$", "a" * 60 + "b")
    """,
    "in SQLite": """
        import sqlite3
        with_ = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n"
        sqlite3.connect(":memory:").execute(with_).fetchone()
    """,
    "in Python, with every exception swallowed": """
        while True:
            try:
                sum(range(1000))
            except BaseException:
                pass
    """,
    "behind a log pipe that nobody reads": """
        import os
        read, write = os.pipe()
        while True:
            os.write(write, bytes(65536))
    """,
}


def start(spool: Path, code: str, before: str = "") -> subprocess.Popen[bytes]:
    program = f"""
from pathlib import Path
from shipper.evidence import Watchdog
{textwrap.dedent(before)}
def stuck():
{textwrap.indent(textwrap.dedent(code), "    ")}
watchdog = Watchdog(Path({str(spool)!r}), "shipper-main", grace_s={GRACE_S})
print("armed", flush=True)
with watchdog.armed({DEADLINE_S}):
    stuck()
"""
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> float:
    """Seconds from arming to the end."""
    assert process.stdout.readline() == b"armed\n"
    began = time.monotonic()
    try:
        process.wait(10)
    finally:
        process.kill()
        process.stdout.close()
    return time.monotonic() - began


@pytest.mark.parametrize("where", STUCK)
def test_a_process_stuck_anywhere_is_ended_and_its_stacks_are_kept(where: str, tmp_path: Path) -> None:
    process = start(tmp_path, STUCK[where])
    assert DEADLINE_S <= ended(process) < DEADLINE_S + 2 * GRACE_S + 0.5
    assert process.returncode == 1
    dump = (tmp_path / f"hangs/shipper-main-{process.pid}.txt").read_text()
    assert "Timeout" in dump and "in stuck" in dump


def test_when_even_the_dump_is_stuck_the_kernel_ends_the_process(tmp_path: Path) -> None:
    full_pipe = """
        import faulthandler, os
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, bytes(4096))
        except BlockingIOError:
            os.set_blocking(write, True)
        to_file = faulthandler.dump_traceback_later
        faulthandler.dump_traceback_later = lambda *args, **options: to_file(*args, **{**options, "file": write})
    """
    process = start(tmp_path, STUCK["in C that keeps the interpreter"], before=full_pipe)
    assert DEADLINE_S + 2 * GRACE_S - 0.1 <= ended(process) < DEADLINE_S + 2 * GRACE_S + 0.5
    assert process.returncode == -signal.SIGALRM


def test_an_inherited_deafness_to_the_alarm_is_cured(tmp_path: Path) -> None:
    deaf = """
        import signal
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        import faulthandler
        faulthandler.dump_traceback_later = lambda *args, **options: None
    """
    process = start(tmp_path, STUCK["in Python, with every exception swallowed"], before=deaf)
    ended(process)
    assert process.returncode == -signal.SIGALRM


def test_attempts_in_time_leave_the_process_and_the_folder_alone(tmp_path: Path) -> None:
    watchdog = Watchdog(tmp_path, "shipper-main", grace_s=0.05)
    bound = time.monotonic() + 0.4
    while time.monotonic() < bound:  # well past the deadline, but in many blocks
        with watchdog.armed(0.1):
            pass
    with pytest.raises(RuntimeError), watchdog.armed(0.1):
        raise RuntimeError
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    watchdog.close()
    assert list((tmp_path / "hangs").iterdir()) == []


def test_the_next_start_finds_what_a_stuck_process_left(tmp_path: Path) -> None:
    process = start(tmp_path, STUCK["in a regular expression"])
    ended(process)
    watchdog = Watchdog(tmp_path, "shipper-main")
    watchdog.close()
    assert len(watchdog.found) == 1
    kept = watchdog.found[0]
    assert kept.name.startswith("hang-2") and kept.name.endswith("Z-shipper-main.txt")
    assert "in stuck" in kept.read_text()
    assert list(kept.parent.iterdir()) == [kept]
    again = Watchdog(tmp_path, "shipper-main")
    again.close()
    assert again.found == []


def test_a_full_disk_costs_neither_the_stacks_nor_the_start(tmp_path: Path) -> None:
    (tmp_path / "hangs").mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stacks = 'Thread 0x1 (most recent call first):\n  File "a.py", line 1 in stuck\n' * 100
    (tmp_path / "hangs" / f"shipper-main-{gone.pid}.txt").write_text(stacks)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(stacks), limits[1]))
    try:
        watchdog = Watchdog(tmp_path, "shipper-main")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    watchdog.close()
    assert [each.read_text() for each in (tmp_path / "hangs").iterdir()] == [stacks]
    assert watchdog.found == list((tmp_path / "hangs").iterdir())


def test_only_ended_processes_of_the_same_name_are_tidied_up(tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    hangs.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    keep = [f"shipper-main-{os.getppid()}.txt", f"shipper-other-{gone.pid}.txt", f"shipper-main-b-{gone.pid}.txt"]
    for name in [*keep, f"shipper-main-{gone.pid}.txt"]:
        (hangs / name).write_text("Timeout")
    watchdog = Watchdog(tmp_path, "shipper-main")
    watchdog.close()
    assert len(watchdog.found) == 1
    assert {each.name for each in hangs.iterdir()} == {*keep, watchdog.found[0].name}


def test_the_oldest_dumps_make_room(tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    hangs.mkdir()
    for number in range(KEPT + 5):
        (hangs / f"hang-20260101T0000{number:02d}.000000Z-x.txt").write_text("Timeout")
    Watchdog(tmp_path, "shipper-main").close()
    left = sorted(each.name for each in hangs.iterdir())
    assert len(left) == KEPT
    assert left[-1].startswith(f"hang-20260101T0000{KEPT + 4}")
