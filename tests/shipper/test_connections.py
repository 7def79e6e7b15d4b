"""Answers read to the letter, without a network: what leaves their length in doubt, and what does not."""

import io
import time

import pytest

from shipper.budget import Budget, Phase
from shipper.connections import Answer
from shipper.deadline import Deadline


class Wire:
    """A connection on which an answer lies, and nothing after it."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_args: object, **_options: object) -> io.BytesIO:
        return io.BytesIO(self._answer)


def read(raw: bytes) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether its connection must not be used again. Raises OddAnswer."""
    budget = Budget(Deadline.after(5, time.monotonic))
    with budget.in_force():
        budget.enter(Phase.READ)
        answer = Answer(Wire(raw), method="POST")
        answer.begin()
        return answer.status, answer.read(1000), budget.odd


def test_a_plain_answer_leaves_its_connection_usable() -> None:
    assert read(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nacks") == (200, b"acks", False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("follows", [b"", b"0\r\n\r\n", b"4\r\nacks\r\n0\r\n\r\n"], ids=["nothing", "end", "body"])
def test_an_answer_without_a_body_has_none_whatever_it_announces(status: bytes, follows: bytes) -> None:
    raw = b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + follows
    assert read(raw) == (int(status[:3]), b"", True)
