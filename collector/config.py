"""[collector]: where to listen, how long a window is, and what bounds memory.

    udp://127.0.0.1:8125?gauges=value&tags=influx      unixgram:///run/holdfast/statsd.sock
    ---   --------- ---- ------------ -----------      --------    ------------------------
    scheme  address port this listener's meaning of    scheme      absolute path
                         signs,       tags in names

Pure: nothing is bound or resolved here; addresses are IP addresses, so that a start never waits for DNS.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from collector.statsd import Dialect, Signs
from collector.tags import Style
from spool.config import Rule, key, list_of, one_of, text, whole

LISTEN_ALLOWED = (
    "udp://IP:PORT, tcp://IP:PORT (IPv6 in brackets), unixgram:///PATH or unix:///PATH (a path of at most"
    " 107 bytes), each with ?gauges= and ?tags= if wanted: see gauge_signs, name_tags"
)
MAX_UNIX_PATH_BYTES = 107
"""What the kernel's sockaddr_un takes, less the final NUL."""

Scheme = Literal["udp", "tcp", "unixgram", "unix"]


@dataclass(frozen=True, slots=True)
class Listen:
    """One address to listen on. `host`, `port` for udp and tcp (0: the kernel chooses), else `path`."""

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""
    gauges: Signs | None = None
    tags: Style | None = None

    def __str__(self) -> str:
        """The URL, without its query."""
        if self.path:
            return f"{self.scheme}://{self.path}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def listen_url(raw: Any, _folder: Path) -> Listen:
    """The rule for one listen URL. Raises ValueError that says what is allowed."""
    if not isinstance(raw, str):
        raise ValueError(LISTEN_ALLOWED)  # noqa: TRY004 - every rule speaks ValueError
    try:
        url = urlsplit(raw)
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        port = url.port
    except ValueError:
        raise ValueError(f"{LISTEN_ALLOWED}; not {raw!r}") from None
    said: dict[str, Any] = {"gauges": query.pop("gauges", None), "tags": query.pop("tags", None)}
    known = said["gauges"] in (None, *get_args(Signs)) and said["tags"] in (None, *get_args(Style))
    if query or url.fragment or url.username is not None or not known:
        raise ValueError(f"{LISTEN_ALLOWED}; not {raw!r}")
    if url.scheme in ("unix", "unixgram") and not url.netloc and _fits_socket(url.path):
        return Listen("unix" if url.scheme == "unix" else "unixgram", path=url.path, **said)
    if url.scheme in ("udp", "tcp") and port is not None and not url.path and _is_address(url.hostname):
        return Listen("udp" if url.scheme == "udp" else "tcp", url.hostname or "", port, **said)
    raise ValueError(f"{LISTEN_ALLOWED}; not {raw!r}")


def _fits_socket(path: str) -> bool:
    return len(path) > 1 and path.startswith("/") and "\0" not in path and len(path.encode()) <= MAX_UNIX_PATH_BYTES


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def _listens(raw: Any, folder: Path) -> Any:
    # One URL may stand alone, so that HOLDFAST_COLLECTOR_LISTEN=udp://127.0.0.1:8125 does what it looks like.
    return list_of(listen_url, at_least=1)([raw] if isinstance(raw, str) else raw, folder)


def _quantile(raw: Any, _folder: Path) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < 1:
        raise ValueError("a number between 0 and 1, both excluded")
    return float(raw)


_ADMIN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):([0-9]{1,5})")


def _admin(raw: Any, _folder: Path) -> Listen:
    match = _ADMIN.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or not _is_address(match[1].strip("[]")) or int(match[2]) > 65_535:
        raise ValueError('an IP address and a port, as "127.0.0.1:8126" or "[::1]:8126"')
    return Listen("tcp", match[1].strip("[]"), int(match[2]))


_host: Rule = text(r"[^\x00-\x1f\x7f]{1,255}", "a name of 1 to 255 printable characters")


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """[collector]: what the collector process reads."""

    listen: tuple[Listen, ...] = key(
        (Listen("udp", "127.0.0.1", 8125),), _listens, "addresses to receive on: " + LISTEN_ALLOWED
    )
    interval_s: int = key(10, whole(1, 3_600), "length of a window; boundaries are multiples of it, wall clock")
    quantiles: tuple[float, ...] = key(
        (0.5, 0.9, 0.95, 0.99), list_of(_quantile), "quantiles of timers: 0.99 is reported as p99"
    )
    workers: int = key(
        1, whole(1, 64), "processes that receive; several share the clients, and their windows are merged into one"
    )
    max_series: int = key(
        100_000, whole(1, 10_000_000), "series per window; new ones beyond it go into holdfast.overflow"
    )
    receive_buffer_bytes: int = key(
        8_388_608,
        whole(4_096, 2**30),
        "receive buffer asked of the kernel for each socket; it may grant less",
    )
    gauge_expiry_s: int | None = key(
        None, whole(1, 2**31), "a gauge is reported for so long after its last sample; absent: for ever"
    )
    gauge_signs: Signs = key(
        "delta",
        one_of(*get_args(Signs)),
        "whether g:+1 adds 1 (delta, StatsD) or is 1 (value, DogStatsD); ?gauges= overrides it",
    )
    name_tags: Style = key(
        "none",
        one_of(*get_args(Style)),
        "tags that are written in names: influx (a,k=v), graphite (a;k=v), librato (a#k=v), signalfx (a[k=v]) or none;"
        " ?tags= overrides it",
    )
    host: str | None = key(None, _host, "this host's name in each batch; absent: what the system calls itself")
    admin: Listen | None = key(
        None, _admin, "IP:PORT of the admin port, which answers stats, counters, config ... to anybody; absent: off"
    )

    def dialect(self, listen: Listen) -> Dialect:
        """What is spoken at one of the addresses."""
        return Dialect(listen.gauges or self.gauge_signs, listen.tags or self.name_tags)
