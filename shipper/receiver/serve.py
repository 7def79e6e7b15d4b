"""The WSGI server: cheroot, in this process, with a deadline over each whole request.

Why cheroot and not gunicorn, as measured with cheroot 11.1 and gunicorn 27 (gthread):

- cheroot starts inside our process, as threads. gunicorn forks a master and workers: more processes under
  supervisord, and an open SQLite connection must not cross a fork.
- cheroot shakes hands in the thread that accepts: one stalled TLS client stopped all others for 9.7 s. Here
  the handshake is put off to the worker thread. gunicorn's is there too but has no limit: as many stalled
  handshakes or dripping clients as it has threads stopped it for as long as they liked.
- Neither bounds a whole request, at most each read. cheroot reads through a socket object that we may wrap:
  here each handshake, read and write gets what is left of the request's deadline.
- cheroot gives each new connection to a worker at once. Here it waits in the selector until its first byte
  has come, as idle connections do: silence costs no thread.

Promises: up to `threads` - 1 clients that stall or drip never hold up another one; every request ends by its
deadline; `stop` returns within 2 s unless the disk itself hangs. Does not promise to withstand more stalled
clients than threads: on the open internet a reverse proxy belongs in front.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheroot import wsgi
from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter

from shipper.deadline import Deadline, DeadlineExceeded
from shipper.receiver.config import Listen
from spool.errors import HoldfastError

MAX_HEADER_BYTES = 16_384
IDLE_S = 15
"""A connection without a request under way is closed after this; the shipper closes its own after 5."""

STOP_GRACE_S = 1
IDLE_CONNECTIONS = 500
"""Kept open between requests; the common limit of 1,024 open files leaves room for the rest."""


class PortTaken(HoldfastError):
    """The configured address cannot be listened at."""

    exit_code = 1


class _Hurried:
    """A socket as cheroot's reader and writer see it: each operation gets what is left of the deadline."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.deadline: Deadline | None = None

    def arm(self) -> None:
        """Give the socket the rest of the deadline. Raises TimeoutError if nothing is left."""
        if self.deadline is not None:
            try:
                self._sock.settimeout(self.deadline.left())
            except DeadlineExceeded:
                raise TimeoutError("timed out") from None  # cheroot knows the deadline by these words

    def recv_into(self, buffer: Any) -> int:
        """As socket.recv_into."""
        self.arm()
        return int(self._sock.recv_into(buffer))

    def send(self, data: bytes) -> int:
        """As socket.send."""
        self.arm()
        return int(self._sock.send(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Request(HTTPRequest):
    def send_headers(self) -> None:
        # cheroot would read what the application left of the body into memory at once, whatever its size,
        # and would take the rest of a chunked one for the next request.
        if self.chunked_read or getattr(self.rfile, "remaining", 0) != 0:
            self.close_connection = True
        super().send_headers()


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server: "_Server", sock: Any, makefile: Any = MakeFile) -> None:
        self._hurried = _Hurried(sock)
        self._greeted = not isinstance(sock, ssl.SSLSocket)
        super().__init__(server, sock, lambda _sock, mode, size: makefile(self._hurried, mode, size))

    def communicate(self) -> bool:
        """One request, from its first byte on. True if the connection stays open."""
        self._hurried.deadline = Deadline.after(self.server.request_deadline_s, time.monotonic)
        try:
            if not self._greeted:
                self._hurried.arm()
                self.socket.do_handshake()
                self._greeted = True
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        except OSError as error:  # includes ssl.SSLError and the deadline: the peer's trouble, not ours
            self.server.trouble(f"{self.remote_addr}: {error}", self._greeted)
            return False


class _LateHandshake(BuiltinSSLAdapter):
    def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = IDLE_CONNECTIONS
    expiration_interval = 0.25
    request_deadline_s: float
    report: Callable[..., None]

    @staticmethod
    def bind_socket(socket_: Any, bind_addr: Any) -> Any:
        """As cheroot's, which leaves the socket open if the port is taken."""
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: Any) -> None:
        """A new connection waits for its first byte; one with something to read gets a thread."""
        if conn.last_used is None:
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def trouble(self, said: str, greeted: bool) -> None:
        self.report("connection_broken" if greeted else "tls_handshake_failed", error=said)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """cheroot's own complaints; a traceback is one of ours, of the application or the disk."""
        self.report("server_trouble", error=str(msg), level=level, traceback=traceback)


def _taken(listen: Listen, error: OSError) -> PortTaken:
    return PortTaken(
        f"cannot listen at {listen}: {error}. If another program has port {listen.port}, end it or "
        "choose another with [receiver] listen (and in the destination's url and checkin_url)."
    )


def try_address(listen: Listen) -> None:
    """Bind the address for a moment. Raises PortTaken if `start` could not listen there now."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.host, listen.port))
        except OSError as error:
            raise _taken(listen, error) from None


class WebServer:
    """A listening server. Made by `start`; `stop` ends it. `listen` has the real port."""

    def __init__(self, server: _Server, listen: Listen) -> None:
        self._server = server
        self.listen = listen
        self._thread = threading.Thread(target=server.serve, name="serve", daemon=True)
        self._thread.start()

    @classmethod
    def start(
        cls,
        application: Callable[..., Any],
        listen: Listen,
        *,
        certificate: tuple[Path, Path] | None,
        threads: int,
        request_deadline_s: float,
        report: Callable[..., None],
    ) -> "WebServer":
        """Listen and serve in threads. `certificate` is (chain, key) for https.

        `report(event, **fields)` is told about trouble with connections, from any thread. Raises PortTaken,
        and HoldfastError for a certificate that cannot be used.
        """
        server = _Server(
            (listen.host, listen.port),
            application,
            numthreads=threads,
            max=threads,
            request_queue_size=128,
            timeout=IDLE_S,
            shutdown_timeout=STOP_GRACE_S,
            server_name="holdfast-receiver",
        )
        server.report, server.request_deadline_s = report, request_deadline_s
        if certificate is not None:
            try:
                server.ssl_adapter = _LateHandshake(*map(str, certificate))
                server.ssl_adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
            except (OSError, ssl.SSLError) as error:
                raise HoldfastError(f"{certificate[0]}, {certificate[1]}: no usable certificate: {error}") from None
        try:
            server.prepare()
        except OSError as error:
            raise _taken(listen, error) from None
        return cls(server, Listen(listen.scheme, listen.host, server.bind_addr[1]))

    def stop(self) -> None:
        """Take no more requests, give those under way STOP_GRACE_S, then cut them off."""
        self._server.stop()
        self._thread.join(STOP_GRACE_S)
