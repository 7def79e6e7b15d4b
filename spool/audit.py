"""Reads what accounts.py compares: the spool in one short snapshot, each delivery file before and after it.

So a state that is set, or a batch that is evicted, while the files are read is seen for what it is. Nothing is written
and no payload is read. Promises that what is wrong in one reading and right in the next is not reported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spool.accounts import Audit, BatchRow, Books, Ledger, LossRow, WindowRow, audit
from spool.batch import State
from spool.connection import FILE, open_reader, whole
from spool.delivery import DeliveryReader
from spool.errors import HoldfastError, SpoolDamaged, SpoolMissing
from spool.schema import SPOOL_STEPS, check

READINGS = 3
BETWEEN_S = 0.3
"""What does not add up is read again so often, after so long, before it is believed."""

_ALL = 2**62
_WINDOW, _BATCH = (int, float, float, *(int,) * 6, str, int), (int, int, int)


def audited(directory: Path, destinations: Sequence[str], wait: Callable[[float], None]) -> Audit:
    """Audit the spool in `directory`; `wait` sleeps (s). Raises what opening spool.db raises."""
    result = audit(read_books(directory, destinations))
    for _ in range(READINGS - 1):
        if not result.problems:
            break
        wait(BETWEEN_S)
        result = audit(read_books(directory, destinations))
    return result


def read_books(directory: Path, destinations: Sequence[str], since_batch: int = 0) -> Books:
    """Everything an audit compares; with `since_batch`, of windows and batches from that id on."""
    before = {name: _states(directory, name) for name in destinations}
    path = directory / FILE
    connection = open_reader(path)
    try:
        check(connection, path, SPOOL_STEPS)
        with whole(path):
            connection.execute("BEGIN")  # one snapshot for all of it
            named = connection.execute("SELECT value FROM meta WHERE name = 'spool_id'").fetchone()
            if named is None:  # between the first two transactions of its life
                raise SpoolMissing(f"{path}: is not set up yet. The collector does that when it starts.")
            windows = connection.execute(
                "SELECT seq, window_start, window_end, first_batch, last_batch, points, lines, accepted, rejected,"
                " rejected_by, dropped FROM windows WHERE last_batch >= ? ORDER BY seq",
                (since_batch,),
            ).fetchall()
            batches = connection.execute(
                "SELECT id, window_seq, points FROM batches WHERE id >= ? ORDER BY id", (since_batch,)
            ).fetchall()
            losses = connection.execute(
                "SELECT reason, first_batch, last_batch, first_window, last_window, batches, points FROM losses"
                " ORDER BY id"
            ).fetchall()
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
            connection.execute("COMMIT")
    finally:
        connection.close()
    if {tuple(map(type, row)) for row in (*windows, *batches)} - {_WINDOW, _BATCH}:
        raise SpoolDamaged(f"{path}: rows without values. The collector sets a damaged spool aside when it starts.")
    return Books(
        windows=[WindowRow._make((*row[:9], _total(row[9]), row[10])) for row in windows],
        batches=[BatchRow(*row) for row in batches],
        losses=[LossRow(*row) for row in losses],
        ledgers=[_ledger(directory, name, named[0], before[name]) for name in destinations],
        last_batch=int(last[0]) if last else 0,
    )


_Read = tuple[str | None, int, Mapping[int, State], str | None]


def _states(directory: Path, name: str) -> _Read:
    """Owner, settled_through and states of a delivery file, or why they cannot be read."""
    try:
        with DeliveryReader(directory, name) as delivery:
            # In this order: what is counted as settled was so before the states are read.
            return delivery.spool_id(), delivery.settled_through(), delivery.states(0, _ALL), None
    except HoldfastError as error:
        return None, 0, {}, str(error)


def _ledger(directory: Path, name: str, spool_id: str, before: _Read) -> Ledger:
    owner, settled_through, states, problem = before
    if problem is not None:
        return Ledger(name, problem=problem)
    if owner != spool_id:
        return Ledger(name, problem="its delivery file belongs to another spool")
    _, _, later, problem = _states(directory, name)
    return Ledger(name, states, later or states, settled_through, problem)


def _total(rejected_by: str) -> int:
    try:
        return sum(json.loads(rejected_by).values())
    except (ValueError, AttributeError, TypeError):
        return -1
