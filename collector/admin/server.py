"""The admin port: lines over TCP, answered on threads of their own.

Promises: reception waits for nothing here; at most CONNECTIONS clients at a time, others are closed at once; a command
has at most LINE_BYTES; a client that is silent for IDLE_S, or takes nothing of its answer for so long, is closed.

Does not promise the end of an answer to a client that is being served while the collector stops or reloads.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable

CONNECTIONS = 8
LINE_BYTES = 1_024
IDLE_S = 60.0
PIECE_CHARACTERS = 16_384
"""Sent at a time. Between two of them reception has the interpreter."""

Answer = Callable[[str], Iterable[str] | None]
"""What to send for a line, in pieces; None closes the connection."""


class Admin:
    """Serves a socket that listens, from `start` until `close`."""

    def __init__(self, listening: socket.socket, answer: Answer, idle_s: float = IDLE_S) -> None:
        self._listening, self._answer, self._idle_s = listening, answer, idle_s
        self._room = threading.BoundedSemaphore(CONNECTIONS)
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
            if not self._room.acquire(blocking=False):
                client.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), name="admin-client", daemon=True).start()
            except RuntimeError:  # no more threads
                client.close()
                self._room.release()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rb") as lines:
                client.settimeout(self._idle_s)
                while line := lines.readline(LINE_BYTES):
                    answer = self._answer(line.decode("utf-8", "replace"))
                    if answer is None or len(line) == LINE_BYTES:
                        return
                    for piece in _gathered(answer):
                        client.sendall(piece.encode())
        except OSError:
            pass  # gone, or silent for too long
        finally:
            self._room.release()


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
