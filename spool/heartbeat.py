"""A small file per process that says: alive, since when, and what it is doing.

`heartbeat-WHO.json` in the spool's folder holds {"who", "pid", "at", "phase", ...facts}. It is
written to a temporary name and renamed, so a reader sees the old one or the new one. A heartbeat is a sign of life
for the watchdog and for `status`; health is judged by deliveries, not by it. A phase that may last longer than the
pause between two beats says so in the fact `at_most_s`.

That a process has ended, by whatever, is told by its lock, which the kernel gives back: nobody has to say so while it
is being stopped, and SIGTERM can keep its default action.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spool.connection import runs

ENDED_S = 6.0
"""A lock that nobody holds for so long is not that of a program which becomes its successor: that takes a second."""


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


def ended(directory: Path, who: str, last: Mapping[str, Any], now: float) -> bool:
    """Whether the process whose `last` heartbeat this is has ended: nobody has its lock, and it beat before ENDED_S."""
    return now - float(last["at"]) > ENDED_S and runs(directory, who) is False


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
