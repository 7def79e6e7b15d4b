"""Keeps the spool within its limits: asks retention.py what goes, and deletes that in small transactions.

Runs on the thread that commits, after each commit and after each that failed. Promises: one call deletes at most
MOST batches and about MOST_BYTES, in transactions of CHUNK that also write the rows of `losses`, and no more once an
operator has changed states since it looked (a batch that goes as acknowledged may be unsent again); it looks at no
more than LOOK batches, waits for no lock of another process longer than BUSY_S, and holds no reader's snapshot
while it writes. So it keeps a commit waiting for less than 100 ms. When the disk is full, the ballast is freed
first, so that the deletion has room for its own log.

Does not promise that one call is enough, nor that every acknowledged batch goes before any unsent one: behind a
long backlog it finds them page by page, in successive calls.

What the folder takes is the size of all files in it, whoever put them there, with these exceptions. A damaged
spool that was set aside does not count while rows are saved from it, and is the first to go afterwards. Free
pages within spool.db are not counted: the next commit takes those first. Of the WAL no more than
WAL_LIMIT_BYTES count: a reader that was stopped in the middle can pin any amount, and no eviction makes it
less. The same holds for the WALs of the delivery files, of which nothing counts.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spool.aside import files_of, remove_salvaged, unsalvaged
from spool.batch import State, batch_key
from spool.connection import FILE, WAL_LIMIT_BYTES
from spool.delivery import DeliveryReader
from spool.errors import HoldfastError, SpoolBusy
from spool.ledger import within
from spool.reader import Header, SpoolReader
from spool.retention import (
    Eviction,
    Held,
    Limits,
    Newest,
    Space,
    Standing,
    age_s,
    losses,
    may_age,
    next_window_bytes,
    plan,
    shortages,
    standing,
    usual_length_s,
)
from spool.writer import SpoolWriter

MOST = 500
MOST_BYTES = 6 * 1024 * 1024
CHUNK = 100
LOOK = 3_000
BUSY_S = 0.1

BALLAST = "ballast"
BALLAST_BYTES = 4 * 1024 * 1024
"""A deletion of CHUNK batches of 100 KB writes less than this to the WAL."""

GIVE_BACK_BYTES = 2 * 1024 * 1024
"""The most by which one call shrinks spool.db."""

MOST_CHANGES = 1_000
"""The newest of an operator's changes that are looked through: a replay has one for each 500 batches."""

HISTORY_S = 30 * 86_400
HISTORY_RUNS = 360
"""Old rows of `windows` and `losses` go at every HISTORY_RUNSth call."""


Deliveries = Mapping[str, DeliveryReader | None]


@dataclass(frozen=True, slots=True)
class Evicted:
    """What one call did. `by_reason` counts batches; `lost_*` are those that some destination never got.

    `used_bytes` by the folder and `free_bytes` on its disk are as of after it. `more` says that it stopped at
    MOST or MOST_BYTES, or for an operator's change, and another call would go on.
    """

    by_reason: Mapping[str, int]
    lost_batches: int
    lost_points: int
    used_bytes: int
    free_bytes: int
    more: bool


class Evictor:
    """Evicts from the spool that `writer` has open. `destinations` are the configured ones' names.

    `pause` is called between transactions.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        limits: Limits,
        destinations: Sequence[str],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer, self._limits, self._destinations, self._pause = writer, limits, destinations, pause
        self._directory = writer.directory
        self._ballast = self._directory / BALLAST
        self._look_after = self._runs = 0

    def run(self, now: float) -> Evicted:
        """Delete what the limits ask for, as far as one call goes. `now` (Unix seconds) only dates the losses.

        Raises SpoolBusy if the disk or a lock refused it; what was deleted until then stays deleted and recorded.
        """
        try:
            return self._run(now)
        except SpoolBusy:
            if not self.free_ballast():
                raise
            return self._run(now)

    def free_ballast(self) -> bool:
        """Give the ballast's room to whoever was refused, if the disk is full; made again when there is room."""
        try:
            if _free_bytes(self._directory) >= BALLAST_BYTES:
                return False
            self._ballast.unlink()
        except OSError:  # there is none, or the file system takes no changes at all
            return False
        return True

    def _run(self, now: float) -> Evicted:
        with SpoolReader(self._directory) as reader:
            newest = newest_of(reader)
            if newest is None:
                return Evicted({}, 0, 0, 0, 0, more=False)
            space = self._space()
            if max(shortages(newest, self._limits, space)) > 0:
                self._writer.checkpoint()  # what the WAL takes comes back without a loss
                space = self._space()
                while max(shortages(newest, self._limits, space)) > 0 and remove_salvaged(self._directory):
                    space = self._space()
            short = shortages(newest, self._limits, space)
            self._writer.overwrite_deleted(short[1] <= 0)
            with self._deliveries() as deliveries:
                seen = _newest_changes(deliveries)
                held = self._held(reader, deliveries, newest, max(short))
        evictions = plan(held, newest, self._limits, space, MOST, MOST_BYTES)
        gone: list[Eviction] = []
        while len(gone) < len(evictions) and self._unchanged(seen):
            chunk = evictions[len(gone) : len(gone) + CHUNK]
            self._writer.evict(losses(chunk), [each.held.id for each in chunk], now)
            gone += chunk
            self._pause()
        space = self._tidy(newest)
        lost = [each for each in gone if each.is_loss]
        return Evicted(
            by_reason=Counter(str(each.reason) for each in gone),
            lost_batches=len(lost),
            lost_points=sum(each.held.points for each in lost),
            used_bytes=space.used_bytes,
            free_bytes=space.free_bytes,
            more=len(gone) < len(evictions)
            or len(gone) == MOST
            or sum(each.held.payload_bytes for each in gone) >= MOST_BYTES,
        )

    @contextmanager
    def _deliveries(self) -> Iterator[Deliveries]:
        with ExitStack() as stack:
            yield deliveries_of(stack, self._directory, self._destinations, self._writer.spool_id)

    def _unchanged(self, seen: Mapping[str, int]) -> bool:
        """Whether no operator has changed states since; asks the files that are there now."""
        with self._deliveries() as deliveries:
            return _newest_changes(deliveries) == seen

    def _held(self, reader: SpoolReader, deliveries: Deliveries, newest: Newest, short_bytes: float) -> list[Held]:
        """Up to LOOK batches: the oldest page, then from where the last look broke off, until they suffice."""
        found: list[Held] = []
        sent_bytes = 0
        after = 0
        while headers := reader.headers_after(after):
            page = _since_asked(held(headers, deliveries), deliveries, newest, self._limits.max_age_unsent_s)
            found += page
            sent_bytes += sum(each.payload_bytes for each in page if each.standing is Standing.ACKNOWLEDGED)
            if sent_bytes >= short_bytes and not may_age(page[-1], newest, self._limits):
                break
            if len(found) >= LOOK:
                # Where room is made of acknowledged ones there may be more of them: look there again.
                self._look_after = after if sent_bytes and short_bytes > 0 else page[-1].id
                return found
            after = max(page[-1].id, self._look_after)
        self._look_after = 0
        return found

    def _tidy(self, newest: Newest) -> Space:
        """Give back room that is not needed, make the ballast again, forget old history."""
        space = self._space()
        excess = min(space.reusable_bytes - next_window_bytes(newest), GIVE_BACK_BYTES)
        if excess > 0 and space.free_bytes > 2 * GIVE_BACK_BYTES:  # what moves goes through the WAL first
            self._writer.give_back(excess)
        self._keep_ballast(space)
        if self._runs % HISTORY_RUNS == 0:
            self._writer.forget_windows(newest.end - HISTORY_S)
        self._runs += 1
        return space

    def _keep_ballast(self, space: Space) -> None:
        has_room = (
            self._limits.max_bytes >= 16 * BALLAST_BYTES
            and space.free_bytes >= self._limits.disk_reserve_bytes + 2 * BALLAST_BYTES
        )
        if self._ballast.exists() or not has_room:
            return
        try:
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError:  # somebody else was faster to fill the disk
            self._ballast.unlink(missing_ok=True)

    def _space(self) -> Space:
        live_bytes, reusable_bytes = self._writer.pages_bytes()
        being_saved = {each.name for aside in unsalvaged(self._directory) for each in files_of(aside)}
        others_bytes = sum(
            min(size, WAL_LIMIT_BYTES) if name == f"{FILE}-wal" else size
            for name, size in _sizes(self._directory)
            if name != FILE and name not in being_saved and not re.fullmatch(r"delivery-.*\.db-(wal|shm)", name)
        )
        return Space(live_bytes + others_bytes, reusable_bytes, _free_bytes(self._directory))


def deliveries_of(stack: ExitStack, directory: Path, destinations: Sequence[str], spool_id: str) -> Deliveries:
    """The delivery files by destination, for `stack` to close.

    None (all is unsent) for one that is not there, not readable or not this spool's.
    """
    return {name: _delivery(stack, directory, name, spool_id) for name in destinations}


def _delivery(stack: ExitStack, directory: Path, name: str, spool_id: str) -> DeliveryReader | None:
    try:
        delivery = stack.enter_context(DeliveryReader(directory, name, BUSY_S))
        return delivery if delivery.spool_id() == spool_id else None
    except HoldfastError:
        return None


def held(headers: Sequence[Header], deliveries: Deliveries) -> list[Held]:
    """The batches `headers` (one or more, by id) with what their states at all destinations come to."""
    known = {name: _states(each, headers[0].id, headers[-1].id) for name, each in deliveries.items()}
    found = []
    for header in headers:
        stands, unsent_at = standing({name: states.get(header.id, State.UNSENT) for name, states in known.items()})
        found.append(
            Held(
                header.id,
                header.window_start,
                header.window_end,
                header.window_seq,
                header.points,
                header.payload_bytes,
                stands,
                unsent_at,
            )
        )
    return found


def _since_asked(page: list[Held], deliveries: Deliveries, newest: Newest, limit_s: float) -> list[Held]:
    """The same; of what is unsent beyond its age, with the instant at which an operator made it so again."""
    old = {each.id for each in page if each.standing is Standing.UNSENT and age_s(each, newest) > limit_s}
    if not old:
        return page
    again: dict[int, float] = {}
    for delivery in deliveries.values():
        for change in _made_unsent(delivery, min(old), max(old), newest.end - limit_s):
            for number in (each for each in old if within(each, change["ids"])):
                again[number] = max(change["at"], again.get(number, change["at"]))
    return [replace(each, again_at=again.get(each.id)) for each in page]


def _newest_changes(deliveries: Deliveries) -> dict[str, int]:
    """By destination, the last change that an operator made to the states there."""
    return {name: _newest_change(each) for name, each in deliveries.items()}


def _newest_change(delivery: DeliveryReader | None) -> int:
    try:
        return int(delivery.changes(limit=1)[0]["id"]) if delivery else 0
    except (HoldfastError, IndexError):
        return 0


def _made_unsent(delivery: DeliveryReader | None, first: int, last: int, since: float) -> list[Mapping[str, Any]]:
    """What operators did since `since` that made batches between `first` and `last` unsent again."""
    try:
        changes = delivery.changes(since, MOST_CHANGES) if delivery else []
    except HoldfastError:
        return []
    among = [each for each in changes if each["ids"] and each["first_batch"] <= last and first <= each["last_batch"]]
    return [each for each in among if each["command"] != "hold"]


def newest_of(reader: SpoolReader) -> Newest | None:
    """The newest window that this spool committed itself: an imported batch has labels of another time."""
    before: int | None = None
    while page := reader.headers_before(before, 50):
        own = [each for each in page if each.key == batch_key(reader.spool_id, each.id)]
        if own:
            seq = own[0].window_seq
            return Newest(
                seq=seq,
                end=own[0].window_end,
                interval_s=usual_length_s([each.window_end - each.window_start for each in own]),
                payload_bytes=sum(each.payload_bytes for each in own if each.window_seq == seq),
            )
        before = page[-1].id
    return None


def _states(delivery: DeliveryReader | None, first: int, last: int) -> Mapping[int, State]:
    try:
        return delivery.states(first, last) if delivery else {}
    except HoldfastError:
        return {}


def _free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def _sizes(directory: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each file in the folder and below; what disappears meanwhile is left out."""
    for path in directory.rglob("*"):
        try:
            facts = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(facts.st_mode):
            yield path.name, facts.st_size
