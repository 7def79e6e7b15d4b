"""SIGHUP: the program that would take over is asked first; then it takes over in place, and no signal is lost."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spool.again import Reload, check_arguments, program
from tests.processes.pipeline import wait_until

PROGRAM = """
import os, signal, sys, threading, time
from spool.again import again, hold_signals, release_signals
told = threading.Event()
life = int(os.environ.get("LIFE", "1"))
if life == 2:
    os.kill(os.getpid(), signal.SIGHUP)  # before there is a handler
    time.sleep(0.2)
signal.signal(signal.SIGTERM, lambda *_: told.set())
signal.signal(signal.SIGHUP, lambda *_: print("HUP", flush=True))
print(life, os.getpid(), *sys.argv[1:], flush=True)
release_signals()
if life == 1:
    hold_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    again({"LIFE": "2"})
print("TERM" if told.wait(10) else "nothing")
"""


def test_a_program_becomes_itself_in_place_and_takes_the_signals_that_came_meanwhile(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    command = [sys.executable, "-W", "error", str(file), "a b", "-c"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        said = started.communicate(timeout=20)[0].splitlines()
    pid = started.pid
    assert said[:2] == [f"1 {pid} a b -c", f"2 {pid} a b -c"]
    assert sorted(said[2:]) == ["HUP", "TERM"]
    assert started.returncode == 0


def test_a_console_script_is_run_by_its_own_first_line_so_that_a_new_release_takes_over(tmp_path):
    script = tmp_path / "holdfast-collector"
    script.write_text("#!/new/python\n")
    script.chmod(0o755)
    assert program(["/old/python", str(script), "run", "-c", "x"], [str(script), "run", "-c", "x"]) == [str(script)]


@pytest.mark.parametrize("before", [["-m", "collector.cli"], ["-W", "error", "-m", "collector.cli"], ["-I", "x.py"]])
def test_anything_else_is_started_as_it_was(before):
    original = ["python", *before, "run", "run"]
    assert program(original, ["/somewhere/cli.py", "run", "run"]) == [sys.executable, *before]


def test_the_check_reads_the_file_that_was_named():
    assert check_arguments(None) == ["check"]
    assert check_arguments(Path("x.toml")) == ["check", "--config", "x.toml"]


class Reloading:
    """A Reload whose check is a shell script."""

    def __init__(self, monkeypatch, script):
        monkeypatch.setattr(sys, "orig_argv", ["sh", "-c", script, "sh"])
        monkeypatch.setattr(sys, "argv", ["sh"])
        monkeypatch.setattr(sys, "executable", "/bin/sh")
        self.accepted, self.refused = threading.Event(), []
        self.asked = Reload(["check"], self.accepted.set, self.refused.append, lambda: ({"LENT": "7"}, ()))


def test_a_check_that_is_content_is_followed_by_the_reload(monkeypatch):
    reloading = Reloading(monkeypatch, 'test "$LENT" = 7')
    reloading.asked.ask(signal.SIGHUP, None)
    assert reloading.accepted.wait(10)
    assert reloading.refused == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo ok config; echo bad config no such key; echo bad listen in use; exit 78",
            "config no such key; listen in use",
        ),
        ("echo Error: x.toml: not TOML >&2; exit 78", "x.toml: not TOML"),
        ("echo Traceback; echo ImportError: no >&2; exit 1", "ImportError: no"),
        ("exit 3", "its check ended with 3"),
    ],
)
def test_a_check_that_is_not_content_says_why_and_another_may_be(monkeypatch, tmp_path, script, reason):
    mended = tmp_path / "mended"
    reloading = Reloading(monkeypatch, f"test -e {mended} && exit 0; {script}")
    reloading.asked.ask()
    wait_until(lambda: reloading.refused, 10, "refused")
    assert reloading.refused == [reason]
    assert not reloading.accepted.is_set()
    mended.touch()
    reloading.asked.ask()
    assert reloading.accepted.wait(10)


def test_a_check_that_goes_on_at_the_end_is_ended_and_nobody_is_told_that_it_was(monkeypatch, tmp_path):
    begun = tmp_path / "begun"
    reloading = Reloading(monkeypatch, f"echo $$ > {begun}.new; mv {begun}.new {begun}; exec sleep 60")
    reloading.asked.ask()
    wait_until(begun.exists, 10, "the check has begun")
    reloading.asked.end()
    assert not Path("/proc", begun.read_text().strip()).exists(), "not even a zombie, which a successor would keep"
    reloading.asked.ask()
    assert (reloading.accepted.is_set(), reloading.refused) == (False, [])
