"""What the receiver's database tells: hosts and their gaps, check-ins, metrics, and the readings that a chart is of.

    reader = StoreReader(store.path, monotonic)
    reader.hosts()                                  every host, its gaps and its last check-in
    reader.readings([3, 17], "web-1", ["p99"], span)     one row per step of time, series and statistic

Promises: it only reads, each answer is one snapshot, and whoever writes never waits for it. What is asked for a page
(`most` rows, a deadline of LOOK_S for all of it, AT_ONCE pages at a time) costs so little that stored batches do not
wait either, whatever the size of the database: past its deadline a query is cut off with TooMuch. Does not promise
that for `totals`, which the tests of whole deliveries add up.

With store.py the only place outside spool/ with SQL.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shipper.receiver import report
from shipper.receiver.curves import Reading, Series, Steps
from shipper.receiver.store import LOCK_DEADLINE_S, StoreBusy

LOOK_S = 2.0
AT_ONCE = 2
NOT_FAR_S = 60.0
STEPS_BETWEEN_CHECKS = 20_000
"""Of SQLite's machine: well under a millisecond."""


class TooMuch(StoreBusy):
    """A page asked for more than is read within LOOK_S."""


class StoreReader:
    """The reading side; methods may be called from any thread. `monotonic` gives seconds for durations."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path, self._monotonic = path, monotonic
        self._turn = threading.BoundedSemaphore(AT_ONCE)

    def counts(self) -> dict[str, Any]:
        """`batches` ever accepted and `last_batch_at` (Unix seconds or None), for all hosts together."""
        with self._reading() as db:
            batches, last = db.execute("select coalesce(sum(batches), 0), max(last_at) from hosts").fetchone()
        return {"batches": batches, "last_batch_at": last}

    def hosts(self, only: str | None = None) -> list[dict[str, Any]]:
        """Every host that sent batches or check-ins, by name, or `only` this one; see report.hosts."""
        one = (only, only)
        with self._looking() as db:
            return report.hosts(
                db.execute(
                    # The hosts of check-ins by a seek for each: there are up to CHECKINS_KEPT rows of every host.
                    "with recursive said(host) as (select min(host) from checkins union all"
                    " select (select min(host) from checkins where host > said.host) from said where host is not null)"
                    " select h.host, coalesce(o.batches, 0), coalesce(o.points, 0), o.first_at, o.last_at,"
                    " o.last_window_end"
                    " from (select host from hosts union select host from said where host is not null) h"
                    " left join hosts o on o.host = h.host where ? is null or h.host = ? order by h.host",
                    one,
                ).fetchall(),
                db.execute(
                    "select host, spool_id, first_seq, last_seq, first_start, last_end from runs"
                    " where ? is null or host = ? order by host, spool_id, first_seq",
                    one,
                ),
                lambda host: db.execute(
                    "select received_at, body from checkins where host = ? order by id desc limit 1", (host,)
                ).fetchone(),
            )

    def checkins(self, host: str, most: int) -> list[tuple[float, str]]:
        """(received at, JSON text) of the newest check-ins of a host, newest first."""
        with self._looking() as db:
            return db.execute(
                "select received_at, body from checkins where host = ? order by id desc limit ?", (host, most)
            ).fetchall()

    def notices(self, host: str, since: float, most: int) -> list[tuple[float, str, str, str, float | None, str]]:
        """The newest events and service checks of a host that came after `since` (Unix seconds), newest first.

        Each is (end of its window, name, type, tags and fields as JSON text around the value of a check).
        """
        with self._looking() as db:
            return db.execute(
                "select b.window_end, p.name, p.type, p.tags, p.value, p.fields from batches b cross join said p"
                " where b.host = ? and b.window_end > ? and p.batch = b.id"
                " order by b.window_end desc, p.place desc limit ?",
                (host, since, most),
            ).fetchall()

    def totals(self, name_glob: str, most: int) -> list[dict[str, Any]]:
        """Totals of up to `most` series whose name matches, in order of name and host; see report.totals."""
        with self._reading() as db:
            rows = db.execute(
                # Beside max(), SQLite takes the bare r.value from the row that has the maximum.
                "select s.host, s.name, s.type, s.tags, r.stat,"
                " count(*), sum(r.value), r.value, max(b.window_end)"
                " from (select * from series where name glob ? order by name, host, type, tags limit ?) s"
                " join readings r on r.series = s.id join batches b on b.id = r.batch"
                " group by s.id, r.stat order by s.name, s.host, s.type, s.tags, r.stat",
                (name_glob, most),
            )
            return report.totals(row[:-1] for row in rows)

    def names(self, containing: str, most: int) -> list[str]:
        """Up to `most` names of metrics that contain this, in order: a seek for each, however many series it has."""
        with self._looking() as db:
            return [
                name
                for (name,) in db.execute(
                    "with recursive names(name) as (select min(name) from series union all"
                    " select (select min(name) from series where name > names.name) from names where name is not null)"
                    " select name from names where name is not null and instr(lower(name), lower(?)) limit ?",
                    (containing, most),
                )
            ]

    def series(self, name: str, first: str, most: int) -> list[Series]:
        """Up to `most` series of this name, in order of type, tags and host, but those of the host `first` first."""
        with self._looking() as db:
            return [
                Series(*row)
                for row in db.execute(
                    "select id, host, type, tags from series where name = ?"
                    " order by host <> ?, type, tags, host limit ?",
                    (name, first, most),
                )
            ]

    def stats(self, series: int) -> list[str]:
        """The statistics that the series has, as in the last batch that came of it; none if all of it is forgotten."""
        with self._looking() as db:
            return [
                stat
                for (stat,) in db.execute(
                    "select stat from readings where series = ?1 and batch ="
                    " (select batch from readings where series = ?1 order by batch desc limit 1)",
                    (series,),
                )
            ]

    def newest_window(self, hosts: Iterable[str], before: float) -> tuple[float, float]:
        """When the newest window ended that has come of each of these hosts, those far behind not counted, and how long
        windows are. Instants are Unix seconds, none after `before`; that and 0 where nothing has come."""
        with self._looking() as db:
            windows = [
                db.execute(
                    "select window_end, window_end - window_start from batches where host = ? and window_end <= ?"
                    " order by window_end desc limit 3",  # the newest may have been cut short by a stop
                    (host, before),
                ).fetchall()
                for host in set(hosts)
            ]
        ends = [rows[0][0] for rows in windows if rows]
        near = [end for end in ends if end > max(ends) - NOT_FAR_S]
        return min(near, default=before), max((length for rows in windows for _, length in rows), default=0.0)

    def readings(self, wanted: Sequence[Series], stats: Sequence[str], steps: Steps) -> list[Reading]:
        """What these series say, by step, series and statistic, earlier steps first; steps without a window are absent.

        Looks up each window of the hosts within the time, not each reading of the series: what was kept for a month
        costs a picture of the last hour nothing.
        """
        found: list[Reading] = []
        by_host: dict[str, list[int]] = {}
        for each in wanted:
            by_host.setdefault(each.host, []).append(each.id)
        marks = ",".join("?" * len(stats))
        with self._looking() as db:
            for host, ids in by_host.items():
                rows = db.execute(
                    # cross join: SQLite keeps the order of the loops, batches of the host first.
                    "select r.series, r.stat, ?1 - ?2 * cast((?1 - b.window_end) / ?2 as integer) as step_end,"
                    " count(*), sum(r.value), min(r.value), max(r.value)"
                    " from batches b cross join readings r"
                    " where b.host = ?3 and b.window_end > ?4 and b.window_end <= ?1 and r.batch = b.id"
                    f" and r.series in ({','.join(map(str, ids))}) and r.stat in ({marks})"
                    " group by r.series, r.stat, step_end order by step_end, r.series, r.stat",
                    (steps.high, steps.step_s, host, steps.low, *stats),
                )
                found += (Reading(*row) for row in rows)
        return found

    @contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        """As `_reading`, for a page: with a deadline, and few at a time. Raises TooMuch and StoreBusy."""
        give_up_at = self._monotonic() + LOOK_S
        if not self._turn.acquire(timeout=LOOK_S):
            raise StoreBusy("other pages are being made; try again")
        try:
            with self._reading() as db:
                db.set_progress_handler(lambda: self._monotonic() > give_up_at, STEPS_BETWEEN_CHECKS)
                yield db
        except StoreBusy as busy:
            if self._monotonic() > give_up_at:
                raise TooMuch(
                    f"This takes longer than {LOOK_S:g} s to read. Choose a shorter time, one host, or fewer series."
                ) from busy
            raise
        finally:
            self._turn.release()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one answer: read only, one snapshot. Raises StoreBusy."""
        try:
            uri = f"file:{quote(str(self._path))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_DEADLINE_S, isolation_level=None)) as db:
                db.execute("begin")
                yield db
        except sqlite3.Error as error:
            raise StoreBusy(f"the database cannot be read ({error})") from error
