"""A request in words: its head as text, or a shell command that sends the same. Never with the token in it. Pure.

holdfast-shipper encode 8841 --destination main 2>/dev/null |
  curl -sS -i -X POST -H "Authorization: Bearer $(cat /etc/holdfast/token)" ... --data-binary @- https://...
                                                -------------------------
                                                read by the shell that runs it
"""

import base64
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from shipper.exchange import Request

SECRET_HEADERS = ("Authorization", "DD-API-KEY")
"""The headers that a protocol may put the token into."""


def head(request: Request) -> str:
    """Method, URL and headers, one on each line, with the secrets left out."""
    shown = [f"{name}: {'(hidden)' if name in SECRET_HEADERS else each}" for name, each in request.headers.items()]
    return "\n".join([f"{request.method} {request.url}", *shown, f"Content-Length: {len(request.body)}"])


def command(
    request: Request,
    body_from: str,
    *,
    token: str | None = None,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    proxy: str | None = None,
) -> str:
    """A pipeline for a POSIX shell that sends `request`; `body_from` is the command whose output is its body."""
    where = urlsplit(request.url)
    if where.scheme == "tcp":
        return f"{body_from} |\n  nc -N {shlex.quote(str(where.hostname))} {where.port}"
    if where.scheme == "tls":
        trust = f" -CAfile {shlex.quote(str(ca_file))}" if ca_file else ""
        return f"{body_from} |\n  openssl s_client -quiet -verify_return_error{trust} -connect {where.netloc}"
    words = ["curl -sS -i -X", request.method]
    words += [f"-H {_header(name, value, token, token_file)}" for name, value in request.headers.items()]
    words += [f"--cacert {shlex.quote(str(ca_file))}"] if ca_file else []
    words += [f"--proxy {shlex.quote(proxy)}"] if proxy else []
    words += ["--data-binary @-", shlex.quote(request.url)]
    return f"{body_from} |\n  {' '.join(words)}"


def _header(name: str, value: str, token: str | None, token_file: Path | None) -> str:
    if name not in SECRET_HEADERS or token is None:
        return shlex.quote(f"{name}: {value}")
    read = f'"$(cat {shlex.quote(str(token_file))})"'
    encoded = base64.b64encode(token.encode()).decode()
    scheme = value.removesuffix(token).removesuffix(encoded)
    if value.endswith(encoded):
        read = f'"$(printf %s {read} | base64 -w0)"'
    return f"{shlex.quote(f'{name}: {scheme}')}{read}"
