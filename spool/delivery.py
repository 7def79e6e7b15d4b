"""What became of each batch at one destination: `delivery-NAME.db`, written by that destination's shipper.

A batch that has no row in `states` is unsent. There is no in-flight state: a batch being sent right now is a fact
about a process, and disappears with it. Losing this file costs duplicates under the same keys, never data.

The few operator's commands that change delivery state (hold, release, replay) use the same class, each in one short
BEGIN IMMEDIATE transaction that also leaves a row in `changes`: who, when, what.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from math import inf
from pathlib import Path
from typing import Any, cast

from spool.batch import Batch
from spool.batch import State as State  # noqa: PLC0414 - a pure module's, offered here beside what stores it
from spool.connection import inode, look_for_damage, open_reader, whole, write
from spool.ledger import AttemptRow as AttemptRow  # noqa: PLC0414 - the values that this file stores
from spool.ledger import Condition as Condition  # noqa: PLC0414
from spool.ledger import Settled as Settled  # noqa: PLC0414
from spool.ledger import Terms as Terms  # noqa: PLC0414
from spool.ledger import ranges as ranges  # noqa: PLC0414
from spool.ledger import within as within  # noqa: PLC0414
from spool.schema import DELIVERY_READABLE, DELIVERY_STEPS, check
from spool.sound import open_sound

BUSY_S = 5.0

_CONDITION = ", ".join(each.name for each in fields(Condition))
_ATTEMPT = ", ".join(each.name for each in fields(AttemptRow))


def file_name(destination: str) -> str:
    """The name of a destination's delivery file."""
    return f"delivery-{destination}.db"


def destinations_on_disk(directory: Path) -> list[str]:
    """Destinations that have a delivery file in `directory`, configured or not."""
    return sorted(
        path.stem.removeprefix("delivery-") for path in directory.glob("delivery-*.db") if path.suffix == ".db"
    )


class DeliveryReader:
    """An open, read-only delivery file. Every method reads a bounded page and holds nothing afterwards."""

    def __init__(self, directory: Path, destination: str, busy_s: float = BUSY_S) -> None:
        """Open the file of `destination`, waiting up to `busy_s` for a lock. Raises SpoolMissing if there is none."""
        self.destination = destination
        self.path = directory / file_name(destination)
        self._connection = open_reader(self.path, busy_s)
        try:
            self._schema = check(self._connection, self.path, DELIVERY_STEPS, DELIVERY_READABLE)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "DeliveryReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _dicts(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        with whole(self.path):
            cursor = self._connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _one(self, sql: str) -> Any:
        with whole(self.path):
            return self._connection.execute(sql).fetchone()

    def _meta(self, name: str, made: Callable[[str], Any]) -> Any:
        with whole(self.path):
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return made(row[0]) if row else None

    def spool_id(self) -> str | None:
        """The spool that the states belong to; another spool's ids mean other batches."""
        return cast("str | None", self._meta("spool_id", str))

    def settled_through(self) -> int:
        """Every batch up to and including this id has a state: where a search for unsent ones may begin."""
        return self._meta("settled_through", int) or 0

    def states(self, first: int, last: int) -> dict[int, State]:
        """The states of the batches with ids in [first, last]; those that are not in it are unsent."""
        rows = self._dicts("SELECT batch, state FROM states WHERE batch BETWEEN ? AND ?", (first, last))
        with whole(self.path):
            return {row["batch"]: State(row["state"]) for row in rows}

    def terms(self) -> Terms | None:
        """On what terms the server takes batches, None while no shipper has said so."""
        return cast("Terms | None", self._meta("terms", lambda text: Terms(**json.loads(text))))

    def renewals(self, first: int, last: int) -> dict[int, int]:
        """How often the batches with ids in [first, last] were made new by an operator, those that never were left out.

        Of a batch that is unsent this stays as it is until the batch has a state again.
        """
        if self._schema < 2:
            return {}
        rows = self._dicts("SELECT batch, times FROM renewals WHERE batch BETWEEN ? AND ?", (first, last))
        return {row["batch"]: row["times"] for row in rows}

    def look_for_damage(self, within_s: float) -> bool:
        """SQLite's quick check for at most `within_s`; False if that was too short. Raises SpoolDamaged."""
        return look_for_damage(self._connection, self.path, within_s)

    def last_batch(self) -> int:
        """The highest id of a batch that this file tells of."""
        row = self._one(
            "SELECT max(ifnull((SELECT max(batch) FROM states), 0), ifnull((SELECT max(last_batch) FROM attempts), 0))"
        )
        return max(int(row[0]), self.settled_through())

    def states_since(self, state: State, first: int, last: int) -> dict[int, float]:
        """Since when (Unix seconds) those batches with ids in [first, last] are in `state` that are in it."""
        sql = "SELECT batch, at FROM states WHERE batch BETWEEN ? AND ? AND state = ?"
        return {row["batch"]: row["at"] for row in self._dicts(sql, (first, last, str(state)))}

    def state_rows(self, state: State | None = None, limit: int = 500) -> list[dict[str, Any]]:
        """Rows of `states` (batch, state, at, attempt, reason), newest batch first."""
        wanted = None if state is None else str(state)
        sql = "SELECT * FROM states WHERE ? IS NULL OR state = ? ORDER BY batch DESC LIMIT ?"
        return self._dicts(sql, (wanted, wanted, limit))

    def state_row(self, batch_id: int) -> dict[str, Any] | None:
        """The row of one batch, or None while it is unsent."""
        rows = self._dicts("SELECT * FROM states WHERE batch = ?", (batch_id,))
        with whole(self.path):
            return rows[0] | {"state": State(rows[0]["state"])} if rows else None

    def counts(self, since: float = 0.0, until: float = inf) -> dict[str, int]:
        """How many batches came into each state in [since, until], unsent left out."""
        sql = "SELECT state, count(*) AS n FROM states WHERE at BETWEEN ? AND ? GROUP BY 1"
        return {row["state"]: row["n"] for row in self._dicts(sql, (since, until))}

    def came_to_an_end(self, since: float, until: float) -> dict[str, int]:
        """How many batches became dead and expired in [since, until], without what an operator dropped (give_up)."""
        ended = "at BETWEEN ? AND ? AND state IN ('dead', 'expired') AND ifnull(reason, '') NOT LIKE 'dropped by %'"
        rows = self._dicts(f"SELECT state, count(*) AS n FROM states WHERE {ended} GROUP BY 1", (since, until))
        return {row["state"]: row["n"] for row in rows}

    def condition(self) -> Condition:
        """The destination's condition."""
        row = self._one(f"SELECT {_CONDITION} FROM condition")
        return Condition(*row) if row else Condition()

    def attempts(self, since: float = 0.0, batch_id: int | None = None, limit: int = 500) -> list[dict[str, Any]]:
        """Rows of `attempts` that began since `since`, newest first; with `batch_id`, those that carried it."""
        rows = self._dicts(
            "SELECT * FROM attempts WHERE started_at >= ? AND (? IS NULL OR ? BETWEEN first_batch AND last_batch)"
            " ORDER BY id DESC LIMIT ?",
            (since, batch_id, batch_id, limit),
        )
        return [row for row in rows if batch_id is None or within(batch_id, row["ids"])]

    def attempts_over(self, first: int, last: int, limit: int = 5_000) -> list[dict[str, Any]]:
        """The newest attempts that carried batches with ids within [first, last], newest first: outcome and error."""
        return self._dicts(
            "SELECT id, started_at, first_batch, last_batch, ids, outcome, error FROM attempts"
            " WHERE last_batch >= ? AND first_batch <= ? ORDER BY id DESC LIMIT ?",
            (first, last, limit),
        )

    def minutes(self, since: float = 0.0, until: float = inf, limit: int = 100_000) -> list[dict[str, Any]]:
        """One row per minute (`minute` is Unix seconds) of backlog, acknowledged and failed, oldest first."""
        sql = "SELECT * FROM minutes WHERE minute BETWEEN ? AND ? ORDER BY minute LIMIT ?"
        return self._dicts(sql, (since, until, limit))

    def changes(self, since: float = 0.0, limit: int = 500) -> list[dict[str, Any]]:
        """What operators changed, newest first."""
        return self._dicts("SELECT * FROM changes WHERE at >= ? ORDER BY id DESC LIMIT ?", (since, limit))


class Delivery(DeliveryReader):
    """An open delivery file that may be written."""

    def __init__(self, directory: Path, destination: str, connection: sqlite3.Connection) -> None:
        self.destination = destination
        self.path = directory / file_name(destination)
        self._connection, self._schema = connection, len(DELIVERY_STEPS)
        self._newest_change: object = None  # as of the last call of settle_through
        self._inode = inode(self.path)

    def replaced(self) -> bool:
        """Whether somebody removed or replaced the file: what is written here nobody will read. Open it anew then."""
        return inode(self.path) != self._inode

    @classmethod
    def open(cls, directory: Path, destination: str, spool_id: str) -> "Delivery":
        """Open or create the file of `destination` for the spool `spool_id`.

        A file that belongs to another spool is set aside under a name that says so: its ids mean other batches.
        Raises SpoolUnusable, SpoolDamaged or SpoolBusy.
        """
        path = directory / file_name(destination)
        delivery = cls._open(directory, destination)
        owner = delivery.spool_id()
        if owner not in (None, spool_id):
            delivery.close()
            path.rename(path.with_name(f"{path.name}.of-spool-{owner}"))
            for leftover in (f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(leftover).unlink(missing_ok=True)
            delivery = cls._open(directory, destination)
        with write(delivery._connection, path) as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('spool_id', ?)", (spool_id,))
            db.execute("INSERT OR IGNORE INTO meta VALUES ('settled_through', '0')")
        return delivery

    @classmethod
    def _open(cls, directory: Path, destination: str) -> "Delivery":
        return cls(directory, destination, open_sound(directory / file_name(destination), BUSY_S))

    def record(
        self,
        attempt: AttemptRow,
        settled: Mapping[int, Settled],
        condition: Condition,
        settled_through: int | None = None,
    ) -> None:
        """Keep one finished attempt, the states it brought, and the destination's condition: one transaction.

        `settled_through`: what the search before this attempt found; see there.
        """
        marks = ", ".join("?" * len(fields(AttemptRow)))
        with write(self._connection, self.path) as db:
            row = db.execute(f"INSERT INTO attempts ({_ATTEMPT}) VALUES ({marks})", astuple(attempt))
            self._settle(db, settled, attempt.started_at + attempt.total_ms / 1000, row.lastrowid)
            self._set_condition(db, condition)
            if settled_through is not None:
                self._settle_through(db, settled_through)

    def settle(self, settled: Mapping[int, Settled], at: float) -> None:
        """Give batches a state without an attempt: expired before it was sent, rotten on the disk."""
        with write(self._connection, self.path) as db:
            self._settle(db, settled, at, None)

    @staticmethod
    def _settle(db: sqlite3.Connection, settled: Mapping[int, Settled], at: float, attempt: int | None) -> None:
        # A state that an operator set meanwhile (held) stays: the batch arrived all the same, or will after release.
        db.executemany(
            "INSERT INTO states (batch, state, at, attempt, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (batch) DO"
            " UPDATE SET state = excluded.state, at = excluded.at, attempt = excluded.attempt, reason = excluded.reason"
            " WHERE excluded.state = 'acknowledged'",
            [(batch, str(each.state), at, attempt, each.reason) for batch, each in settled.items()],
        )

    @staticmethod
    def _set_condition(db: sqlite3.Connection, condition: Condition) -> None:
        assignments = ", ".join(f"{each.name} = ?" for each in fields(Condition))
        db.execute(f"UPDATE condition SET {assignments}", astuple(condition))

    def set_condition(self, condition: Condition) -> None:
        """Store the destination's condition alone."""
        with write(self._connection, self.path) as db:
            self._set_condition(db, condition)

    def settle_through(self, batch_id: int) -> None:
        """Note that every batch up to `batch_id` has a state, so that no search looks at them again.

        Does nothing if an operator changed states since the last call: a batch that the caller saw settled may be
        unsent again. The caller searches anew between two calls, so the next one is right.
        """
        with write(self._connection, self.path) as db:
            self._settle_through(db, batch_id)

    def _settle_through(self, db: sqlite3.Connection, batch_id: int) -> None:
        newest = db.execute("SELECT max(id) FROM changes").fetchone()
        if newest == self._newest_change:
            db.execute("UPDATE meta SET value = ? WHERE name = 'settled_through'", (str(batch_id),))
        self._newest_change = newest

    def set_terms(self, terms: Terms) -> None:
        """Note on what terms the server takes batches, if that is news."""
        if self.terms() != terms:
            with write(self._connection, self.path) as db:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('terms', ?)", (json.dumps(asdict(terms)),))

    def rewind(self, put_back: int) -> bool:
        """Look at all batches again if some came back to the spool, which `put_back` (SpoolReader's) tells."""
        if (self._meta("put_back", int) or 0) == put_back:
            return False
        with write(self._connection, self.path) as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('put_back', ?)", (str(put_back),))
            db.execute("UPDATE meta SET value = '0' WHERE name = 'settled_through'")
        return True

    def note_minute(self, minute: int, backlog: tuple[int, int, float | None], acknowledged: int, failed: int) -> None:
        """Keep the row of one minute. `backlog` is (batches, bytes, oldest window end) at its end."""
        with write(self._connection, self.path) as db:
            db.execute(
                "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?, ?)",
                (minute, *backlog, acknowledged, failed),
            )

    def forget(self, before: float, below_batch: int) -> None:
        """Delete history from before `before` (Unix seconds), and states of batches under `below_batch` that old."""
        old = (
            ("DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE started_at < ? LIMIT 1000)", (before,)),
            (
                "DELETE FROM states WHERE batch IN (SELECT batch FROM states WHERE batch < ? AND at < ? LIMIT 1000)",
                (below_batch, before),
            ),
            (
                "DELETE FROM renewals WHERE batch IN (SELECT batch FROM renewals WHERE batch < ? LIMIT 1000)",
                (below_batch,),
            ),
            ("DELETE FROM minutes WHERE minute < ?", (before,)),
        )
        for statement, values in old:
            deleted = 1000
            while deleted == 1000:  # a transaction for each thousand, so that an operator's command gets its turn
                with write(self._connection, self.path) as db:
                    deleted = db.execute(statement, values).rowcount

    def hold(self, ids: Sequence[int], at: float, who: str) -> int:
        """Keep unsent batches back until they are released. Returns how many there were."""
        with write(self._connection, self.path) as db:
            before = db.total_changes
            db.executemany(
                "INSERT OR IGNORE INTO states (batch, state, at, reason) VALUES (?, 'held', ?, ?)",
                [(each, at, f"held by {who}") for each in ids],
            )
            changed = db.total_changes - before
            self._note_change(db, at, who, "hold", ids, changed)
            return changed

    def make_unsent(
        self, ids: Sequence[int], at: float, who: str, command: str, of: Iterable[State], as_new: bool = False
    ) -> int:
        """Send batches again: remove their states, if these are among `of`. Returns how many there were.

        The keys and bytes stay what they were, so a receiver that knows them counts each once. With `as_new` each goes
        under a key that it never had, which a receiver takes for a batch that it does not know.
        """
        wanted = [str(each) for each in of]
        places = ", ".join("?" * len(wanted))
        with write(self._connection, self.path) as db:
            if as_new:
                db.executemany(
                    f"INSERT INTO renewals SELECT batch, 1 FROM states WHERE batch = ? AND state IN ({places})"
                    " ON CONFLICT (batch) DO UPDATE SET times = times + 1",
                    [(each, *wanted) for each in ids],
                )
            before = db.total_changes
            db.executemany(
                f"DELETE FROM states WHERE batch = ? AND state IN ({places})",
                [(each, *wanted) for each in ids],
            )
            changed = db.total_changes - before
            if ids:
                db.execute(
                    "UPDATE meta SET value = min(CAST(value AS INTEGER), ?) WHERE name = 'settled_through'",
                    (min(ids) - 1,),
                )
            self._note_change(db, at, who, command, ids, changed)
            return changed

    def give_up(self, ids: Sequence[int], at: float, who: str) -> int:
        """Make dead batches expired, by decision of `who`. Returns how many there were.

        The instant at which they came to their end stays; the one of the decision is in `changes`.
        """
        with write(self._connection, self.path) as db:
            before = db.total_changes
            db.executemany(
                "UPDATE states SET state = 'expired', reason = ? || coalesce('; was dead: ' || reason, '')"
                " WHERE batch = ? AND state = 'dead'",
                [(f"dropped by {who}", each) for each in ids],
            )
            changed = db.total_changes - before
            self._note_change(db, at, who, "dead drop", ids, changed)
            return changed

    @staticmethod
    def _note_change(
        db: sqlite3.Connection, at: float, who: str, command: str, ids: Sequence[int], changed: int
    ) -> None:
        db.execute(
            "INSERT INTO changes (at, who, command, batches, first_batch, last_batch, ids)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at, who, command, changed, min(ids, default=None), max(ids, default=None), ranges(ids)),
        )


def rotten(batch: Batch) -> Settled:
    """The end of a batch whose payload lost its hash: kept and listed, never sent."""
    return Settled(State.DEAD, f"payload of batch {batch.id} no longer has its hash")
