"""One stream client: whole lines out of a TCP or unix stream connection.

    a:1|c\nb:2|c\nc:3
    ============  ---
    taken         kept until the rest comes, or the connection ends in order

    0d 00 00 00 a:1|c\nb:2|c\n  06 00 00 00 c:3
    ----------- ==============  ----------- ---
    length of what follows, little-endian: DogStatsD's framing, which its clients use for unixstream://

The two tell themselves apart: no line has NULs in its third and fourth byte, and every frame of less than 64 KiB does.

Promises: at most one incomplete line or frame per connection is kept, a line of at most MAX_LINE_BYTES; for a longer
one its beginning and _TOO_LONG are passed on, so that the parser rejects it once, and its rest is skipped. A client
that closes in order need not end its last line; one whose connection breaks loses that line, or frame, rather than have
half of it taken. One that sends something else for a length is disconnected; the length counts as a bad line.
"""

import socket
from collections.abc import Callable

from collector.carried import Stream
from collector.recvmmsg import MAX_DATAGRAM_BYTES
from collector.rules import EXAMPLE_BYTES, MAX_LINE_BYTES
from collector.statsd import Dialect

_READ_BYTES = 16_384
_LENGTH_BYTES = 4
_TOO_LONG = b"x" * (MAX_LINE_BYTES + 1)
"""Stands for the rest of a line that is: the line may have spaces at the cut, without which it would be another."""


class Connection:
    """An accepted connection. `close` is called with it when it has ended."""

    datagrams = False

    def __init__(
        self,
        accepted: socket.socket,
        dialect: Dialect,
        clock: Callable[[], float],
        close: Callable[["Connection"], None],
    ) -> None:
        self.socket, self.dialect = accepted, dialect
        self._clock, self._close = clock, close
        self.heard_mono = self.line_mono = clock()  # when there were bytes, and when a whole line
        self.emptied = True
        self.reads = 1  # the most in one turn: see receiver.TURN_READS
        self._rest = b""
        self._skipping = False
        self._framed: bool | None = None  # not known before there are _LENGTH_BYTES
        self._broken = False

    def carry(self) -> Stream:
        """What somebody needs to go on with this connection."""
        return Stream(self.socket.fileno(), self.dialect, self._rest, self._skipping)

    def resume(self, stream: Stream) -> None:
        """Go on where `carry` was called."""
        self._rest, self._skipping = stream.rest, stream.skipping
        self._framed = False if stream.skipping else None  # what is left begins with a line, or with a length

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """See receiver.Source; `limit` bounds reads."""
        taken: list[bytes] = []
        self.emptied = True
        for _ in range(min(limit, self.reads)):
            try:
                read = self.socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self._close(self)
                break
            if not read:
                taken.append(b"" if self._framed else self._rest.strip(b"\n"))
                self._close(self)
                break
            self.heard_mono = self._clock()
            lines = self._whole(read)
            if lines:
                self.line_mono = self.heard_mono
            taken.append(lines)
            if self._broken:
                self._close(self)
                break
        else:
            self.emptied = False
        return [each for each in taken if each], 0

    def _whole(self, read: bytes) -> bytes:
        if self._framed is None:
            self._rest, read = b"", self._rest + read
            if len(read) < _LENGTH_BYTES and not read[2:].strip(b"\0"):  # may be a length: 10 is a newline
                self._rest = read
                return b""
            self._framed = read[2:_LENGTH_BYTES] == b"\0\0"
        return self._whole_frames(read) if self._framed else self._whole_lines(read)

    def _whole_frames(self, read: bytes) -> bytes:
        data, at, frames = self._rest + read, 0, []
        while len(data) - at >= _LENGTH_BYTES:
            begin = at + _LENGTH_BYTES
            end = begin + int.from_bytes(data[at:begin], "little")
            if end - begin > MAX_DATAGRAM_BYTES:
                frames.append(data[at:begin])
                self._broken, at = True, len(data)
            elif end > len(data):
                break
            else:
                frames.append(data[begin:end])
                at = end
        self._rest = data[at:]
        return b"\n".join(frames)

    def _whole_lines(self, read: bytes) -> bytes:
        if self._skipping:
            _, newline, read = read.partition(b"\n")
            if not newline:
                return b""
            self._skipping = False
        lines, newline, rest = (self._rest + read).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES + 1:  # the 1 is a carriage return whose newline is to come
            lines += newline + rest.lstrip()[:EXAMPLE_BYTES] + _TOO_LONG
            rest, self._skipping = b"", True
        self._rest = rest
        return lines
