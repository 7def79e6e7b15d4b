import errno
import http.client
import ssl
import time

import pytest
import urllib3.exceptions

from shipper.budget import Budget, Phase
from shipper.deadline import Deadline, DeadlineExceeded
from shipper.diagnosis import WHILE, explain, root
from shipper.resolver import NameUnresolved

PEER = "192.0.2.7:443"


def told(
    failure: BaseException, phase: Phase | None, limit_s: float = 20, scheme: str = "https", received_bytes: int = 0
) -> str:
    budget = Budget(Deadline.after(20, time.monotonic))
    budget.phase = phase
    budget.address = PEER if phase not in (None, Phase.DNS) else None
    if limit_s != 20:
        budget.limit = budget.deadline.sooner(limit_s)
    budget.received_bytes = received_bytes
    return explain(failure, budget, 20, limit_s, f"{scheme}://metrics.example.net/v1/batches")


@pytest.mark.parametrize(
    ("failure", "phase", "sentence"),
    [
        (TimeoutError("timed out"), Phase.WAIT, f"deadline of 20 s passed while waiting for the answer of {PEER}"),
        (DeadlineExceeded(), Phase.WRITE, f"deadline of 20 s passed while sending the request to {PEER}"),
        (DeadlineExceeded(), None, "deadline of 20 s passed before anything was sent to metrics.example.net"),
        (
            DeadlineExceeded("connection refused by [::1]:443"),
            Phase.CONNECT,
            f"deadline of 20 s passed while connecting to {PEER} (so far: connection refused by [::1]:443)",
        ),
        (NameUnresolved("name a.test could not be resolved: no"), Phase.DNS, "name a.test could not be resolved: no"),
        (ConnectionResetError(), Phase.READ, f"the connection was reset while reading the answer of {PEER}"),
        (http.client.RemoteDisconnected("gone"), Phase.WAIT, f"{PEER} closed the connection without an answer"),
        (
            OSError(errno.ETIMEDOUT, "Connection timed out"),
            Phase.WAIT,
            f"[Errno {int(errno.ETIMEDOUT)}] Connection timed out (while waiting for the answer of {PEER})",
        ),
    ],
)
def test_a_failure_is_one_sentence(failure: BaseException, phase: Phase | None, sentence: str) -> None:
    assert told(failure, phase) == sentence


@pytest.mark.parametrize(("code", "advice"), [(10, "renew it at the server"), (9, "clocks"), (18, "set ca_file")])
def test_a_certificate_that_is_refused_is_told_with_what_would_help(code: int, advice: str) -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_code, refused.verify_message = code, "why"
    sentence = told(refused, Phase.TLS)
    assert sentence.startswith(f"{PEER} is not to be trusted: certificate verify failed: why; ") and advice in sentence


@pytest.mark.parametrize("failure", [http.client.RemoteDisconnected("gone"), ConnectionResetError()])
def test_a_peer_that_hangs_up_on_plain_http_without_a_byte_may_want_https(failure: ConnectionResetError) -> None:
    hint = "; does it want https rather than http?"
    assert told(failure, Phase.WAIT, scheme="http").endswith(hint)
    assert "https" not in told(failure, Phase.WAIT, scheme="http", received_bytes=1)
    assert "https" not in told(failure, Phase.WAIT, scheme="https")


def test_the_limit_for_connecting_has_its_own_sentence() -> None:
    sentence = told(TimeoutError(), Phase.TLS, limit_s=5)
    assert sentence == f"connect deadline of 5 s passed during the TLS handshake with {PEER}"


def test_every_phase_can_be_said() -> None:
    assert set(WHILE) == {None, *Phase}
    for phase in Phase:
        assert told(RuntimeError("odd"), phase).startswith("odd (")


def test_the_cause_is_found_beneath_what_the_layers_wrapped_around_it() -> None:
    cause = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")
    never_raised = urllib3.exceptions.SSLError(cause)
    with pytest.raises(OSError) as wrapped:
        try:
            raise urllib3.exceptions.MaxRetryError(None, "/v1", never_raised) from never_raised
        except urllib3.exceptions.HTTPError as error:
            raise OSError("outermost") from error
    assert root(wrapped.value) is cause


def test_what_a_parser_choked_on_is_not_the_cause() -> None:
    incomplete = http.client.IncompleteRead(b"")
    incomplete.__cause__ = ValueError("invalid literal for int() with base 16")
    assert root(incomplete) is incomplete
