"""The same load and floor as load.c, where there is no C compiler; slower, its totals as exact.

    python load.py send ADDRESS PORT RATE SECONDS LINES NAMES TAGS MIX
    python load.py floor PORT BUFFER
    python load.py sketch PORT BUFFER

`floor` is also of use beside the one in C: it is what an empty receive loop costs in Python. `sketch` is the plainest
StatsD server there can be: one recv, then split, partition, float and a dictionary for each line, without a rule, a
limit or a flush. What it costs says how fast a machine is for such work.
"""

import json
import random
import socket
import sys
import time

POOL_LINES = 200_000


def line(name: int, serial: int, tags: bool, mix: str) -> str:
    """One line: of ten names seven are counters, two timers, one a gauge; with mix "timers" every one is."""
    end = "|#env:prod,service:checkout,region:eu-west-1" if tags else ""
    if mix == "timers":
        return f"web.requests.n{name:06d}.took:{serial // 1000}.{serial % 1000:03d}|ms{end}"
    if name % 10 < 7:
        return f"web.requests.n{name:06d}.hits:1|c{end}"
    if name % 10 < 9:
        return f"web.requests.n{name:06d}.took:{random.randrange(1000)}|ms{end}"
    return f"web.requests.n{name:06d}.size:{random.randrange(100_000)}|g{end}"


def send(address: str, port: int, rate: float, seconds: float, lines: int, names: int, tags: bool, mix: str) -> None:
    """Send at `rate` datagrams per second (0: as fast as it goes), then say what was sent."""
    order = random.Random(1).sample(range(names), names)
    pool = [
        "\n".join(line(order[serial % names], serial, tags, mix) for serial in range(first, first + lines)).encode()
        for first in range(0, max(POOL_LINES, 10 * names), lines)
    ]
    everything = int(rate * seconds) if rate else sys.maxsize
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((address, port))
        begun = time.monotonic()
        while sent < everything and (elapsed := time.monotonic() - begun) < seconds + 1:
            if not rate and elapsed >= seconds:
                break
            due = min(int(rate * elapsed) + 1, everything) - sent if rate else 64
            if due <= 0:
                time.sleep(0.0001)
            for _ in range(min(due, 64)):
                out.send(pool[sent % len(pool)])
                sent += 1
        seconds = round(time.monotonic() - begun, 3)
    print(json.dumps({"datagrams": sent, "lines": sent * lines, "seconds": seconds}))


def bound_to(port: int, buffer_bytes: int) -> socket.socket:
    """A UDP socket with a receive buffer of that size, if that is allowed."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (33, socket.SO_RCVBUF):  # SO_RCVBUFFORCE
        try:
            bound.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
            break
        except OSError:
            continue
    bound.bind(("127.0.0.1", port))
    print("ready", flush=True)
    return bound


def floor(port: int, buffer_bytes: int) -> None:
    """Receive and throw away until 1 s after the last datagram, then say what it cost."""
    with bound_to(port, buffer_bytes) as bound:
        bound.recv(65_536)
        begun_s, datagrams = time.process_time(), 1
        bound.setblocking(False)
        heard_mono = time.monotonic()
        while time.monotonic() - heard_mono < 1:
            before = datagrams
            try:
                while True:
                    bound.recv(65_536)
                    datagrams += 1
            except BlockingIOError:
                if datagrams > before:
                    heard_mono = time.monotonic()
                time.sleep(0.001)
    print(json.dumps({"datagrams": datagrams, "cpu_s": time.process_time() - begun_s}))


def sketch(port: int, buffer_bytes: int) -> None:
    """Receive and add up until 1 s after the last datagram, then say what it cost."""
    counters: dict[bytes, float] = {}
    gauges: dict[bytes, float] = {}
    timers: dict[bytes, list[float]] = {}
    with bound_to(port, buffer_bytes) as bound:
        datagram, datagrams = bound.recv(65_536), 0
        begun_s = time.process_time()
        bound.settimeout(1.0)
        while datagram:
            for line in datagram.split(b"\n"):
                name, _, rest = line.partition(b":")
                written, _, kind = rest.partition(b"|")
                value = float(written)
                if kind == b"c":
                    counters[name] = counters.get(name, 0.0) + value
                elif kind == b"g":
                    gauges[name] = value
                elif name in timers:
                    timers[name].append(value)
                else:
                    timers[name] = [value]
            datagrams += 1
            try:
                datagram = bound.recv(65_536)
            except TimeoutError:
                datagram = b""
    print(json.dumps({"datagrams": datagrams, "cpu_s": time.process_time() - begun_s}))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command in ("floor", "sketch"):
        {"floor": floor, "sketch": sketch}[command](int(arguments[0]), int(arguments[1]))
    else:
        address, port, rate, seconds, lines, names, tags, mix = arguments
        send(address, int(port), float(rate), float(seconds), int(lines), int(names), tags == "1", mix)
