"""Memory under clients that never say the same thing twice: bounded in a window, and from window to window."""

import itertools
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

import collector.tally
from collector.aggregate import OVERFLOW, Aggregate
from collector.culprits import MOST
from collector.rules import MOST_NOTICES
from collector.statsd import Dialect
from collector.tally import Tally

ROOT = Path(__file__).parents[2]
KINDS = (
    b"user.%d.logins:1|c", b"user.%d.load:0.5|g", b"user.%d.lat:12.5|ms", b"user.%d.who:x|s",
    b"hits:1|c|#request:%d", b"lat:7.25|h|@0.5|#request:%d", b"who:%d|s", b"user.%d:bad|c", b"user.%d",
    b"_e{9,4}:%09d|text", b"_sc|db.%d|1", b"x%d:1:2:3|d", b"user.%d.hits:12345678|c|T17",
)  # fmt: skip
"""Every kind of line, with a number that no other line has."""


def distinct(lines, seen):
    """Datagrams of 25 lines each."""
    for _ in range(lines // 25):
        yield b"\n".join(KINDS[n % len(KINDS)] % n for n in itertools.islice(seen, 25))


def test_lines_that_are_all_different_take_no_more_memory_window_after_window(monkeypatch):
    monkeypatch.setattr(collector.tally, "MEMO_LINES", 1_000)
    monkeypatch.setattr(collector.tally, "MEMO_ENDINGS", 200)
    aggregate, tally, seen = Aggregate(500), Tally(), itertools.count()
    tracemalloc.start()
    try:
        held = []
        for window in range(5):
            for datagram in distinct(2_000, seen):
                tally.fold([datagram], aggregate)
            closed = aggregate.close(10.0 * window)
            assert closed.series <= 500 + 4, "with one that overflows for each type"
            assert len(closed.notices) <= MOST_NOTICES
            assert len(closed.overflowed_by) <= MOST
            assert closed.accepted + sum(closed.rejected.values()) == closed.lines == 2_000
            assert closed.overflowed > 500
            assert next(iter(closed.overflowed_by)) == "user.*"
            del closed
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held) < 1_200_000, "10,000 lines that are kept would be 3 MB"


def test_ever_new_lines_for_one_counter_take_no_more_memory_the_longer_a_window_is(monkeypatch):
    monkeypatch.setattr(collector.tally, "MEMO_LINES", 1_000)
    monkeypatch.setattr(collector.tally, "MEMO_ENDINGS", 200)
    dialects = [Dialect("delta"), Dialect("value")]
    aggregate, tallies = Aggregate(500), [Tally(each) for each in dialects]
    tracemalloc.start()
    try:
        for n in range(0, 20_000, 10):
            lines = [b"hits:1|c|T%d" % (1_764_000_000 + each) for each in range(n, n + 10)]
            for tally in tallies:
                tally.fold(lines * 2, aggregate)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert aggregate.close(10.0).counters == {"hits": 80_000.0}
    assert held < 2_000_000, "40,000 lines that are kept would be 12 MB"


def test_an_overflowing_window_keeps_what_it_knows_exact():
    aggregate, tally, seen = Aggregate(100), Tally(), itertools.count()
    for _ in range(10):
        tally.fold([b"known:1|c\nlevel:+1|g", *distinct(1_000, seen)], aggregate)
    closed = aggregate.close(10.0)
    assert closed.counters["known"] == 10.0
    assert closed.gauges["level"] == 10.0
    assert closed.counters[OVERFLOW] > 0


HOUR = """
import itertools, sys
from collector.aggregate import Aggregate
from collector.tally import Tally
from tests.collector.test_bounds import distinct

def rss():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

windows, lines = map(int, sys.argv[1:])
aggregate, tally, seen = Aggregate(20_000), Tally(), itertools.count()
for window in range(windows):
    for datagram in distinct(lines, seen):
        tally.fold([datagram], aggregate)
    closed = aggregate.close(10.0 * window)
    sum(1 for _ in closed.points((0.5, 0.99)))
    del closed
    print(window, rss(), flush=True)
"""


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_an_hour_of_lines_that_are_all_different_takes_no_more_memory_at_its_end():
    """360 windows of 10 s, each with more distinct series than there is room for, as fast as they can be taken."""
    windows, lines = int(os.environ.get("HOLDFAST_HOUR_WINDOWS", "360")), 50_000
    done = subprocess.run(
        [sys.executable, "-c", HOUR, str(windows), str(lines)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rss = [int(line.split()[1]) / 1024 for line in done.stdout.splitlines()]
    print(f"MiB after 5 windows {rss[4]:.0f}, at the end {rss[-1]:.0f}, most {max(rss):.0f}")
    assert max(rss) < 300
    assert max(rss[windows // 2 :]) < 1.1 * max(rss[: windows // 2])
