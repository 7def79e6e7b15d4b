"""The last resort: what is stuck past its deadline is ended from outside Python, and its stacks are kept.

    with watchdog.armed(deadline_s=20):
        ...                              # one whole attempt, with the spool and the log line, not only the network

No deadline on a socket ends a C call that spins, a database that is locked, a log pipe that nobody reads. Two
clocks run around each attempt, and neither needs the interpreter: a thread in C that writes every stack into a
regular file and ends the process at deadline + grace (faulthandler), and a kernel timer that ends it at
deadline + 2 x grace (SIGALRM by default ends a process) in case that write is what is stuck. Whoever runs the
process starts it again, and no batch is lost, because nothing was in flight on disk.

Files: `<spool>/hangs/NAME-PID.txt` is the running process's; `hang-<UTC time>-NAME.txt` is the dump that one
left behind, found and named at the next start; the newest KEPT of them are kept, by all names together.
Not promised: an end to a process in uninterruptible disk wait. Nothing does that.
"""

import faulthandler
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

KEPT = 20
GRACE_S = 2.0


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
        at = datetime.fromtimestamp(facts.st_mtime, UTC)
        kept = folder / f"hang-{at:%Y%m%dT%H%M%S.%f}Z-{name}.txt"
        left.rename(kept)
        found.append(kept)
    for old in sorted(folder.glob("hang-*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return found
