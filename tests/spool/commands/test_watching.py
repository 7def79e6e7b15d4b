"""`--watch`: the same screen anew on a terminal, one document after the other elsewhere."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[3]
PYTHON = [sys.executable, "-c", "from spool.cli import main; main()"]


def test_on_a_terminal_each_round_is_drawn_over_the_one_before_and_the_last_one_stays(made) -> None:
    made.commit(30)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (10, 100))
    command = [*PYTHON, "-c", str(made.config), "list", "-n", "30", "--watch"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")},  # readline's
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while seen.count(b"\x1b[J") < 2:
        seen += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    seen += os.read(ours, 65_536)
    os.close(ours)
    begin, first, second = seen.decode().split("\x1b[H")
    assert begin == "\x1b[?1049h"
    assert [line.split()[0] for line in first.splitlines()[:9]] == ["ID", *(str(each) for each in range(30, 22, -1))]
    assert first.count("\n") == 9
    last = second.partition("\x1b[?1049l")[2]
    assert len(last.splitlines()) == 31 and "\x1b" not in last


def test_elsewhere_the_rounds_follow_each_other_and_outlive_the_spool(made) -> None:
    made.commit(1)
    command = [*PYTHON, "-c", str(made.config), "list", "--watch", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert [each["id"] for each in json.loads(process.stdout.readline())] == [1]
    made.directory.rename(made.folder / "away")
    assert "no such file" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 2
    assert process.stderr.read() == ""
    process.stdout.close()
    process.stderr.close()
