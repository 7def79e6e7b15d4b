"""The admin port: lines over TCP, answered on threads of their own.

Promises: reception waits for nothing here; at most CONNECTIONS clients at a time: when their places are taken, one
without a whole command for SILENT_S gives way to a new client, which is closed at once if there is none; a command has
at most LINE_BYTES; a client that is silent for IDLE_S, or takes nothing of its answer for so long, is closed.

Does not promise the end of an answer to a client that is being served while the collector stops or reloads, or that
has taken SILENT_S for it while others want its place.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable

CONNECTIONS = 8
SILENT_S = 10.0
LINE_BYTES = 1_024
IDLE_S = 60.0
PIECE_CHARACTERS = 16_384
"""Sent at a time. Between two of them reception has the interpreter."""

Answer = Callable[[str], Iterable[str] | None]
"""What to send for a line, in pieces; None closes the connection."""


class Admin:
    """Serves a socket that listens, from `start` until `close`."""

    def __init__(
        self,
        listening: socket.socket,
        answer: Answer,
        idle_s: float = IDLE_S,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listening, self._answer, self._idle_s, self._mono = listening, answer, idle_s, mono
        self._asked_mono: dict[socket.socket, float] = {}  # of those that have a place: when they came or asked last
        self._changing = threading.Lock()
        self._closing = threading.Event()
        listening.setblocking(True)

    def start(self) -> None:
        """Accept clients from now on."""
        threading.Thread(target=self._accept, name="admin", daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends a wait for the next client, which closing does not
        self._listening.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listening.accept()
            except OSError:  # gone already, or out of descriptors
                self._closing.wait(0.1)
                continue
            if not self._admit(client):
                client.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), name="admin-client", daemon=True).start()
            except RuntimeError:  # no more threads
                self._leave(client)

    def _admit(self, client: socket.socket) -> bool:
        """Give a new client a place, if there is one or one that has to give way."""
        with self._changing:
            now_mono, asked_mono = self._mono(), self._asked_mono
            if len(asked_mono) >= CONNECTIONS:
                silent = min(asked_mono, key=asked_mono.__getitem__)
                if now_mono - asked_mono[silent] < SILENT_S:
                    return False
                del asked_mono[silent]
                with contextlib.suppress(OSError):
                    silent.shutdown(socket.SHUT_RDWR)  # ends its thread, which closes it
            asked_mono[client] = now_mono
            return True

    def _asks(self, client: socket.socket) -> None:
        """Take note of a whole command."""
        with self._changing:
            if client in self._asked_mono:  # it may have given way just now
                self._asked_mono[client] = self._mono()

    def _leave(self, client: socket.socket) -> None:
        """Close a client, whose place is free then."""
        with self._changing:  # whoever has a place is open
            self._asked_mono.pop(client, None)
            client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client.makefile("rb") as lines:
                client.settimeout(self._idle_s)
                while line := lines.readline(LINE_BYTES):
                    self._asks(client)
                    answer = self._answer(line.decode("utf-8", "replace"))
                    if answer is None or len(line) == LINE_BYTES:
                        return
                    for piece in _gathered(answer):
                        client.sendall(piece.encode())
        except OSError:
            pass  # gone, or silent for too long
        finally:
            self._leave(client)


def _gathered(pieces: Iterable[str]) -> Iterable[str]:
    """The same text in larger pieces."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)
