"""How a person stays signed in: a cookie that proves that the token was shown, and is not the token.

    Set-Cookie: holdfast=1764043200.5f2d...; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure
                         ---------- -------
                         until when HMAC-SHA256 of that, keyed with the token

Nothing is stored: the receiver may restart, and a new token signs everybody out. Who has the cookie can read the pages
until it ends and nothing else: it opens no path that takes data, and the token cannot be told from it. SameSite is Lax
and not Strict so that a link in an alert or a chat opens without signing in again; every GET only reads, and
what a page of somebody else could post comes without the cookie. Secure is left out over plain http, which is spoken on
loopback only.

Pure: the clock is an argument. Does not promise to end a session before its time: change the token for that.
"""

import hashlib
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

NAME = "holdfast"
LASTS_S = 12 * 3_600
"""A shift: who signs in at its begin is not asked again in the middle of the night."""


def begun(token: str, now: float, *, secure: bool) -> str:
    """The `Set-Cookie` for somebody who has shown the token at `now` (Unix seconds)."""
    until = int(now) + LASTS_S
    return _set_cookie(f"{until}.{_proof(token, until)}", LASTS_S, secure)


def ended(*, secure: bool) -> str:
    """The `Set-Cookie` that makes a browser forget."""
    return _set_cookie("", 0, secure)


def holds(environ: Mapping[str, Any], token: str, now: float) -> bool:
    """Whether the request shows a session that is this token's and has not ended."""
    try:
        shown = SimpleCookie(str(environ.get("HTTP_COOKIE", ""))).get(NAME)
    except CookieError:
        return False
    until, _, proof = ("" if shown is None else shown.value).partition(".")
    if not (until.isascii() and until.isdecimal() and len(until) < 20) or not now < int(until) <= now + LASTS_S:
        return False
    return hmac.compare_digest(proof.encode("utf-8", "replace"), _proof(token, int(until)).encode())


def _proof(token: str, until: int) -> str:
    return hmac.new(token.encode("utf-8"), b"holdfast session until %d" % until, hashlib.sha256).hexdigest()


def _set_cookie(value: str, lasts_s: int, secure: bool) -> str:
    return f"{NAME}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
