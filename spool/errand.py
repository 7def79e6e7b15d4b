"""What an operator asks of the collector, because only the collector writes spool.db.

    the command                              the collector, between two windows
    errand-ID.data   (what is to be taken in)
    errand-ID.json   asked            -----> does a piece of it,
    reads it, shows how far           <----- errand-ID.done.json: so far, or finished
    errand-ID.json   removed: enough  -----> does no more pieces

While no collector runs, the command holds the collector's lock and does the pieces itself. Files are written under
another name and renamed, so nobody reads half of one.

Promises: a piece is a transaction or a few, short enough not to delay a commit; whoever is ended between two leaves a
consistent spool and an errand that may be given again. Not promised: that an errand is done once only. One that was
begun and is found after a restart begins anew, so what does it must find its earlier work done.
"""

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from spool.connection import FILE
from spool.errors import SpoolBusy, SpoolDamaged, SpoolTaken
from spool.writer import SpoolWriter

PATIENCE_S = 30.0
"""A collector that has not moved on for so long does not do errands; it looks for them every 5 s."""

ABANDONED_S = 3_600.0
"""An answer that nobody has read for so long will not be read."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done to spool.db: `what` names who does it, `given` are its arguments, `who` asked for it."""

    what: str
    who: str
    at: float
    given: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}")


@dataclass(frozen=True, slots=True)
class Done:
    """How far an errand is: numbers by name, as its doer counts; the error that ended it, if one did."""

    so_far: Mapping[str, int]
    finished: bool
    error: str | None = None


Doer = Callable[[SpoolWriter, Errand, Path], Iterator[Mapping[str, int]]]
"""Does an errand, whose data are in the file given: a piece for each step, each of which gives the totals so far."""


class Errands:
    """The side that does them. `doers` are known by what they do."""

    def __init__(self, writer: SpoolWriter, doers: Mapping[str, Doer]) -> None:
        self._writer, self._doers = writer, doers
        self._directory = writer.directory
        self._current: tuple[str, Iterator[Mapping[str, int]]] | None = None
        self._so_far: Mapping[str, int] = {}

    def run(self) -> tuple[Errand, Done] | None:
        """Do a piece of the oldest errand and tell how far it is; None if there is none.

        Of what it met it raises only SpoolDamaged; the errand is gone then.
        """
        _forget_abandoned(self._directory)
        asked = sorted(each for each in self._directory.glob("errand-*.json") if not each.name.endswith(".done.json"))
        if not asked:
            self._current = None
            return None
        errand_id = asked[0].stem.removeprefix("errand-")
        try:
            errand = replace(Errand(**json.loads(asked[0].read_text(encoding="utf-8"))), id=errand_id)
        except (OSError, ValueError, TypeError) as error:
            errand, done = Errand("?", "?", 0.0, id=errand_id), Done({}, True, f"{asked[0]}: cannot be read: {error}")
        else:
            done = self._piece(errand)
        self._tell(errand, done)
        return errand, done

    def _piece(self, errand: Errand) -> Done:
        if self._current is None or self._current[0] != errand.id:
            doer = self._doers.get(errand.what)
            if doer is None:
                return Done({}, True, f"this collector does not know how to {errand.what}: is it an older version?")
            self._current = errand.id, doer(self._writer, errand, _file(self._directory, errand.id, "data"))
            self._so_far = {}
        try:
            self._so_far = dict(next(self._current[1]))
        except StopIteration:
            return Done(self._so_far, True)
        except SpoolDamaged:
            _remove(self._directory, errand.id, "json", "data")
            raise
        except Exception as error:  # noqa: BLE001 - whatever somebody asks for must not end the collector
            return Done(self._so_far, True, str(error) or repr(error))
        return Done(self._so_far, False)

    def _tell(self, errand: Errand, done: Done) -> None:
        try:
            _write(_file(self._directory, errand.id, "done.json"), json.dumps(asdict(done)).encode())
        except OSError:
            pass  # no room: its asker sees the request disappear
        if done.finished:
            self._current = None
            _remove(self._directory, errand.id, "json", "data")


def carry_out(
    directory: Path,
    opened: Callable[[], SpoolWriter],
    errand: Errand,
    data: bytes,
    doers: Mapping[str, Doer],
    wait: Callable[[float], None],
    told: Callable[[Done], None],
) -> Done:
    """Have an errand done, by the running collector or, while there is none, here. Returns when it is finished.

    `opened` opens the spool as its collector would, and raises SpoolTaken if that runs; `told` hears how far it is,
    `wait` sleeps (s). Raises SpoolBusy if a running collector does not move on for PATIENCE_S, and what opening the
    spool raises. Interrupted, it takes the errand back: the piece under way is completed or undone, and no further one
    is begun.
    """
    asked, seen, left_s = False, Done({}, False), PATIENCE_S
    try:
        while True:
            try:
                return _here(directory, opened, errand, data, doers, told)
            except SpoolTaken:
                if not asked:
                    with _room(directory):
                        _ask(directory, errand, data)
                    asked = True
            wait(0.1)
            left_s -= 0.1
            done = _answer(directory, errand.id)
            if done is not None and done != seen:
                seen, left_s = done, PATIENCE_S
                told(done)
            if seen.finished:
                return seen
            if not _file(directory, errand.id, "json").exists() and _answer(directory, errand.id) is None:
                return Done(seen.so_far, True, "the collector did it and could not write down how far it came")
            if left_s <= 0:
                raise SpoolBusy(
                    f"{directory}: the running collector did not take this up within {PATIENCE_S:g} s. It was taken"
                    " back; is the collector of this version, and does it commit? See `holdfast status`."
                )
    finally:
        if asked:
            _remove(directory, errand.id, "json", "data", "done.json")


def _here(
    directory: Path,
    opened: Callable[[], SpoolWriter],
    errand: Errand,
    data: bytes,
    doers: Mapping[str, Doer],
    told: Callable[[Done], None],
) -> Done:
    started = directory / "collector.lock"  # its time is the collector's start, for health
    times = (started.stat().st_atime, started.stat().st_mtime) if started.exists() else None
    writer = opened()
    try:
        _give_to_owner(directory)
        held = _file(directory, errand.id, "data")
        if data:
            with _room(directory):
                _write(held, data)
        so_far: Mapping[str, int] = {}
        for so_far in doers[errand.what](writer, errand, held):
            told(Done(so_far, False))
        return Done(so_far, True)
    finally:
        _remove(directory, errand.id, "json", "data", "done.json")
        writer.close()
        if times:
            os.utime(started, times)


def _give_to_owner(directory: Path) -> None:
    """What root made when it opened the spool, the collector's user must be able to write."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for each in (*directory.glob(f"{FILE}*"), directory / "collector.lock", directory / "last-words"):
            if each.exists():
                os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def _room(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise
    except OSError as error:
        raise SpoolBusy(
            f"{directory}: {error.strerror}: not even what is asked for can be written there. Make some room on that"
            " disk first: a few KiB will do."
        ) from None


def _ask(directory: Path, errand: Errand, data: bytes) -> None:
    if data:
        _write(_file(directory, errand.id, "data"), data)
    _write(_file(directory, errand.id, "json"), json.dumps(asdict(errand)).encode())


def leave(directory: Path, errand: Errand) -> None:
    """Ask for something without waiting for it: the collector's log tells how it ended. Raises OSError."""
    _ask(directory, errand, b"")


def _answer(directory: Path, errand_id: str) -> Done | None:
    try:
        return Done(**json.loads(_file(directory, errand_id, "done.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _file(directory: Path, errand_id: str, ending: str) -> Path:
    return directory / f"errand-{errand_id}.{ending}"


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_bytes(content)
        if os.geteuid() == 0:  # what root asks for, the collector's user must be able to read and remove
            owner = path.parent.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _remove(directory: Path, errand_id: str, *endings: str) -> None:
    for each in endings:
        _file(directory, errand_id, each).unlink(missing_ok=True)


def _forget_abandoned(directory: Path) -> None:
    for path in (*directory.glob("errand-*.done.json"), *directory.glob("errand-*.data")):
        asked = directory / (path.name.split(".")[0] + ".json")
        try:
            if not asked.exists() and time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()
        except OSError:
            continue
