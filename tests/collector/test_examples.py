"""A rejected line that can be seen: the first of a window for each reason, whatever its bytes are."""

import io
import json
import logging
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.aggregate import Aggregate
from collector.collect import log_outcome
from collector.committer import Rejected
from collector.rules import EXAMPLE_BYTES, MAX_LINE_BYTES, MOST_NOTICES, Reason, example
from collector.tally import Tally
from spool.logfmt import JsonLines, Logfmt, Sparingly
from tests.collector.running import send
from tests.collector.workers.test_merge import Crew

HOSTILE = "\x1b]0;x\x07\r\x00\x7f\x85\u2028\u202ea".encode() + b"\xff:1|c"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"jobs:x|c", "jobs:x|c"),
        (b"jobs\x00:1|c\r", r"jobs\x00:1|c"),
        ("é\u2028:1".encode(), r"é\u2028:1"),
        (b"caf\xe9:1|c", r"caf\xe9:1|c"),
        (b"x" * EXAMPLE_BYTES, "x" * EXAMPLE_BYTES),
        (b"x" * (EXAMPLE_BYTES + 1), "x" * EXAMPLE_BYTES + "..."),
        (b"x" * (EXAMPLE_BYTES - 1) + "é".encode(), "x" * (EXAMPLE_BYTES - 1) + "..."),
        (b"x" * (EXAMPLE_BYTES - 1) + b"\xc3", "x" * (EXAMPLE_BYTES - 1) + r"\xc3"),
    ],
)
def test_an_example_is_the_beginning_of_the_line_in_printable_characters(line, shown):
    assert example(line) == shown


@given(st.binary(max_size=3 * EXAMPLE_BYTES))
def test_no_bytes_make_an_example_that_steers_a_terminal_or_has_no_end(line):
    shown = example(line)
    assert shown.isprintable()
    assert len(shown) <= 4 * EXAMPLE_BYTES + len("...")


def test_of_each_window_and_reason_the_first_line_is_kept():
    aggregate, tally = Aggregate(100), Tally()
    tally.fold([b"ok:1|c\nfirst\nsecond\na:x|c", b"first\n\n \na:y|c"], aggregate)
    assert aggregate.close(10.0).examples == {"no_value": "first", "bad_value": "a:x|c"}
    tally.fold([b"ok:1|c"], aggregate)
    assert aggregate.close(20.0).examples == {}
    tally.fold([b"second\nfirst"], aggregate)
    assert aggregate.close(30.0).examples == {"no_value": "second"}


def test_long_lines_and_notices_without_room_have_examples_and_datagrams_that_were_not_read_have_none():
    aggregate = Aggregate(100)
    Tally().fold([b"_sc|check%d|0" % n for n in range(MOST_NOTICES + 2)], aggregate)
    Tally().fold([b"long:" + b"1" * MAX_LINE_BYTES], aggregate)
    aggregate.reject(Reason.DATAGRAM_TOO_LONG)
    closed = aggregate.close(10.0)
    assert closed.rejected == {"too_many_notices": 2, "line_too_long": 1, "datagram_too_long": 1}
    assert closed.examples == {
        "too_many_notices": f"_sc|check{MOST_NOTICES}|0",
        "line_too_long": "long:" + "1" * (EXAMPLE_BYTES - 5) + "...",
    }


def test_shares_bring_their_examples_along():
    crew = Crew(2)
    for worker, line in ((1, HOSTILE), (0, b"one"), (1, b"two"), (1, b"a:x|c")):
        crew.take(worker, line)
    assert crew.close().examples == {
        "no_value": "one",
        "bad_value": "a:x|c",
        "control_character": r"\x1b]0;x\x07\r\x00\x7f\x85\u2028\u202ea\xff:1|c",
    }
    assert crew.close(end=20.0).examples == {}


def test_notices_without_room_only_once_they_are_merged_are_shown_by_name():
    crew = Crew(2)
    for n in range(MOST_NOTICES + 1):
        crew.take(n % 2, b"_sc|check%d|0" % n)
    closed = crew.close()
    assert (closed.rejected, closed.examples) == ({"too_many_notices": 1}, {"too_many_notices": f"check{MOST_NOTICES}"})


@pytest.fixture(params=[Logfmt, JsonLines])
def logged(request):
    """What a log of ours has, its clock, and a function that tells of a window's rejected lines."""
    log, stream, now = logging.Logger("test"), io.StringIO(), [0.0]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    log.addHandler(handler)
    sparingly = Sparingly(log, 60.0, lambda: now[0])
    return stream, now, lambda *rejected: log_outcome(log, sparingly, Rejected(*rejected))


def test_hostile_bytes_are_one_harmless_line_of_the_log(logged):
    stream, _, tell = logged
    tell({"control_character": 243}, {"control_character": example(HOSTILE)})
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    shown = json.dumps(r"\x1b]0;x\x07\r\x00\x7f\x85\u2028\u202ea\xff:1|c")
    assert shown in line
    assert "243" in line


def test_each_reason_has_a_line_a_minute_the_most_frequent_first(logged):
    stream, now, tell = logged
    for at in (0.0, 10.0, 60.0):
        now[0] = at
        tell({"bad_value": 1, "no_value": 2, "datagram_too_long": 1}, {"bad_value": "a:x|c", "no_value": "x"})
        if at == 0.0:
            tell({"bad_tag": 1}, {"bad_tag": "a:1|c|#:v"})
    lines = stream.getvalue().splitlines()
    reasons = re.findall(r'reason[=": ]+(\w+)', stream.getvalue())
    assert reasons == ["no_value", "bad_value", "datagram_too_long", "bad_tag", *reasons[:3]]
    assert ["held_back" in line for line in lines] == [False] * 4 + [True] * 3
    assert ["example" in line for line in lines] == [True, True, False, True, True, True, False]


@pytest.mark.parametrize("more", ["", "workers = 2"])
def test_the_log_of_a_collector_shows_what_it_rejected_on_each_kind_of_socket(start, more):
    running = start(["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], more=more)
    udp, tcp = running.ports(2)
    if more:
        running.wait_for("worker_started", 2)
    send(udp, b"jobs\x00a:1|c\nok:1|c\njobs\x00b:1|c", b"\x1b[2J\xff")
    with socket.create_connection(("127.0.0.1", tcp)) as client:
        client.sendall(b"a:1|c|#k:" + b"v" * 20_000 + b"\na:one|c\n")
    running.stop()
    found = dict(re.findall(r" rejected reason=(\w+) lines=(\d+ example=.*)$", running.text(), re.MULTILINE))
    assert found == {
        "control_character": r'3 example="jobs\\x00a:1|c"',
        "line_too_long": "1 example=a:1|c|#k:" + "v" * (EXAMPLE_BYTES - 9) + "...",
        "bad_value": "1 example=a:one|c",
    }
