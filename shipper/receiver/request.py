"""What the application reads from a WSGI request: its body within limits, and whether it may come in.

Pure: it reads the stream that it is given. Promises that no more than the limit is ever held in memory, and
that a token is compared in constant time. Does not promise an end to slow clients: serve.py's deadline does.
"""

import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

STEP_BYTES = 65_536
DISCARD_BYTES = 16_777_216
"""A refused body is read and thrown away up to here, so that its sender gets to read the refusal: closing a
socket with unread data resets the connection, and the answer may be lost with it. A larger one is cut off."""


class Refused(Exception):
    """The request ends here with this status; the text becomes the `error` of the answer."""

    def __init__(self, status: HTTPStatus, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Body:
    """The body of a request, unread so far. `length` is what was announced, None if nothing was."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        announced = environ.get("CONTENT_LENGTH", "")
        self.length = int(announced) if announced.isascii() and announced.isdecimal() else None
        self.unread = self.length or 0
        self._stream = environ["wsgi.input"]

    def read(self, limit_bytes: int) -> bytes:
        """All of it. Raises Refused: 411 without a length, 413 over the limit, 400 if it ends early."""
        if self.length is None:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing; chunked bodies are not taken")
        if self.length > limit_bytes:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {self.length} bytes, allowed are {limit_bytes}: send fewer batches at once",
            )
        pieces = []
        while self.unread:
            piece = self._step()
            if not piece:
                got = self.length - self.unread
                raise Refused(HTTPStatus.BAD_REQUEST, f"the body ended after {got} of {self.length} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def discard(self) -> None:
        """Read what is left and throw it away, unless it is so much that cutting it off is better."""
        if self.unread <= DISCARD_BYTES:
            while self.unread and self._step():
                pass

    def _step(self) -> bytes:
        piece: bytes = self._stream.read(min(STEP_BYTES, self.unread))
        self.unread -= len(piece)
        return piece


def media_type(environ: Mapping[str, Any]) -> str:
    """`Content-Type` without its parameters, in lower case."""
    return str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()


def authorise(environ: Mapping[str, Any], token: str | None) -> None:
    """Let the request pass if it shows the token, or if none is asked. Raises Refused with 401."""
    if not shows_token(environ, token):
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "the token is missing or wrong: send Authorization: Bearer and what is in token_file",
            WWW_Authenticate='Bearer realm="holdfast"',
        )


def shows_token(environ: Mapping[str, Any], token: str | None) -> bool:
    """Whether there is `Authorization: Bearer TOKEN`, or no token is asked."""
    if token is None:
        return True
    scheme, _, shown = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return is_token(shown.strip() if scheme.lower() == "bearer" else "", token)


def is_token(shown: str, token: str) -> bool:
    """Whether what was shown is the token; compared in constant time."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), token.encode("utf-8"))
