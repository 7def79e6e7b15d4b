"""Starts Holdfast under supervisord in the foreground, says what runs where, and ends all of it with itself.

    launch.py HOME

HOME/holdfast.toml is written from deploy/holdfast.toml if it is missing (or $HOLDFAST_CONFIG is used), what the
embedded receiver needs is made, everything is checked, HOME/data/supervisord.conf is rendered, supervisord started.
Called by deploy/run with the python of the environment that Holdfast is installed in.

SIGINT, SIGTERM and SIGHUP (the terminal went away) end supervisord and with it every program; launch.py stays until
they are gone. If supervisord is killed its programs become launch.py's own, which ends them too, and if launch.py is
killed the kernel ends supervisord: nothing outlives it either way. Exit code: 78 for a bad configuration, 1 where
something else is in the way or supervisord ended by itself, else 0. A Ctrl-C while nothing runs yet ends it at once.
"""

# ruff: noqa: E402 - the first thing is that Ctrl-C needs no words while there is nothing to end
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # deploy/run holds it back while Python itself starts

import ctypes
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from render import CONTROL, rendered  # beside this file

from spool.config import Config, load, spool_dir
from spool.errors import HoldfastError
from spool.heartbeat import heartbeats

DEPLOY = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SOCKET_BYTES = 90
"""A unix socket's path may have 107 bytes, and supervisord adds its pid to it while it starts."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
READY_S = 15.0
STOP_S = 30.0


def main(home: Path) -> int:
    """Run until ended; returns the exit code."""
    data = home / "data"
    (data / "log").mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stop(f"{home}: Holdfast already runs here. End that one first, or name another folder with --home.")
        config = configured(home)
        checked(config)
        file, control = data / "supervisord.conf", control_socket(data)
        control.unlink(missing_ok=True)  # of a supervisord that was killed: we hold the lock, so nobody listens there
        file.write_text(rendered(config, control, data / "log"))
        try:
            return supervised(config, home, file)
        finally:
            if control.parent != data:
                shutil.rmtree(control.parent, ignore_errors=True)


def stop(reason: str, code: int = 1) -> NoReturn:
    """End with a sentence."""
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(code)


def configured(home: Path) -> Config:
    """The configuration in force; writes HOME/holdfast.toml first if there is none."""
    if not os.environ.get("HOLDFAST_CONFIG"):
        file = home / "holdfast.toml"
        if not file.exists():
            shutil.copyfile(DEPLOY / "holdfast.toml", file)
            print(f"wrote {file}")
        os.environ["HOLDFAST_CONFIG"] = str(file)
    return load()


def checked(config: Config) -> None:
    """Make what the receiver needs, then have each program check itself; ends here if one is not content."""
    receiver = ["holdfast-receiver"] if "receiver" in config.tables else []
    # The shipper's needs what the receiver's init makes; two at a time, because each is mostly its own start.
    for commands in (
        [*((each, "init") for each in receiver), ("holdfast-collector", "check")],
        [(each, "check") for each in (*receiver, "holdfast-shipper")],
    ):
        started = [
            subprocess.Popen([BIN / program, step], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for program, step in commands
        ]
        for each, (said, complained) in [(each, each.communicate()) for each in started]:
            for line in said.splitlines():
                if line.startswith(("warn", "bad")):
                    print(line)
            if each.returncode:
                stop(f"{complained.replace('Error: ', '')}Nothing was started.", each.returncode)


def control_socket(data: Path) -> Path:
    """Where supervisord's control socket can be: beside the data, or under a short path if that is too deep."""
    beside = data / CONTROL
    if len(os.fsencode(beside)) <= SOCKET_BYTES:
        return beside
    name = f"holdfast-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:8]}"
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - made 0700, owner checked
        if parent and Path(parent).is_dir() and len(os.fsencode(parent)) + len(name) < SOCKET_BYTES - 20:
            folder = Path(parent) / name
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                stop(f"{folder}: belongs to somebody else. Remove it, or set XDG_RUNTIME_DIR.")
            return folder / CONTROL
    stop(f"{data}: too deep for a unix socket, and no short folder was found. Set XDG_RUNTIME_DIR to one.")


def supervised(config: Config, home: Path, file: Path) -> int:
    """Start supervisord, say what runs, wait for the end of it."""
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ["PYTHONUNBUFFERED"] = "1"
    ending = False

    def end(_signal: int, _frame: object) -> None:
        nonlocal ending
        ending = True

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(
        [BIN / "supervisord", "--silent", "-c", file],
        start_new_session=True,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 - no threads here
    )
    started_at, told = time.time(), False
    while child.poll() is None and not ending:
        silent = silent_since(config, started_at)
        if not told and (not silent or time.time() > started_at + READY_S):
            print(banner(config, home, file), flush=True)
            if silent:
                print(f"Not running yet: {', '.join(silent)}. Look into {home / 'data/log'}.", flush=True)
            told = True
        time.sleep(0.1)
    if child.poll() is None:
        print("stopping: the collector commits what it has", flush=True)
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    end_adopted()
    if not ending:
        stop(f"supervisord ended by itself. Look into {home / 'data/log/supervisord.log'}")
    print("stopped")
    return 0


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something about this process."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_adopted() -> None:
    """End the programs that a killed supervisord has left to us: SIGTERM, which lets the collector commit, and wait."""
    give_up_at = time.monotonic() + STOP_S
    terminated: set[int] = set()
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for pid in map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()):
            if time.monotonic() > give_up_at:
                os.kill(pid, signal.SIGKILL)
            elif pid not in terminated:
                os.kill(pid, signal.SIGTERM)
                terminated.add(pid)
        time.sleep(0.05)


def silent_since(config: Config, since: float) -> list[str]:
    """The programs that have given no sign of life since `since`: once all have, the collector receives."""
    programs = ["collector", *(f"shipper-{each}" for each in config.destinations())]
    beats = heartbeats(spool_dir(config))
    return [each for each in programs if each not in beats or beats[each]["at"] < since]


def brief(path: Path) -> str:
    """A path as one would type it in the current folder, also to run it: relative to it where that is shorter."""
    near = os.path.relpath(path)
    near = near if os.sep in near else f"./{near}"
    return shlex.quote(near if len(near) + 1 < len(str(path)) else str(path))  # from / all are shorter by a stroke


def banner(config: Config, home: Path, file: Path) -> str:
    """What a newcomer needs to know now; its commands run as they stand in the folder that it is printed in."""
    listens = config.tables.get("collector", {}).get("listen", ["udp://127.0.0.1:8125"])
    udp = next((each for each in listens if each.startswith("udp://127.")), "udp://127.0.0.1:8125")
    host, _, port = udp.removeprefix("udp://").partition("?")[0].rpartition(":")
    receiver = config.tables.get("receiver", {})
    pages = receiver.get("listen", "none")
    if "token_file" in receiver:
        pages += f"  (in a browser; the token is in {brief(config.folder / receiver['token_file'])})"
    targets = [f"{each} ({config.tables[f'destination.{each}'].get('url')})" for each in config.destinations()]
    found = config.file == Path.cwd() / "holdfast.toml"  # the command finds it by itself
    holdfast = brief(BIN / "holdfast") + ("" if found else f" -c {brief(config.file)}")
    return f"""\
Holdfast runs; Ctrl-C stops it.
  receives     {", ".join(listens)}
  keeps        {brief(spool_dir(config))}
  sends to     {", ".join(targets)}
  receiver     {pages}
  logs         {brief(home / "data/log")}
  control      {brief(BIN / "supervisorctl")} -c {brief(file)} status
Send a metric:  echo -n 'demo.hits:1|c' > /dev/udp/{host}/{port}      (bash; it arrives within two windows)
Look at it:     {holdfast} points 'demo.*'
How is it:      {holdfast} status"""


if __name__ == "__main__":
    try:
        raise SystemExit(main(Path(sys.argv[1])))
    except HoldfastError as problem:
        stop(str(problem), problem.exit_code)
