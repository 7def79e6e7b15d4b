"""What the pages of this project are built of: escaped elements, tables, and the policy under which they are shown.

    element("a", host_name, href="/host?name=x")      <a href="/host?name=x">&lt;script&gt;</a>

Whatever is no `Html` is escaped where it is put in, so nothing that came over the network or from a file can be markup.
Pure. Not promised: that what is put in makes sense; nobody checks which element may hold which.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

VOID = ("input", "meta", "link")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def html(*parts: str) -> Html:
    """The parts one after the other; what is no markup is escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def element(name: str, /, *content: str, **attributes: str | bool | None) -> Html:
    """`<name attributes>content</name>`. An attribute's `_` becomes `-`, one at its end is left out (`class_`); False
    and None leave the attribute out, True gives it no value."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{given}>" + ("" if name in VOID else f"{html(*content)}</{name}>"))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that can be scrolled by keyboard; the first cell of a row is its heading. A column whose name ends in `#`
    has numbers."""
    numbers = [each.endswith("#") for each in columns]
    style = ["number" if each else None for each in numbers]
    head = (
        element("th", name.removesuffix("#"), scope="col", class_=each)
        for name, each in zip(columns, style, strict=True)
    )
    body = (
        element(
            "tr",
            element("th", row[0], scope="row", class_=style[0]),
            *(element("td", cell, class_=each) for cell, each in zip(row[1:], style[1:], strict=True)),
        )
        for row in rows
    )
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *body),
    )
    return element("div", inner, class_="wide", role="region", aria_label=caption, tabindex="0")


def policy(style: str, *more: str) -> str:
    """A Content-Security-Policy that allows this one style, forms that lead back here, `more`, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = "default-src 'none'", f"style-src 'sha256-{digest}'", "form-action 'self'", "base-uri 'none'"
    return "; ".join([*rules, "frame-ancestors 'none'", *more])
