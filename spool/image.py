"""A SQLite file and its write-ahead log as pages, read with plain reads: no lock, no recovery, nothing is written.

The log is taken up to its last commit, by page number and salt; its checksums are not computed, since every row that
matters carries a hash. One that belongs to another spool is left out: SQLite would lay its
pages over ours. Format: https://www.sqlite.org/fileformat2.html, section 4.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from spool.carve import Fetch, Kind, Row, free_pages, rows

PAGE_BYTES = 4096
"""SQLite's default, which the spool keeps; taken where the header does not say."""

STRETCH = 256
"""Pages looked at between two breathing spaces."""

_WAL_MAGIC = (0x377F0682, 0x377F0683)


class Image:
    """The pages of the file at `path`. Raises OSError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._wal = None
        self._frames: dict[int, int] = {}
        self.foreign_wal = False
        try:
            self.page_bytes = self._page_bytes()
            self.pages = -(-os.fstat(self._file.fileno()).st_size // self.page_bytes)
            wal = Path(f"{path}-wal")
            if wal.exists():
                self._wal = wal.open("rb")
                self._frames = self._committed_frames(self._wal.fileno())
                self.foreign_wal = self._wal_is_foreign()
                if self.foreign_wal:
                    self._frames = {}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for each in (self._file, self._wal):
            if each is not None:
                each.close()

    @property
    def has_wal(self) -> bool:
        """Whether there is a log with something in it."""
        return self._wal is not None and os.fstat(self._wal.fileno()).st_size > 0

    def page(self, number: int) -> bytes | None:
        """A page as of the last commit; None if there is none."""
        if self._wal is not None and number in self._frames:
            return os.pread(self._wal.fileno(), self.page_bytes, self._frames[number])
        return self._file_page(number)

    def rows(self, stretches: int | None = None) -> Iterator[Row | None]:
        """Rows of ours, file first, then log; a row may come more than once. None is a breathing space.

        With `stretches`, only so many stretches of the file are looked at.
        """
        first = self.page(1) or b""
        free = free_pages(first, self.page, self.pages)
        for begin in range(1, self.pages + 1, STRETCH)[:stretches]:
            data = os.pread(self._file.fileno(), STRETCH * self.page_bytes, (begin - 1) * self.page_bytes)
            for each in range(0, len(data), self.page_bytes):
                number = begin + each // self.page_bytes
                if number not in free:
                    yield from self._rows_of(data[each : each + self.page_bytes], number)
            yield None
        for number in sorted(self._frames):
            if number not in free:
                yield from self._rows_of(self.page(number) or b"", number)
            if number % STRETCH == 0:
                yield None

    def _rows_of(self, page: bytes, number: int) -> Iterator[Row]:
        found = {(row.kind in (Kind.BATCH, Kind.ROTTEN), row.rowid): row for row in rows(page, number, self.page)}
        if self._frames:
            # The log may be another file's: what is rotten or broken with it may be whole without.
            for row in rows(page, number, self._file_page):
                if row.kind is not Kind.ROTTEN:
                    found[row.kind is Kind.BATCH, row.rowid] = row
        yield from found.values()

    def _wal_is_foreign(self) -> bool:
        """Whether file and log say that they are of different spools. Where one of them is silent: no."""
        numbers = range(1, min(self.pages, STRETCH) + 1)
        in_file = {each for number in numbers for each in _spool_ids(self._file_page(number), number, self._file_page)}
        in_log = {each for number in self._frames for each in _spool_ids(self.page(number), number, self.page)}
        return bool(in_file and in_log) and not in_file & in_log

    def _file_page(self, number: int) -> bytes | None:
        if not 0 < number <= self.pages:
            return None
        page = os.pread(self._file.fileno(), self.page_bytes, (number - 1) * self.page_bytes)
        return page if len(page) == self.page_bytes else None

    def _page_bytes(self) -> int:
        header = os.pread(self._file.fileno(), 18, 0)
        size = int.from_bytes(header[16:18], "big") if header.startswith(b"SQLite format 3\0") else 0
        return size if size >= 512 and size & (size - 1) == 0 else PAGE_BYTES

    def _committed_frames(self, wal: int) -> dict[int, int]:
        """Where the newest committed version of each page lies in the log: page number -> offset."""
        header = os.pread(wal, 32, 0)
        if len(header) < 32 or struct.unpack_from(">I", header)[0] not in _WAL_MAGIC:
            return {}
        if struct.unpack_from(">I", header, 8)[0] != self.page_bytes:
            return {}
        committed: dict[int, int] = {}
        pending: dict[int, int] = {}
        offset = 32
        while len(frame := os.pread(wal, 24, offset)) == 24 and frame[8:16] == header[16:24]:
            number, pages_after_commit = struct.unpack_from(">II", frame)
            pending[number] = offset + 24
            if pages_after_commit:
                committed |= pending
                pending = {}
            offset += 24 + self.page_bytes
        return committed


def _spool_ids(page: bytes | None, number: int, fetch: Fetch) -> set[str]:
    found = rows(page, number, fetch) if page is not None else ()
    return {str(row.values[1]) for row in found if row.kind is Kind.META and row.values[0] == "spool_id"}
