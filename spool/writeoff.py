"""What is gone with a damaged file is written off: a row of `losses`, reason 'damage', with what is known of it.

Promises: afterwards every batch that was ever committed is held, settled at every destination, or told of in `losses`.
Doing it again writes nothing twice. What was settled and evicted before a destination was added is no loss there.
Not promised: the points of batches whose window's row went too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection

from spool.accounts import DAMAGE, SETTLED, Books, Fate, Losses, WindowRow, fates
from spool.audit import read_books
from spool.carve import Row, Value
from spool.writer import SpoolWriter

_LOSS = (
    "at, reason, first_batch, last_batch, first_window, last_window, window_start, window_end, batches, points, lines,"
    " unsent_at"
)


def write_off(
    writer: SpoolWriter, destinations: Sequence[str], rotten: Mapping[int, Row], seen: tuple[int, int], at: float
) -> tuple[int, int]:
    """Write a row of `losses` for each run of batches that is gone and told of nowhere.

    `rotten` are rows that were found without their payload's hash, `seen` the first and last id that the damaged file
    had, 0 if nothing was read. Returns how many batches were rotten, and how many are lost, these among them.
    """
    books = read_books(writer.directory, destinations)
    with writer.transaction() as db:
        known = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'known_through'").fetchone()
    began = [each.began or 1 for each in books.ledgers if each.problem is None]
    first, last = seen[0] or min(began, default=1), max(seen[1], known[0] if known else 0)
    held = {each.id: each.points for each in books.batches}
    losses = Losses(books.losses)
    windows = {number: each for each in books.windows for number in range(each.first_batch, each.last_batch + 1)}
    expected = sorted({*range(first, last + 1), *windows, *rotten} - held.keys() - {0})
    runs: list[tuple[tuple[str, ...], list[int]]] = []
    for number in expected:
        told = fates(number, books.ledgers, losses)
        lost = (Fate.MISSING,) if _before(number, seen[0], books) else (Fate.MISSING, Fate.UNTOLD)
        unsent_at = tuple(name for name, fate in told.items() if name and fate in lost)
        if losses.has_batch(number) or (books.ledgers and not unsent_at):
            continue
        if runs and runs[-1][0] == unsent_at and runs[-1][1][-1] == number - 1:
            runs[-1][1].append(number)
        else:
            runs.append((unsent_at, [number]))
    with writer.transaction() as db:
        for unsent_at, numbers in runs:
            over = list({windows[each].seq: windows[each] for each in numbers if each in windows}.values())
            points = _points(numbers, over, held, rotten)
            start, end = min([each.start for each in over] or [at]), max([each.end for each in over] or [at])
            seqs = [each.seq for each in over] or [
                integer(rotten[each].values[4]) for each in numbers if each in rotten
            ]
            lines = sum(each.lines for each in over if each.first_batch in numbers)
            add_loss(
                db,
                (at, DAMAGE, numbers[0], numbers[-1], min(seqs, default=0), max(seqs, default=0), start, end)
                + (len(numbers), points, lines, json.dumps(unsent_at)),
            )
        for first, last in _windows_without_row(books, losses):
            add_loss(db, (at, DAMAGE, None, None, first, last, at, at, 0, 0, 0, "[]"))
    return len(rotten.keys() - held.keys()), sum(len(numbers) for _, numbers in runs)


def _before(number: int, first_seen: int, books: Books) -> bool:
    """Whether the batch went before those delivery files began that do not tell of it.

    Others had settled it then, or every file is younger. What is above the oldest that the damaged file had was held
    still: a new destination is sent the newest first.
    """
    if 0 < first_seen <= number:
        return False
    settled = any(each.state(number) in SETTLED for each in books.ledgers)
    return settled or all(each.began is not None and number < each.began for each in books.ledgers)


def _points(
    numbers: Sequence[int], windows: Sequence[WindowRow], held: Mapping[int, int], rotten: Mapping[int, Row]
) -> int:
    """Points of lost batches: of their windows what is not held, else what the rotten rows say."""
    if not windows:
        return sum(integer(rotten[each].values[6]) for each in numbers if each in rotten)
    return sum(
        each.points - sum(held.get(number, 0) for number in range(each.first_batch, each.last_batch + 1))
        for each in windows
    )


def _windows_without_row(books: Books, losses: Losses) -> Iterator[tuple[int, int]]:
    """Runs of numbers of windows that are neither kept nor told of: their counts of lines went."""
    known = {each.seq for each in books.windows}
    seqs = known | {each.window_seq for each in books.batches}
    first = last = None
    for seq in range(min(seqs, default=0), max(seqs, default=-1) + 1):
        if seq in known or losses.has_windows(seq, seq):
            continue
        if last is not None and first is not None and seq > last + 1:
            yield first, last
            first = None
        first, last = first or seq, seq
    if first is not None and last is not None:
        yield first, last


def add_loss(db: Connection, values: Sequence[Value]) -> None:
    """Write a row of `losses`, without its id."""
    db.execute(f"INSERT INTO losses ({_LOSS}) VALUES ({places(values)})", values)


def integer(value: Value) -> int:
    """A column that must be a whole number; 0 for anything else."""
    return value if isinstance(value, int) else 0


def places(values: Sequence[object]) -> str:
    """As many question marks."""
    return ", ".join("?" * len(values))


def known_through(db: Connection, batch_id: int) -> None:
    """Note that all ids up to this one were given, so that each must be held, settled or lost."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('known_through', ?)", (str(batch_id),))
