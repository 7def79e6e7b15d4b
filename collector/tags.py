"""Tags: where a line carries them, and what becomes of those that are written twice.

    api.hits:1|c|#env:prod,canary     dogstatsd: a field of the line; always understood
    api.hits,env=prod,canary:1|c      influx
    api.hits;env=prod;canary:1|c      graphite
    api.hits#env=prod,canary:1|c      librato
    api.hits[env=prod,canary]:1|c     signalfx; what follows the bracket is name again
            ----------------

Tags in names are understood if the listener says which style (`Style`), because every one of these is also a name.
A tag without a value has "". A key that comes twice, wherever, has its distinct values sorted and joined by ",".
"""

from collections.abc import Iterable
from typing import Literal

from collector.rules import BrokenError, Reason

Style = Literal["none", "influx", "graphite", "librato", "signalfx"]
"""How tags are written in a name, if they are."""

Tags = tuple[tuple[str, str], ...]
"""Keys and values, sorted by key."""

_SEPARATORS = {"influx": (",", ","), "graphite": (";", ";"), "librato": ("#", ",")}
"""What begins the tags of a style, and what stands between them."""


def in_field(written: str, before: Tags = ()) -> Tags:
    """The tags of a DogStatsD field without its `#`, and those `before` them. Raises BrokenError."""
    # env:prod,canary,env:test
    # --- ---- ------            -> env="prod,test", canary=""
    return _joined((each.partition(":") for each in written.split(",")), before)


def in_name(name: str, style: Style) -> tuple[str, Tags]:
    """A name without its tags, and these. Raises BrokenError."""
    if style == "signalfx":
        # api[env=prod].hits
        # ---           -----    -> api.hits
        head, bracket, rest = name.partition("[")
        written, closing, tail = rest.partition("]")
        if not bracket or not closing:
            return name, ()
        return head + tail, _joined(each.partition("=") for each in written.split(","))
    if style == "none":
        return name, ()
    first, between = _SEPARATORS[style]
    head, _, written = name.partition(first)
    return head, _joined(each.partition("=") for each in written.split(between))


def _joined(written: Iterable[tuple[str, str, str]], before: Tags = ()) -> Tags:
    found: dict[str, set[str]] = {}
    for key, _, value in written:
        if key:
            found.setdefault(key, set()).add(value)
        elif value:
            raise BrokenError(Reason.BAD_TAG, value)
    for key, value in before:  # taken apart only where others join it: a value of a name's tag may have commas
        found[key] = found[key].union(value.split(",")) if key in found else {value}
    return tuple((key, ",".join(sorted(found[key]))) for key in sorted(found))
