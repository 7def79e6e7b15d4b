"""What happens when spool.db is damaged: it is set aside, a new one goes on with its numbers, its rows are put back.

    damaged   ->  spool.db.corrupt-TIME  ..pages..>  whole rows, by their hash  ->  back into the new file
              ->  a new spool.db: the same spool id, ids above every id that was ever used

Promises: an id is never given twice under one spool id, so a key never stands for two payloads, and the states in the
delivery files stay true. Reception and commits go on while rows are put back: that is an errand (errand.py), done in
pieces of a transaction each, and may be done again at any time. What is not got back is told of in `losses`, reason
'damage', as far as it is known what it was.

How high the ids were is asked of everybody: the pages of the damaged file, the collector's last heartbeat, the
delivery files. Where nobody is certain, MARGIN ids are left out; where nobody knows, the spool gets a new id, and what
is put back is sent again under its old keys.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from spool import lastwords
from spool.accounts import DAMAGE
from spool.aside import finish_setting_aside, mark_salvaged, set_aside, unsalvaged
from spool.batch import Batch
from spool.carve import Kind, Row
from spool.connection import FILE, lock, make_directory, refuse_broken_header
from spool.delivery import DeliveryReader, destinations_on_disk
from spool.errand import Errand, leave
from spool.errors import HoldfastError, SpoolDamaged, SpoolMissing, SpoolUnusable
from spool.heartbeat import heartbeats
from spool.image import Image
from spool.reader import SpoolReader
from spool.writeoff import add_loss, integer, known_through, places, write_off
from spool.writer import Asked, Heir, SpoolWriter, raise_ids

MARGIN = 1_000
"""Numbers left out where it is not certain which was the last: more than are given in the time between two beats."""

PIECE_ROWS, PIECE_BYTES = 200, 1024 * 1024
"""Put back in one transaction."""

_BATCH = "id, key, window_start, window_end, window_seq, committed_at, points, series, raw_bytes, payload, sha256"


@dataclass(frozen=True, slots=True)
class Replaced:
    """A damaged spool.db was set aside, or numbers that were in use are gone from it (`aside` is None then)."""

    aside: Path | None
    why: str


def open_spool(directory: Path, host: str, at: float, tell: Callable[[Replaced], None]) -> SpoolWriter:
    """Open the spool for its collector; a damaged file is set aside and a new one made, which `tell` hears of.

    Raises SpoolUnusable (wrong owner, schema from the future, a folder in its place, second collector) or SpoolBusy.
    """
    make_directory(directory)
    held = lock(directory, "collector")
    try:
        writer = _opened(directory, host, held, at, tell)
    except BaseException:
        held.close()
        raise
    lastwords.record(writer)
    for each in unsalvaged(directory):
        with suppress(OSError):  # no room now: the next start asks again
            leave(directory, Errand("salvage", "collector", at, {"file": str(each)}, id=each.name.rpartition("-")[2]))
    return writer


def suspect(directory: Path, who: str, at: float, why: str) -> None:
    """Tell the collector that reading spool.db met damage; it looks, and sets the file aside if that is so."""
    with suppress(OSError):
        leave(directory, Errand("suspect", who, at, {"why": why}, id=f"suspect-{who}"))


def suspected(writer: SpoolWriter, errand: Errand, _data: Path) -> Iterator[Mapping[str, int]]:
    """Look where somebody met damage. Raises SpoolDamaged if it is there, or if the time was too short to see."""
    if not writer.look_for_damage():
        raise SpoolDamaged(str(errand.given["why"]))
    yield {"damaged": 0}


def _opened(directory: Path, host: str, held: IO[str], at: float, tell: Callable[[Replaced], None]) -> SpoolWriter:
    path = directory / FILE
    if path.is_symlink():  # SQLite keeps the log beside the file itself, where nothing here looks for it
        raise SpoolUnusable(f"{path}: is a symbolic link. Move the file here, or link its folder.")
    aside = why = None
    try:
        if path.is_file():
            _refuse_damage_that_sqlite_misses(path)
            writer = SpoolWriter.locked(directory, host, held)
            _go_on_above_all_witnesses(writer, at, tell)
            return writer
        # A running collector set it aside a moment ago, or somebody removed it.
        aside = max(unsalvaged(directory), default=None)
        if aside is not None:
            finish_setting_aside(path, aside)
    except SpoolDamaged as error:
        aside, why = set_aside(path, at), str(error)
    heir, certain = _heir(directory, aside)
    writer = SpoolWriter.locked(directory, host, held, heir)
    if aside is not None or heir.last_batch:
        _note_replacement(writer, heir, certain, at)
        if aside is None:  # else that is done when what can be saved is saved
            write_off(writer, destinations_on_disk(directory), {}, (0, 0), at)
        tell(Replaced(aside, why or (f"{path}: is gone" if aside is None else f"{path}: met damage while in use")))
    return writer


def _refuse_damage_that_sqlite_misses(path: Path) -> None:
    """Raise SpoolDamaged for a file that SQLite would take for an empty, another or an older one."""
    beat = heartbeats(path.parent).get("collector", {})
    try:
        refuse_broken_header(path)
        size_bytes = path.stat().st_size
        with Image(path) as image:
            # A small spool's tables may be in the log alone: without it the file is one page that has none.
            bare = not image.has_wal and not any((image.page(1) or b"")[60:64])  # PRAGMA user_version
            if (bare or not size_bytes) and "last_batch" in beat:
                raise SpoolDamaged(f"{path}: is empty, and was not.")
            if size_bytes % image.page_bytes and not image.has_wal:
                raise SpoolDamaged(f"{path}: ends within a page.")
            if image.foreign_wal:
                raise SpoolDamaged(f"{path}-wal: belongs to another spool.")
            has_wal = image.has_wal
    except OSError as error:
        raise SpoolUnusable(f"{path}: {error.strerror}. Run this as the spool's owner.") from None
    if not has_wal:
        return
    # SQLite takes the log up to its first broken frame. Behind that may be more: it is for salvage to look.
    try:
        with SpoolReader(path.parent) as reader:
            spool_id, last_batch = reader.spool_id, reader.last_batch()
    except SpoolMissing:  # an older schema
        return
    if spool_id == beat.get("spool_id") and last_batch < beat.get("last_batch", 0):
        raise SpoolDamaged(f"{path}-wal: ends at batch {last_batch}, but {beat['last_batch']} was committed.")


# --- numbers ---------------------------------------------------------------------------------------------


def _heir(directory: Path, aside: Path | None) -> tuple[Heir, bool]:
    """What the new file takes over, and whether the numbers in it are certain. Looks at the first MiB and the WAL."""
    known: dict[str, str] = {}
    sequence = batch = window = 0
    with Image(aside) if aside is not None else nullcontext() as image:
        for row in image.rows(stretches=1) if image is not None else ():
            if row is None:
                continue
            if row.kind is Kind.META:
                known[str(row.values[0])] = str(row.values[1])
            elif row.kind is Kind.SEQUENCE and row.values[0] == "batches":
                sequence = max(sequence, integer(row.values[1]))
            elif row.kind is Kind.BATCH:
                batch = max(batch, row.rowid)
                window = max(window, integer(row.values[4]))
                known.setdefault("key", str(row.values[1]).rpartition("-")[0])
            elif row.kind is Kind.WINDOW:
                batch, window = max(batch, integer(row.values[5])), max(window, row.rowid)
            elif row.kind is Kind.LOSS:
                window = max(window, integer(row.values[6]))
    beat = heartbeats(directory).get("collector", {})
    spool_id = known.get("spool_id") or known.get("key") or beat.get("spool_id")
    beaten = beat.get("spool_id") == spool_id and isinstance(beat.get("last_batch"), int)
    others = max(batch, _from_deliveries(directory, spool_id), beat["last_batch"] if beaten else 0)
    last_batch = max(sequence, others)
    window = max(window, beat["last_window"] if beaten else last_batch)  # a window has a batch or more
    certain = beaten and sequence == last_batch == beat["last_batch"]
    certain = certain or not last_batch
    margin = 0 if certain else MARGIN
    bounded = sequence > 0 or beaten
    return Heir(str(spool_id) if spool_id and bounded else None, last_batch + margin, window + margin), certain


def _from_deliveries(directory: Path, spool_id: str | None) -> int:
    highest = 0
    for name in destinations_on_disk(directory):
        try:
            with DeliveryReader(directory, name, busy_s=0.1) as delivery:
                if delivery.spool_id() == spool_id:
                    highest = max(highest, delivery.last_batch())
        except HoldfastError:
            continue
    return highest


def _note_replacement(writer: SpoolWriter, heir: Heir, certain: bool, at: float) -> None:
    """The row of `losses` from which the next window's number is told; it also says that something happened."""
    first = heir.last_window if certain else heir.last_window - MARGIN + 1
    skipped = (None, None) if certain else (heir.last_batch - MARGIN + 1, heir.last_batch)
    with writer.transaction() as db:
        known_through(db, heir.last_batch if certain else heir.last_batch - MARGIN)
        add_loss(db, (at, DAMAGE, *skipped, first, heir.last_window, at, at, 0, 0, 0, "[]"))


def _go_on_above_all_witnesses(writer: SpoolWriter, at: float, tell: Callable[[Replaced], None]) -> None:
    """Numbers that others have seen and the file does not know went with a WAL that is gone, or with a truncation."""
    beat = heartbeats(writer.directory).get("collector", {})
    seen_batch = _from_deliveries(writer.directory, writer.spool_id)
    seen_window = 0
    if beat.get("spool_id") == writer.spool_id and isinstance(beat.get("last_batch"), int):
        seen_batch, seen_window = max(seen_batch, beat["last_batch"]), beat["last_window"]
    last_batch, next_window = writer.last_batch(), writer.next_window_seq()
    if seen_batch <= last_batch and seen_window < next_window:
        return
    top = max(seen_batch, last_batch) + MARGIN
    top_window = max(seen_window, next_window + max(0, seen_batch - last_batch)) + MARGIN
    with writer.transaction() as db:
        raise_ids(db, top)
        known_through(db, top - MARGIN)
        # An older copy may hold what went since: shippers look at all ids again, as after a salvage.
        db.execute("INSERT OR REPLACE INTO meta VALUES ('put_back', ?)", (str(int(at)),))
        add_loss(db, (at, DAMAGE, top - MARGIN + 1, top, next_window, top_window, at, at, 0, 0, 0, "[]"))
    write_off(writer, destinations_on_disk(writer.directory), {}, (last_batch + 1, seen_batch), at)
    tell(Replaced(None, f"{writer.path}: knows batches to {last_batch}, but {seen_batch} was committed."))


# --- rows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contents:
    """What can be read of a damaged file: whole batches by key, rotten ones by id with their points, windows."""

    batches: Mapping[str, int]
    rotten: Mapping[int, int]
    windows: int


def contents(aside: Path) -> Contents:
    """Look through the file. Raises OSError if it cannot be opened, SpoolUnusable if nothing on it is of a spool.

    What was set aside from a spool may be as broken as that, and is known by its name.
    """
    batches: dict[str, int] = {}
    rotten: dict[int, int] = {}
    windows: set[int] = set()
    ours = aside.name.startswith(f"{FILE}.corrupt-")
    with Image(aside) as image:
        for row in filter(None, image.rows()):
            ours = True
            if row.kind is Kind.BATCH:
                batches[str(row.values[1])] = row.rowid
            elif row.kind is Kind.ROTTEN:
                rotten[row.rowid] = integer(row.values[6])
            elif row.kind is Kind.WINDOW:
                windows.add(row.rowid)
    if not ours:
        raise SpoolUnusable(
            f"{aside}: is no spool file: no page of it has a row of one. Name one set aside: {FILE}.corrupt-*"
        )
    rotten = {number: points for number, points in rotten.items() if number not in batches.values()}
    return Contents(batches, rotten, len(windows))


def pieces(
    writer: SpoolWriter, aside: Path, destinations: Sequence[str], at: float, who: str = "collector"
) -> Iterator[Mapping[str, int]]:
    """Put the rows of `aside` back, a transaction for each step, and settle the accounts; gives the totals so far.

    Batches of another spool are taken in as by an import, for `who`: its ids mean other batches here, with states of
    their own, and its accounts are its own. Raises OSError if the file cannot be read, SpoolBusy if the disk refuses;
    what was put back stays. SpoolUnusable for the spool's own file.
    """
    if aside.samefile(writer.path):
        # POSIX drops a process's locks on a file when it closes any descriptor of it. Without SQLite's own, the next
        # program that closes the file removes the log under our commits: https://www.sqlite.org/howtocorrupt.html, 2.2
        raise SpoolUnusable(f"{aside}: is the spool itself; there is nothing to put back from it.")
    totals: Counter[str] = Counter(saved=0, known=0, rotten=0, lost=0)
    rotten: dict[int, Row] = {}
    first = last = 0
    with Image(aside) as image:
        ours = aside.parent.samefile(writer.directory) or writer.spool_id in _spool_ids(image)
        put_back = _put_back if ours else partial(_take_in, at=at, asked=Asked(who, f"salvage {aside.name}"))
        waiting: list[Row] = []
        for row in image.rows():
            if row is not None and row.kind is Kind.ROTTEN:
                rotten[row.rowid] = row
            elif row is not None and row.kind in (Kind.BATCH, Kind.WINDOW, Kind.LOSS):
                waiting.append(row)
            if row is not None and row.kind in (Kind.BATCH, Kind.ROTTEN):
                first, last = min(first or row.rowid, row.rowid), max(last, row.rowid)
            if row is None or len(waiting) >= PIECE_ROWS or _bytes(waiting) >= PIECE_BYTES:
                if waiting:
                    totals.update(put_back(writer, waiting))
                    waiting = []
                yield dict(totals)
        if waiting:
            totals.update(put_back(writer, waiting))
    if ours:
        totals["rotten"], totals["lost"] = write_off(writer, destinations, rotten, (first, last), at)
    else:
        totals["rotten"] = len(rotten)
    if aside.parent.samefile(writer.directory):
        mark_salvaged(aside, json.dumps(totals))
    yield dict(totals)


def _spool_ids(image: Image) -> set[str]:
    """Whose the file is, as it says itself; where it does not say, as the keys of its first batches do."""
    found = [row for row in image.rows(stretches=1) if row is not None]
    said = {str(row.values[1]) for row in found if row.kind is Kind.META and row.values[0] == "spool_id"}
    return said or {str(row.values[1]).rpartition("-")[0] for row in found if row.kind is Kind.BATCH}


def _take_in(writer: SpoolWriter, waiting: Sequence[Row], at: float, asked: Asked) -> Counter[str]:
    batches = [Batch(*row.values) for row in waiting if row.kind is Kind.BATCH]  # type: ignore[arg-type]
    saved = len(writer.adopt(batches, at, asked)) if batches else 0
    return Counter(saved=saved, known=len(batches) - saved)


def _bytes(waiting: Sequence[Row]) -> int:
    return sum(len(value) for row in waiting for value in row.values if isinstance(value, bytes))


def _put_back(writer: SpoolWriter, waiting: Sequence[Row]) -> Counter[str]:
    done: Counter[str] = Counter()
    with writer.transaction() as db:
        # Shippers look at all ids again when this number changes: what comes back lies below what they have settled.
        db.execute(
            "INSERT INTO meta VALUES ('put_back', '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1"
        )
        for row in waiting:
            if row.kind is Kind.WINDOW:
                db.execute(f"INSERT OR IGNORE INTO windows VALUES ({places(row.values)})", row.values)
            elif row.kind is Kind.LOSS:
                if not db.execute(
                    "SELECT 1 FROM losses WHERE at = ? AND reason = ? AND first_batch IS ? AND first_window IS ?",
                    (row.values[1], row.values[2], row.values[3], row.values[5]),
                ).fetchone():
                    add_loss(db, row.values[1:])
            elif db.execute("SELECT 1 FROM batches WHERE key = ?", (row.values[1],)).fetchone():
                done["known"] += 1
            else:
                # An id that another batch has by now: this one is from another spool. It gets one of ours.
                taken = db.execute("SELECT 1 FROM batches WHERE id = ?", (row.rowid,)).fetchone()
                values = (None if taken else row.rowid, *row.values[1:])
                db.execute(f"INSERT INTO batches ({_BATCH}) VALUES ({places(values)})", values)
                done["saved"] += 1
    return done
