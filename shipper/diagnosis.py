"""One sentence about why an attempt failed, for the person who reads it at night.

    deadline of 20 s passed while waiting for the answer of 192.0.2.7:443
    connection refused by 127.0.0.1:8443
    192.0.2.7:443 is not to be trusted: certificate verify failed: self-signed certificate; set ca_file to ...

What reaches the transport is wrapped several times over by the layers in between; what counts is the
innermost cause, the phase, and the address.

Decides only, touches nothing. No sentence contains a header or a body that we sent.
"""

import http.client
import ssl

from shipper.budget import Budget, Phase
from shipper.deadline import DeadlineExceeded
from shipper.resolver import NameUnresolved
from shipper.sockets import NoConnection

WHILE = {
    None: "before anything was sent to {}",
    Phase.DNS: "while resolving the name of {}",
    Phase.CONNECT: "while connecting to {}",
    Phase.TLS: "during the TLS handshake with {}",
    Phase.WRITE: "while sending the request to {}",
    Phase.WAIT: "while waiting for the answer of {}",
    Phase.READ: "while reading the answer of {}",
    Phase.CLOSE: "while closing the connection to {}",
}

SENTENCES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "the connection was cut {where} (no close_notify)"),
    ((ssl.SSLError,), "TLS failed {where}: {detail}; is it the right port, and https rather than http?"),
    ((http.client.RemoteDisconnected,), "{peer} closed the connection without an answer"),
    (
        (http.client.BadStatusLine,),
        "{peer} does not speak HTTP/1.1; is it the right port, and http or https?",
    ),
    ((http.client.UnknownProtocol,), "{peer} does not speak HTTP/1.1: {detail}"),
    ((http.client.IncompleteRead,), "the connection ended {where}: the answer is not complete"),
    ((ConnectionResetError,), "the connection was reset {where}"),
    ((BrokenPipeError,), "the connection was closed {where}"),
    ((NoConnection, NameUnresolved), "{detail}"),
)
"""The first row whose exception it is."""

MAYBE_TLS = "; does it want https rather than http?"
"""Of a peer that hangs up on plain HTTP without a byte: it awaits a handshake. RemoteDisconnected is a reset, too."""

OF_ANOTHER_AUTHORITY = (
    "if it is the right server, set ca_file to its authority's certificate and use a name that its own one has"
)
TO_MEND = {
    9: "look at the clocks of this host and of the server",
    10: "renew it at the server, or its authority's in ca_file; if neither is old, look at this host's clock",
}
"""X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL's x509_vfy.h: no other authority or name would help."""


def root(failure: BaseException) -> BaseException:
    """The innermost of the exceptions that speak of network or peer; what caused them is detail of a parser."""
    cause, inner = failure, _beneath(failure)
    while inner is not None:
        if isinstance(inner, OSError | http.client.HTTPException):
            cause = inner
        inner = _beneath(inner)
    return cause


def _beneath(failure: BaseException) -> BaseException | None:
    """What `failure` wraps: urllib3 has exceptions that were never raised and hold theirs as an argument."""
    held = next((each for each in failure.args if isinstance(each, BaseException)), None)
    context = None if failure.__suppress_context__ else failure.__context__
    return failure.__cause__ or held or context


def out_of_time(failure: BaseException) -> bool:
    """Whether it was a deadline that struck: the whole one, or that for names or for connecting."""
    cause = root(failure)
    return isinstance(cause, TimeoutError) and cause.errno is None  # with errno it is the kernel's ETIMEDOUT


def explain(failure: BaseException, budget: Budget, deadline_s: float, connect_deadline_s: float, url: str) -> str:
    """The sentence. The host in `url` stands for the peer until there is an address."""
    cause = root(failure)
    peer = budget.address or url.partition("//")[2].partition("/")[0].rpartition("@")[2]
    where = WHILE[budget.phase].format(peer)
    if out_of_time(cause):
        whole = budget.limit is budget.deadline or budget.deadline.passed()
        which = f"deadline of {deadline_s:g} s" if whole else f"connect deadline of {connect_deadline_s:g} s"
        so_far = f" (so far: {cause})" if isinstance(cause, DeadlineExceeded) and cause.args else ""
        return f"{which} passed {where}{so_far}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = TO_MEND.get(cause.verify_code, OF_ANOTHER_AUTHORITY)
        return f"{peer} is not to be trusted: certificate verify failed: {cause.verify_message or cause}; {advice}"
    detail = getattr(cause, "reason", None) or str(cause) or type(cause).__name__
    for kinds, sentence in SENTENCES:
        if isinstance(cause, kinds):
            unheard = url.startswith("http:") and isinstance(cause, ConnectionResetError) and not budget.received_bytes
            return sentence.format(where=where, peer=peer, detail=detail) + (MAYBE_TLS if unheard else "")
    return f"{detail} ({where})"
