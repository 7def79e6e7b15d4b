"""`holdfast attempts --plot`, and what `holdfast hangs` tells of its files."""

import dataclasses
import time

from spool.commands.attempts import bar, over_time
from spool.delivery import Condition
from spool.hangfile import head


def test_the_plot_has_a_line_per_span_and_shows_where_the_time_went(made, attempt) -> None:
    made.commit(1)
    now = time.time()
    delivery = made.delivery()
    for number in range(60):
        delivery.record(attempt([1], now - 120 + number), {}, Condition())
    slow = dataclasses.replace(attempt([1], now - 5, "retry", "deadline"), wait_ms=19_980.0)
    delivery.record(slow, {}, Condition())
    rows = made.json("attempts", "--plot")
    assert sum(row["count"] for row in rows) == 61 and sum(row["failed"] for row in rows) == 1
    assert rows[-1]["max_ms"] == 20_000.0 and rows[0]["max_ms"] == 21.0 and len(rows) <= 24
    assert list(rows[0])[:6] == ["start", "end", "count", "failed", "p50_ms", "max_ms"]
    shown = made.run("attempts", "--plot").stdout.splitlines()
    assert shown[-2].endswith(" " + "w" * 40) and len(shown[1].split()[-1]) == 1
    assert "w wait" in shown[-1]


def test_a_plot_of_nothing_and_of_one_attempt(made, attempt) -> None:
    made.commit(1)
    assert made.json("attempts", "--plot") == []
    made.delivery().record(attempt([1], time.time()), {}, Condition())
    (row,) = made.json("attempts", "--plot")
    assert row["count"] == 1 and over_time([]) == []


def test_a_bar_is_as_long_as_its_share_and_its_letters_are_the_phases_shares() -> None:
    none = dict.fromkeys(["dns_ms", "connect_ms", "tls_ms", "write_ms", "wait_ms", "read_ms", "close_ms"], 0.0)
    assert bar({**none, "max_ms": 50.0, "write_ms": 30.0, "wait_ms": 10.0}, 100.0) == "W" * 15 + "w" * 5
    assert bar({**none, "max_ms": 0.001, "dns_ms": 1.0}, 100.0) == "d"
    assert bar({**none, "max_ms": 100.0}, 100.0) == "." * 40
    assert len(bar({**none, "max_ms": 100.0, "dns_ms": 1e-9, "wait_ms": 99.9, "close_ms": 0.1}, 100.0)) == 40


def test_hangs_say_who_hung_where_and_how_it_ended(made) -> None:
    made.commit(1)
    folder = made.directory / "hangs"
    folder.mkdir(exist_ok=True)
    name = "hang-20261123T080000.000000Z-shipper-main.txt"
    stacks = 'Thread 0x1 (most recent call first):\n  File "/x/shipper/resolver.py", line 98 in resolve\n'
    text = head("shipper-main", 4711, "outlived its deadline and was ended by the last resort", {"phase": "sending"})
    (folder / name).write_text(text + stacks)
    (row,) = made.json("hangs")
    assert (row["who"], row["phase"], row["where"]) == ("shipper-main", "sending", "resolve (shipper/resolver.py:98)")
    assert row["ended"] == "outlived its deadline and was ended by the last resort" and "text" not in row
    assert made.json("hangs", name)[0]["text"] == text + stacks == made.run("hangs", name).stdout
    line = made.run("hangs").stdout.splitlines()[1]
    assert "shipper-main  sending  outlived its deadline" in line
