"""One request, one connection, one hard deadline from name resolution to closing.

    attempt = transport.attempt(Request("POST", url, headers, body), deadline_s=20)
    if attempt.response is None:    # attempt.error says why, attempt.phase where

Promises: `attempt` ends within its deadline, whatever peer, network and resolver do, and raises nothing of
what they do. It has a response only if a final answer arrived in that time, complete: status line, headers,
and a body with the announced length or its final chunk, or ended in order. What the peer can make us hold is
bounded (shipper/budget.py). Certificates and host names are verified; there is no switch. Nothing is taken
from the environment. No retries, no redirects, no cookies.
Not promised: that a failed attempt did not arrive. When the answer is missing nobody knows; send the same
batch again under the same key.

Layers, from here down: requests' adapter (URLs, proxies, headers) - urllib3 (pool, HTTP) -
shipper/connections.py - shipper/sockets.py, where the deadline is. Only this file and connections.py know
requests and urllib3. The connection is kept between attempts that follow each other closely; call `close`
when done.
"""

import http.client
import ssl
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.exceptions

from shipper.budget import BODY_BYTES, AnswerTooLarge, Budget, Phase
from shipper.connections import Dialler, OddAnswer, pools
from shipper.deadline import Deadline
from shipper.diagnosis import explain, out_of_time
from shipper.exchange import Attempt, Request, Response
from shipper.resolver import Resolver
from shipper.sockets import tls_context
from shipper.stream import half_closed

FAILURES = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, zlib.error)
"""What peer, network, resolver or a hopeless request can cause. requests' own exceptions are OSErrors."""


class Transport:
    """Sends requests to one destination. One instance per thread.

    `ca_file`: PEM certificates to trust instead of the system's; raises OSError (ssl.SSLError is one) if it
    cannot be used. `proxy`: the URL of a proxy, http:// or https://, with user and password in it if it wants
    them; raises ValueError for others. `dns_deadline_s` and `connect_deadline_s` (TCP and TLS together) are
    limits within each attempt's deadline. `clock`: monotonic seconds.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        dns_deadline_s: float = 3.0,
        connect_deadline_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        resolver: Resolver | None = None,
    ) -> None:
        if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
            raise ValueError("a proxy's URL starts with http:// or https://")
        self._clock = clock
        self._connect_deadline_s = connect_deadline_s
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._dialler = Dialler(resolver or Resolver(clock), dns_deadline_s, connect_deadline_s)
        self._context = tls_context(ca_file)
        self._adapter = _Adapter(self._context, self._dialler)

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        """Send `request` once and wait for its answer, `deadline_s` seconds in all.

        Afterwards the connection is either idle and clean, or gone.
        """
        budget = Budget(Deadline.after(deadline_s, self._clock))
        began_at = budget.deadline.at - deadline_s
        response, error, struck = None, None, False
        with budget.in_force():
            try:
                response = self._exchange(request, budget)
            except FAILURES as failure:
                struck = out_of_time(failure)
                error = explain(failure, budget, deadline_s, self._connect_deadline_s, request.url)
            finally:  # also when a signal handler raises: nothing half-sent stays behind
                phase = budget.phase or Phase.DNS
                exceeded = response is None and budget.deadline.passed()
                if (exceeded or struck) and budget.wire is not None and not budget.socket_state:
                    budget.socket_state = budget.wire.kernel_state()
                self._settle(budget, clean=response is not None)
        ended_at = self._clock()
        return Attempt(
            response=response,
            phase=phase,
            timings=budget.timings(),
            total_ms=(ended_at - began_at) * 1000,
            overshoot_ms=max(0.0, ended_at - budget.deadline.at) * 1000,
            sent_bytes=budget.sent_bytes,
            received_bytes=budget.received_bytes,
            address=budget.address,
            error=error,
            deadline_exceeded=exceeded,
            socket_state=budget.socket_state or None,
            out_of_time=exceeded or struck,
        )

    def close(self) -> None:
        """Close the idle connection, if there is one. Never waits."""
        self._adapter.close()

    def _exchange(self, request: Request, budget: Budget) -> Response:
        """The complete answer, inside the deadline. Raises FAILURES."""
        if request.url.startswith(("tcp://", "tls://")):
            return half_closed(request, self._dialler, self._context)
        headers = {"User-Agent": "holdfast", **request.headers, "Accept-Encoding": "identity"}
        try:
            asked = requests.Request(request.method, request.url, headers=headers, data=request.body).prepare()
        except requests.exceptions.InvalidHeader:  # its text shows the value, which may be a token
            raise ValueError("a header to send has characters that no header may have") from None
        answer = self._adapter.send(asked, stream=True, proxies=self._proxies)
        try:
            fine = 200 <= answer.status_code < 300
            if fine and not budget.written:
                raise OddAnswer(f"the peer answered {answer.status_code} before it had the whole request")
            body = b""
            # To the very end: urllib3 compares with Content-Length only when there is no more to read.
            while part := answer.raw.read(BODY_BYTES + 1 - len(body), decode_content=False):
                body += part
            if len(body) > BODY_BYTES:
                budget.odd = True
                if fine:
                    raise AnswerTooLarge(f"the answer's body is longer than {BODY_BYTES // 1024} KiB")
            body = _decoded(body[:BODY_BYTES], answer.headers.get("Content-Encoding", "identity"), strict=fine)
            body = request.hidden_in(body)  # before anybody quotes it, in a log or a file
            budget.deadline.left()
            budget.odd |= not budget.written
            return Response(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body)
        except FAILURES:
            answer.raw.close()
            raise

    def _settle(self, budget: Budget, *, clean: bool) -> None:
        """Leave the connection idle and ready for the next attempt, or leave nothing of it."""
        if clean and not budget.odd:
            if budget.wire is not None:
                budget.wire.close_in_order()
            return
        budget.enter(Phase.CLOSE)
        if budget.wire is not None:
            budget.wire.abort()
        self._adapter.close()


def _decoded(body: bytes, coding: str, *, strict: bool) -> bytes:
    """`body` without its content coding, at most BODY_BYTES. We ask for none; some compress all the same.

    What cannot be decoded within that is an error if `strict`, else nothing.
    """
    if coding.strip().lower() == "identity" or not body:
        return body
    try:
        if coding.strip().lower() not in ("gzip", "x-gzip"):
            raise OddAnswer(f"the answer's Content-Encoding is {coding[:40]!r}, which was not asked for")
        inflate = zlib.decompressobj(wbits=31)
        plain = inflate.decompress(body, BODY_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise AnswerTooLarge(f"the answer's gzip body is not one whole member of at most {BODY_BYTES // 1024} KiB")
    except (OSError, zlib.error):
        if strict:
            raise
        return b""
    return plain


class _Adapter(requests.adapters.HTTPAdapter):
    """requests' adapter on our connections, with our TLS context, which is loaded once."""

    def __init__(self, context: ssl.SSLContext, dialler: Dialler) -> None:
        self._context = context
        self._pools = pools(dialler, context)
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = self._pools  # type: ignore[assignment]  # any callable does
        return manager

    def cert_verify(self, *_args: Any) -> None:
        """Nothing: the context verifies. requests would load its own certificates for every connection."""
