"""A request in words: its head as text, or a shell command that sends the same. Never with the token in it. Pure.

holdfast-shipper encode 8841 --destination main 2>/dev/null |
  curl -sS -i -X POST -H @/dev/fd/3 ... --data-binary @- https://... 3<<END
Authorization: Bearer $(cat /etc/holdfast/token)
                      --------------------------
                      read by the shell that runs it, and by curl from there: an argument could be seen in ps
END
"""

import base64
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from shipper.exchange import SECRET_HEADERS, Request


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
    secret = [name for name in SECRET_HEADERS if token is not None and name in request.headers]
    shown = [f"{name}: {value}" for name, value in request.headers.items() if name not in secret]
    words = ["curl -sS -i -X", request.method, *(f"-H {shlex.quote(each)}" for each in shown)]
    words += ["-H @/dev/fd/3"] if secret else []
    words += [f"--cacert {shlex.quote(str(ca_file))}"] if ca_file else []
    words += [f"--proxy {shlex.quote(proxy)}"] if proxy else []
    words += ["--data-binary @-", shlex.quote(request.url)]
    here = [f" 3<<END\n{_secret(name, request.headers[name], str(token), token_file)}\nEND" for name in secret]
    return f"{body_from} |\n  {' '.join(words)}" + "".join(here)


def _secret(name: str, value: str, token: str, token_file: Path | None) -> str:
    """The header as a here-document has it: with the command that reads the token in its place."""
    read = f"$(cat {shlex.quote(str(token_file))})"
    encoded = base64.b64encode(token.encode()).decode()
    scheme = value.removesuffix(token).removesuffix(encoded)
    if value.endswith(encoded):
        read = f'$(printf %s "{read}" | base64 -w0)'
    return f"{name}: {scheme}{read}"
