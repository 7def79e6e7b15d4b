"""What happens in a spool, as it happens: committed, sent, failed, dead, expired, parked, resumed, lost, changed.

Reads the newest rows of each table again and again and tells those that it has not told. Promises: read-only, nothing
stays open between two looks, each thing is told once, the oldest first within a look. Not promised: order across two
looks, and everything: of more than MANY new rows in a table between two looks only the newest are told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from spool.batch import State
from spool.delivery import DeliveryReader
from spool.human import count, counted, size, span
from spool.ledger import Condition, ranges
from spool.reader import SpoolReader

MANY = 500

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened at `at` (Unix seconds), at a destination or (None) in the spool.

    `batches` are ids as text, "8841-8850,8852"; `text` says it to a person.
    """

    at: float
    what: str
    destination: str | None
    batches: str
    text: str


class Tail:
    """What happened since the last look."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None], float] = {}
        self._parked: dict[str, float | None] = {}

    def look(self, spool: SpoolReader, deliveries: Mapping[str, DeliveryReader | None]) -> list[Happening]:
        """What is new, the oldest first. The first look gives the newest of everything that is there."""
        found = list(self._of_spool(spool))
        for name, delivery in deliveries.items():
            if delivery is not None:
                found += self._of_destination(name, delivery)
        return sorted(found, key=lambda each: each.at)

    def _new(self, table: str, destination: str | None, rows: Sequence[Row], number: str) -> Iterator[Row]:
        """Those of `rows`, newest first, whose `number` is above the highest that was told."""
        seen = self._seen.get((table, destination), -1)
        yield from (row for row in rows if row[number] > seen)
        self._seen[table, destination] = max([seen, *(row[number] for row in rows)])

    def _of_spool(self, spool: SpoolReader) -> Iterator[Happening]:
        for row in self._new("windows", None, spool.windows(MANY), "seq"):
            yield Happening(row["committed_at"], "committed", None, _run(row), _committed(row))
        for row in self._new("losses", None, spool.losses(limit=MANY), "id"):
            what = f"{counted(row['points'], 'point', 'points')} lost, {row['reason']}, unsent at {row['unsent_at']}"
            yield Happening(row["at"], "lost", None, _run(row), what)
        for row in self._new("changes", None, spool.changes(MANY), "id"):
            yield _changed(row, None)

    def _of_destination(self, name: str, delivery: DeliveryReader) -> Iterator[Happening]:
        attempts = list(self._new("attempts", name, delivery.attempts(limit=MANY), "id"))
        for row in attempts:
            what = "sent" if row["outcome"] == "acknowledged" else "failed"
            yield Happening(_ended_at(row), what, name, row["ids"], _attempted(row))
        for state in (State.DEAD, State.EXPIRED):
            for row in self._new(str(state), name, delivery.state_rows(state, MANY), "at"):
                yield Happening(row["at"], str(state), name, str(row["batch"]), row["reason"] or "")
        for row in self._new("changes", name, delivery.changes(limit=MANY), "id"):
            yield _changed(row, name)
        parkings, self._parked[name] = parked_and_resumed(
            name, attempts[::-1], delivery.condition(), self._parked.get(name)
        )
        yield from parkings


def parked_and_resumed(
    name: str, attempts: Sequence[Row], condition: Condition, since: float | None
) -> tuple[list[Happening], float | None]:
    """When destination `name` was parked and resumed, by its new `attempts`, oldest first, and since when it is parked.

    `since`: what was said of that before. What attempts do not tell, as when ten refusals in a row park, the
    `condition` does, which is read after them. A parking that began among attempts that were left out is not told.
    """
    found = []
    if len(attempts) == MANY:
        attempts = list(dropwhile(lambda row: row["outcome"] == "park", attempts))
    for row in attempts:
        at = _ended_at(row)
        if row["outcome"] == "park" and since is None:
            since = at
            found.append(Happening(at, "parked", name, "", row["error"] or ""))
        elif row["outcome"] == "acknowledged" and since is not None:
            found.append(Happening(at, "resumed", name, "", f"after {span(at - since)}"))
            since = None
    if condition.parked_since is not None and since is None:
        since = condition.parked_since
        found.append(Happening(since, "parked", name, "", condition.parked_reason or ""))
    elif condition.parked_since is None and since is not None:
        at = condition.last_ack_at or condition.last_attempt_at or since
        found.append(Happening(at, "resumed", name, "", f"after {span(at - since)}"))
        since = None
    return found, since


def follow(
    look: Callable[[], Sequence[Happening]], wait: Callable[[float], None], every_s: float
) -> Iterator[Happening]:
    """What `look` finds, for ever."""
    while True:
        yield from look()
        wait(every_s)


def _run(row: Row) -> str:
    first, last = row["first_batch"], row["last_batch"]
    return "" if first is None else ranges({first, last}) if last - first < 2 else f"{first}-{last}"


def _ended_at(attempt: Row) -> float:
    return float(attempt["started_at"] + attempt["total_ms"] / 1000)


def _committed(row: Row) -> str:
    rejected = f", {count(row['rejected'])} lines rejected" if row["rejected"] else ""
    dropped = f", {count(row['dropped'])} datagrams dropped by the kernel" if row["dropped"] else ""
    return f"{counted(row['points'], 'point', 'points')} of {count(row['lines'])} lines{rejected}{dropped}"


def _attempted(row: Row) -> str:
    took = f"{counted(row['batches'], 'batch', 'batches')}, {size(row['body_bytes'])} in {row['total_ms']:,.0f} ms"
    if row["outcome"] == "acknowledged":
        return took
    return f"{took}: {row['outcome']} in phase {row['phase']}" + (f": {row['error']}" if row["error"] else "")


def _changed(row: Row, destination: str | None) -> Happening:
    return Happening(
        row["at"],
        "changed",
        destination,
        row["ids"],
        f"{row['command']} by {row['who']}: {counted(row['batches'], 'batch', 'batches')}",
    )
