"""A server between the shipper and the receiver: notes what comes, and can make trouble on the way.

The receiver does the storing and answering; the front passes request and answer on, over TLS to the shipper. What
arrives whole is noted per key with the hash of the exact gzip member, so that a test can say how often a batch was
sent and whether it was the same bytes each time. `trouble` is asked per request: None passes it on, "503" answers so
without passing it on, "cut" passes it on and ends the connection where the answer should be.
"""

import hashlib
import http.client
import json
import ssl
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

TROUBLES = (None, "503", "cut")


def members(body: bytes) -> Iterator[bytes]:
    """The gzip members of a body, byte for byte."""
    while body:
        inflate = zlib.decompressobj(wbits=31)
        inflate.decompress(body)
        assert inflate.eof, "the body ends within a gzip member"
        member, body = body[: len(body) - len(inflate.unused_data)], inflate.unused_data
        yield member


class Front:
    """Serves from its own threads until `close`. `ca_pem` is what a client has to trust."""

    def __init__(self, receiver: Callable[[], str], trouble: Callable[[], str | None] = lambda: None) -> None:
        """`receiver` gives host:port of the receiver, plain HTTP."""
        front = self
        self._receiver, self.trouble = receiver, trouble
        self.arrived: dict[str, list[str]] = defaultdict(list)
        self.troubles = dict.fromkeys(TROUBLES, 0)
        ca = trustme.CA()
        self.ca_pem = ca.cert_pem.bytes()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one piece

            def do_POST(self) -> None:
                front.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        # The handshake belongs into the connection's own thread: a client may die in the middle of it.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_port}/v1/batches"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def serve(self, asked: BaseHTTPRequestHandler) -> None:
        """One request."""
        length = int(asked.headers["Content-Length"])
        body = asked.rfile.read(length)
        if len(body) < length:  # the shipper died
            asked.close_connection = True
            return
        trouble = self.trouble()
        self.troubles[trouble] += 1
        status, answer = (503, b"busy") if trouble == "503" else self._pass_on(asked, body)
        if trouble == "cut":
            asked.close_connection = True
            asked.connection.close()
            return
        asked.send_response(status)
        asked.send_header("Content-Length", str(len(answer)))
        asked.end_headers()
        asked.wfile.write(answer)

    def _pass_on(self, asked: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        if asked.path == "/v1/batches":
            for member in members(body):
                key = json.loads(zlib.decompress(member, wbits=31))["key"]
                self.arrived[key].append(hashlib.sha256(member).hexdigest())
        try:
            onward = http.client.HTTPConnection(self._receiver(), timeout=10)
            onward.request("POST", asked.path, body, {name: asked.headers[name] for name in set(asked.headers)})
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
        except OSError as error:
            return 502, str(error).encode()
        return answer.status, content

    def close(self) -> None:
        """Stop serving; connections still open are ended."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that dies in the middle is what these tests are about."""
