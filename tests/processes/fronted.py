"""A pipeline whose uploads pass a Front, and whose programs can be interrupted at named points.

What was promised is judged from outside: by the collector's log (`window_committed`), by what the front saw, and by
the receiver's own database.
"""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spool.reader import SpoolReader
from tests.processes.front import Front
from tests.processes.pipeline import PROGRAMS, Pipeline, wait_until

ROOT = Path(__file__).parents[2]


class Fronted(Pipeline):
    """Shipper -> Front (TLS) -> receiver (plain HTTP)."""

    def __init__(self, home: Path, trouble: Callable[[], str | None] = lambda: None) -> None:
        self.front = Front(lambda: self.listen.partition("://")[2], trouble)
        super().__init__(home, deadline_s=5.0, tls=False, url=self.front.url)
        (home / "receiver").mkdir(mode=0o700, exist_ok=True)
        (home / "receiver" / "ca.pem").write_bytes(self.front.ca_pem)
        self.limits: dict[str, str] = {}

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "PYTHONPATH": str(ROOT), **self.limits}

    def stop_all(self) -> None:
        super().stop_all()
        self.front.close()

    @contextmanager
    def with_limits(self, **limits: int) -> Iterator[None]:
        """Programs started inside have these keys of [spool]."""
        self.limits = {f"HOLDFAST_SPOOL_{name.upper()}": str(value) for name, value in limits.items()}
        try:
            yield
        finally:
            self.limits = {}

    def start_interrupted(self, name: str, point: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Start a program that sends itself `how` at `point`. Does not wait for it."""
        self._start(name, ["-m", "tests.processes.interrupted", how.name.removeprefix("SIG"), point, *PROGRAMS[name]])

    def start_under(self, name: str, tracer: Sequence[str]) -> None:
        """Start a program under `strace -D ...`, which leaves its process id to the program. Does not wait for it."""
        self._start(name, ["-m", *PROGRAMS[name]], tracer)

    def _start(self, name: str, arguments: Sequence[str], tracer: Sequence[str] = ()) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*tracer, sys.executable, *arguments], env=self.environment(), stdout=log, stderr=log
            )

    def dies(self, name: str, within_s: float = 20) -> None:
        """Wait until a program has killed itself."""
        process = self.processes[name]
        wait_until(lambda: process.poll() is not None, within_s, f"{name} dies")
        assert self.processes.pop(name).returncode == -signal.SIGKILL, self.log(name)[-2000:]

    def stops(self, name: str, within_s: float = 20) -> None:
        """Wait until a program has stopped itself."""
        stat = Path(f"/proc/{self.processes[name].pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(") ")[2][0] == "T", within_s, f"{name} stops")

    def logged(self) -> set[int]:
        """Sequence numbers of the windows that the collector has said to be committed."""
        return {int(seq) for seq in re.findall(r" window_committed seq=(\d+)", self.log("collector"))}

    def lateness_s(self, since_seq: int = 0) -> list[float]:
        """How long after its end each window was said to be committed, smallest first."""
        lines = re.findall(r"^(\S+) info window_committed seq=(\d+) end=([\d.]+)", self.log("collector"), re.MULTILINE)
        return sorted(
            datetime.fromisoformat(at).timestamp() - float(end) for at, seq, end in lines if int(seq) > since_seq
        )

    def settled(self, within_s: float = 30) -> None:
        """Wait until all that is committed is acknowledged, then see that nothing is lost, unknown or altered.

        A collector that runs goes on committing: what was there before the wait has arrived after it.
        """
        logged = self.logged()
        with SpoolReader(self.spool) as spool:
            committed = {each.key for each in spool.headers_after(0, 100_000)}
        wait_until(self.everything_acknowledged, within_s, "everything committed is acknowledged")
        received = self.received_keys()
        assert committed <= received, "a committed batch is not at the receiver"
        at_receiver = {row[0] for row in self.received("SELECT window_seq FROM batches")}
        with SpoolReader(self.spool) as spool:
            stored = {each.key: spool.batch(each.id).sha256 for each in spool.headers_after(0, 100_000)}
            evicted_through = min((each.id for each in spool.headers_after(0, 1)), default=1) - 1
            spool_id = spool.spool_id
        evicted = {f"{spool_id}-{number}" for number in range(1, evicted_through + 1)}
        assert received <= set(stored) | evicted, "the receiver has a batch that was never committed"
        assert logged <= at_receiver, "a window that was logged as committed is not at the receiver"
        for key, hashes in self.front.arrived.items():
            assert len(set(hashes)) == 1, f"{key} was sent with different bytes"
            assert hashes[0] == stored.get(key, hashes[0]), f"{key} was sent with bytes that are not the spool's"

    def sent_again(self) -> int:
        """How many times a batch arrived whole at the front beyond its first time."""
        return sum(len(hashes) - 1 for hashes in self.front.arrived.values())


@dataclass(slots=True)
class Steady:
    """How many lines `steady_load` has sent."""

    sent: int = 0


@contextmanager
def steady_load(pipeline: Pipeline, lines_per_s: int) -> Iterator[Steady]:
    """Counter lines of some series, sent 20 times a second, whether a collector is there or not."""
    over, steady = threading.Event(), Steady()

    def send() -> None:
        while not over.wait(0.05):
            pipeline.send(*(f"t.hits:1|c|#k:{number}" for number in range(lines_per_s // 20)))
            steady.sent += lines_per_s // 20

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield steady
    finally:
        over.set()
        thread.join()
