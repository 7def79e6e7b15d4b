"""An HTTP server that keeps what it is sent and answers as a test tells it: for what no real server is to be had."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Scripted(ThreadingHTTPServer):
    """`received` holds (path, headers, body without its gzip coding); `answers` path -> (status, JSON document)."""

    daemon_threads = True

    def __init__(self, port: int, answers: dict[str, tuple[int, object]]) -> None:
        super().__init__(("127.0.0.1", port), _Answering)
        self.answers = answers
        self.received: list[tuple[str, dict[str, str], bytes]] = []


class _Answering(BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status, document = self.server.answers[self.path]
        answer = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def scripted(port: int, answers: dict[str, tuple[int, object]]) -> Iterator[Scripted]:
    """The server, serving for the time of the block."""
    with Scripted(port, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
