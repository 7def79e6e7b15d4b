"""One line per change of state, for people and for machines."""

import io
import json
import logging

import pytest

from spool.logfmt import Sparingly, fields, log_to, quoted


@pytest.fixture
def logged(monkeypatch):
    """Log to memory; returns a function that gives the lines so far. Puts the root logger back afterwards."""
    monkeypatch.delenv("HOLDFAST_LOG_FORMAT", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log_to(stream)
    yield lambda: stream.getvalue().splitlines()
    root.handlers[:], root.level = handlers, level


log = logging.getLogger("holdfast.test")


def test_a_line_is_time_level_event_and_fields_in_their_order(logged):
    log.info("batch_committed", extra=fields(batch=8841, points=1204, commit_ms=3.1, error=None))
    (line,) = logged()
    time, rest = line.split(" ", 1)
    assert len(time) == len("2026-11-23T14:00:10.112Z")
    assert time.endswith("Z")
    assert rest == "info batch_committed batch=8841 points=1204 commit_ms=3.1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (0.1 + 0.2, "0.3"),
        (1_764_000_000.125, "1764000000.125"),
        ("plain-text_1.2/3", "plain-text_1.2/3"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("a=b", '"a=b"'),
        ("line\nbreak\x1b[31m", r'"line\nbreak\u001b[31m"'),
        ("Zürich", "Zürich"),
    ],
)
def test_values_are_quoted_only_where_they_must_be(value, text):
    assert quoted(value) == text


def test_no_value_can_forge_a_line(logged):
    log.warning("bad_line", extra=fields(line="x\n2026-01-01T00:00:00.000Z info all_is_well"))
    assert len(logged()) == 1


def test_the_same_as_json(logged, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setenv("HOLDFAST_LOG_FORMAT", "json")
    log_to(stream)
    log.warning("disk_full", extra=fields(path="/x y", free_bytes=0))
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("level", "event", "path", "free_bytes")} == {
        "level": "warning",
        "event": "disk_full",
        "path": "/x y",
        "free_bytes": 0,
    }
    assert line["time"].endswith("Z")


def test_an_exception_stays_on_its_line(logged):
    try:
        int("broken")
    except ValueError:
        log.exception("unexpected")
    (line,) = logged()
    assert "ValueError: invalid literal" in line


def test_debug_lines_come_only_when_asked_for(logged):
    log.debug("detail")
    assert logged() == []
    stream = io.StringIO()
    log_to(stream, verbose=True)
    log.debug("detail")
    assert "debug detail" in stream.getvalue()


def test_what_repeats_is_said_once_and_counted(logged):
    now = [0.0]
    sparing = Sparingly(log, 60.0, lambda: now[0])
    for _ in range(5):
        sparing.warning("disk_full", free_bytes=0)
    sparing.warning("server_down")
    now[0] = 61.0
    sparing.warning("disk_full", free_bytes=0)
    now[0] = 122.0
    sparing.warning("disk_full", free_bytes=0)
    assert [line.split(" ", 2)[2] for line in logged()] == [
        "disk_full free_bytes=0",
        "server_down",
        "disk_full free_bytes=0 held_back=4",
        "disk_full free_bytes=0",
    ]


def test_kinds_of_what_repeats_are_held_back_apart(logged):
    sparing = Sparingly(log, 60.0, lambda: 0.0)
    for kind in ("a", "b", "a", ""):
        sparing.warning("rejected", kind, kind=kind)
    assert [line.split(" ", 2)[2] for line in logged()] == ["rejected kind=a", "rejected kind=b", 'rejected kind=""']
