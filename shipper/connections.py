"""urllib3's connections on deadline sockets, and answers that are read to the letter.

What is changed, by hooks of urllib3 2.x and http.client, and why:

- `_new_conn`: connects through our resolver and `dial`.
- `connect`, `_tunnel`, `request`, `getresponse`: tell the budget which phase it is.
- `is_connected`: a connection that idled too long, or has anything to read, is not used again.
- `response_class`: http.client takes every 1xx but 100 for the final answer; then the real one stays in the
  connection and is read as the answer to the next request. Here all 1xx are skipped, and an answer whose
  length is not beyond doubt is an error.
"""

import http.client
import io
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssltransport import SSLTransport

from shipper.budget import HEADER_BYTES, WIRE_BYTES, Phase, current
from shipper.resolver import Resolver
from shipper.sockets import PlainSocket, TLSSocket, dial

MAX_INTERIM = 20
IDLE_LIMIT_S = 5.0


class OddAnswer(OSError):
    """An answer that breaks HTTP, or that a client like us must not get."""


class _Reader(io.BufferedReader):
    """What an answer is read from. http.client takes the end of the connection for the end of the headers."""

    _begun = False

    def readline(self, size: int | None = -1) -> bytes:
        """A whole line, or `size` bytes of one; nothing only where an answer would begin. Else OddAnswer."""
        line = super().readline(size)
        cut = not line.endswith(b"\n") and (size is None or size < 0 or len(line) < size)
        if cut and (line or self._begun):
            raise OddAnswer("the connection ended before the answer did")
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):  # to Python's parser of headers a CR ends a line too
            raise OddAnswer("a line of the answer has a CR in it (RFC 9112 2.2)")
        self._begun = True
        return line


class Answer(http.client.HTTPResponse):
    """A final answer: interim ones are skipped, doubtful ones refused."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = _Reader(sock.makefile("rb", buffering=0))

    def _read_status(self) -> tuple[str, int, str]:
        budget = current()
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise OddAnswer("the answer is 101 Switching Protocols, which was not asked for")
            if status >= 200:
                return version, status, reason
            http.client.parse_headers(self.fp)
            if budget.phase is Phase.READ:
                budget.enter(Phase.WAIT)
        raise OddAnswer(f"more than {MAX_INTERIM} interim answers (1xx)")

    def begin(self) -> None:
        """Read up to the end of the headers. Raises OddAnswer where they leave the length in doubt."""
        super().begin()
        budget = current()
        lengths = {each.strip() for each in self.msg.get_all("content-length", [])}
        codings = [each.lower() for each in self.msg.get_all("transfer-encoding", [])]
        if self.msg.defects:
            raise OddAnswer("the answer's headers are malformed")
        if len(lengths) > 1 or not all(each.isascii() and each.isdigit() for each in lengths):
            raise OddAnswer(f"the answer's Content-Length makes no sense: {', '.join(sorted(lengths))[:60]!r}")
        if codings not in ([], ["chunked"]):
            raise OddAnswer(f"the answer's Transfer-Encoding is unknown: {', '.join(codings)[:60]!r}")
        if self.chunked and self.length == 0:  # 204 and 304 have no body, whatever they announce (RFC 9112 6.3)
            self.chunked, budget.odd = False, True
        if lengths and codings:
            budget.odd = True  # readable, but where the next answer starts is anybody's guess (RFC 9112 6.3)
        budget.allow(WIRE_BYTES, "the answer's body is")

    def _close_conn(self) -> None:
        """Called at the end of the body. What was received beyond it answers nothing that we asked."""
        budget = current()
        if budget.phase is Phase.READ:
            budget.allow(0, "what follows the answer is")
            try:
                budget.odd |= bool(self.fp.peek())
            except OSError:  # nothing was read ahead, and looking further is not allowed
                pass
        super()._close_conn()  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Dialler:
    """How a new connection is made: names by `resolver`, each step within its own limit (seconds)."""

    resolver: Resolver
    dns_deadline_s: float
    connect_deadline_s: float

    def __call__(self, host: str, port: int) -> PlainSocket:
        """Resolve and connect. From here to the end of the TLS handshake the connect limit holds."""
        budget = current()
        budget.enter(Phase.DNS)
        bare = host.strip("[]")  # a proxy's URL may hold an IPv6 address
        addresses = self.resolver.resolve(bare, port, budget.deadline.sooner(self.dns_deadline_s))
        budget.limit = budget.deadline.sooner(self.connect_deadline_s)
        budget.enter(Phase.CONNECT)
        return dial(addresses)


class _Deadlined(HTTPConnection):
    """What both connection classes share."""

    response_class = Answer

    def __init__(self, dialler: Dialler, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dialler = dialler
        self._address: str | None = None
        self._used_at = 0.0

    def _new_conn(self) -> PlainSocket:
        return self._dialler(self._dns_host, self.port)

    def connect(self) -> None:
        """DNS to TLS. Afterwards only the whole deadline counts."""
        super().connect()
        self._address = current().address
        # An end without close_notify is an end by anybody. Under TLS inside TLS this object is urllib3's.
        self.sock.suppress_ragged_eofs = False  # type: ignore[union-attr]
        budget = current()
        budget.limit = budget.deadline
        budget.enter(Phase.WRITE)

    def _tunnel(self) -> None:
        """Have the proxy connect us (CONNECT). What follows is TLS with the destination."""
        budget = current()
        budget.enter(Phase.CONNECT)
        budget.allow(HEADER_BYTES, "the proxy's answer is")
        super()._tunnel()
        budget.enter(Phase.TLS)
        budget.allow(WIRE_BYTES, "the TLS handshake is")
        if isinstance(self.sock, TLSSocket):
            self.sock.listens = False

    @property
    def is_connected(self) -> bool:
        """Whether an idle connection may be used: not for long, and not if there is anything to read."""
        fresh = current().deadline.clock() - self._used_at <= IDLE_LIMIT_S
        pending = getattr(self.sock, "pending", lambda: 0)
        return fresh and super().is_connected and not pending()

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request. BrokenPipeError: the peer has answered or gone before it had all of it."""
        budget = current()
        if self.sock is not None:  # else http.client connects when it first sends
            budget.address = self._address
            budget.enter(Phase.WRITE)
        # Under TLS inside TLS what is counted is the inner one's records, which may be as long as all headers.
        nested = isinstance(self.sock, SSLTransport)
        budget.allow(WIRE_BYTES if nested else HEADER_BYTES, "the headers of the answer are")
        super().request(*args, **options)
        budget.written = True

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """The final answer, up to the end of its headers."""
        budget = current()
        budget.enter(Phase.WAIT)
        answer = super().getresponse()
        self._used_at = budget.deadline.clock()
        return answer


class PlainConnection(_Deadlined):
    """HTTP."""


class TLSConnection(_Deadlined, HTTPSConnection):
    """HTTPS, and HTTP by way of a proxy that is reached over TLS."""


def pools(dialler: Dialler, context: ssl.SSLContext) -> dict[str, Callable[..., HTTPConnectionPool]]:
    """What urllib3's managers take as `pool_classes_by_scheme`.

    `context` is put in here, at the last moment: some versions of requests (2.32.0 to 2.32.2) replace the one
    that a manager was given by their own, whose sockets have no deadline.
    """

    def plain(*args: Any, **options: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(*args, **options)
        pool.ConnectionCls = partial(PlainConnection, dialler)  # type: ignore[assignment]
        return pool

    def tls(*args: Any, **options: Any) -> HTTPConnectionPool:
        pool = HTTPSConnectionPool(*args, **{**options, "ssl_context": context})
        pool.ConnectionCls = partial(TLSConnection, dialler)  # type: ignore[assignment]
        return pool

    return {"http": plain, "https": tls}
