"""`holdfast watchdog`: ends what has stopped beating, after asking it for its stacks.

A process that is frozen in a system call, or by SIGSTOP, cannot end itself, and supervisord restarts only what has
ended. So this program, which supervisord starts as an event listener, looks every 5 s (TICK_5) whom supervisord holds
for RUNNING and whose heartbeat does not change any more (spool/silence.py decides). Such a one gets SIGUSR1, upon
which every Holdfast process writes the stacks of its threads into its log, and a second later SIGKILL, which ends a
stopped process, too; supervisord starts it again. What the process was doing is kept in `<spool>/hangs/` and listed by
`holdfast hangs`.

The receiver leaves no heartbeat and is not watched. A process in uninterruptible disk wait stays until the disk
answers.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xmlrpc.client import Error as RpcError
from xmlrpc.client import Fault, ServerProxy

import click

from spool.commands.hangs import FOLDER
from spool.commands.place import Place
from spool.errors import HoldfastError
from spool.hangfile import file_name, head
from spool.heartbeat import heartbeats
from spool.logfmt import Sparingly, fields, log_to
from spool.silence import Silence, Stuck

STACKS_S = 1.0
"""From the question for stacks to the end: writing them takes milliseconds."""

STACKS_BYTES = 65_536
KEPT = 20
"""Of the hang-* files in <spool>/hangs, whoever wrote them: the same as in shipper/evidence.py."""

STOPPING = 6
"""supervisord's fault SHUTDOWN_STATE: it ends its programs itself, and there is nothing to watch any more."""

log = logging.getLogger("holdfast.watchdog")


class NotUnderSupervisord(HoldfastError):
    """Started by hand, or supervisord spoke what is not its protocol."""

    exit_code = 2


@click.command()
@click.option(
    "--stale-after",
    "stale_after_s",
    type=click.FloatRange(min=10),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="So long a heartbeat may stay as it is. Processes beat every 5 s.",
)
@click.pass_obj
def watchdog(place: Place, stale_after_s: float) -> None:
    """End and restart the programs that have stopped beating. Started by supervisord, as an event listener.

    See [eventlistener:watchdog] in supervisord.conf. What it did is in its log and in `holdfast hangs`.
    """
    server = os.environ.get("SUPERVISOR_SERVER_URL")
    if not server:
        raise NotUnderSupervisord("SUPERVISOR_SERVER_URL is not set: supervisord starts the watchdog, not you.")
    log_to()
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    supervisor = Supervisor(server)
    guard = Guard(place.directory, Silence(stale_after_s), supervisor.running, time.monotonic, time.time, time.sleep)
    sparingly = Sparingly(log, 60.0, time.monotonic)
    log.info("watching", extra=fields(directory=str(place.directory), stale_after_s=stale_after_s))
    for _ in ticks(sys.stdin.buffer, sys.stdout.buffer):
        try:
            guard.look()
        except (OSError, RpcError) as error:  # the spool's folder is not there yet
            if not (isinstance(error, Fault) and error.faultCode == STOPPING):
                sparingly.warning("not_watching", error=str(error))


def ticks(heard: BinaryIO, said: BinaryIO) -> Iterator[None]:
    """One turn for each of supervisord's events, which is answered first: whatever the turn does keeps nobody waiting.

    The protocol: http://supervisord.org/events.html. Ends when supervisord is gone. Raises NotUnderSupervisord.
    """
    while True:
        said.write(b"READY\n")
        said.flush()
        header = heard.readline()
        if not header:
            return
        # ver:3.0 server:holdfast serial:21 pool:watchdog poolserial:10 eventname:TICK_5 len:15
        #                                                                                ^^
        length = dict(each.partition(b":")[::2] for each in header.split()).get(b"len", b"")
        if not length.isdigit():
            raise NotUnderSupervisord(f"standard input: {header[:100]!r} is not the header of an event.")
        heard.read(int(length))
        said.write(b"RESULT 2\nOK")
        said.flush()
        yield


@dataclass(frozen=True, slots=True)
class Running:
    """A program that supervisord holds for RUNNING: its process and the log that its stderr goes to."""

    pid: int
    log: Path


class Supervisor:
    """What supervisord knows, asked for over its socket. Raises OSError and xmlrpc.client.Error."""

    def __init__(self, url: str) -> None:
        """`url` is SUPERVISOR_SERVER_URL as supervisord sets it for its children."""
        self._url = url

    def running(self) -> dict[str, Running]:
        """Programs in state RUNNING by name."""
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415 - 30 ms that a test of the rest need not pay

        transport = SupervisorTransport(None, None, self._url)
        try:
            answer: Any = ServerProxy("http://127.0.0.1", transport).supervisor.getAllProcessInfo()
        finally:
            transport.close()
        return {
            each["name"]: Running(each["pid"], Path(each["stderr_logfile"] or each["stdout_logfile"]))
            for each in answer
            if each["statename"] == "RUNNING"
        }


class Guard:
    """Looks, and ends what is stuck."""

    def __init__(
        self,
        directory: Path,
        silence: Silence,
        running: Callable[[], Mapping[str, Running]],
        clock: Callable[[], float],
        now: Callable[[], float],
        wait: Callable[[float], None],
    ) -> None:
        self._directory, self._silence, self._running = directory, silence, running
        self._clock, self._now, self._wait = clock, now, wait

    def look(self) -> None:
        """End every program that is stuck now. Raises what `running` raises, and OSError."""
        running = self._running()
        pids = {name: each.pid for name, each in running.items()}
        for stuck in self._silence.look(pids, heartbeats(self._directory), self._clock()):
            self._end(stuck, running[stuck.name].log)

    def _end(self, stuck: Stuck, logfile: Path) -> None:
        phase, silent_s = stuck.heartbeat.get("phase"), round(stuck.silent_s, 1)
        known = fields(program=stuck.name, pid=stuck.pid, silent_s=silent_s, phase=phase)
        log.error("stuck", extra=known)
        before = logfile.stat().st_size if logfile.is_file() else 0
        threads = _threads(stuck.pid)
        try:
            os.kill(stuck.pid, signal.SIGUSR1)
            self._wait(STACKS_S)
            again = heartbeats(self._directory).get(stuck.name)
            if again != stuck.heartbeat or self._pid_of(stuck.name) != stuck.pid:
                log.warning("spared", extra=known)  # it woke up, or somebody else has ended it
                return
            os.killpg(stuck.pid, signal.SIGKILL)  # supervisord makes each program the leader of its own group
        except ProcessLookupError:
            return
        log.error("killed", extra=known)
        try:
            kept = _keep(self._directory, stuck, threads, _grown(logfile, before), self._now())
            log.info("hang_kept", extra=fields(program=stuck.name, file=str(kept)))
        except OSError as error:  # a full disk, say: the kill is what mattered
            log.warning("hang_not_kept", extra=fields(program=stuck.name, error=str(error)))

    def _pid_of(self, name: str) -> int | None:
        now = self._running().get(name)
        return None if now is None else now.pid


def _threads(pid: int) -> str:
    """What the kernel says of each thread: state (T is stopped, D is waiting for a disk) and where it waits."""
    lines = []
    for thread in sorted(Path(f"/proc/{pid}/task").glob("*"), key=lambda path: int(path.name)):
        try:
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            waits_in = (thread / "wchan").read_text().strip("0") or "-"
            lines.append(f"  {thread.name:>8}  {(thread / 'comm').read_text().strip():<16} {state}  {waits_in}")
        except OSError:
            continue
    return "\n".join(lines)


def _grown(logfile: Path, before: int) -> str:
    """What was written to the log since it had `before` bytes; a log that was rotated meanwhile is shown whole."""
    try:
        with logfile.open("rb") as file:
            file.seek(before if logfile.stat().st_size >= before else 0)
            return file.read(STACKS_BYTES).decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _keep(directory: Path, stuck: Stuck, threads: str, written: str, now: float) -> Path:
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / file_name("hang", now, stuck.name)
    ended = f"had not beaten for {stuck.silent_s:.0f} s and was ended by the watchdog"
    facts = {
        "phase": stuck.heartbeat.get("phase"),
        "last heartbeat": json.dumps(dict(stuck.heartbeat)),
        "threads (id, name, state, waits in)": f"\n{threads}",
    }
    asked = written or "nothing: it was stopped, or held by the kernel\n"
    file.write_text(head(stuck.name, stuck.pid, ended, facts) + asked, encoding="utf-8")
    for old in sorted(folder.glob("hang-*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return file
