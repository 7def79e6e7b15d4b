"""What the loop, the configuration and `ping` must know of a protocol before anything is sent. Pure values."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from spool.ledger import Terms


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of one destination protocol.

    `proof`: what an acknowledgement proves, in the words that `ping` uses. `again`: what the server makes of a batch
    that it gets twice, `old` of points that are no longer new, which it takes up to an age of `takes_s` in any case
    (None: no limit is known). `schemes` and `paths`: what a URL begins with and how its path ends, () for any.
    `raw_bytes`: at most so many bytes of stored JSON go into one request (a single batch may be larger).
    `oldest_first`: the server refuses what is older than what it has, so the newest window must wait for the backlog.
    `leaves_out`: types of points that the format cannot carry; they count as delivered with their batch.
    """

    proof: str
    again: str
    old: str = "are taken at any age"
    takes_s: float | None = None
    schemes: tuple[str, ...] = ("https", "http")
    paths: tuple[str, ...] = ()
    raw_bytes: int = 16_777_216
    oldest_first: bool = False
    leaves_out: tuple[str, ...] = ()

    @property
    def terms(self) -> Terms:
        """What a replay has to know."""
        return Terms(self.again, self.old, self.takes_s)

    def complaint(self, url: str) -> str | None:
        """What is wrong with `url` for this protocol, None if nothing is."""
        parts = urlsplit(url)
        if parts.scheme not in self.schemes:
            return f"it must begin with {' or '.join(f'{each}://' for each in self.schemes)}"
        if self.paths and not parts.path.endswith(self.paths):
            return f"its path must end in {' or '.join(self.paths)}"
        return None
