"""A small file per process that says: alive, since when, and what it is doing.

`heartbeat-WHO.json` in the spool's folder holds {"who", "pid", "at", "phase", ...facts}. It is
written to a temporary name and renamed, so a reader sees the old one or the new one. A heartbeat is a sign of life
for the watchdog and for `status`; health is judged by deliveries, not by it. A phase that may last longer than the
pause between two beats says so in the fact `at_most_s`. The last beat of a process that was asked to end has the phase
`health.STOPPED`, so that nobody takes it for one that hangs.
"""

import json
import os
from pathlib import Path
from typing import Any

from spool.health import STOPPED


def beat(directory: Path, who: str, at: float, phase: str, **facts: Any) -> None:
    """Say that `who` is alive at `at` (Unix seconds) and in `phase`.

    A full disk is not an error: the file keeps what it said and gets a new modification time, which needs no room. The
    watchdog takes that for a beat, so that a full disk does not end the process that waits for room.
    """
    path = directory / f"heartbeat-{who}.json"
    temporary = directory / f".{path.name}.{os.getpid()}"
    text = json.dumps({"who": who, "pid": os.getpid(), "at": round(at, 3), "phase": phase, **facts}) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        try:
            temporary.unlink(missing_ok=True)
            os.utime(path)
        except OSError:
            pass  # no folder, or it is read-only: the missing beat tells


def say_stopped(directory: Path, who: str, at: float) -> None:
    """Let this process's last heartbeat say that it was stopped at `at`; what else it told stays, for a successor.

    Does nothing before its first one.
    """
    last = heartbeats(directory).get(who, {})
    if last.get("pid") == os.getpid():
        passing = ("who", "pid", "at", "phase", "at_most_s", "ids", "touched_at")
        beat(directory, who, at, STOPPED, **{name: each for name, each in last.items() if name not in passing})


def heartbeats(directory: Path) -> dict[str, dict[str, Any]]:
    """The last heartbeat of each process by its name, with `touched_at` (when its file was last touched, Unix seconds).

    An unreadable one is left out.
    """
    beats = {}
    for path in sorted(directory.glob("heartbeat-*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            beats[str(document["who"])] = document | {"touched_at": path.stat().st_mtime}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return beats
