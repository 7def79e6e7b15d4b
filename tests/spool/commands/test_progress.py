"""How far a long command is: a bar on a terminal, a line every ten seconds elsewhere, JSON lines with --json."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from spool.commands.changing import Progress
from spool.commands.place import Place

ROOT = Path(__file__).parents[3]


@pytest.fixture
def every_4_s() -> Iterator[Place]:
    """A place whose clock is 4 s later each time it is asked."""
    ticks = count(0, 4)
    return Place(named=lambda: None, clock=lambda: float(next(ticks)), wait=lambda _: None)


def test_away_from_a_terminal_a_line_comes_every_ten_seconds_with_what_is_left(every_4_s, capsys) -> None:
    with Progress(every_4_s, 720) as progress:
        for done in range(0, 720, 60):
            progress(done)
    assert capsys.readouterr().err.splitlines() == [
        "120 of 720 batches, 16 %, eta 1m",
        "300 of 720 batches, 41 %, eta 34s",
        "480 of 720 batches, 66 %, eta 18s",
        "660 of 720 batches, 91 %, eta 4s",
    ]


def test_with_json_the_lines_are_json(every_4_s, capsys) -> None:
    with Progress(every_4_s, 720, as_object=True) as progress:
        for done in range(0, 240, 60):
            progress(done)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {"progress": "batches", "done": 120, "total": 720, "eta_s": 60.0}


def test_on_a_terminal_there_is_a_bar_and_none_in_what_was_asked_for(made) -> None:
    made.commit(20)
    ours, theirs = pty.openpty()
    script = "from spool.cli import main; main()"
    command = [sys.executable, "-c", script, "-c", str(made.config), "export"]
    done = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    out, _ = done.communicate(timeout=20)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "20/20" in shown and "[####" in shown
    assert [json.loads(line)["id"] for line in out.splitlines()] == list(range(1, 21))
