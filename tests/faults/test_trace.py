"""The proof beside the matrix: what an attempt waits for, as the kernel sees it (strace)."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.faults.test_hang_matrix import CASES, judge_all, run

CALLS = "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,futex,nanosleep,clock_nanosleep,connect"
STOPPED_S = 0.05
"""From the look at the clock to the call the process may be stopped, the more so under strace on a busy machine."""

NAMES = {"c_slow", "w_trickle", "s_drip", "l_drip", "b_gzip_mute", "t_syn_dropped", "p_connect_drip"}


def test_every_wait_of_an_attempt_ends_by_its_deadline(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is missing: run tests/run, which installs it")
    cases = [(each, scheme) for each, scheme in CASES if each.name in NAMES and scheme == each.schemes[-1]]
    trace = tmp_path / "trace"
    client = (strace, "-f", "-ttt", "-o", str(trace), "-e", f"trace={CALLS}", sys.executable)
    judge_all(run(tmp_path, 1.0, cases, client=client, one_by_one=True), cases, 1.0)

    lines = [re.fullmatch(r"\d+ +(\d+\.\d+) (\w+)\((.*)", each) for each in trace.read_text().splitlines()]
    calls = [(float(each[1]), each[2], each[3]) for each in lines if each is not None]
    first = next(n for n, call in enumerate(calls) if call[1] == "connect")
    last = max(n for n, call in enumerate(calls) if call[1] == "poll")
    began_at, polls = 0.0, 0
    for at, name, rest in calls[first : last + 1]:
        if name == "connect":
            began_at = at
        elif name == "poll":
            polls += 1
            wait_ms = int(re.match(r"\[.*?\], \d+, (-?\d+)", rest)[1])
            assert wait_ms >= 0, f"a poll without end: {rest}"
            assert at + wait_ms / 1000 <= began_at + 1.0 + STOPPED_S, f"a poll past the deadline: {rest}"
        else:
            assert name == "futex" and "WAIT" not in rest, f"{name} during an attempt: {rest}"
    assert polls > 50, "the trace does not show what it should"
