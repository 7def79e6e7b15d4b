"""A host with a spool and a shipper for tests of the hub: real files, a scripted network, our own clock."""

import json
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from shipper.attempting import Sender
from shipper.budget import Phase, Timings
from shipper.config import DestinationConfig, ShipperConfig
from shipper.drain import Drain, Surroundings
from shipper.exchange import Attempt, Request, Response
from shipper.receiver.intake import documents
from shipper.receiver.store import Store
from shipper.transport import Transport
from spool.batch import Point, Window
from spool.delivery import DeliveryReader, State
from spool.writer import SpoolWriter

START = 1_795_000_000.0


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


class Late(str):
    """An error that is a deadline which struck after something was sent."""


class Server:
    """A network whose answers a test scripts; it remembers each key it acknowledged and how often."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.requests: list[list[str]] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.answer: Callable[[list[str]], Response | str] = self.accept
        self.stored: dict[str, int] = {}
        self.last: Request | None = None

    def accept(self, keys: list[str]) -> Response:
        for key in keys:
            self.stored[key] = self.stored.get(key, 0) + 1
        return Response(200, {}, json.dumps({"accepted": keys, "duplicate": [], "rejected": []}).encode())

    def reference(self, store: Store, limit_bytes: int = 10**9) -> Callable[[list[str]], Response]:
        """What the reference server with that store answers, behind a proxy that takes bodies up to `limit_bytes`."""

        def answer(keys: list[str]) -> Response:
            assert self.last is not None
            body = self.last.body
            if len(body) > limit_bytes:
                return reply(413)(keys)
            receipt = store.add(documents(body, gzipped=True, limit_bytes=2**30), 0.0)
            assert not receipt.rejected
            said = {"accepted": receipt.accepted, "duplicate": receipt.duplicate, "rejected": []}
            return Response(200, {}, json.dumps(said).encode())

        return answer

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        self.last = request
        keys, rest = [], request.body
        while rest:
            member = zlib.decompressobj(wbits=31)
            document = json.loads(member.decompress(rest))
            self.bodies.setdefault(document["key"], set()).add(rest[: len(rest) - len(member.unused_data)])
            rest = member.unused_data
            keys.append(document["key"])
        self.requests.append(keys)
        began = self.clock.at
        given = self.answer(keys)
        took_ms = 2.0 + (self.clock.at - began) * 1000
        response, error = (given, None) if isinstance(given, Response) else (None, given)
        late = isinstance(given, Late)
        return Attempt(response, Phase.READ, Timings(wait_ms=1.0), took_ms, 0.0, 10, 10, "127.0.0.1:1", error, late)

    def close(self) -> None:
        pass


class Host:
    """A spool with a collector, and a Drain that sends it to a scripted server."""

    settings = ShipperConfig(backlog_requests_per_s=1000)

    def __init__(self, directory: Path, **destination: object) -> None:
        self.directory, self.clock = directory, Clock()
        self.server = Server(self.clock)
        self.writer = SpoolWriter.open(directory, "web-1")
        self.config = DestinationConfig(**{"url": "https://example.net/v1/batches", **destination})
        self.sender: Sender = Transport() if "url" in destination else self.server
        self.draw = 0.5
        self.drain = self.restarted()

    def restarted(self) -> Drain:
        given = Surroundings(
            self.sender, lambda _s: nullcontext(), lambda *_: None, self.clock, self.clock, lambda: self.draw
        )
        self.drain = Drain(self.directory, "main", self.config, self.settings, given)
        return self.drain

    def commit(self, windows: int = 1, points: int = 1, dropped: int = 0) -> list[int]:
        ids = []
        for _ in range(windows):
            self.clock.at += 10
            seq = self.writer.next_window_seq()
            held = [Point(f"api.hits.{number}", "counter", {}, {"value": 1.0}) for number in range(points)]
            window = Window(seq, self.clock.at - 10, self.clock.at, held, dropped=dropped)
            ids += [each.id for each in self.writer.commit(window, self.clock.at)]
        return ids

    def run(self, seconds: float = 0.0) -> None:
        """Let the shipper work until it has nothing to do, and then for `seconds` of its own time."""
        until = self.clock.at + seconds
        for _ in range(10_000):
            wait_s = self.drain.turn()
            if wait_s > 0.01 and self.clock.at >= until:  # a shorter wait is the pace of the backlog
                return
            self.clock.at += wait_s
        raise AssertionError("the shipper never came to rest")

    def states(self) -> dict[int, State]:
        with DeliveryReader(self.directory, "main") as delivery:
            return delivery.states(0, 2**40)

    def ids_sent(self) -> list[list[int]]:
        return [[int(key.rpartition("-")[2]) for key in keys] for keys in self.server.requests]


def reply(status: int, **headers: str) -> Callable[[list[str]], Response]:
    return lambda _keys: Response(status, headers, b'{"error":"said so"}')
