"""One stream client: newline-framed lines out of a TCP or unix stream connection.

    a:1|c\nb:2|c\nc:3
    ============  ---
    taken         kept until the rest comes, or the connection ends in order

Promises: at most one incomplete line per connection is kept, of at most MAX_LINE_BYTES; a longer one is
passed on cut just beyond that length, so that the parser rejects it once, and its rest is skipped. A client
that closes in order need not end its last line; one whose connection breaks loses that line, rather than
have half of it taken.
"""

import socket
from collections.abc import Callable

from collector.statsd import MAX_LINE_BYTES, Signs

_READ_BYTES = 65_536


class Connection:
    """An accepted connection. `close` is called with it when it has ended."""

    datagrams = False

    def __init__(
        self,
        accepted: socket.socket,
        signs: Signs,
        clock: Callable[[], float],
        close: Callable[["Connection"], None],
    ) -> None:
        self.socket, self.signs = accepted, signs
        self._clock, self._close = clock, close
        self.heard_mono = clock()
        self._rest = b""
        self._skipping = False

    def drain(self, limit: int) -> tuple[list[bytes], int]:
        """See receiver.Source; `limit` bounds reads."""
        taken: list[bytes] = []
        for _ in range(min(limit, 16)):  # a client that never pauses leaves room for the others
            try:
                read = self.socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self._close(self)
                break
            if not read:
                taken.append(self._rest)
                self._close(self)
                break
            self.heard_mono = self._clock()
            taken.append(self._whole_lines(read))
        return [each for each in taken if each], 0

    def _whole_lines(self, read: bytes) -> bytes:
        if self._skipping:
            _, newline, read = read.partition(b"\n")
            if not newline:
                return b""
            self._skipping = False
        lines, newline, rest = (self._rest + read).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines += newline + rest[: MAX_LINE_BYTES + 1]
            rest, self._skipping = b"", True
        self._rest = rest
        return lines
