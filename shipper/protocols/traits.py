"""What the loop, the configuration and `ping` must know of a protocol before anything is sent. Pure values."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of one destination protocol.

    `proof`: what an acknowledgement proves, in the words that `ping` uses. `again`: what the server makes of a batch
    that it gets twice. `schemes` and `paths`: what a URL begins with and how its path ends, () for any. `raw_bytes`:
    at most so many bytes of stored JSON go into one request (a single batch may be larger). `oldest_first`: the
    server refuses what is older than what it has, so the newest window must wait for the backlog.
    """

    proof: str
    again: str
    schemes: tuple[str, ...] = ("https", "http")
    paths: tuple[str, ...] = ()
    raw_bytes: int = 16_777_216
    oldest_first: bool = False

    def complaint(self, url: str) -> str | None:
        """What is wrong with `url` for this protocol, None if nothing is."""
        parts = urlsplit(url)
        if parts.scheme not in self.schemes:
            return f"it must begin with {' or '.join(f'{each}://' for each in self.schemes)}"
        if self.paths and not parts.path.endswith(self.paths):
            return f"its path must end in {' or '.join(self.paths)}"
        return None
