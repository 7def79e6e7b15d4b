"""What is kept of attempts that the deadline ended."""

from pathlib import Path

import pytest

from shipper.budget import Phase, Timings
from shipper.evidence import KEPT, PAUSE_S, Evidence
from shipper.exchange import Attempt, Response
from spool.hangfile import read

NOW = 1_795_000_000.0


class Clock:
    at = NOW

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evidence(tmp_path: Path, clock: Clock) -> Evidence:
    (tmp_path / "hangs").mkdir()
    return Evidence(tmp_path, "shipper-main", clock, clock)


def ended(overshoot_ms: float = 0.4, exceeded: bool = True, response: Response | None = None) -> Attempt:
    return Attempt(
        *(response, Phase.WAIT, Timings(dns_ms=1.0, wait_ms=999.0), 1000.4, overshoot_ms, 10, 0, "192.0.2.7:443"),
        error=None if response else "deadline of 1 s passed while waiting for the answer of 192.0.2.7:443",
        deadline_exceeded=exceeded,
        socket_state={"state": 1, "unacked_bytes": 65483, "retransmits": 3},
        out_of_time=exceeded,
    )


def test_phase_timings_socket_and_stacks_are_kept(evidence: Evidence) -> None:
    kept = evidence.keep(ended(), "8841-8850")
    text = kept.read_text()
    assert kept.name == "deadline-20261118T110640.000000Z-shipper-main.txt"
    told = read(kept.name, text)
    assert (told.who, told.phase, told.where) == ("shipper-main", "wait", None)
    assert told.ended == "gave up: deadline of 1 s passed while waiting for the answer of 192.0.2.7:443"
    for line in ("batches: 8841-8850", "wait_ms: 999.0", "total_ms: 1000.4", "address: 192.0.2.7:443"):
        assert line in text.splitlines()
    assert "socket: ESTABLISHED unacked_bytes=65483 retransmits=3" in text
    assert "test_evidence_kept.py" in text.partition("stacks of all threads")[2]


def test_an_outage_is_told_once_a_minute(evidence: Evidence, clock: Clock) -> None:
    kept = []
    for _ in range(180):
        kept.append(evidence.keep(ended(), "1"))
        clock.at += 1.0
    assert sum(each is not None for each in kept) == 3 == 180 / PAUSE_S


def test_an_overrun_is_told_besides_because_it_breaks_the_promise(evidence: Evidence) -> None:
    assert evidence.keep(ended(), "1") is not None
    kept = evidence.keep(ended(overshoot_ms=312.0, exceeded=False, response=Response(200, {}, b"")), "1")
    assert "overran its deadline by 312 ms: the answer was complete" in kept.read_text()


@pytest.mark.parametrize(
    "attempt",
    [ended(exceeded=False), ended(exceeded=False, overshoot_ms=249.0, response=Response(200, {}, b""))],
)
def test_attempts_that_end_by_themselves_leave_no_file(evidence: Evidence, attempt: Attempt) -> None:
    assert evidence.keep(attempt, "1") is None


def test_the_oldest_make_room_and_dumps_of_ended_processes_are_not_touched(
    evidence: Evidence, clock: Clock, tmp_path: Path
) -> None:
    dump = tmp_path / "hangs/hang-20200101T000000.000000Z-shipper-main.txt"
    dump.write_text("Timeout (0:00:22)!")
    for _ in range(KEPT + 5):
        evidence.keep(ended(), "1")
        clock.at += PAUSE_S
    assert len(list(dump.parent.glob("deadline-*"))) == KEPT and dump.exists()


def test_a_disk_that_takes_no_file_costs_the_file_only(tmp_path: Path, clock: Clock) -> None:
    assert Evidence(tmp_path / "missing", "shipper-main", clock, clock).keep(ended(), "1") is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hang-20261123T080000.5Z-shipper-eu-1.txt", "Timeout!\n", ("shipper-eu-1", None, None, None)),
        ("shipper-main-4711.txt", "", ("shipper-main", None, None, None)),
        ("notes.txt", "anything", (None, None, None, None)),
        (
            "hang-20261123T080000.123456Z-collector.txt",
            "collector, process 12, had not beaten for 61 s: the watchdog ended it.\n"
            'last heartbeat: {"phase": "committing"}\nstacks:\n'
            'Thread 0x1 (most recent call first):\n  File "/a/threading.py", line 9 in wait\n\n'
            'Thread 0x2 (most recent call first):\n  File "/x/spool/writer.py", line 98 in commit\n',
            (
                "collector",
                "committing",
                "had not beaten for 61 s: the watchdog ended it",
                "commit (spool/writer.py:98)",
            ),
        ),
        ("hang-20261123T080000Z-x.txt", "last heartbeat: {broken}\n", ("x", None, None, None)),
    ],
)
def test_every_kind_of_file_is_read_for_what_it_tells(name: str, text: str, expected: tuple[str | None, ...]) -> None:
    told = read(name, text)
    assert (told.who, told.phase, told.ended, told.where) == expected
