"""Everything at once, under a real supervisord: kills, freezes, a server that misbehaves in each way, a disk that is
full for a while, a clock that is set, reloads.

    python -m tests.deploy.chaotic HOME SECONDS FREEZE_MOST_S

Run by test_chaos.py, with a small disk at HOME/spool (tests/needed.py). Real clients send meanwhile. Afterwards every
batch that was committed is at the receiver, once and with the same bytes, but for those that the full disk cost, which
are recorded; everything is settled again soon, nothing is left running, and what ran all the time has not grown. The
seed is fixed, what the processes do in the meantime is not: a failure prints what was done, in order. The clock is set
by clock/sitecustomize.py.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TypeVar

import statsd

from spool.reader import SpoolReader
from tests.deploy.supervised import BIN, PROGRAMS, Supervised
from tests.processes.front import Front
from tests.processes.pipeline import wait_until

Card = TypeVar("Card")

RELOAD = Path(__file__).resolve().parents[2] / "deploy/reload"
SEED = 1_764_000_000
RECOVERY_S = 60.0
FILES_MORE, KIB_MORE = 5, 32_768
"""What a process that ran all the time may have gained."""

MOODS = ("well", "well", "503", "cut", "down", "hanging", "dripping")
BLOWS = [(how, program) for how in ("kill", "freeze") for program in PROGRAMS]
BLOWS += [("reload", "all"), ("fill", "disk"), ("set", "clock")] * 2
CLOCK = Path(__file__).with_name("clock")
STEPS_S = (1, -1, 45, -45, 3_600, -3_600, 0)
"""How far the clock may be from the true time."""


def deck(chance: random.Random, cards: Sequence[Card]) -> Iterator[Card]:
    """All cards in random order, then all of them in another, for ever."""
    while True:
        yield from chance.sample(cards, len(cards))


def _thaw(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # the watchdog has ended it


class MoodyFront(Front):
    """A Front in one mood at a time, for all requests."""

    def __init__(self, receiver: Callable[[], str]) -> None:
        self.mood = "well"
        super().__init__(receiver, lambda: self.mood if self.mood in ("503", "cut") else None)

    def serve(self, asked: BaseHTTPRequestHandler) -> None:
        mood = self.mood
        if mood not in ("down", "hanging", "dripping"):
            return super().serve(asked)
        asked.close_connection = True
        if mood == "down":
            return None
        body = asked.rfile.read(int(asked.headers["Content-Length"]))
        while self.mood == "hanging":
            time.sleep(0.1)
        status, answer = self._pass_on(asked, body)
        text = b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%s" % (status, len(answer), answer)
        for each in text:
            asked.wfile.write(bytes([each]))
            time.sleep(0.1 if self.mood == "dripping" else 0.0)
        return None


class Chaos(Supervised):
    """The pipeline, what it is put through, and what is known of it afterwards."""

    def __init__(self, home: Path) -> None:
        self.front = MoodyFront(lambda: self.listen.partition("://")[2])
        super().__init__(home, stale_after_s=15.0, deadline_s=2.0, tls=False, url=self.front.url)
        (home / "receiver").mkdir(mode=0o700)
        (home / "receiver/ca.pem").write_bytes(self.front.ca_pem)
        self.done: list[str] = []
        self.later: list[threading.Timer] = []
        self.clock = home / "clock"
        self.set_clock(0)

    def stop_all(self) -> None:
        self.front.mood = "well"
        super().stop_all()
        self.front.close()

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "PYTHONPATH": str(CLOCK), "CLOCK_FILE": str(self.clock)}

    def set_clock(self, ahead_s: int) -> None:
        """Set the wall clock of every process, in one step."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(ahead_s))
        new.rename(self.clock)

    def fill_disk(self, for_s: float) -> None:
        """Somebody takes all that is left of the disk, for a while."""
        hog = self.spool / "hog"
        with contextlib.suppress(OSError), hog.open("wb") as file:
            while True:
                file.write(bytes(65_536))
                file.flush()
        self.after(for_s, lambda: hog.unlink(missing_ok=True))

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something later, before the end."""
        timer = threading.Timer(seconds, then)
        timer.start()
        self.later.append(timer)

    def strike(self, name: str, how: signal.Signals, then_after_s: float = 0.0) -> None:
        """Send a program a signal; a SIGSTOP is followed by a SIGCONT, unless the watchdog has been faster."""
        pid = self.pids().get(name)
        if pid is None:
            return
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        if how is signal.SIGSTOP:
            self.after(then_after_s, lambda: _thaw(pid))

    def reload(self, second: bool) -> None:
        """A destination that nobody answers at comes or goes, as `systemctl reload` would have it."""
        extra = '[destination.second]\nurl = "http://127.0.0.1:1/x"\n' if second else ""
        self.configure(deadline_s=2.0, url=self.front.url, extra=extra)
        self.render()
        update = [BIN / "supervisorctl", "-c", self.run / "supervisord.conf", "update"]
        subprocess.run(update, capture_output=True, timeout=60, check=True)
        path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        hang_up = [RELOAD, self.run / "supervisord.conf"]  # fails for a program that is being started again
        subprocess.run(hang_up, env=path, capture_output=True, timeout=60, check=False)

    def wreak(self, for_s: float, freeze_most_s: float) -> None:
        """One misfortune after the other, each of them once before any comes again."""
        chance, until = random.Random(SEED), time.monotonic() + for_s
        moods, blows = deck(chance, MOODS), deck(chance, BLOWS)
        while time.monotonic() < until:
            self.front.mood, (how, victim) = next(moods), next(blows)
            self.done.append(f"{how} {victim} while the server is {self.front.mood}")
            if how == "kill":
                self.strike(victim, signal.SIGKILL)
            elif how == "freeze":
                self.strike(victim, signal.SIGSTOP, chance.uniform(1.0, freeze_most_s))
            elif how == "fill":
                self.fill_disk(chance.uniform(1.0, 8.0))
            elif how == "set":
                self.set_clock(chance.choice(STEPS_S))
            else:
                self.reload(second=chance.random() < 0.5)
            time.sleep(chance.uniform(0.2, 2.5))
        self.front.mood = "well"
        for each in self.later:
            each.join()
        self.set_clock(0)
        self.reload(second=False)

    def lost_lines(self) -> int:
        """Lines of windows that were committed, and evicted before they were sent."""
        with SpoolReader(self.spool) as spool:
            losses = spool.losses(limit=100_000)
        return sum(each["lines"] for each in losses if each["batches"] and "main" in each["unsent_at"])

    def weights(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Open files and resident KiB of every process, supervisord included, by name and process id."""
        assert self.supervisord is not None
        found = {}
        for name, pid in {**self.pids(), "supervisord": self.supervisord.pid}.items():
            status = Path(f"/proc/{pid}/status").read_text()
            resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
            found[name, pid] = (len(list(Path(f"/proc/{pid}/fd").iterdir())), int(resident))
        return found

    def left_behind(self) -> list[str]:
        """Living processes that were given this configuration."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.file).encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@contextmanager
def clients(pipeline: Chaos) -> Iterator[dict[str, int]]:
    """A StatsD client that sends all the time, whether anybody listens or not; counts what it has sent."""
    over, sent = threading.Event(), {"lines": 0}
    client = statsd.StatsClient(*pipeline.statsd, prefix="t", maxudpsize=512)

    def send() -> None:
        while not over.wait(0.02):
            with client.pipeline() as several:
                for _ in range(10):
                    several.incr("hits")
                several.timing("lat", 10)
            sent["lines"] += 11

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()
        client.close()


def survive(home: Path, chaos_s: float, freeze_most_s: float) -> None:
    pipeline = Chaos(home)
    try:
        pipeline.launch()
        with clients(pipeline) as sent:
            wait_until(lambda: len(pipeline.windows()) >= 3, 20, "windows before the trouble begins")
            before = pipeline.weights()
            pipeline.wreak(chaos_s, freeze_most_s)
            began = time.monotonic()
            wait_until(lambda: set(PROGRAMS) <= set(pipeline.pids()), RECOVERY_S, "every program running")
            last = pipeline.windows()[-1]["seq"]
            wait_until(lambda: pipeline.windows()[-1]["seq"] > last + 1, 20, "windows after the trouble")
        wait_until(pipeline.everything_acknowledged, RECOVERY_S + began - time.monotonic(), "everything acknowledged")
        print(
            f"settled {time.monotonic() - began:.1f} s after {len(pipeline.done)} misfortunes", pipeline.front.troubles
        )
        seq = pipeline.windows()[-1]["seq"]
        wait_until(lambda: pipeline.windows()[-1]["seq"] > seq + 1, 20, "the last lines committed")
        wait_until(pipeline.everything_acknowledged, 20, "and acknowledged")
        grown = [
            f"{who}: files, KiB {before[who]} -> {now}"
            for who, now in pipeline.weights().items()
            if who in before and (now[0] > before[who][0] + FILES_MORE or now[1] > before[who][1] + KIB_MORE)
        ]
        assert grown == []
        assert ("supervisord", pipeline.supervisord.pid) in before  # type: ignore[union-attr]
        accepted = sum(each["accepted"] for each in pipeline.windows())
        assert pipeline.received_keys() >= set(pipeline.committed())
        received = int(pipeline.received_sum("t.hits") + pipeline.received_sum("t.lat", "count"))
        assert received == accepted - pipeline.lost_lines()
        assert 0 < received <= sent["lines"]
        with SpoolReader(pipeline.spool) as spool:
            stored = {each.key: spool.batch(each.id).sha256 for each in spool.headers_after(0, 100_000)}
        for key, hashes in pipeline.front.arrived.items():
            assert set(hashes) == {stored.get(key, hashes[0])}, "a batch was sent with other bytes than the spool's"
        audit = json.loads(pipeline.command("spool.cli", "audit", "--json", check=False).stdout)
        assert audit["problems"] == [], "every line and every batch is accounted for"
        logs = [each for each in (*PROGRAMS, "shipper-second") if "Traceback" in pipeline.log(each)]
        assert logs == []
    finally:
        print("\n".join(pipeline.done))
        pipeline.stop_all()
        for log in sorted(pipeline.home.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}")
    assert pipeline.left_behind() == []


if __name__ == "__main__":
    survive(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
