"""Requests in words: complete, runnable, and without the token."""

import subprocess
from pathlib import Path

from shipper import curl
from shipper.exchange import Request
from shipper.protocols import by_name

TOKEN = "s3cret:token"


def test_the_head_shows_everything_but_the_token() -> None:
    request = by_name("influx").encode([], "https://h:8086/write?db=m", TOKEN)
    shown = curl.head(request).splitlines()
    assert shown[0] == "POST https://h:8086/write?db=m&precision=ms"
    assert "Authorization: (hidden)" in shown and "Content-Encoding: gzip" in shown
    assert f"Content-Length: {len(request.body)}" in shown


def run(protocol: str, url: str, tmp_path: Path) -> tuple[list[str], str]:
    """The arguments that curl would get, from a shell that has another curl, and the headers that it would read."""
    file = tmp_path / "it's a token"
    file.write_text(TOKEN + "\n")
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\ncat >/dev/null\nprintf "%s\\n" "$@" >arguments\ncat /dev/fd/3\n')
    fake.chmod(0o755)
    request = by_name(protocol).encode([], url, TOKEN)
    text = curl.command(request, "true", token=TOKEN, token_file=file, ca_file=Path("/ca file.pem"))
    assert TOKEN not in text and "c2Vj" not in text
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-ec", text], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20
    )
    return (tmp_path / "arguments").read_text().splitlines(), done.stdout


def test_the_shell_that_runs_the_command_reads_the_token_from_its_file_and_ps_never_shows_it(tmp_path: Path) -> None:
    for protocol, url, header in (
        ("holdfast", "https://h/v1/batches", f"Authorization: Bearer {TOKEN}"),
        ("influx", "https://h/api/v2/write?bucket=a&org=b", f"Authorization: Token {TOKEN}"),
        ("influx", "https://h/write?db=m", "Authorization: Basic czNjcmV0OnRva2Vu"),
        ("datadog", "https://api.datadoghq.eu/api/v2/series", f"DD-API-KEY: {TOKEN}"),
    ):
        seen, headers = run(protocol, url, tmp_path)
        assert headers == header + "\n"
        assert seen[seen.index("@/dev/fd/3") - 1] == "-H" and seen[-2] == "@-", seen
        assert not any(secret in each for each in seen for secret in ("s3cret", "czNjcmV0")), seen
        assert seen[seen.index("--cacert") + 1] == "/ca file.pem"
        assert seen[-1] == by_name(protocol).encode([], url, TOKEN).url


def test_without_a_token_and_without_http_there_is_a_command_too() -> None:
    assert "Authorization" not in curl.command(by_name("webhook").encode([], "https://h/x", None), "true")
    assert curl.command(Request("TCP", "tcp://h:2003", {}, b""), "body") == "body |\n  nc -N h 2003"
    secured = curl.command(Request("TCP", "tls://h:2003", {}, b""), "body", ca_file=Path("ca.pem"))
    assert secured.endswith("openssl s_client -quiet -verify_return_error -CAfile ca.pem -connect h:2003")
