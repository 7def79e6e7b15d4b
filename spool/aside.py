"""Damaged files are set aside: renamed together with their -wal and -shm, kept, and never written again.

    spool.db            ->  spool.db.corrupt-20261123T153012Z
    spool.db-wal        ->  spool.db.corrupt-20261123T153012Z-wal
                            spool.db.corrupt-20261123T153012Z.salvaged     what could be saved from it is saved

Whoever writes a file sets it aside. Processes that have it open keep reading the renamed one until they look.

Promises: a crash between the renames is mended by `finish_setting_aside`; nothing is deleted here but what
`remove_salvaged` is asked for.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from spool.connection import FILE, look_for_damage, refuse_broken_header
from spool.delivery import BUSY_S, file_name
from spool.errors import SpoolDamaged
from spool.sound import open_sound

CHECK_S = 2.0
"""How long a delivery file is looked at that something damaged was met beside."""

_SIDES = ("-wal", "-shm")
_ASIDE = re.compile(re.escape(FILE) + r"\.corrupt-[0-9TZ]+")
_DONE = ".salvaged"


def set_aside(path: Path, at: float) -> Path:
    """Rename `path` and what belongs to it; returns the new path. `at` (Unix seconds) names it.

    The caller holds the right to write the file, and has closed it. Raises OSError.
    """
    while (aside := path.with_name(f"{path.name}.corrupt-{_utc(at)}")).exists():
        at += 1
    path.rename(aside)
    # The file goes first: a WAL without its file is taken up by the next start, a file without its WAL would be used.
    finish_setting_aside(path, aside)
    return aside


def set_aside_if_damaged(directory: Path, destination: str, at: float) -> Path | None:
    """Set a damaged delivery file aside, for its shipper: what is held goes again under the same keys.

    Returns where it is now, None if it is whole as far as CHECK_S shows. Raises SpoolBusy, SpoolUnusable or OSError.
    """
    path = directory / file_name(destination)
    if not path.exists():
        return None
    try:
        refuse_broken_header(path)
        connection = open_sound(path, BUSY_S)
        try:
            look_for_damage(connection, path, CHECK_S)
        finally:
            connection.close()
    except SpoolDamaged:
        return set_aside(path, at)
    return None


def finish_setting_aside(path: Path, aside: Path) -> None:
    """Bring what is left of a file that is not there any more to where the file went."""
    for side in _SIDES:
        if Path(f"{path}{side}").exists() and not Path(f"{aside}{side}").exists():
            Path(f"{path}{side}").rename(f"{aside}{side}")


def set_aside_spools(directory: Path) -> list[Path]:
    """The spools that were set aside in `directory`, oldest first."""
    return sorted(each for each in directory.glob(f"{FILE}.corrupt-*") if _ASIDE.fullmatch(each.name))


def unsalvaged(directory: Path) -> list[Path]:
    """Those from which rows may still have to be saved, oldest first."""
    return [each for each in set_aside_spools(directory) if not _mark(each).exists()]


def mark_salvaged(aside: Path, report: str) -> None:
    """Note that everything readable was saved from it; `report` is for people. Raises OSError."""
    _mark(aside).write_text(report + "\n", encoding="utf-8")


def files_of(aside: Path) -> Iterator[Path]:
    """The file and those that belong to it, as far as they exist."""
    return (each for each in (aside, *(Path(f"{aside}{side}") for side in _SIDES), _mark(aside)) if each.exists())


def remove_salvaged(directory: Path) -> bool:
    """Delete the oldest file from which everything was saved, to make room. False if there is none."""
    waiting = set(unsalvaged(directory))
    for aside in set_aside_spools(directory):
        if aside not in waiting:
            for each in reversed(list(files_of(aside))):  # the mark goes first: what is left is looked at again
                each.unlink()
            return True
    return False


def _mark(aside: Path) -> Path:
    return Path(f"{aside}{_DONE}")


def _utc(at: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
