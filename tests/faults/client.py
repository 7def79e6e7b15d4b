"""A shipper's process, made to attempt one thing after the other: `python -m tests.faults.client`.

Reads a JSON list of cases from standard input, runs them several at a time, and prints one JSON object: what
became of each attempt, when each case began and ended, how much memory the process has needed at most until then, and
when it was done.
"""

import functools
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import shipper.cli  # noqa: F401 - all that a shipper holds is held here, for the memory to be that of one
from shipper.exchange import Request
from shipper.resolver import Resolver
from shipper.transport import Transport

AT_ONCE = 8


def peak_kib() -> int:
    """The most memory that this process has ever had."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1])


class Names:
    """getaddrinfo as a script: each entry is [seconds to wait, addresses or null for an error]."""

    def __init__(self, script: list[Any]) -> None:
        self.script = list(script)
        self.over = threading.Event()

    def __call__(self, _host: str, port: int, **_options: Any) -> list[Any]:
        wait_s, addresses = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.over.wait(wait_s)
        if addresses is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, given or port)) for address, given in addresses]


@functools.cache
def body_of(size: int) -> bytes:
    """One for all cases: they are many, the shipper has one."""
    return b"x" * size


def run(case: dict[str, Any]) -> dict[str, Any]:
    """One case, with what there was to see beside it."""
    began_at = time.time()
    attempts = attempts_of(case)
    return {"attempts": attempts, "began_at": began_at, "ended_at": time.time(), "peak_kib": peak_kib()}


def attempts_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of each attempt of a case."""
    resolver = Resolver(time.monotonic, Names(case["names"])) if case.get("names") else None
    transport = Transport(
        ca_file=Path(case["ca_file"]),
        proxy=case.get("proxy"),
        dns_deadline_s=case["deadline_s"] * 0.6,
        connect_deadline_s=case.get("connect_deadline_s", case["deadline_s"] * 2),
        resolver=resolver,
    )
    body = body_of(case["body_bytes"])
    results = []
    for number in range(case["attempts"]):
        if number and case["pause_s"]:
            time.sleep(case["pause_s"])
        request = Request("POST", case["url"], {"X-Mark": f"m{number}"}, body)
        began = time.monotonic()
        attempt = transport.attempt(request, case["deadline_s"])
        took_s = time.monotonic() - began
        outcome = asdict(attempt)
        if attempt.response is not None:
            outcome["response"]["body"] = attempt.response.body.decode("latin-1")[:100]
            outcome["response"]["headers"] = {}
        results.append({**outcome, "took_s": took_s})
    transport.close()
    return results


def main() -> None:
    cases = json.load(sys.stdin)
    if "one-by-one" in sys.argv:
        results = [run(each) for each in cases]  # in the main thread, as the shipper does
    else:
        with ThreadPoolExecutor(AT_ONCE) as several:
            results = list(several.map(run, cases))
    print(json.dumps({"results": results, "ended_at": time.time()}))


if __name__ == "__main__":
    main()
