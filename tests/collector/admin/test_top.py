"""`top`: live in a terminal, one snapshot elsewhere; read from the spool, so that no collector needs to answer."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli import main
from spool.batch import Point, Window
from spool.writer import SpoolWriter

ROOT = Path(__file__).parents[2]


def window(seq, **values):
    end = 1_764_000_000.0 + 10 * seq
    points = [Point(name, "counter", {}, {"value": float(value)}) for name, value in values.items()]
    return Window(seq, end - 10, end, points, len(points), 9, 100, 94, {"no_value": 6}, 7)


@pytest.fixture
def spool(tmp_path):
    """A writer of a spool with one window, and the configuration that names it."""
    file = tmp_path / "holdfast.toml"
    file.write_text(f'[spool]\ndir = "{tmp_path}/spool"\n')
    writer = SpoolWriter.open(tmp_path / "spool", "web-1")
    writer.commit(window(1, hits=100, **{"esc\x1b[31m": 50}), 1_764_000_010.5)
    yield writer, str(file)
    writer.close()


def run(*arguments):
    return CliRunner().invoke(main, ["top", *arguments], catch_exceptions=False)


def test_where_there_is_no_terminal_it_prints_one_snapshot(spool):
    done = run("-c", spool[1])
    assert done.exit_code == 0
    assert re.search(r"hits +counter +1 +10\.0  100\n", done.stdout)
    assert "no_value 0.6/s" in done.stdout and "kernel 7" in done.stdout
    assert "\x1b" not in done.stdout  # whatever a client calls its metrics


def test_the_number_of_names_can_be_limited(spool):
    assert "esc" in run("--once", "-c", spool[1]).stdout
    assert "esc" not in run("--once", "-n", "1", "-c", spool[1]).stdout


def test_json_is_one_object(spool):
    found = json.loads(run("--json", "--by", "name", "-c", spool[1]).stdout)
    assert [each["name"] for each in found["names"]] == ["esc\x1b[31m", "hits"]
    assert found["rejected_by"] == {"no_value": 6}


def test_a_spool_without_a_window_is_said_to_be_one(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text(f'[spool]\ndir = "{tmp_path}/spool"\n')
    SpoolWriter.open(tmp_path / "spool", "web-1").close()
    done = run("-c", str(file))
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "no window has been committed yet" in done.stderr


class Screen:
    """`top` in a terminal of its own."""

    def __init__(self, config):
        self.text = ""
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.environ |= {"TERM": "xterm", "COLUMNS": "60", "LINES": "12"}
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "collector.cli", "top", "-c", config])

    def wait_for(self, pattern, within_s=20):
        until = time.monotonic() + within_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, repr(self.text)
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.terminal, 65_536).decode()
                except OSError:  # the other end is closed
                    assert re.search(pattern, self.text), repr(self.text)


def test_in_a_terminal_each_window_is_shown_until_ctrl_c_and_the_terminal_is_as_before(spool):
    screen = Screen(spool[1])
    try:
        screen.wait_for(r"seq 1\b[^\x1b]*")
        screen.wait_for(r"hits +counter")
        spool[0].commit(window(2, later=7), 1_764_000_020.5)
        screen.wait_for(r"seq 2\b")
        screen.wait_for(r"later +counter")
        os.write(screen.terminal, b"\x03")
        screen.wait_for(r"\x1b\[\?1049l")
        assert os.waitpid(screen.pid, 0)[1] == 0
    except BaseException:
        os.kill(screen.pid, signal.SIGKILL)
        os.waitpid(screen.pid, 0)
        raise
    finally:
        os.close(screen.terminal)
    assert all(len(re.sub(r"\x1b\[[?\d]*\w", "", line)) <= 60 for line in screen.text.split("\r\n"))


def test_output_into_a_pipe_ends(spool):
    command = [sys.executable, "-m", "collector.cli", "top", "-c", spool[1]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert "hits" in done.stdout
