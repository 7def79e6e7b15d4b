"""The thread that turns closed windows into committed ones, away from the receive loop.

Promises: `hand_over` never waits; windows are committed in the order of handing over; one that the spool
cannot take is kept in memory and tried again at least once per window; kept windows are bounded by
KEEP_BYTES (estimated), beyond which the oldest that is not being tried is shed, added up on a thread of its own, and
recorded as a loss as soon as the spool takes anything. The committer does not end before `finish`, whatever the spool
does.

Does not promise that what is kept survives a stop while the spool takes nothing: `finish` reports it as lost, and the
next start records that.

The interpreter runs one thread at a time. The receive loop asks for it twice a turn, and has it after
reception.SWITCH_S at the latest: nothing here keeps it for longer, since points are made and encoded a few at a time.
Where that is not enough, the work on a window gives way to reception between them (precedence.py).
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from collector.finished import Finished, Points
from spool import lastwords
from spool.batch import Batch, Window
from spool.errand import Done, Errand, Errands
from spool.errors import HoldfastError, SpoolBusy, SpoolDamaged, SpoolMissing
from spool.evict import Evicted, Evictor
from spool.heartbeat import beat, heartbeats
from spool.writer import NUMBERS, SpoolWriter

KEEP_BYTES = 64 * 1024 * 1024
BEAT_S = 5.0
GIVEN_SHARE, GIVEN_S = 0.5, 2.0
"""The most that the work on a window waits while reception is behind: of an interval, and in seconds."""
GIVEN_AT_ONCE_S = 0.1
"""The most of it between two pieces of work, so that a stop, or the next window, is seen soon."""
PAUSE_S = 0.002
"""Between two pieces of an operator's errand."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A window is in the spool."""

    window: Window
    batches: Sequence[Batch]
    commit_ms: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """A window that is to be committed has rejected lines: how many for each reason, and examples (rules.example)."""

    lines: Mapping[str, int]
    examples: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """The spool did not take a window; it will be tried again in `again_s`."""

    error: Exception
    waiting: int
    again_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Windows given up: shed because too much was waiting, or left when the collector stopped; or a worker's part."""

    windows: int
    lines: int
    reason: str


def lost(windows: Sequence[Window], reason: str) -> Lost:
    """These windows as an outcome."""
    return Lost(len(windows), sum(each.lines for each in windows), reason)


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The spool is beyond its limits and could not be brought back within them; tried again after the next commit."""

    error: Exception


@dataclass(frozen=True, slots=True)
class ErrandDone:
    """Something that an operator asked for has been done, or has failed."""

    errand: Errand
    done: Done


Outcome = Committed | Rejected | Kept | Lost | Evicted | NoRoom | ErrandDone


class Committer:
    """Owns the SpoolWriter while it runs, and keeps the spool within its limits after each commit.

    `listens` are the addresses that its heartbeat names, for check.py.
    `evictor` and `errands` make what evicts from an opened spool and what does the operator's errands there. `tell`
    gets what happened, on its thread; `wait` sleeps (s).
    """

    def __init__(
        self,
        open_spool: Callable[[], SpoolWriter],
        *,
        directory: Path,
        quantiles: Sequence[float],
        interval_s: float,
        evictor: Callable[[SpoolWriter], Evictor],
        errands: Callable[[SpoolWriter], Errands],
        tell: Callable[[Outcome], None],
        wall: Callable[[], float],
        mono: Callable[[], float],
        wait: Callable[[float], None],
        give_way: Callable[[float], float] = lambda _: 0.0,
        listens: Sequence[str] = (),
    ) -> None:
        self._open_spool, self._directory, self._make_evictor = open_spool, directory, evictor
        self._make_errands = errands
        self._quantiles, self._interval_s = quantiles, interval_s
        self._tell, self._wall, self._mono, self._wait = tell, wall, mono, wait
        self._give_way, self._patience_s = give_way, 0.0
        self._listens = list(listens)
        self._writer: SpoolWriter | None = None
        self._evictor: Evictor | None = None
        self._errands: Errands | None = None
        self._numbers: Mapping[str, int | str] = {}
        self._changed = threading.Condition()
        self._waiting: deque[Finished] = deque()
        self._kept_bytes = 0
        self._current: Finished | Window | None = None  # not committed yet; then with its points made
        self._shed: list[tuple[Callable[[], Window], str]] = []  # with the reason
        self._adder = ThreadPoolExecutor(1, "adder")  # the receive loop has no time for it, and this thread may hang
        self._newly_shed = 0
        self._stopping = False
        self._failures = 0
        self._again_mono = self._beat_mono = float("-inf")
        self.commit_ms: float | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    # --- the receive loop's side ---

    def start(self, writer: SpoolWriter | None = None) -> None:
        """Begin committing; to `writer` if the spool is open already, which then belongs to this thread.

        No thread is started later: there may be none left when windows are shed, and one that is started while signals
        are taken would take those that wait for a successor (spool.again.hold_signals).
        """
        self._writer = writer
        self._adder.submit(int)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Windows in memory that are not committed."""
        with self._changed:
            return len(self._waiting) + (self._current is not None)

    @property
    def refused(self) -> bool:
        """Whether the spool refused the last attempt."""
        return self._failures > 0

    def take_shed(self) -> int:
        """Windows shed since the last call."""
        with self._changed:
            shed, self._newly_shed = self._newly_shed, 0
            return shed

    def hand_over(self, finished: Finished) -> None:
        """Take a closed window. Waits for nothing but a lock held for microseconds."""
        with self._changed:
            self._waiting.append(finished)
            self._kept_bytes += finished.size_bytes
            lost_lines = finished.around.worker_lost_lines
            if lost_lines:
                part = Window(0, finished.bounds.start, finished.bounds.end, (), lines=lost_lines)
                self._shed.append((lambda: part, "worker ended"))
            while self._kept_bytes > KEEP_BYTES and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._kept_bytes -= oldest.size_bytes
                self._shed.append((self._adder.submit(oldest.counted).result, "memory full"))
                self._newly_shed += 1
            self._changed.notify()

    def finish(self, within_s: float) -> bool:
        """Commit what is left, end the thread and close the spool.

        Returns after `within_s` at the latest; False if the spool still held the thread then, so that `left` will be
        lost with the process.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def left(self) -> list[Window]:
        """What was handed over and is neither in the spool nor recorded as lost there."""
        with self._changed:
            held = [*([self._current] if self._current else []), *self._waiting]
            shed = list(self._shed)
        left = [each.counted() if isinstance(each, Finished) else each for each in held]
        return [counted() for counted, _ in shed] + left

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                stopping = self._stopping
                if not stopping and not self._due():
                    until_mono = min(self._beat_mono + BEAT_S, self._again_mono if self.waiting else float("inf"))
                    self._changed.wait(min(BEAT_S, max(0.0, until_mono - self._mono())))
                    stopping = self._stopping
            try:
                if stopping or self._due():
                    self._commit_all(stopping)
                if not stopping:
                    self._do_errands()
            except Exception as error:  # noqa: BLE001 - also where no descriptor is left for an errand
                self._tell(Kept(error, self.waiting, 0.0))
            if self._mono() - self._beat_mono >= BEAT_S:
                self._beat("stopping" if stopping else "collecting")
            if stopping:
                break
        self._end()

    def _due(self) -> bool:
        return bool(self.waiting or self._shed or self._writer is None) and self._mono() >= self._again_mono

    def _commit_all(self, stopping: bool) -> None:
        """Commit until nothing waits or the spool refuses."""
        try:
            while self.waiting or self._shed or (self._writer is None and not stopping):
                self._commit_next()
                self._failures = 0
                self._beat("collecting")
                # Before the next one: those that a full disk has kept waiting would fill it again to its last byte, and
                # then nothing can be deleted any more.
                if not stopping:
                    self._make_room()
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the spool does
            again_s = min(2.0**self._failures, self._interval_s)
            self._failures = min(self._failures + 1, 16)
            self._again_mono = self._mono() + again_s
            if isinstance(error, SpoolBusy):  # it may be the disk that is full
                self._cut_log()
                self._make_room(refused=True)
            elif isinstance(error, SpoolDamaged):
                self._set_aside()
            else:  # not passing: begin with a fresh connection
                self._close_writer()
            self._tell(Kept(error, self.waiting, again_s))
            if stopping and isinstance(error, SpoolDamaged) and self._failures == 1:
                self._commit_all(stopping)  # once more, into the new file: there is no next time

    def _commit_next(self) -> None:
        if self._writer is None:
            self._writer = self._open_spool()
        self._record_shed(self._writer)
        if self._current is None:
            with self._changed:
                if not self._waiting:
                    return
                self._current = self._waiting.popleft()
                self._kept_bytes -= self._current.size_bytes
        if isinstance(self._current, Finished):
            closed = self._current.closed
            if closed.rejected:
                self._tell(Rejected(closed.rejected, closed.examples))
            self._current = self._current.window(Points(self._current, self._quantiles, self._pause))
        begun_mono = self._mono()
        self._patience_s = min(GIVEN_SHARE * self._interval_s, GIVEN_S)
        window = replace(self._current, seq=self._writer.next_window_seq())
        batches = self._writer.commit(window, self._wall(), self._pause)
        self._current = None
        self.commit_ms = 1_000 * (self._mono() - begun_mono)
        self._tell(Committed(window, batches, self.commit_ms))

    def _pause(self) -> None:
        """Between two pieces of the work on a window: reception goes first, unless the next window waits already."""
        if self._patience_s > 0 and not self._waiting and not self._stopping:
            self._patience_s -= self._give_way(min(self._patience_s, GIVEN_AT_ONCE_S))

    def _cut_log(self) -> None:
        """Give back what spool.db's log takes: room that is there also where a quota hides how little there is."""
        try:
            if self._writer is not None:
                self._writer.checkpoint()
        except HoldfastError:  # that is refused as well
            pass

    def _make_room(self, refused: bool = False) -> None:
        """Evict what the limits ask for, until it is enough, a window waits to be committed, or the collector stops.

        After a commit that was `refused` the ballast goes first, if it is a full disk that refused it.
        """
        if self._writer is not None and self._evictor is None:
            self._evictor = self._make_evictor(self._writer)
        if refused and self._evictor is not None:
            self._evictor.free_ballast()
        more = True
        while more and self._evictor is not None:
            if self._mono() - self._beat_mono >= BEAT_S:
                self._beat("collecting")
            try:
                evicted = self._evictor.run(self._wall())
            except (SpoolDamaged, SpoolMissing) as error:  # missing: our tables are gone from it
                self._set_aside()
                self._tell(Kept(error, self.waiting, 0.0))
                return
            except (HoldfastError, OSError) as error:
                self._tell(NoRoom(error))
                return
            if evicted.by_reason:
                self._tell(evicted)
            more = evicted.more and not self._waiting and not self._stopping

    def _do_errands(self) -> None:
        """Do what operators ask for, a piece at a time, until it is done or a window waits to be committed."""
        if self._writer is not None and self._errands is None:
            self._errands = self._make_errands(self._writer)
        while self._errands is not None and not self._waiting and not self._stopping:
            try:
                done = self._errands.run()
            except SpoolDamaged as error:
                self._set_aside()
                self._tell(Kept(error, self.waiting, 0.0))
                return
            if done is None:
                break
            if done[1].finished:
                self._tell(ErrandDone(*done))
            if self._mono() - self._beat_mono >= BEAT_S:
                self._beat("collecting")
            self._wait(PAUSE_S)

    def _record_shed(self, writer: SpoolWriter) -> None:
        with self._changed:
            shed = list(self._shed)
        for reason, those in groupby(shed, itemgetter(1)):
            windows = [counted() for counted, _ in those]
            seq = writer.next_window_seq()
            writer.shed([replace(each, seq=seq + n) for n, each in enumerate(windows)], self._wall(), reason)
            with self._changed:
                del self._shed[: len(windows)]
            self._tell(lost(windows, reason))

    def _beat(self, phase: str) -> None:
        self._beat_mono = self._mono()
        try:
            if self._writer is not None:
                self._numbers = self._writer.numbers()
            elif not self._numbers:
                before = heartbeats(self._directory).get("collector", {})
                self._numbers = {name: before[name] for name in NUMBERS if name in before}
        except (HoldfastError, OSError):
            pass  # what was known last is still true
        try:
            told = {"windows_waiting": self.waiting, "listens": self._listens, **self._numbers}
            beat(self._directory, "collector", self._wall(), phase, **told)
        except OSError:
            pass  # no folder yet, or read-only: the beat is lost, its absence tells

    def _end(self) -> None:
        if left := self.left():
            with suppress(OSError):  # then only the log tells
                lastwords.leave(self._directory, left, self._wall())
            self._tell(lost(left, lastwords.REASON))
        self._close_writer()

    def _set_aside(self) -> None:
        """Give a damaged file up; opening the spool again makes a new one, and begins to save what is in the old."""
        if self._writer is not None:
            try:
                self._writer.set_aside(self._wall())
            except OSError:
                pass  # the folder cannot be written now: the file is met again, and so is its damage
            self._writer = self._evictor = self._errands = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = self._evictor = self._errands = None
