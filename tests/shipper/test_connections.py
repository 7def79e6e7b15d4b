"""Answers read to the letter, without a network: what leaves their length in doubt, and what does not."""

import io
import time

import pytest

from shipper.budget import Budget, Phase
from shipper.connections import Answer, OddAnswer
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


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nContent-Length: 5",
        b"Content-Length: 4, 4",
        b"Content-Length: +4",
        b"Content-Length: 0_4",
        b"Content-Length: -4",
        b"Content-Length: 4\r\n 0",
        b"Content-Length : 4",
        b"X: a\rContent-Length: 4",
        b"X: a\r\r\nContent-Length: 4",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: identity\r\nContent-Length: 4",
    ],
)
def test_a_length_that_two_readers_may_read_differently_is_none(headers: bytes) -> None:
    with pytest.raises(OddAnswer):
        read(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n4\r\nacks\r\n0\r\n\r\n")
