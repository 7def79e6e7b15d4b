"""Rows out of the pages of a SQLite file, without SQLite: what is left when its trees are broken.

    page     +------+--------------+- - - - - - -+-----------------------+
    of rows  | 0x0D | cell offsets |    free     | cell | cell | ... cell |
             +------+--------------+- - - - - - -+-----------------------+
    cell     payload length, rowid (varints), header length, serial types, values ... [next overflow page]

A row of `batches` carries the hash of its payload, so it proves itself: neither the schema nor a tree is needed to
know that it is whole. Rows of `windows` and `losses` have no hash; they are taken if their columns have the form that
the writer gives them.

Format: https://www.sqlite.org/fileformat2.html, sections 1.5, 1.6, 2.1 and 4. Pure: pages come from a function.
Not promised: that a row was not deleted long ago; pages outside the freelist hold such rows seldom.
"""

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

LEAF = 0x0D
"""First byte of a page that holds rows of a table."""

Value = None | int | float | str | bytes
Fetch = Callable[[int], bytes | None]
"""Gives the page of a number (the first is 1), None where there is none."""

_KEY = re.compile(r"[0-9a-f]{16}-[0-9]+")
_MOST_BYTES = 64 * 1024 * 1024
"""No row is larger; a length beyond it is damage."""
_LARGEST_ID = 2**53


class Kind(StrEnum):
    """What a row is a row of."""

    BATCH = "batch"
    ROTTEN = "rotten"
    WINDOW = "window"
    LOSS = "loss"
    SEQUENCE = "sequence"
    META = "meta"


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its rowid; `values` as its table has them, the first column of `batches` and the like filled in.

    ROTTEN is a row of `batches` whose payload does not have its hash any more.
    """

    kind: Kind
    rowid: int
    values: tuple[Value, ...]


def rows(page: bytes, number: int, fetch: Fetch) -> Iterator[Row]:
    """The rows of ours on page `number`, in its order. Whatever is not readable is left out; never raises."""
    header = 100 if number == 1 else 0
    if len(page) < header + 8 or page[header] != LEAF:
        return
    (cells,) = struct.unpack_from(">H", page, header + 3)
    for each in range(min(cells, (len(page) - header - 8) // 2)):
        (offset,) = struct.unpack_from(">H", page, header + 8 + 2 * each)
        try:
            rowid, record = _cell(page, offset, fetch)
            row = _recognised(rowid, _values(record))
        except (ValueError, IndexError, struct.error):
            continue
        if row is not None:
            yield row


def free_pages(first_page: bytes, fetch: Fetch, pages: int) -> set[int]:
    """The numbers of pages on the freelist: what is on them was deleted. Ends where the list is broken."""
    found: set[int] = set()
    if len(first_page) < 40:
        return found
    (trunk,) = struct.unpack_from(">I", first_page, 32)
    while 1 < trunk <= pages and trunk not in found and (page := fetch(trunk)) is not None:
        found.add(trunk)
        following, leaves = struct.unpack_from(">II", page)
        leaves = min(leaves, (len(page) - 8) // 4)
        found.update(each for each in struct.unpack_from(f">{leaves}I", page, 8) if 1 < each <= pages)
        trunk = following
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A SQLite varint and the offset behind it: up to nine bytes, seven bits each, the ninth with eight."""
    value = 0
    for each in range(8):
        byte = data[at + each]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + each + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >= 1 << 63 else value, at + 9


def _cell(page: bytes, offset: int, fetch: Fetch) -> tuple[int, bytes]:
    """The rowid and the whole record of one cell, overflow pages and all. Raises ValueError or IndexError."""
    length, at = _varint(page, offset)
    rowid, at = _varint(page, at)
    if not 0 < length <= _MOST_BYTES:
        raise ValueError("length")
    usable = len(page)
    most_local, least_local = usable - 35, (usable - 12) * 32 // 255 - 23
    if length <= most_local:
        if at + length > usable:
            raise ValueError("cell reaches beyond its page")
        return rowid, page[at : at + length]
    local = least_local + (length - least_local) % (usable - 4)
    if local > most_local:
        local = least_local
    parts = [page[at : at + local]]
    (following,) = struct.unpack_from(">I", page, at + local)
    missing = length - local
    while missing > 0:  # ends: each turn takes a page's worth off what is missing
        overflow = fetch(following)
        if overflow is None:
            raise ValueError("chain of overflow pages is broken")
        (following,) = struct.unpack_from(">I", overflow)
        parts.append(overflow[4 : 4 + missing])
        missing -= usable - 4
    return rowid, b"".join(parts)


def _values(record: bytes) -> list[Value]:
    """The columns of a record. Raises ValueError, IndexError or struct.error."""
    end, at = _varint(record, 0)
    body, values = end, list[Value]()
    while at < end:
        kind, at = _varint(record, at)
        value, body = _value(record, body, kind)
        values.append(value)
    if body != len(record):
        raise ValueError("record is longer than its columns")
    return values


def _value(record: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if 1 <= kind <= 6:
        size = (1, 2, 3, 4, 6, 8)[kind - 1]
        return int.from_bytes(record[at : at + size], "big", signed=True), at + size
    if kind == 7:
        return float(struct.unpack_from(">d", record, at)[0]), at + 8
    if kind < 12 or at + (kind - 12) // 2 > len(record):
        raise ValueError("serial type")
    end = at + (kind - 12) // 2
    return (record[at:end] if kind % 2 == 0 else record[at:end].decode("utf-8")), end


_NUMBER, _INT, _TEXT, _BLOB, _ANY = (int, float), (int,), (str,), (bytes,), (int, type(None))
_BATCH = (_TEXT, _NUMBER, _NUMBER, _INT, _NUMBER, _INT, _INT, _INT, _BLOB, _TEXT)
_WINDOW = (_NUMBER,) * 3 + (_INT,) * 8 + (_TEXT,) + (_INT,) * 3
_LOSS = (_NUMBER, _TEXT, _ANY, _ANY, _INT, _INT, _NUMBER, _NUMBER, _INT, _INT, _INT, _TEXT)


def _recognised(rowid: int, values: list[Value]) -> Row | None:
    """The row if it is one of ours. Columns that a later schema adds stand behind those known here."""
    rest = values[1:]
    if values and values[0] is None and 0 < rowid < _LARGEST_ID:
        if _fits(rest, _BATCH) and _KEY.fullmatch(str(rest[0])):
            intact = hashlib.sha256(rest[8]).hexdigest() == rest[9]  # type: ignore[arg-type]
            return Row(Kind.BATCH if intact else Kind.ROTTEN, rowid, (rowid, *rest[:10]))
        if _fits(rest, _WINDOW) and _is_json(rest[11], dict):
            return Row(Kind.WINDOW, rowid, (rowid, *rest[:15]))
        if _fits(rest, _LOSS) and _is_json(rest[11], list):
            return Row(Kind.LOSS, rowid, (rowid, *rest[:12]))
    if len(values) == 2 and isinstance(values[0], str):
        if values[0] in ("batches", "losses") and isinstance(values[1], int) and 0 <= values[1] < _LARGEST_ID:
            return Row(Kind.SEQUENCE, rowid, tuple(values))
        if values[0] in ("spool_id", "host", "windows_through") and isinstance(values[1], str):
            return Row(Kind.META, rowid, tuple(values))
    return None


def _fits(values: list[Value], form: tuple[tuple[type, ...], ...]) -> bool:
    return len(values) >= len(form) and all(
        isinstance(value, allowed) for value, allowed in zip(values, form, strict=False)
    )


def _is_json(text: Value, form: type) -> bool:
    try:
        return isinstance(json.loads(str(text)), form)
    except ValueError:
        return False
