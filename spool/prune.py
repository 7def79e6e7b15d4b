"""Making the spool smaller than its limits would: what an operator wants gone, in pieces, each with its record.

    acknowledged everywhere   goes, which is no loss
    dead or expired           goes, recorded as a loss "pruned by WHO (dead)"
    unsent or held somewhere  goes only where that was asked for, recorded as a loss "pruned by WHO"

By age: what is older than `age_s`, by the same measure as the limits' (retention.py). By size: the oldest, in the
order of the table above, until what is held takes no more than `size_bytes`. The newest window never goes, nor what
was committed after the plan was made. States are read anew for each piece: a batch that was made unsent meanwhile
stays.

Promises: `plan` changes nothing. Each step of `pieces` is one transaction that deletes at most CHUNK batches and
CHUNK_BYTES, with the rows of `losses` and `changes` that tell of it; it may be stopped after each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from spool.errand import Errand
from spool.evict import GIVE_BACK_BYTES, deliveries_of, held, newest_of
from spool.reader import SpoolReader
from spool.retention import ROW_BYTES, Eviction, Held, Newest, Standing, age_s, losses
from spool.writer import Asked, SpoolWriter

CHUNK = 200
CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays: batches younger than `age_s`, or `size_bytes` of the newest (None: no such wish).

    With `unsent` also what was not delivered goes. `through` is the highest id that may go.
    """

    age_s: float | None
    size_bytes: int | None
    unsent: bool
    through: int

    def words(self) -> str:
        """As it was given, for `changes`."""
        parts = [] if self.age_s is None else [f"--keep-age {self.age_s:g}s"]
        parts += [] if self.size_bytes is None else [f"--keep-size {self.size_bytes}"]
        return " ".join(["prune", *parts, *(["--unsent"] if self.unsent else [])])


@dataclass(frozen=True, slots=True)
class Sum:
    """Batches of one standing that would go: how many, their points and bytes, and from when to when."""

    batches: int = 0
    points: int = 0
    payload_bytes: int = 0
    first_start: float | None = None
    last_end: float | None = None


def plan(directory: Path, destinations: Sequence[str], keep: Keep) -> Mapping[Standing, Sum]:
    """What would go, by what it amounts to. Raises what SpoolReader raises."""
    found: dict[Standing, list[Held]] = {}
    for chunk in chosen(directory, destinations, keep):
        for each in chunk:
            found.setdefault(each.standing, []).append(each)
    return {standing: _sum(batches) for standing, batches in sorted(found.items())}


def _sum(batches: Sequence[Held]) -> Sum:
    return Sum(
        len(batches),
        sum(each.points for each in batches),
        sum(each.payload_bytes for each in batches),
        min(each.window_start for each in batches),
        max(each.window_end for each in batches),
    )


def pieces(writer: SpoolWriter, errand: Errand, destinations: Sequence[str]) -> Iterator[Mapping[str, int]]:
    """Do it: a transaction for each step, which gives what went so far: `batches`, `points`, `lost_points`."""
    keep = Keep(**errand.given)
    asked = Asked(errand.who, keep.words())
    so_far: Counter[str] = Counter(batches=0, points=0, lost_points=0)
    for chunk in chosen(writer.directory, destinations, keep):
        evictions = [Eviction(each, _reason(errand.who, each)) for each in chunk]
        writer.evict(losses(evictions), [each.id for each in chunk], errand.at, asked)
        so_far["batches"] += len(chunk)
        so_far["points"] += sum(each.points for each in chunk)
        so_far["lost_points"] += sum(each.held.points for each in evictions if each.is_loss)
        yield so_far
    free_bytes = writer.pages_bytes()[1]
    while free_bytes > GIVE_BACK_BYTES:
        writer.give_back(GIVE_BACK_BYTES)
        yield so_far
        before, free_bytes = free_bytes, writer.pages_bytes()[1]
        if free_bytes >= before:
            break
    writer.checkpoint()


def _reason(who: str, batch: Held) -> str:
    return f"pruned by {who}" + (" (dead)" if batch.standing is Standing.DEAD else "")


def chosen(directory: Path, destinations: Sequence[str], keep: Keep) -> Iterator[list[Held]]:
    """What `keep` lets go, in runs for one transaction each. Reads page by page and holds no snapshot in between."""
    with SpoolReader(directory) as reader:
        newest, extent = newest_of(reader), reader.extent()
        if newest is None:
            return
        taken: set[int] = set()
        held_bytes = extent["payload_bytes"] + ROW_BYTES * extent["batches"]
        if keep.age_s is not None:
            for page in _pages(reader, directory, destinations, keep, newest):
                old = [each for each in page if age_s(each, newest) > keep.age_s and _may_go(each, keep)]
                taken.update(each.id for each in old)
                held_bytes -= sum(_size_bytes(each) for each in old)
                yield from _chunks(old)
        for standing in Standing if keep.size_bytes is not None else ():
            for page in _pages(reader, directory, destinations, keep, newest):
                surplus = []
                for each in page:
                    if held_bytes <= (keep.size_bytes or 0):
                        break
                    if each.standing is standing and each.id not in taken and _may_go(each, keep):
                        surplus.append(each)
                        held_bytes -= _size_bytes(each)
                yield from _chunks(surplus)


def _pages(
    reader: SpoolReader, directory: Path, destinations: Sequence[str], keep: Keep, newest: Newest
) -> Iterator[list[Held]]:
    after = 0
    with ExitStack() as stack:
        deliveries = deliveries_of(stack, directory, destinations, reader.spool_id)
        while headers := [each for each in reader.headers_after(after) if each.id <= keep.through]:
            after = headers[-1].id
            yield [each for each in held(headers, deliveries) if each.window_seq != newest.seq]


def _may_go(batch: Held, keep: Keep) -> bool:
    return keep.unsent or batch.standing is not Standing.UNSENT


def _chunks(batches: Sequence[Held]) -> Iterator[list[Held]]:
    chunk: list[Held] = []
    for each in batches:
        if chunk and (len(chunk) == CHUNK or sum(map(_size_bytes, chunk)) + _size_bytes(each) > CHUNK_BYTES):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def _size_bytes(batch: Held) -> int:
    return batch.payload_bytes + ROW_BYTES


def given(keep: Keep) -> dict[str, object]:
    """`keep` as the arguments of an errand."""
    return asdict(keep)
