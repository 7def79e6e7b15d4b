"""A signal ends the process by that signal, after the last words; one that comes too late is its successor's."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from shipper.ending import SIGNALS, Ending
ending = Ending(lambda: print("said", flush=True))
"""


def ended(program: str) -> tuple[int, str]:
    command = [sys.executable, "-c", PROGRAM + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_after_the_last_words(number: signal.Signals) -> None:
    assert ended(f"os.kill(os.getpid(), {int(number)}); time.sleep(15); print('late')") == (-number, "said\n")


def test_a_signal_that_comes_too_late_waits_for_the_successor() -> None:
    successor = "import signal; print(*map(int, signal.sigpending()))"
    program = f"""
ending.leave_to_successor()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.3)
os.execv(sys.executable, [sys.executable, "-c", {successor!r}])
"""
    assert ended(program) == (0, f"{int(signal.SIGTERM)}\n")
