"""The receiver's own database, `received.db`: what arrived, exactly once by key.

    sqlite3 data/receiver/received.db "select name, sum(value) from points where type = 'counter' group by 1"

`points` is a view for people; beneath it each series is stored once and each reading is a number. Events and service
checks, with their words, are in the view `events`. Promises: a body is stored in one transaction, and `add` returns
after it is on the disk (WAL, synchronous=FULL); a key is stored once for as long as it is kept, and so is each point of
a batch that came whole, in parts, or both; what fails leaves nothing behind. Readers see committed bodies only and
never hold up a writer. Does not promise to remember a key longer than its data (`forget`).

With reader.py the only place outside spool/ with SQL. One connection writes, under a lock, from whatever thread.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shipper.receiver.intake import Arrival, Refusal, Series, part_of
from spool.errors import HoldfastError

SCHEMA_VERSION = 2
LOCK_DEADLINE_S = 5.0
CHECKINS_KEPT = 1_000
PROBE_BYTES = 65_536

EVENTS = """
create table said (
    batch integer not null, place integer not null, name text not null, type text not null, tags text not null,
    count real not null, value real, fields text not null, primary key (batch, place)
) without rowid;
create view events as
    select p.batch, b.window_end as ts, b.host, p.name, p.type, p.tags, p.count, p.value, p.fields
    from said p join batches b on b.id = p.batch;
"""
SCHEMA = (
    """
create table batches (
    id integer primary key, key text not null unique, host text not null, spool_id text not null,
    sha256 text not null, window_start real not null, window_end real not null, window_seq integer not null,
    received_at real not null, points integer not null
);
create index batches_by_age on batches (received_at);
create index batches_by_window on batches (host, window_end, window_start);
create table series (
    id integer primary key, host text not null, name text not null, type text not null, tags text not null,
    unique (name, type, tags, host)
);
create table readings (
    batch integer not null, series integer not null, stat text not null, value real not null,
    primary key (batch, series, stat)
) without rowid;
create index readings_by_series on readings (series);
create table sketches (
    batch integer not null, series integer not null, sketch text not null, primary key (batch, series)
) without rowid;
create table hosts (
    host text primary key, batches integer not null, points integer not null, first_at real not null,
    last_at real not null, last_window_end real not null
);
create table runs (
    host text not null, spool_id text not null, first_seq integer not null, last_seq integer not null,
    first_start real, last_end real, primary key (host, spool_id, first_seq)
) without rowid;
create table checkins (
    id integer primary key, host text not null, received_at real not null, body text not null
);
create index checkins_by_host on checkins (host, id);
create table probe (id integer primary key, filler blob not null);
create view points as
    select r.batch, b.window_end as ts, s.host, s.name, s.type, s.tags, r.stat, r.value
    from readings r join series s on s.id = r.series join batches b on b.id = r.batch;
"""
    + EVENTS
)
"""`runs` has the ranges of window sequence numbers that arrived, by host and spool, and when they began and ended: gaps
lie between them. The instants are null where schema 1 had not kept them."""

UPGRADE = (
    """
create index batches_by_window on batches (host, window_end, window_start);
alter table runs add column first_start real;
alter table runs add column last_end real;
"""
    + EVENTS
)
"""From schema 1, which had no index by the time of windows and knew no instants of runs and no events."""


class StoreUnusable(HoldfastError):
    """The database cannot be opened: wrong place, owner or schema."""

    exit_code = 2


class StoreBusy(HoldfastError):
    """A write was refused for now; nothing of it was stored."""

    exit_code = 75


class StoreFull(StoreBusy):
    """There is no room left on the disk."""


@dataclass(slots=True)
class Receipt:
    """What became of each batch of a body, by key; `host` is who sent the last of them, for the log."""

    accepted: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    rejected: list[Refusal] = field(default_factory=list)
    host: str | None = None


class Store:
    """The writing side. Open with `Store.open`, close when done; methods may be called from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """Open or make the database in `directory`, which is made (0700) if missing. Raises StoreUnusable."""
        path = directory / "received.db"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=LOCK_DEADLINE_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"{path}: cannot be opened: {error}. Check [receiver] dir.") from None
        try:
            _prepare(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnusable(f"{path}: cannot be used: {error}. Check its owner, mode and disk.") from None
        except StoreUnusable:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        """End the connection; the write-ahead log is folded into the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, whatever is raised inside. Raises StoreBusy or StoreFull if SQLite refuses."""
        if not self._lock.acquire(timeout=LOCK_DEADLINE_S):
            raise StoreBusy("other requests are being stored; try again")
        try:
            self._connection.execute("begin immediate")
            yield self._connection
            self._connection.execute("commit")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StoreFull("the disk is full: nothing was stored") from error
            raise StoreBusy(f"the database refused the write ({error}): nothing was stored") from error
        finally:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
            finally:
                self._lock.release()

    def add(self, batches: Iterable[Arrival | Refusal], received_at: float) -> Receipt:
        """Store a body: every batch whose key is new. What `batches` raises leaves nothing stored."""
        receipt = Receipt()
        ids: dict[tuple[str, Series], int] = {}
        with self._transaction() as db:
            for batch in batches:
                if isinstance(batch, Refusal):
                    receipt.rejected.append(batch)
                    continue
                receipt.host = batch.host
                known = {key: (row, sha256) for key, row, sha256 in _stored(db, batch.of)}
                if batch.key in known:
                    sha256 = known[batch.key][1]
                    if sha256 == batch.sha256:
                        receipt.duplicate.append(batch.key)
                    else:
                        error = f"stored with other content ({sha256[:8]}, now {batch.sha256[:8]})"
                        receipt.rejected.append(Refusal(batch.key, error))
                elif any(_holds(part_of(key), batch.part) for key in known):
                    receipt.duplicate.append(batch.key)
                else:
                    for key, (row, _) in known.items():
                        if _holds(batch.part, part_of(key)):
                            _take_back(db, row)
                    _insert(db, batch, received_at, ids)
                    receipt.accepted.append(batch.key)
        return receipt

    def check_in(self, host: str, body: str, received_at: float) -> None:
        """Keep a check-in; the newest CHECKINS_KEPT of each host stay."""
        with self._transaction() as db:
            db.execute("insert into checkins (host, received_at, body) values (?, ?, ?)", (host, received_at, body))
            db.execute(
                "delete from checkins where host = ? and id <= "
                "(select id from checkins where host = ? order by id desc limit 1 offset ?)",
                (host, host, CHECKINS_KEPT),
            )

    def forget(self, older_than: float, most: int = 50) -> int:
        """Delete up to `most` batches received before `older_than` (Unix seconds); how many were deleted."""
        with self._transaction() as db:
            rows = db.execute(
                "select id from batches where received_at < ? order by received_at limit ?",
                (older_than, most),
            ).fetchall()
            for (batch,) in rows:
                series = db.execute("select distinct series from readings where batch = ?", (batch,)).fetchall()
                db.execute("delete from readings where batch = ?", (batch,))
                db.execute("delete from sketches where batch = ?", (batch,))
                db.execute("delete from said where batch = ?", (batch,))
                db.execute("delete from batches where id = ?", (batch,))
                db.executemany(
                    "delete from series where id = ?1 and not exists (select 1 from readings where series = ?1)",
                    series,
                )
        return len(rows)

    def probe(self) -> None:
        """Write to the disk for real. Raises StoreBusy or StoreFull if that cannot be done."""
        with self._transaction() as db:
            db.execute("insert into probe (filler) values (zeroblob(?))", (PROBE_BYTES,))
            db.execute("delete from probe")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set the connection up, make the schema in a new file. Raises StoreUnusable, sqlite3.Error."""
    connection.execute("pragma journal_mode = wal").fetchone()
    connection.execute("pragma synchronous = full")
    connection.execute("begin immediate")
    version = connection.execute("pragma user_version").fetchone()[0]
    if version in (0, 1):
        for statement in (UPGRADE if version else SCHEMA).split(";\n"):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path}: schema {version}, known is {SCHEMA_VERSION}. Use the Holdfast that wrote it, or another dir."
        )
    connection.execute("commit")


def _stored(db: sqlite3.Connection, of: str) -> list[tuple[str, int, str]]:
    """Key, row and hash of what is stored of a batch: itself, or parts of it. "0" is what follows "/" in ASCII."""
    return db.execute(
        "select key, id, sha256 from batches where key = ?1 union all"
        " select key, id, sha256 from batches where key > ?1 || '/' and key < ?1 || '0'",
        (of,),
    ).fetchall()


def _holds(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    """Whether part `one` of a batch (None: the whole) has all points of `other`."""
    return one is None or (other is not None and one[0] <= other[0] and other[1] <= one[1])


def _take_back(db: sqlite3.Connection, row: int) -> None:
    """Remove a part whose points are about to be stored again in what holds it."""
    host, points = db.execute("select host, points from batches where id = ?", (row,)).fetchone()
    db.execute("delete from readings where batch = ?", (row,))
    db.execute("delete from sketches where batch = ?", (row,))
    db.execute("delete from said where batch = ?", (row,))
    db.execute("delete from batches where id = ?", (row,))
    db.execute("update hosts set batches = batches - 1, points = points - ? where host = ?", (points, host))


def _insert(db: sqlite3.Connection, batch: Arrival, received_at: float, ids: dict[tuple[str, Series], int]) -> None:
    row = db.execute(
        "insert into batches"
        " (key, host, spool_id, sha256, window_start, window_end, window_seq, received_at, points)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?) returning id",
        (
            batch.key,
            batch.host,
            batch.spool_id,
            batch.sha256,
            batch.window_start,
            batch.window_end,
            batch.window_seq,
            received_at,
            batch.points,
        ),
    ).fetchone()[0]

    def series_id(series: Series) -> int:
        known = ids.get((batch.host, series))
        if known is None:
            who = (batch.host, series.name, series.type, series.tags)
            db.execute("insert or ignore into series (host, name, type, tags) values (?, ?, ?, ?)", who)
            known = ids[batch.host, series] = db.execute(
                "select id from series where host = ? and name = ? and type = ? and tags = ?", who
            ).fetchone()[0]
        return known

    db.executemany(
        "insert into readings (batch, series, stat, value) values (?, ?, ?, ?)",
        [(row, series_id(series), stat, value) for series, stat, value in batch.readings],
    )
    db.executemany(
        "insert into sketches (batch, series, sketch) values (?, ?, ?)",
        [(row, series_id(series), sketch) for series, sketch in batch.sketches],
    )
    db.executemany(
        "insert into said (batch, place, name, type, tags, count, value, fields) values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (row, each.place, each.series.name, each.series.type, each.series.tags, each.count, each.value, each.fields)
            for each in batch.said
        ],
    )
    db.execute(
        "insert into hosts values (?1, 1, ?2, ?3, ?3, ?4)"
        " on conflict (host) do update set batches = batches + 1,"
        " points = points + ?2, last_at = ?3, last_window_end = max(last_window_end, ?4)",
        (batch.host, batch.points, received_at, batch.window_end),
    )
    _extend_runs(db, batch)


def _extend_runs(db: sqlite3.Connection, batch: Arrival) -> None:
    """Add one window to the ranges that arrived, joining what it touches."""
    spool, seq = (batch.host, batch.spool_id), batch.window_seq
    before = db.execute(
        "select first_seq, last_seq, first_start from runs where host = ? and spool_id = ? and first_seq <= ?"
        " order by first_seq desc limit 1",
        (*spool, seq),
    ).fetchone()
    if before is not None and seq <= before[1]:
        return
    after = db.execute(
        "select last_seq, last_end from runs where host = ? and spool_id = ? and first_seq = ?",
        (*spool, seq + 1),
    ).fetchone()
    first, start, last, end = seq, batch.window_start, seq, batch.window_end
    if before is not None and before[1] == seq - 1:
        first, start = before[0], before[2]
    if after is not None:
        last, end = after
        db.execute("delete from runs where host = ? and spool_id = ? and first_seq = ?", (*spool, seq + 1))
    db.execute("insert or replace into runs values (?, ?, ?, ?, ?, ?)", (*spool, first, last, start, end))
