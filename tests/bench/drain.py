"""How fast a backlog drains over loopback TLS, beside a plain `requests` session that posts the same bodies.

    .venv/bin/python -m tests.bench.drain [BATCHES]

Three servers: holdfast-receiver, which stores each batch; one that only unpacks them, which a server must do that
lists the keys; and one that does not even look, for what the shipper itself costs. Two senders, the `requests` loop
and the shipper, each with one batch per request and with bodies of 1 MiB, which is how the shipper drains a backlog.
What the shipper does beside sending is measured with it: reading and verifying each batch, the deadline around every
operation, a row and a log line per attempt, one transaction, synced, per attempt. The bars: at least 0.8 times the
loop's throughput for equal bodies, and several times its batch rate by putting together.
"""

import json
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import requests

from shipper.config import DestinationConfig, ShipperConfig
from shipper.drain import Drain, Surroundings
from shipper.transport import Transport
from spool.reader import SpoolReader
from spool.writer import SpoolWriter
from tests.bench.measure import table, window
from tests.processes.pipeline import Pipeline, free_port, wait_until

POINTS = 1_000
MIB = 1_048_576
BEGINNING = 128


def remembering(folder: Path) -> Callable[[bytes], list[str]]:
    """Keys without looking: of each batch it was told the key, the size, and how its bytes begin."""
    known = json.loads((folder / "known.json").read_text())
    number_of = {bytes.fromhex(beginning): number for number, (_, _, beginning) in enumerate(known)}

    def keys(body: bytes) -> list[str]:
        number = number_of[body[:BEGINNING]]
        left, found = len(body), []
        while left > 0:
            key, batch_bytes, _ = known[number]
            found.append(key)
            left, number = left - batch_bytes, number + 1
        return found

    return keys


def unpacking(_folder: Path) -> Callable[[bytes], list[str]]:
    """The least that a server does which lists the keys of what it was sent: it unpacks each batch to its end."""

    def keys(body: bytes) -> list[str]:
        found = []
        while body:
            member = zlib.decompressobj(wbits=31)
            text = member.decompress(body)
            found.append(text.partition(b'"key":"')[2].partition(b'"')[0].decode())
            body = member.unused_data
        return found

    return keys


SERVERS = {"remembering": remembering, "unpacking": unpacking}


def serve(port: int, folder: Path, kind: str) -> None:
    """Every request is read whole, and answered with its keys; nothing is stored."""
    keys_in = SERVERS[kind](folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "receiver/server.pem", folder / "receiver/server-key.pem")

    def talk(raw: socket.socket) -> None:
        # As real servers do; else its second packet waits for our ACK.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with context.wrap_socket(raw, server_side=True) as connection, connection.makefile("rb") as file:
                while file.readline():
                    size = 0
                    while (line := file.readline()) != b"\r\n":
                        size = int(line.split()[1]) if line.lower().startswith(b"content-length:") else size
                    answer = {"accepted": keys_in(file.read(size)), "duplicate": [], "rejected": []}
                    body = json.dumps(answer).encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            return  # the client has gone

    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()


def fill(spool: Path, batches: int) -> list[bytes]:
    """A spool with so many batches; their payloads."""
    chance = random.Random(1)
    writer = SpoolWriter.open(spool, "web-1")
    kept = []
    for _ in range(batches):
        made = window(writer.next_window_seq(), POINTS, chance)
        kept += [each.payload for each in writer.commit(made, made.end)]
    writer.close()
    return kept


def loop(url: str, pipeline: Pipeline, payloads: list[bytes]) -> float:
    """The plain sender; seconds."""
    token = (pipeline.home / "receiver/token").read_text().strip()
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip", "Authorization": f"Bearer {token}"}
    with requests.Session() as session:
        session.trust_env = False
        began = time.perf_counter()
        for each in payloads:
            answer = session.post(
                url, data=each, headers=headers, verify=str(pipeline.home / "receiver/ca.pem"), timeout=20
            )
            answer.raise_for_status()
        return time.perf_counter() - began


def ship(url: str, pipeline: Pipeline, request_bytes: int, name: str) -> float:
    """The shipper without its process; seconds until nothing is unsent."""
    home = pipeline.home
    given = Surroundings(
        sender=Transport(ca_file=home / "receiver/ca.pem"),
        armed=lambda _s: nullcontext(),
        keep_evidence=lambda *_: None,
        now=time.time,
        clock=time.monotonic,
        draw=random.random,
    )
    destination = DestinationConfig(url=url, token_file=home / "receiver/token", ca_file=home / "receiver/ca.pem")
    settings = ShipperConfig(request_bytes=request_bytes, backlog_requests_per_s=1000)
    drain = Drain(pipeline.spool, name, destination, settings, given)
    assert drain.pending()  # makes the delivery file, which a shipper does once in its life
    began = time.perf_counter()
    while True:
        wait_s = drain.turn()
        if wait_s >= 1.0:
            break
        time.sleep(wait_s)
    took_s = time.perf_counter() - began
    assert drain.pending() == 0
    drain.close()
    return took_s


def measure(
    kind: str, start: Callable[[Path], tuple[Pipeline, str, Callable[[], None]]], batches: int, rounds: int = 1
) -> None:
    """One server: each sender with a server of its own so that nothing is a duplicate; the best of some rounds."""
    took_s: dict[str, float] = {}
    size = 0
    for sender in ("requests, 1 batch", "shipper, 1 batch", "requests, 1 MiB", "shipper, 1 MiB"):
        with tempfile.TemporaryDirectory() as folder:
            pipeline, url, stop = start(Path(folder))
            try:
                with SpoolReader(pipeline.spool) as spool:
                    payloads = [spool.batch(each.id).payload for each in spool.headers_after(0, 100_000)]
                size = sum(map(len, payloads))
                if sender.startswith("requests"):
                    each = 1 if "1 batch" in sender else MIB // (size // len(payloads))
                    bodies = [b"".join(payloads[first : first + each]) for first in range(0, len(payloads), each)]
                    took_s[sender] = min(loop(url, pipeline, bodies) for _ in range(rounds))
                else:
                    most = 1_024 if "1 batch" in sender else MIB
                    took_s[sender] = min(ship(url, pipeline, most, f"bench-{number}") for number in range(rounds))
            finally:
                stop()
    print(f"\n{kind}: {batches} batches of {POINTS} points, {size / batches / 1024:.1f} KiB each")
    table(
        ("sender", "batches/s", "MB/s", "x requests with equal bodies", "x requests with one batch"),
        [
            (
                name,
                batches / s,
                size / s / 1e6,
                took_s[f"requests,{name.partition(',')[2]}"] / s,
                took_s["requests, 1 batch"] / s,
            )
            for name, s in took_s.items()
        ],
    )


def prepared(home: Path, batches: int) -> Pipeline:
    pipeline = Pipeline(home)
    pipeline.command("shipper.receiver.cli", "init")
    fill(pipeline.spool, batches)
    return pipeline


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(batches: int) -> None:
    """Print both tables."""
    fewer = max(20, batches // 8)  # it stores 60,000 readings a second

    def bare(kind: str, home: Path) -> tuple[Pipeline, str, Callable[[], None]]:
        pipeline, port = prepared(home, batches), free_port()
        with SpoolReader(pipeline.spool) as spool:
            held = [spool.batch(each.id) for each in spool.headers_after(0, 100_000)]
        known = [(each.key, len(each.payload), each.payload[:BEGINNING].hex()) for each in held]
        (home / "known.json").write_text(json.dumps(known))
        server = subprocess.Popen([sys.executable, "-m", "tests.bench.drain", "serve", str(port), str(home), kind])
        wait_until(lambda: answers(port), 10, "the bare server")

        def stop() -> None:
            server.kill()
            server.wait()

        return pipeline, f"https://127.0.0.1:{port}/v1/batches", stop

    def receiver(home: Path) -> tuple[Pipeline, str, Callable[[], None]]:
        pipeline = prepared(home, fewer)
        pipeline.start("receiver")
        return pipeline, f"{pipeline.listen}/v1/batches", pipeline.stop_all

    measure("a server that unpacks the batches to read their keys", partial(bare, "unpacking"), batches, 3)
    measure("a server that does not look at them", partial(bare, "remembering"), batches, 3)
    measure("holdfast-receiver", receiver, fewer)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 800)
