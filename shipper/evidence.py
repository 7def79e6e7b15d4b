"""What is kept when an upload gets stuck: facts and stacks of the attempt, and, in the last resort, an end to it.

    with watchdog.armed(deadline_s=20):
        ...                              # one whole attempt, with the spool and the log line, not only the network
        evidence.keep(attempt, ids)      # what the deadline ended: phase, timings, the kernel's view, all stacks

No deadline on a socket ends a C call that spins, a database that is locked, a log pipe that nobody reads. Two
clocks run around each attempt, and neither needs the interpreter: a thread in C that writes every stack into a
regular file and ends the process at deadline + grace (faulthandler), and a kernel timer that ends it at
deadline + 2 x grace (SIGALRM by default ends a process) in case that write is what is stuck. Whoever runs the
process starts it again, and no batch is lost, because nothing was in flight on disk.

Files in `<spool>/hangs/` (spool/hangfile.py): NAME-PID.txt is the running process's; hang-TIME-NAME.txt is the dump
that one left behind, found and named at the next start; deadline-TIME-NAME.txt is an attempt that its deadline ended.
The newest KEPT of both kinds are kept, by all names together.
Not promised: an end to a process in uninterruptible disk wait. Nothing does that.
"""

import faulthandler
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from shipper.exchange import Attempt
from shipper.tcpinfo import words
from spool.hangfile import file_name, head
from spool.heartbeat import heartbeats

KEPT = 20
GRACE_S = 2.0

OVERRUN_MS = 250.0
"""An attempt that ends later than this after its deadline breaks the promise; that is kept apart from the others."""

PAUSE_S = 60.0
"""From one file about an attempt to the next: an outage of a day is one story, not four thousand."""


class Evidence:
    """Keeps what can be seen of attempts that the deadline ended. `now` is Unix seconds, `clock` monotonic ones."""

    def __init__(self, spool_dir: Path, name: str, now: Callable[[], float], clock: Callable[[], float]) -> None:
        self._spool_dir, self._name, self._now, self._clock = spool_dir, name, now, clock
        self._next_at = {False: float("-inf"), True: float("-inf")}

    def keep(self, attempt: Attempt, ids: str) -> Path | None:
        """Write a file about `attempt`, which carried the batches `ids`, if a deadline ended it.

        At most one a minute, and one a minute about overruns. None if nothing was written: a full disk costs the file.
        """
        overran = attempt.overshoot_ms > OVERRUN_MS
        if not (attempt.out_of_time or overran) or self._clock() < self._next_at[overran]:
            return None
        self._next_at[overran] = self._clock() + PAUSE_S
        why = attempt.error or "the answer was complete"
        ended = f"overran its deadline by {attempt.overshoot_ms:.0f} ms: {why}" if overran else f"gave up: {why}"
        facts = {
            "phase": attempt.phase,
            "batches": ids,
            **{each: getattr(attempt, each) for each in ("address", "sent_bytes", "received_bytes")},
            **{
                name: f"{value:.1f}"
                for name, value in {**asdict(attempt.timings), "total_ms": attempt.total_ms}.items()
                if value is not None
            },
            "overshoot_ms": f"{attempt.overshoot_ms:.1f}",
            "socket": words(attempt.socket_state) if attempt.socket_state else None,
            "last heartbeat": _heartbeat(self._spool_dir, self._name, os.getpid()),
        }
        kept = self._spool_dir / "hangs" / file_name("deadline", self._now(), self._name)
        try:
            with kept.open("w", encoding="utf-8") as file:
                file.write(head(self._name, os.getpid(), ended, facts))
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
            _keep_newest(kept.parent, "deadline")
        except OSError:
            return None
        return kept


class Watchdog:
    """One per process, because the process has one timer of each kind.

    Make it in the main thread: it sets SIGALRM to its default, which ends the process.
    """

    def __init__(self, spool_dir: Path, name: str, grace_s: float = GRACE_S) -> None:
        """Open the dump file of this process, after setting aside what earlier ones left. Raises OSError."""
        folder = spool_dir / "hangs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.found = _set_aside(folder, name)
        """Dumps that processes of this name left behind, new since the last start."""
        self._grace_s = grace_s
        self._path = folder / f"{name}-{os.getpid()}.txt"
        self._file = self._path.open("w", encoding="ascii")
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})

    @contextmanager
    def armed(self, deadline_s: float) -> Iterator[None]:
        """End this process if the block takes longer than `deadline_s` and the grace. Blocks do not nest."""
        faulthandler.dump_traceback_later(deadline_s + self._grace_s, exit=True, file=self._file)
        signal.setitimer(signal.ITIMER_REAL, deadline_s + 2 * self._grace_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """An orderly end leaves no file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _set_aside(folder: Path, name: str) -> list[Path]:
    """Give the dumps of ended processes the names they are kept under, and remove what is empty or too old."""
    found = []
    for left in sorted(folder.glob(f"{name}-*.txt")):
        pid = left.stem.removeprefix(f"{name}-")
        if not pid.isdigit() or (int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()):
            continue  # another name that begins like ours, or a process that still runs
        facts = left.stat()
        if facts.st_size == 0:
            left.unlink()
            continue
        kept = folder / file_name("hang", facts.st_mtime, name)
        known = {"last heartbeat": _heartbeat(folder.parent, name, int(pid))}
        text = head(name, int(pid), "outlived its deadline and was ended by the last resort", known)
        try:
            kept.write_text(text + left.read_text(encoding="ascii", errors="backslashreplace"), encoding="utf-8")
            os.utime(kept, (facts.st_mtime, facts.st_mtime))
            left.unlink()
        except OSError:  # a full disk costs the words above the stacks, neither the stacks nor the start
            left.replace(kept)
        found.append(kept)
    _keep_newest(folder, "hang")
    return found


def _heartbeat(spool_dir: Path, name: str, pid: int) -> str | None:
    """The last heartbeat of that process, if nobody has beaten under its name since."""
    last = heartbeats(spool_dir).get(name)
    return json.dumps(last) if last is not None and last.get("pid") == pid else None


def _keep_newest(folder: Path, kind: str) -> None:
    for old in sorted(folder.glob(f"{kind}-*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
