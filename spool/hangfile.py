"""What a file of `<spool>/hangs/` says, so far as all of them say it alike. Pure.

    shipper-main, process 4711, outlived its deadline and was ended by the last resort     the first line
    phase: wait                                                                            one fact per line
    last heartbeat: {"who": "shipper-main", "pid": 4711, "phase": "sending", ...}
    Thread 0x00007f... (most recent call first):                                           faulthandler's words
      File ".../shipper/resolver.py", line 98 in resolve
    <---                 newest frame              ---->

    hang-20261123T080000.123456Z-shipper-main.txt        a process that had to be ended, by itself or by the watchdog
    deadline-20261123T080000.123456Z-shipper-main.txt    an attempt that its deadline ended; the process went on

Written by shipper/evidence.py and by the watchdog; read by `holdfast hangs`, which takes any text for what it is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

STACKS = "stacks of all threads, newest frame first:"


@dataclass(frozen=True, slots=True)
class Hang:
    """`who` hung, in which phase, how it ended in words, and the newest frame of its main thread; None: not said."""

    who: str | None
    phase: str | None
    ended: str | None
    where: str | None


def file_name(kind: str, at: float, who: str) -> str:
    """The name of a file about something at `at` (Unix seconds). Names of one kind sort by time."""
    return f"{kind}-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%f}Z-{who}.txt"


def head(who: str, pid: int, ended: str, facts: Mapping[str, object]) -> str:
    """The beginning of a file: how it ended, then a line for each fact that is not None. Stacks follow."""
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    return "\n".join([f"{who}, process {pid}, {ended}", *lines, STACKS, ""])


def read(name: str, text: str) -> Hang:
    """What the file `name` with the content `text` tells."""
    stem = name.removesuffix(".txt")
    who = re.fullmatch(r"(?:hang|deadline)-[0-9T.]+Z-(.+)|(.+)-[0-9]+", stem)
    first = re.match(r"[^\n,]+, process [0-9]+, ([^\n]+)", text)
    phase = re.search(r"^phase: (\w+)$", text, re.MULTILINE)
    return Hang(
        who=(who[1] or who[2]) if who else None,
        phase=phase[1] if phase else _phase_of_heartbeat(text),
        ended=first[1].rstrip(".") if first else None,
        where=None if name.startswith("deadline-") else _newest_frame(text),
    )


def _phase_of_heartbeat(text: str) -> str | None:
    found = re.search(r"^last heartbeat: (\{.*\})$", text, re.MULTILINE)
    try:
        said = json.loads(found[1]) if found else {}
    except ValueError:
        return None
    return str(said["phase"]) if "phase" in said else None


def _newest_frame(text: str) -> str | None:
    """faulthandler writes the main thread last."""
    frames = re.findall(r"\(most recent call first\):\n +File \"([^\"\n]+)\", line ([0-9]+) in ([^\n]+)", text)
    if not frames:
        return None
    path, line, function = frames[-1]
    return f"{function} ({'/'.join(path.split('/')[-2:])}:{line})"
