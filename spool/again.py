"""Becoming the same program once more, in place: what SIGHUP asks of a program that reads its configuration once.

    SIGHUP -> `PROGRAM check` by the code and the configuration that would take over
                 fine -> the program ends its work in order and calls `again`: same process id, same arguments
                 bad  -> it is told, and everything stays as it is

Whoever started the process (supervisord, systemd, a shell) sees nothing of it. A console script is run by its own first
line, so that one which a new release has put in its place is run by that release's interpreter.

Promises: a signal that comes between `hold_signals` and the successor's `release_signals` waits for it, instead of
ending a program that has no handler yet; any number of SIGHUPs during a check cause one more check.

Does not promise that the successor can start, only that its `check` was content a moment before.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Those that a running program answers and that would end one which only begins."""
CHECK_S = 30.0
"""The most that a check may take; a usual one takes half a second."""


def hold_signals() -> None:
    """Let signals wait: those for this thread, and all if the other threads were started like this.

    Survives an exec; is inherited by what is started meanwhile, threads and processes.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def release_signals() -> None:
    """Take what has waited, and what comes. To be called when the handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def program(original: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """How to start this program, without its arguments. For `sys.orig_argv` and `sys.argv`.

    ["/opt/holdfast/releases/1/bin/python", "/opt/holdfast/current/bin/holdfast-collector", "run"]
     -------------------------------------   ---------------------------------------------
     the interpreter of the release that      what was started; its first line names the interpreter of the
     runs: left out                           release that is there now
    """
    started = list(original[: len(original) - len(arguments) + 1])
    if started[1:] == [arguments[0]] and os.access(arguments[0], os.X_OK):
        return [arguments[0]]
    return [sys.executable, *started[1:]]


def again(added: Mapping[str, str]) -> NoReturn:
    """Become this program, started anew with the same arguments and `added` to the environment.

    Only what is handed on outlives it: other threads and descriptors end here. Raises OSError if it cannot be started.
    """
    command = [*program(sys.orig_argv, sys.argv), *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**os.environ, **added})


class Reload:
    """Answers SIGHUP. `ask` may be a signal handler; the rest happens on a thread of its own.

    `check` are the arguments of a command that says with exit code 0 that the program would start. `lend` names what
    that command inherits: what to add to its environment, and open descriptors.
    """

    def __init__(
        self,
        check: Sequence[str],
        accepted: Callable[[], None],
        refused: Callable[[str], None],
        lend: Callable[[], tuple[Mapping[str, str], Sequence[int]]] = lambda: ({}, ()),
    ) -> None:
        self._command = [*program(sys.orig_argv, sys.argv), *check]
        self._accepted, self._refused, self._lend = accepted, refused, lend
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._checking: subprocess.Popen[str] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def ask(self, *_: object) -> None:
        """Ask for a reload. Only puts something into a queue that is safe in a signal handler."""
        self._asked.put(None)

    def end(self) -> None:
        """Answer nothing any more. To be called before `again`: a successor knows nothing of a check that goes on."""
        self._ended = True
        self.ask()
        while self._thread.is_alive():
            if self._checking is not None:
                self._checking.kill()  # again, should the thread have been about to begin
            self._thread.join(0.05)

    def _run(self) -> None:
        while True:
            self._asked.get()
            while not self._asked.empty():
                self._asked.get()
            problem = None if self._ended else self._problem()
            if self._ended:
                return
            if problem is not None:
                self._refused(problem)
            elif self._asked.empty():  # else the file may have changed since it was read
                self._accepted()

    def _problem(self) -> str | None:
        """Why the program would not start now, or None."""
        added, lent = self._lend()
        try:
            with subprocess.Popen(
                self._command,
                env={**os.environ, **added},
                pass_fds=lent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as self._checking:
                try:
                    stdout, stderr = self._checking.communicate(timeout=CHECK_S)
                except subprocess.TimeoutExpired as error:
                    self._checking.kill()
                    return str(error)
        except OSError as error:
            return str(error)
        if self._checking.returncode == 0:
            return None
        said = [each.strip() for each in (stdout + stderr).splitlines() if each.strip()]
        wrong = [" ".join(each.split()[1:]) for each in said if is_complaint(each)]
        return "; ".join(wrong or said[-1:]) or f"its check ended with {self._checking.returncode}"


def is_complaint(line: str) -> bool:
    """Whether a line of a check's report tells of what is wrong."""
    return line.startswith(("bad ", "Error: "))


def check_arguments(named: Path | None) -> list[str]:
    """The arguments of `check` for the file that --config named, if it did."""
    return ["check", *(["--config", str(named)] if named is not None else [])]
