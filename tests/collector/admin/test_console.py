"""The admin port's words: StatsD's commands, of the last window, and nothing that changes anything."""

import json

import pytest

from collector.admin.console import COMMANDS, Console
from collector.aggregate import Aggregate
from collector.config import CollectorConfig, Listen
from collector.selfmetrics import Circumstances
from collector.tally import Tally

LINES = [
    b"api.hits:5|c|#env:prod,beta",
    b"jobs:1|c",
    b"temp:21.5|g",
    b"lat:10|ms",
    b"lat:30|ms",
    b"who:x|s",
    b"who:y|s",
    b"bad",
    b"",
]


def console(windows=1):
    made = Console(CollectorConfig(admin=Listen("tcp", "127.0.0.1", 8126)), started_at=1_000.0)
    aggregate = Aggregate(100)
    for number in range(windows):
        Tally().fold(LINES, aggregate)
        aggregate.datagrams += 3
        end = 1_010.0 + 10 * number
        made.window_ended(end, aggregate.close(end), Circumstances(kernel_drops=2))
    return made


def said(made, line, waiting=0):
    answer = made.answer(line, 1_100.0, waiting)
    return None if answer is None else "".join(answer)


def shown(made, command):
    text = said(made, f"{command}\n")
    assert text.endswith("\nEND\n\n")
    return json.loads(text.removesuffix("END\n\n"))


def test_series_of_the_last_window_are_shown_by_kind():
    made = console(2)
    assert shown(made, "counters") == {"api.hits|#beta,env:prod": 5.0, "jobs": 1.0}
    assert shown(made, "gauges") == {"temp": 21.5}
    assert shown(made, "sets") == {"who": 2.0}
    timer = shown(made, "timers")["lat"]
    assert (timer["count"], timer["sum"], timer["p99"]) == (2, 40.0, 30.0)
    assert "sketch" not in timer


def test_each_series_is_one_line_so_that_grep_finds_it():
    assert '"jobs": 1.0\n' in said(console(), "counters")


def test_before_the_first_window_there_is_nothing_and_that_is_said():
    made = console(0)
    assert [shown(made, each) for each in ("counters", "gauges", "timers", "sets")] == [{}] * 4
    assert "messages.last_msg_seen: 100\n" in said(made, "stats")


def test_stats_are_sums_since_the_start_and_have_statsds_names():
    lines = said(console(2), "stats\r\n").splitlines()
    assert lines[:3] == ["uptime: 100", "messages.last_msg_seen: 80", "messages.bad_lines_seen: 2"]
    assert lines[-2:] == ["END", ""]
    numbers = dict(each.split(": ") for each in lines[:-2])
    assert (numbers["holdfast.lines"], numbers["holdfast.accepted"], numbers["holdfast.datagrams"]) == ("16", "14", "6")
    assert (numbers["holdfast.rejected.no_value"], numbers["holdfast.kernel_drops"]) == ("2", "4")
    assert (numbers["holdfast.series"], numbers["holdfast.windows"]) == ("5", "2")


@pytest.mark.parametrize(("waiting", "state"), [(0, "up"), (2, "up"), (3, "down")])
def test_health_is_down_while_windows_wait_for_the_spool(waiting, state):
    assert said(console(), "health\n", waiting) == f"health: {state}\n"


def test_the_configuration_is_shown_as_it_is_in_force():
    config = shown(console(), "config")
    assert config["listen"] == ["udp://127.0.0.1:8125"]
    assert (config["admin"], config["interval_s"]) == ("tcp://127.0.0.1:8126", 10)


@pytest.mark.parametrize("line", ["delcounters jobs", "delgauges *", "deltimers lat", "health down", "health up"])
def test_nothing_can_be_changed(line):
    made = console()
    assert said(made, line) == "ERROR: this console changes nothing\n"
    assert shown(made, "counters")["jobs"] == 1.0
    assert said(made, "health") == "health: up\n"


@pytest.mark.parametrize("line", ["", "\n", "nonsense", "STATS", "\0", "counters\0"])
def test_what_is_no_command_is_an_error(line):
    assert said(console(), line) == "ERROR\n"


def test_help_names_every_command_and_quit_ends_it():
    assert said(console(), "help") == f"Commands: {', '.join(COMMANDS)}\n\n"
    assert said(console(), "quit\n") is None
