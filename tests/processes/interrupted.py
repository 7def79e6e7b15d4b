"""Runs one of our programs, which sends itself a signal at a named point: SIGKILL to die, SIGSTOP to freeze there.

    python -m tests.processes.interrupted KILL after_commit collector.cli run

Nothing in the product knows of this. The points are watched from outside, in this process only: a subclass of
sqlite3.Connection sees every statement, and a few functions of the shipper's network code are wrapped. Each passes
marks such as "before COMMIT of INSERT INTO windows"; the signal is sent at the first mark that begins with the
point's text. A statement that gives rows is stepped to its first row by then, so "after SELECT" is inside a read.

Promises that the process is gone, or stopped, before the next instruction of its main thread. Not promised: a point
inside SQLite, between two of its system calls; see test_power_loss.py for those.
"""

import os
import runpy
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

COLLECTOR = {
    "before_insert": "before INSERT INTO batches",
    "after_insert": "after INSERT INTO batches",
    "before_commit": "before COMMIT of INSERT INTO windows",
    "after_commit": "after COMMIT of INSERT INTO windows",
    "before_checkpoint": "before PRAGMA wal_checkpoint",
    "after_checkpoint": "after PRAGMA wal_checkpoint",
    "mid_eviction": "after INSERT INTO losses",
    "before_eviction_commit": "before COMMIT of DELETE FROM batches",
    "after_eviction": "after COMMIT of DELETE FROM batches",
}
SHIPPER = {
    "before_connect": "before connect",
    "after_connect": "after connect",
    "after_tls": "after tls",
    "mid_head": "part 1",
    "mid_body": "part 6",
    "after_body": "before answer",
    "mid_answer": "after answer",
    "before_record": "before INSERT INTO attempts",
    "before_acknowledgement": "before COMMIT of UPDATE condition",
    "after_acknowledgement": "after COMMIT of UPDATE condition",
}
MIGRATION = {
    "mid_migration_of_the_spool": "after CREATE TABLE losses",
    "before_migration_commit_of_the_spool": "before COMMIT of PRAGMA user_version",
    "mid_migration_of_a_delivery_file": "after CREATE TABLE attempts",
}
SALVAGE = {
    "before_the_new_spools_first_loss": "before COMMIT of INSERT INTO losses (at",
    "mid_salvage": "after INSERT INTO batches (id",
    "before_the_rest_is_written_off": "before COMMIT of INSERT INTO losses (at",
}
"""In this order on one damaged spool: what a start does first, its errand does not do again."""
INSIDE = {
    "inside_a_read": "after SELECT id, key, window_start",
    "inside_a_write": "after INSERT INTO attempts",
    "inside_a_query": "after SELECT b.id, b.payload",
}
POINTS = COLLECTOR | SHIPPER | MIGRATION | SALVAGE | INSIDE

PART_BYTES = 100
"""The shipper writes parts of this size, so that a small body has a middle."""


class Point:
    """Compares marks with the wanted one, and sends the signal."""

    def __init__(self, wanted: str, sent: signal.Signals) -> None:
        self._wanted, self._sent, self._armed = wanted, sent, True

    def passed(self, mark: str) -> None:
        if self._armed and mark.startswith(self._wanted):
            self._armed = False  # once: what was frozen goes on
            os.kill(os.getpid(), self._sent)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        self.passed(f"before {what}")
        yield
        self.passed(f"after {what}")


def watch_statements(point: Point) -> None:
    """From now on every SQLite connection of this process tells of its statements."""

    class Connection(sqlite3.Connection):
        last = ""

        def _told(self, run: Callable[..., Any], sql: str, values: tuple[Any, ...]) -> Any:
            words = " ".join(sql.split())
            with point.around(f"{words} of {self.last}" if words == "COMMIT" else words):
                self.last = words
                return run(sql, *values)

        def execute(self, sql: str, *values: Any) -> Any:
            return self._told(super().execute, sql, values)

        def executemany(self, sql: str, *values: Any) -> Any:
            return self._told(super().executemany, sql, values)

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, factory=Connection, **options)


def watch_network(point: Point) -> None:
    """The same for the steps of an upload. Imported here: a collector must stay without the shipper's modules."""
    from shipper import connections, sockets

    sockets.PART_BYTES = PART_BYTES
    dial, shake, begin, send = (
        connections.dial,
        sockets.TLSSocket.do_handshake,
        connections.Answer.begin,
        sockets.ssl.SSLSocket.send,
    )
    parts = 0

    def dialled(addresses: Any) -> Any:
        with point.around("connect"):
            return dial(addresses)

    def shaken(self: Any, block: bool = False) -> None:
        with point.around("tls"):
            shake(self, block)

    def begun(self: Any) -> None:
        with point.around("answer"):
            begin(self)

    def sent(self: Any, data: Any, flags: int = 0) -> int:
        nonlocal parts
        done = send(self, data, flags)
        parts += 1
        point.passed(f"part {parts}")
        return done

    connections.dial = dialled
    sockets.TLSSocket.do_handshake = shaken
    connections.Answer.begin = begun
    sockets.ssl.SSLSocket.send = sent


def main() -> None:
    """Watch, then become the program."""
    _, sent, name, module, *arguments = sys.argv
    point = Point(POINTS[name], signal.Signals[f"SIG{sent}"])
    watch_statements(point)
    if module.startswith("shipper"):
        watch_network(point)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
