"""Batches out of one spool and into another, under the keys they have.

    holdfast export --gzip     the stored gzip members, one after the other: byte for byte what destinations get
    holdfast export            the same unpacked: newline-delimited JSON, a document for each batch

Both are read back. The first gives the same bytes again. The second is packed anew: the same document under the same
key, and the same bytes wherever zlib is the same; a receiver compares documents, so it counts each once all the same.

Promises: a payload that lost its hash is not exported, a document that is not one of ours not imported: both are
told. Not promised: states. An imported batch is unsent everywhere.
"""

import gzip
import hashlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from spool.batch import Batch, decode
from spool.errand import Errand
from spool.errors import PayloadError
from spool.reader import SpoolReader
from spool.writer import Asked, SpoolWriter

SLICE_BYTES = 4 * 1024 * 1024
SLICE_BATCHES = 500
"""What is handed over at a time: one transaction, and the most that lies in the spool's folder twice."""

MOST_UNPACKED_BYTES = 64 * 1024 * 1024
"""A document larger than this is no batch of ours."""

MOST_KEY = 200
READ_BYTES = 65_536
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something that was found where a batch should be."""

    where: str
    why: str


def exported(spool: SpoolReader, since: float, until: float) -> Iterator[bytes | Damaged]:
    """The payloads of the batches whose window ends in [since, until], oldest first, page by page."""
    last = 0
    while page := spool.headers_between(since, until, after=last):
        for header in page:
            try:
                yield spool.batch(header.id).verified()
            except PayloadError as error:
                yield Damaged(f"batch {header.id}", str(error))
        last = page[-1].id


def imported(file: IO[bytes]) -> Iterator[Batch | Damaged]:
    """The batches in an export of either form, in its order. Their ids are of the spool that they come from."""
    begin = file.read(2)
    lines = _members(begin, file) if begin == GZIP else _packed(begin, file)
    for number, member in enumerate(lines, start=1):
        where = f"batch {number} of the file"
        try:
            yield Damaged(where, member.why) if isinstance(member, Damaged) else batch_of(member)
        except PayloadError as error:
            yield Damaged(where, str(error))


def _members(begin: bytes, file: IO[bytes]) -> Iterator[bytes | Damaged]:
    """Each gzip member of a file as it lies there. After a damaged one nothing more is found."""
    rest = begin + file.read(READ_BYTES)
    while rest:
        unpack, member, size = zlib.decompressobj(wbits=31), [], 0
        while not unpack.eof:
            if not rest:
                yield Damaged("", "the file ends in the middle of it")
                return
            try:
                size += len(unpack.decompress(rest))
            except zlib.error as error:
                yield Damaged("", f"not gzip: {error}; what follows it cannot be found")
                return
            if size > MOST_UNPACKED_BYTES:
                yield Damaged("", "larger than any batch; what follows it was not looked at")
                return
            member.append(rest[: len(rest) - len(unpack.unused_data)])
            rest = unpack.unused_data or file.read(READ_BYTES)
        yield b"".join(member)


def _packed(begin: bytes, file: IO[bytes]) -> Iterator[bytes]:
    for line in chain([begin + file.readline()], file):
        if line.strip():
            yield gzip.compress(line.strip(b"\r\n") + b"\n", compresslevel=6, mtime=0)


def batch_of(payload: bytes) -> Batch:
    """A stored payload as a batch; its `committed_at` is its window's end. Raises PayloadError."""
    document = decode(payload)
    try:
        window, points, key = document["window"], document["points"], document["key"]
        start, end, seq, number = float(window["start"]), float(window["end"]), int(window["seq"]), int(document["id"])
        series = {(each["name"], each["type"], json.dumps(each["tags"], sort_keys=True)) for each in points}
        json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair, which no destination can be sent
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(f"document is not a batch: {type(error).__name__} {error}") from None
    if not isinstance(key, str) or not key.isprintable() or not 0 < len(key) <= MOST_KEY or not _ordered(start, end):
        raise PayloadError(f"document is not a batch: key {key!r}, window {start} to {end}")
    raw_bytes = len(gzip.decompress(payload))
    return Batch(
        number, key, start, end, seq, end, len(points), len(series), raw_bytes, payload,
        hashlib.sha256(payload).hexdigest(),
    )  # fmt: skip


def _ordered(start: float, end: float) -> bool:
    return math.isfinite(start) and math.isfinite(end) and start <= end


def slices(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Runs of batches for one errand each."""
    taken: list[Batch] = []
    size = 0
    for each in batches:
        if taken and (len(taken) == SLICE_BATCHES or size + len(each.payload) > SLICE_BYTES):
            yield taken
            taken, size = [], 0
        taken.append(each)
        size += len(each.payload)
    if taken:
        yield taken


def pieces(writer: SpoolWriter, errand: Errand, data: Path) -> Iterator[Mapping[str, int]]:
    """Take in one slice, whose members lie in the file `data`, in one transaction: `batches` new ones, `points`."""
    so_far: Counter[str] = Counter(batches=0, points=0)
    with data.open("rb") as file:
        found = [each for each in imported(file) if isinstance(each, Batch)]
    adopted = writer.adopt(found, errand.at, Asked(errand.who, f"import {errand.given.get('name', '')}".strip()))
    so_far["batches"] += len(adopted)
    so_far["points"] += sum(each.points for each in adopted)
    yield so_far


def host_of(payload: bytes) -> Any:
    """The host that collected it."""
    return decode(payload).get("host")
