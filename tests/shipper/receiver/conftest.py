"""A receiver in parts: batches as a collector makes them, the WSGI application, a served one."""

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from shipper.receiver.app import Application
from shipper.receiver.certificate import CertificateFiles, ensure
from shipper.receiver.config import Listen
from shipper.receiver.reader import StoreReader
from shipper.receiver.serve import WebServer
from shipper.receiver.store import Store
from spool.batch import Batch, Point, Window, encode

NDJSON_GZIP = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}


def make_batch(
    number: int, hits: float = 1.0, *, spool: str = "cafe", host: str = "web-1", seq: int | None = None
) -> Batch:
    end = 1_764_000_000 + 10 * number
    points = [
        Point("hits", "counter", {"env": "prod"}, {"value": hits}),
        Point("level", "gauge", {}, {"value": float(number)}),
        Point(
            "lat",
            "timer",
            {},
            {"count": 2, "sum": 3.0, "p50": 1.0, "sketch": {"gamma": 1.02, "bins": [[1, 2]]}},
        ),
    ]
    window = Window(number if seq is None else seq, end - 10, end, points)
    return encode(spool, number, host, window, points, end)


@pytest.fixture(scope="session")
def batch() -> Callable[..., Batch]:
    return make_batch


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls a WSGI application in place, with wsgiref's validator in between."""

    def __init__(self, application: Any) -> None:
        self.application = validator(application)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        length: str | None = None,
    ) -> Answered:
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(body),
        }
        if length != "":
            environ["CONTENT_LENGTH"] = str(len(body)) if length is None else length
        for name, value in (headers or {}).items():
            variable = name.upper().replace("-", "_")
            environ[variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
        begun: list[Any] = []
        answer = self.application(environ, lambda status, heads, exc_info=None: begun.extend((status, heads)))
        content = b"".join(answer)
        answer.close()
        return Answered(int(begun[0].split()[0]), dict(begun[1]), content)

    def post(self, *batches: Batch) -> Answered:
        return self("POST", "/v1/batches", b"".join(each.payload for each in batches), NDJSON_GZIP)


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = Store.open(folder)
    try:
        yield store
    finally:
        store.close()


def make_application(store: Store, **changes: Any) -> Application:
    settings = {
        "token": None,
        "max_body_bytes": 100_000,
        "max_raw_bytes": 1_000_000,
        "version": "1.2.3",
        "clock": lambda: 1_764_000_100.0,
        "zone": UTC,
        "monotonic": time.monotonic,
    }
    return Application(store, **(settings | changes))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path / "receiver") as store:
        yield store


@pytest.fixture
def reader(store: Store) -> StoreReader:
    return StoreReader(store.path, time.monotonic)


@pytest.fixture
def client(store: Store) -> Client:
    return Client(make_application(store))


@pytest.fixture
def client_of(store: Store) -> Callable[..., Client]:
    """A client of an application with other settings, on the same store."""
    return lambda **changes: Client(make_application(store, **changes))


@pytest.fixture
def fresh_client(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """A context manager with a client of an empty store, for each example of a property."""

    @contextmanager
    def fresh() -> Iterator[Client]:
        with opened(tmp_path_factory.mktemp("receiver")) as store:
            yield Client(make_application(store))

    return fresh


@dataclass
class Served:
    server: WebServer
    ca: Path | None
    reports: list[tuple[str, dict[str, Any]]]

    @property
    def url(self) -> str:
        return str(self.server.listen)

    @property
    def address(self) -> tuple[str, int]:
        return (self.server.listen.host, self.server.listen.port)


@pytest.fixture
def served(tmp_path: Path, store: Store) -> Iterator[Callable[..., Served]]:
    """Starts servers of the store on loopback, https with our own authority; stops them at the end."""
    running: list[WebServer] = []

    def serve(scheme: str, *, threads: int = 32, request_deadline_s: float = 30, **changes: Any) -> Served:
        files = CertificateFiles(tmp_path)
        if scheme == "https":
            ensure(files, ("localhost", "127.0.0.1"), datetime.now(UTC))
        reports: list[tuple[str, dict[str, Any]]] = []
        server = WebServer.start(
            make_application(store, **changes),
            Listen(scheme, "127.0.0.1", 0),
            certificate=(files.chain, files.key) if scheme == "https" else None,
            threads=threads,
            request_deadline_s=request_deadline_s,
            report=lambda event, **facts: reports.append((event, facts)),
        )
        running.append(server)
        return Served(server, files.ca if scheme == "https" else None, reports)

    yield serve
    for server in running:
        server.stop()
