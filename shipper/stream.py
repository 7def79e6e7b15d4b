"""A body over bare TCP or TLS, acknowledged by the way the connection ends.

    we    connect, send everything, half-close  ->
    peer                                        <-  reads to the end, closes

A protocol like Graphite's has no answers. But who half-closes and then reads the end of the stream knows that the peer
has read everything: it closes when it has come to our end. A reset, an end before ours, or no end within the deadline
is a failed attempt. Promises no more than that the bytes were read; what the peer made of them it does not say.

Under the budget in force, like everything that touches the network (shipper/budget.py).
"""

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from shipper.budget import HEADER_BYTES, Phase, current
from shipper.exchange import NO_STATUS, Request, Response
from shipper.sockets import PlainSocket, TLSSocket


def half_closed(request: Request, dial: Callable[[str, int], PlainSocket], context: ssl.SSLContext) -> Response:
    """Send the body of `request` to its tcp:// or tls:// URL. What the peer says before its end is the answer's body.

    Raises OSError; the connection is left to the end of the attempt then. Afterwards it is closed.
    """
    budget = current()
    where = urlsplit(request.url)
    if where.hostname is None or where.port is None:
        raise ValueError("the URL needs a host and a port")
    sock: PlainSocket | TLSSocket = dial(where.hostname, where.port)
    # Handshake and half-close may bring a few KiB; the peer has nothing to say.
    budget.allow(4 * HEADER_BYTES, "what the peer says is")
    if where.scheme == "tls":
        sock = context.wrap_socket(sock, server_hostname=where.hostname)  # type: ignore[assignment]  # sslsocket_class
    budget.limit = budget.deadline
    budget.enter(Phase.WRITE)
    sock.sendall(request.body)
    budget.written = True
    budget.enter(Phase.WAIT)
    sock.end_sending()
    said = b""
    if isinstance(sock, PlainSocket):
        while part := sock.recv():
            said += part
    budget.enter(Phase.READ)
    sock.close_in_order()
    sock.close()
    return Response(NO_STATUS, {}, said)
