"""The receiver's configuration: the table `[receiver]`, optional as a whole.

    listen = "https://127.0.0.1:8443"
              -----   --------- ----
              scheme  host      port (0: any free one)

One rule keeps the defaults safe without a switch to turn it off: beyond loopback, a receiver speaks https
and asks for a token. Whoever wants plain http from elsewhere puts a reverse proxy in front, on this host.

Pure. Promises that a value that exists keeps its rules; does not promise that the files it names exist.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spool.config import Config, key, number, path, whole


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the receiver answers. `host` is an IP address or `localhost`, without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """True if only this host can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def listen(raw: Any, _folder: Path) -> Listen:
    """The rule for `listen`. Raises ValueError with what is allowed."""
    allowed = "http or https, an IP address or localhost, and a port, as in https://127.0.0.1:8443"
    try:
        url = urlsplit(raw if isinstance(raw, str) else "")
        host, port = url.hostname or "", url.port
        known = host == "localhost" or bool(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(allowed) from None
    bare = url.path in ("", "/") and not url.query and not url.fragment and url.username is None
    if not known or not bare or port is None or url.scheme not in ("http", "https"):
        raise ValueError(allowed)
    return Listen(url.scheme, host, port)


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """[receiver]: the reference server, for a bare machine and for tests."""

    listen: Listen = key(
        Listen("https", "127.0.0.1", 8443),
        listen,
        "address to answer at; http only on loopback addresses, port 0 means any free one",
    )
    dir: Path | None = key(
        None,
        path,
        "folder of its database and certificates; absent: data/receiver beside the configuration file",
    )
    token_file: Path | None = key(
        None, path, "file with the bearer token that clients must show; absent: none asked, only on loopback"
    )
    cert_file: Path | None = key(
        None, path, "certificate chain, PEM; absent with https: the one that `holdfast-receiver init` made"
    )
    key_file: Path | None = key(None, path, "private key of cert_file, PEM")
    max_body_bytes: int = key(8_388_608, whole(1_024, 2**30), "largest request body as sent")
    max_raw_bytes: int = key(67_108_864, whole(1_024, 2**32), "largest request body once decompressed")
    request_deadline_s: float = key(
        30.0,
        number(0.1, 600),
        "handshake, request and answer must be over by then, else the connection is closed",
    )
    threads: int = key(64, whole(1, 1_024), "requests served at a time, slow clients included")
    max_age_s: int = key(2_592_000, whole(60, 2**31), "received data older than this is deleted, its keys forgotten")

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file: set both, or none")
        if not self.listen.loopback and self.listen.scheme == "http":
            raise ValueError(f"listen = {str(self.listen)!r}: beyond loopback only https is allowed")
        if not self.listen.loopback and self.token_file is None:
            raise ValueError(f"listen = {str(self.listen)!r}: beyond loopback token_file must be set")


def receiver_dir(config: Config) -> Path:
    """The receiver's folder, as configured or beside the configuration file."""
    named = config.section(ReceiverConfig, "receiver").dir
    return named if named is not None else config.folder / "data" / "receiver"
