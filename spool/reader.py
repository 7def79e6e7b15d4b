"""Looking into spool.db. Never writes, never creates, never holds a snapshot while its caller works.

Each method reads a bounded page into memory and ends its statement before it returns, so that a caller that is
stopped, paged or slow cannot pin the WAL.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from spool.batch import Batch
from spool.connection import FILE, attach, inode, look_for_damage, open_reader, whole
from spool.delivery import file_name
from spool.errors import SpoolDamaged, SpoolMissing, UnknownBatch
from spool.schema import SPOOL_STEPS, check

PAGE = 500
"""Rows read at a time where a caller walks over many."""


@dataclass(frozen=True, slots=True)
class Header:
    """A batch without its payload. Instants are Unix seconds, sizes bytes."""

    id: int
    key: str
    window_start: float
    window_end: float
    window_seq: int
    committed_at: float
    points: int
    series: int
    raw_bytes: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Unsent batches of one destination: how many, their points, their payload bytes, the oldest window's end, and
    the numbers of the first and the last window that have one.
    """

    batches: int
    points: int
    payload_bytes: int
    oldest_end: float | None
    first_window: int | None
    last_window: int | None


_SETTLED_THROUGH = "(SELECT CAST(value AS INTEGER) FROM delivery.meta WHERE name = 'settled_through')"
_NO_STATE = "NOT EXISTS (SELECT 1 FROM delivery.states s WHERE s.batch = b.id)"
_UNSENT = f"b.id > {_SETTLED_THROUGH} AND {_NO_STATE}"

_HEADER = (
    "id, key, window_start, window_end, window_seq, committed_at, points, series, raw_bytes,"
    " length(payload) AS payload_bytes"
)


_HEADER_FORM = (int, str, float, float, int, float, int, int, int, int)
_BATCH_FORM = (*_HEADER_FORM[:9], bytes, str)


def _refuse_rotten(path: Path, rows: Sequence[Sequence[object]], form: tuple[type, ...]) -> None:
    """Raise SpoolDamaged for rows that are not of this form: SQLite looks at that when it writes, not when it reads."""
    for row in rows:
        if tuple(map(type, row)) != form:
            raise SpoolDamaged(f"{path}: batch {row[0]} has lost values. The collector sets a damaged spool aside.")


class SpoolReader:
    """An open, read-only spool.db; with a destination, beside that destination's delivery file."""

    def __init__(self, directory: Path, destination: str | None = None) -> None:
        """Open the spool in `directory`. Raises SpoolMissing, SpoolUnusable or SpoolDamaged.

        `backlog` and `unsent_*` need the `destination` whose view they give.
        """
        self.path = directory / FILE
        self._inode = inode(self.path)  # before it is opened: it may be set aside at any moment
        self._connection = open_reader(self.path)
        try:
            check(self._connection, self.path, SPOOL_STEPS)
            if destination is not None:
                attach(self._connection, directory / file_name(destination), "delivery")
            self.spool_id, self.host = self._meta("spool_id"), self._meta("host")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "SpoolReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def replaced(self) -> bool:
        """Whether the path now names another file: the collector set a damaged one aside. Open anew then."""
        return inode(self.path) != self._inode

    def _meta(self, name: str) -> str:
        rows = self._rows("SELECT value FROM meta WHERE name = ?", (name,))
        if not rows:  # between the first two transactions of its life
            raise SpoolMissing(f"{self.path}: is not set up yet. The collector does that when it starts.")
        return str(rows[0][0])

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with whole(self.path):
            return self._connection.execute(sql, values).fetchall()

    def _headers(self, sql: str, values: Sequence[object] = ()) -> list[Header]:
        rows = self._rows(sql, values)
        _refuse_rotten(self.path, rows, _HEADER_FORM)
        return [Header(*row) for row in rows]

    def _dicts(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        with whole(self.path):
            cursor = self._connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def headers_after(self, batch_id: int, limit: int = PAGE) -> list[Header]:
        """The oldest batches with an id above `batch_id`, oldest first."""
        return self._headers(f"SELECT {_HEADER} FROM batches WHERE id > ? ORDER BY id LIMIT ?", (batch_id, limit))

    def headers_before(self, batch_id: int | None, limit: int = PAGE) -> list[Header]:
        """The newest batches with an id below `batch_id` (None: of all), newest first."""
        bound = 2**63 - 1 if batch_id is None else batch_id
        return self._headers(f"SELECT {_HEADER} FROM batches WHERE id < ? ORDER BY id DESC LIMIT ?", (bound, limit))

    def headers_newest(
        self, since: float, until: float, before: Header | None = None, limit: int = PAGE
    ) -> list[Header]:
        """Batches whose window ends in [since, until], newest window first; the next page begins below `before`."""
        end, batch_id = (until, 2**63 - 1) if before is None else (before.window_end, before.id)
        return self._headers(
            f"SELECT {_HEADER} FROM batches WHERE window_end >= ? AND window_end <= ? AND (window_end, id) < (?, ?)"
            " ORDER BY window_end DESC, id DESC LIMIT ?",
            (since, until, end, batch_id, limit),
        )

    def headers_between(self, since: float, until: float, after: int = 0, limit: int = PAGE) -> list[Header]:
        """Batches whose window ends in [since, until], with an id above `after`, oldest first."""
        return self._headers(
            f"SELECT {_HEADER} FROM batches WHERE window_end >= ? AND window_end <= ? AND id > ? ORDER BY id LIMIT ?",
            (since, until, after, limit),
        )

    def header(self, batch_id: int) -> Header:
        """One batch without its payload. Raises UnknownBatch."""
        for found in self._headers(f"SELECT {_HEADER} FROM batches WHERE id = ?", (batch_id,)):
            return found
        raise self._unknown(batch_id)

    def _unknown(self, batch_id: int) -> UnknownBatch:
        return UnknownBatch(f"{self.path}: holds no batch {batch_id}. `holdfast list` shows what it holds.")

    def batch(self, batch_id: int) -> Batch:
        """One batch with its payload, not yet verified. Raises UnknownBatch."""
        for found in self.batches([batch_id]):
            return found
        raise self._unknown(batch_id)

    def batches(self, ids: Sequence[int]) -> list[Batch]:
        """Those of the batches `ids` that are held, with their payloads, not yet verified; lowest id first.

        All are in memory at once: the caller knows their sizes.
        """
        rows = self._rows(
            "SELECT id, key, window_start, window_end, window_seq, committed_at, points, series, raw_bytes, payload,"
            " sha256 FROM batches WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(list(ids)),),
        )
        _refuse_rotten(self.path, rows, _BATCH_FORM)
        return [Batch(*row) for row in rows]

    def batches_newest(self, since: float, until: float) -> Iterator[Batch]:
        """The batches whose window ends in [since, until], newest window first, each read when its turn comes."""
        page = self.headers_newest(since, until)
        while page:
            for header in page:
                yield from self.batches([header.id])  # none if it was evicted since the page was read
            page = self.headers_newest(since, until, before=page[-1])

    def held_among(self, ids: Sequence[int]) -> list[int]:
        """Those of the batches `ids` that are held, lowest id first."""
        sql = "SELECT id FROM batches WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        return [row[0] for row in self._rows(sql, (json.dumps(list(ids)),))]

    def holds(self, key: str) -> bool:
        """Whether a batch with this key is held."""
        return bool(self._rows("SELECT 1 FROM batches WHERE key = ?", (key,)))

    def last_batch(self) -> int:
        """The highest id that a batch of this spool ever had; 0 if there was none."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'batches'")
        return int(rows[0][0]) if rows else 0

    def has_key(self, key: str) -> bool:
        """Whether a batch of that key is held."""
        return bool(self._rows("SELECT 1 FROM batches WHERE key = ?", (key,)))

    def look_for_damage(self, within_s: float) -> bool:
        """SQLite's quick check for at most `within_s`; False if that was too short. Raises SpoolDamaged."""
        return look_for_damage(self._connection, self.path, within_s)

    def put_back(self) -> int:
        """How often batches with lower ids came back from a damaged file: a number that changes when they do."""
        rows = self._rows("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'put_back'")
        return int(rows[0][0]) if rows else 0

    def extent(self) -> dict[str, Any]:
        """How much is held: `batches`, `points`, `payload_bytes`, `first_id`, `last_id`, `first_end`, `last_end`,
        `first_window`, `last_window`.
        """
        return self._dicts(
            "SELECT count(*) AS batches, ifnull(sum(points), 0) AS points, ifnull(sum(length(payload)), 0) AS"
            " payload_bytes, min(id) AS first_id, max(id) AS last_id, min(window_end) AS first_end,"
            " max(window_end) AS last_end, min(window_seq) AS first_window, max(window_seq) AS last_window FROM batches"
        )[0]

    def backlog(self) -> Backlog:
        """What the destination that this reader was opened beside has not settled yet."""
        row = self._rows(
            "SELECT count(*), ifnull(sum(points), 0), ifnull(sum(length(payload)), 0), min(window_end),"
            f" min(window_seq), max(window_seq) FROM batches b WHERE {_UNSENT}"
        )[0]
        return Backlog(*row)

    def waiting_since(self) -> float | None:
        """When the oldest unsent batch of that destination began to wait, Unix seconds.

        That is its window's end or, if an operator made it unsent again later, that instant: a replay of last
        week's batches is not a delivery that has been failing for a week.
        """
        again = (
            "(SELECT max(c.at) FROM delivery.changes c"
            " WHERE c.command <> 'hold' AND b.id BETWEEN c.first_batch AND c.last_batch)"
        )
        since = self._rows(f"SELECT min(max(b.window_end, ifnull({again}, 0))) FROM batches b WHERE {_UNSENT}")
        return None if since[0][0] is None else float(since[0][0])

    def unsent_oldest(self, limit: int = PAGE) -> list[Header]:
        """The oldest unsent batches of that destination, oldest first."""
        return self._headers(f"SELECT {_HEADER} FROM batches b WHERE {_UNSENT} ORDER BY id LIMIT ?", (limit,))

    def unsent_through(self, batch_id: int) -> int:
        """How many batches with ids up to `batch_id` are unsent at that destination."""
        return int(self._rows(f"SELECT count(*) FROM batches b WHERE {_UNSENT} AND b.id <= ?", (batch_id,))[0][0])

    def settled_counts(self) -> dict[str, int]:
        """How many of the batches held here are in each state at that destination, unsent left out."""
        return dict(
            self._rows("SELECT s.state, count(*) FROM delivery.states s JOIN batches b ON b.id = s.batch GROUP BY 1")
        )

    def unsent_newest(self, windows: int = 1) -> list[Header]:
        """Those batches of the newest `windows` windows that are unsent, oldest id first; usually one or none."""
        return self._headers(
            f"SELECT {_HEADER} FROM batches b WHERE {_NO_STATE} AND window_seq >"
            " (SELECT window_seq FROM batches ORDER BY id DESC LIMIT 1) - ?"
            # One bound, the higher of the two: SQLite begins its search at one only, which may be a backlog away.
            f" AND b.id > max({_SETTLED_THROUGH},"
            " (SELECT min(first_batch) - 1 FROM (SELECT first_batch FROM windows ORDER BY seq DESC LIMIT ?)))"
            " ORDER BY id",
            (windows, windows),
        )

    def first_told(self) -> int:
        """The lowest id of which a batch or a row of `windows` tells: an audit asks for the states from there on."""
        rows = self._rows(
            "SELECT min(id) FROM (SELECT min(id) AS id FROM batches"
            " UNION ALL SELECT * FROM (SELECT first_batch FROM windows ORDER BY seq LIMIT 1))"
        )
        return int(rows[0][0] or 0)

    def windows(self, limit: int = PAGE, since: float = 0.0) -> list[dict[str, Any]]:
        """Rows of `windows` committed at or after `since`, newest first."""
        return self._dicts("SELECT * FROM windows WHERE committed_at >= ? ORDER BY seq DESC LIMIT ?", (since, limit))

    def intake(self, since: float, until: float = inf) -> dict[str, Any]:
        """What was committed in [since, until]: the columns of `windows` and the reasons of rejection added up."""
        return self._dicts(
            "SELECT count(*) AS windows, ifnull(sum(lines), 0) AS lines, ifnull(sum(accepted), 0) AS accepted,"
            " ifnull(sum(rejected), 0) AS rejected, ifnull(sum(dropped), 0) AS dropped,"
            " ifnull(sum(overflowed), 0) AS overflowed, ifnull(sum(points), 0) AS points,"
            " max(committed_at) AS last_commit_at"
            " FROM windows WHERE committed_at BETWEEN ? AND ?",
            (since, until),
        )[0] | {
            "rejected_by": dict(
                self._rows(
                    "SELECT r.key, sum(r.value) FROM windows w,"
                    # What the disk changed is for the audit to tell, not a reason to see nothing of the others.
                    " json_each(CASE WHEN json_valid(w.rejected_by) THEN w.rejected_by ELSE '{}' END) r"
                    " WHERE w.committed_at BETWEEN ? AND ? GROUP BY 1 ORDER BY 2 DESC",
                    (since, until),
                )
            )
        }

    def losses(self, since: float = 0.0, limit: int = PAGE, after: int = 0) -> list[dict[str, Any]]:
        """Rows of `losses` since `since` and with an id above `after`, newest first."""
        sql = "SELECT * FROM losses WHERE at >= ? AND id > ? ORDER BY id DESC LIMIT ?"
        return self._dicts(sql, (since, after, limit))

    def losses_of(self, batch_id: int) -> list[dict[str, Any]]:
        """Rows of `losses` whose range has this batch, newest first."""
        return self._dicts(
            "SELECT * FROM losses WHERE ? BETWEEN first_batch AND last_batch ORDER BY id DESC", (batch_id,)
        )

    def last_id(self) -> int:
        """The highest id that a batch of this spool has had, held or not; 0 before the first."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'batches'")
        return int(rows[0][0]) if rows else 0

    def changes(self, limit: int = PAGE) -> list[dict[str, Any]]:
        """What operators had the collector change in the spool, newest first."""
        return self._dicts("SELECT * FROM changes ORDER BY id DESC LIMIT ?", (limit,))

    def lost(self, since: float, until: float = inf, with_dead: bool = True) -> dict[str, Any]:
        """Losses in [since, until] added up: `rows`, `batches`, `points`, and `last_at` (None: there were none).

        Without `with_dead`, those are left out that had been dead or expired before (`age_dead`, `pruned by ann
        (dead)` ...). Rows of numbers that a salvage left out for safety lost nothing and are not counted.
        """
        return self._dicts(
            "SELECT count(*) AS rows, ifnull(sum(batches), 0) AS batches, ifnull(sum(points), 0) AS points,"
            " max(at) AS last_at FROM losses WHERE at BETWEEN ? AND ?"
            " AND NOT (reason = 'damage' AND batches + points = 0)"
            " AND (? OR (reason NOT LIKE '%\\_dead' ESCAPE '\\' AND reason NOT LIKE '%(dead)'))",
            (since, until, with_dead),
        )[0]
