"""The tables [shipper] and [destination.NAME] of holdfast.toml.

Pure: the token itself is read by who needs it, each time (spool.config.read_token).
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shipper.protocols import KNOWN, by_name
from spool.config import SECRET_PARAMETER, Rule, key, number, one_of, path, read_token, required, whole


def address(*schemes: str) -> Rule:
    """An absolute URL of one of `schemes`, without user name and password: it is shown in logs and by commands."""

    def rule(raw: Any, _folder: Path) -> str:
        wanted = " or ".join(schemes)
        allowed = f"a URL like {schemes[0]}://host:port/path ({wanted}), without user name and password"
        try:
            parts = urlsplit(raw if isinstance(raw, str) else "")
            port = parts.port
        except ValueError:
            raise ValueError(allowed) from None
        if parts.scheme not in schemes or not parts.hostname or parts.username is not None or port == 0:
            raise ValueError(allowed)
        if not raw.isprintable() or " " in parts.netloc:  # urlsplit forgives line breaks, and no host has a space
            raise ValueError(allowed)
        if SECRET_PARAMETER.search(raw):
            raise ValueError(f"{allowed}: what is secret in its query belongs into token_file")
        return str(raw)

    return rule


def is_loopback(url: str) -> bool:
    """Whether the host of `url` is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class ShipperConfig:
    """[shipper]: how uploads and check-ins are made, for every destination."""

    deadline_s: float = key(20.0, number(0.1, 600), "the whole of one upload, from name resolution to close, seconds")
    dns_deadline_s: float = key(3.0, number(0.1, 600), "name resolution, within deadline_s")
    connect_deadline_s: float = key(5.0, number(0.1, 600), "TCP and TLS together, within deadline_s")
    checkin_interval_s: float = key(60.0, number(1, 3600), "how often the health check-in is posted")
    checkin_deadline_s: float = key(5.0, number(0.1, 60), "the whole of one check-in")
    request_bytes: int = key(
        1_048_576, whole(1_024, 2**27), "backlog batches are put together up to this size, compressed"
    )
    backlog_requests_per_s: float = key(50.0, number(0.01, 1000), "the most backlog requests per second")


@dataclass(frozen=True, slots=True)
class DestinationConfig:
    """[destination.NAME]: one server, fed by a shipper process of its own."""

    url: str = required(
        address("https", "http", "tcp", "tls"),
        "where batches are sent, like https://metrics.example.net/v1/batches; tcp:// and tls:// for graphite",
    )
    protocol: str = key("holdfast", one_of(*KNOWN), f"what the server speaks: {', '.join(KNOWN)}")
    checkin_url: str | None = key(None, address("https", "http"), "where health is posted; absent: no check-in")
    token_file: Path | None = key(None, path, "file with the bearer token; absent: no token is sent")
    ca_file: Path | None = key(None, path, "certificates (PEM) to trust instead of the system's")
    proxy: str | None = key(
        None, address("http", "https"), "proxy to go through; proxies in the environment are ignored"
    )
    max_age_s: int | None = key(None, whole(1, 2**31), "older batches end as 'expired'; absent: no limit")

    def __post_init__(self) -> None:
        """Refuse what would send the token in the clear, and a URL that is not one of the protocol's."""
        complaint = by_name(self.protocol).TRAITS.complaint(self.url)
        if complaint is not None:
            raise ValueError(f"url = {self.url!r}: for protocol {self.protocol} {complaint}")
        if self.proxy and urlsplit(self.url).scheme in ("tcp", "tls"):
            raise ValueError(f"proxy: {self.url} is not reached through an HTTP proxy")
        for each in (self.url, self.checkin_url):
            encrypted = not each or urlsplit(each).scheme != "http" or (is_loopback(each) and not self.proxy)
            if self.token_file and not encrypted:
                raise ValueError(f"token_file: the token would travel unencrypted to {self.proxy or each}; use https")


def token_of(destination: DestinationConfig) -> str | None:
    """The destination's bearer token, None if it has none. Raises ConfigError; see spool.config.read_token."""
    return None if destination.token_file is None else read_token(destination.token_file)
