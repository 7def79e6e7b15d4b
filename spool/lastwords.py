"""What a collector leaves behind that has to stop while the spool takes nothing: the next one records it as a loss.

    last-words    {"at":1764000123.5,"windows":3,"start":1764000090.0,"end":1764000120.0,"points":1200,"lines":45000}

The file is made while there is room, and overwritten in place: a full disk takes nothing that is new.

Promises: one row of `losses` for them, however often a collector is killed on the way. Not promised: that a disk takes
even that much; one that is read-only, or gone, does not.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from spool.batch import Window
from spool.errors import SpoolBusy
from spool.writeoff import add_loss
from spool.writer import SpoolWriter

FILE = "last-words"
ROOM_BYTES = 4_096
REASON = "stopped while the spool took nothing"


def leave(directory: Path, windows: Sequence[Window], at: float) -> None:
    """Note that `windows` (one or more, oldest first) are lost with this process, at `at`. Raises OSError."""
    words = {
        "at": at,
        "windows": len(windows),
        "start": windows[0].start,
        "end": windows[-1].end,
        "points": sum(len(each.points) for each in windows),
        "lines": sum(each.lines for each in windows),
    }
    before = _left(directory)  # by one whose successor could not open the spool either
    if before:
        words |= {each: before[each] + words[each] for each in ("windows", "points", "lines")}
        words["start"] = before["start"]
    _write(directory, json.dumps(words))


def record(writer: SpoolWriter) -> None:
    """Write down what the last collector left, if it left anything, and keep room for the next words."""
    words = _left(writer.directory)
    with suppress(SpoolBusy, OSError):  # what could not be done now, the next start does
        if words:
            with writer.transaction() as db:
                told = db.execute("SELECT 1 FROM losses WHERE at = ? AND reason = ?", (words["at"], REASON)).fetchone()
                if not told:
                    first = writer.next_window_seq()
                    windows = (first, first + words["windows"] - 1, words["start"], words["end"])
                    numbers = (0, words["points"], words["lines"], "[]")
                    add_loss(db, (words["at"], REASON, None, None, *windows, *numbers))
        _write(writer.directory, "")


def _left(directory: Path) -> dict[str, Any] | None:
    try:
        words = json.loads((directory / FILE).read_bytes())
    except (OSError, ValueError):  # none, or none that can be read
        return None
    return words if isinstance(words, dict) else None


def _write(directory: Path, text: str) -> None:
    path = directory / FILE
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(text.encode().ljust(ROOM_BYTES))
        file.flush()
        os.fsync(file.fileno())
