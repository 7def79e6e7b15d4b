"""What the receiver's pages are built of besides spool/markup.py: instants, states, pictures, the frame around them.

Nothing that came over the network can be markup. A page is one answer: its style is in it, allowed by its hash, and
nothing else is: no script, no font, no picture from anywhere.

Made to be read at 3 a.m. and by those who do not see it: one heading per part, landmarks, a link past the navigation,
tables whose cells know their headings, states as a word beside their colour, a visible focus, and contrasts of at
least 4.5 to 1 for text in light and in dark (a test computes them).

Pure. Does not promise to be current: a page is as old as it says at its end.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from urllib.parse import urlencode

from spool import plot
from spool.health import State
from spool.human import ago, clock
from spool.markup import Html, element, html, policy

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #1d2125; --soft: #565e66; --rule: #d5d9dd; --link: #0b57a4;
  --shade: #f0f1f2; --ok: #1c6b33; --degraded: #8a5300; --fail: #b3261e; --unknown: #565e66 }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e4e7ea; --soft: #a3acb5; --rule: #343a41;
  --link: #8ab8f0; --shade: #1d2125; --ok: #6fce8b; --degraded: #f0b354; --fail: #ff8a80; --unknown: #a3acb5 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem; padding-block: .75rem;
  border-bottom: 1px solid var(--rule) }
header strong { font-size: 1.1rem }
header form { margin-left: auto }
nav ul { display: flex; gap: 1.25rem; list-style: none; margin: 0; padding: 0 }
nav a { text-decoration: none; padding: .25rem 0; border-bottom: 3px solid transparent }
nav a[aria-current] { color: var(--ink); border-color: var(--link) }
footer { color: var(--soft); font-size: .875rem; padding-block: 2rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.5rem 0 .5rem }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
p { margin: .5rem 0 1rem; max-width: 46rem }
a { color: var(--link) }
a:hover { text-decoration-thickness: 2px }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px }
.skip { position: absolute; left: -100rem }
.skip:focus { left: 1rem; top: .5rem; background: var(--paper); padding: .5rem 1rem; z-index: 1 }
.wide { overflow-x: auto; margin-bottom: 1.5rem }
table { border-collapse: collapse; width: 100%; overflow-wrap: normal }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem }
th, td { text-align: left; vertical-align: top; padding: .45rem 1.25rem .45rem 0; border-bottom: 1px solid var(--rule) }
thead th { font-weight: 600; font-size: .875rem; color: var(--soft) }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 12rem }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
time { white-space: nowrap }
td ul { margin: 0; padding: 0; list-style: none }
.state { font-weight: 600; white-space: nowrap }
.OK { color: var(--ok) } .DEGRADED { color: var(--degraded) } .FAIL { color: var(--fail) }
.UNKNOWN { color: var(--unknown) }
.soft { color: var(--soft) }
.names { columns: 18rem; list-style: none; padding: 0 }
.names li { padding: .15rem 0; break-inside: avoid }
form > label { margin-bottom: .75rem }
form.asking > label { margin: 0 }
form.asking { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: .75rem 1.25rem;
  align-items: end; margin: 1rem 0 1.5rem }
label { display: grid; gap: .15rem; max-width: 24rem; font-size: .875rem; color: var(--soft) }
input, select, button, pre { font: inherit; color: inherit; background: var(--shade); border: 1px solid var(--soft);
  border-radius: 4px; padding: 0 .6rem; max-width: 100% }
input, select, button { height: 2.4rem; font-size: 1rem; color: var(--ink) }
form.asking input, form.asking select { width: 100% }
button { justify-self: start; cursor: pointer; padding: 0 1.2rem;
  color: var(--link); border-color: var(--link); background: var(--paper); font-weight: 600 }
.plain { border: 0; padding: 0; height: auto; font-weight: 400; text-decoration: underline }
pre { font-family: ui-monospace, monospace; overflow-x: auto; border-color: var(--rule); padding: .75rem 1rem;
  overflow-wrap: normal }
[role=alert] { border-left: 4px solid var(--fail); padding: .25rem 0 .25rem 1rem }
::placeholder { color: var(--soft); opacity: 1 }
figure { margin: 1rem 0 1.5rem; overflow-x: auto }
figure svg { display: block; width: 100%; min-width: 36rem; height: auto; color: inherit }
figcaption { color: var(--soft); max-width: 46rem }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .75rem 1.25rem; margin: 1rem 0 }
dt { color: var(--soft); font-size: .875rem }
dd { margin: 0 }
summary { cursor: pointer; color: var(--link) }
"""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M2 13V3h3v4h6V3h3v10h-3v-3H5v3z" '
    'fill="#2a7ab9"/></svg>'
)

HEADERS = {
    "Content-Security-Policy": policy(STYLE, "img-src data:"),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
"""Names of hosts and metrics are in addresses, so no referrer; the style in the page is allowed, nothing else is."""

REPEAT_S = 30

SIGNS = {State.OK: "\u2713", State.UNKNOWN: "?", State.DEGRADED: "!", State.FAIL: "\u2715"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What all pages of an answer share: when and where they are made, for whom, and at which of our own addresses.

    `zone` None is local time. `repeated` has the page loaded again every REPEAT_S.
    """

    now: float
    version: str
    signed_in: bool = False
    zone: tzinfo | None = None
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict)
    repeated: bool = False


def link(text: str, path: str, /, **query: str) -> Html:
    """A link to one of our own pages; empty parts of the query are left out."""
    given = {key: value for key, value in query.items() if value}
    return element("a", text, href=f"{path}?{urlencode(given, errors='replace')}" if given else path)


def instant(at: float | None, frame: Frame, *, exact: bool = False) -> Html:
    """How long ago an instant was, or with `exact` the time of the clock, and the date unless it is today's; machines
    read the rest. None is "never"."""
    if at is None:
        return html("never")
    try:
        local = datetime.fromtimestamp(at, frame.zone).astimezone(frame.zone)
    except (ValueError, OverflowError, OSError):  # a window ends when its host says
        return html("beyond any calendar")
    words = clock(at, frame.now, frame.zone) if exact else ago(at, frame.now)
    return element("time", words, datetime=local.isoformat(timespec="seconds"))


def badge(state: State) -> Html:
    """A state as a word with its sign and colour."""
    sign = element("span", f"{SIGNS[state]} ", aria_hidden="true")
    return element("span", sign, str(state), class_=f"state {state}")


def bullets(texts: Iterable[str]) -> Html:
    """A list without a frame, for a cell."""
    return element("ul", *(element("li", text) for text in texts))


def search(label: str, given: str, **kept: str) -> Html:
    """A form that asks for the same page with `search` in its address, and with what is `kept` of the address."""
    hidden = (element("input", type="hidden", name=key, value=value) for key, value in kept.items() if value)
    box = element("label", label, element("input", type="search", name="search", value=given))
    return element("form", box, *hidden, element("button", "Search"), class_="asking", role="search")


def figure(chart: plot.Chart, frame: Frame, caption: str) -> Html:
    """A chart with what is to be said about it."""
    return element("figure", Html(plot.svg(chart, frame.zone)), element("figcaption", caption))


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and values side by side."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs))


def document(title: str, frame: Frame, *content: str, here: str = "") -> bytes:
    """A whole page. `here` is the path of the navigation's entry that it belongs to; "" for no navigation."""
    entries = (
        element("li", element("a", name, href=path, aria_current="page" if path == here else None))
        for name, path in (("Hosts", "/"), ("Metrics", "/chart"))
    )
    navigation = element("nav", element("ul", *entries), aria_label="Pages") if here else html()
    leave = element("form", element("button", "Sign out", class_="plain"), method="post", action="/sign-out")
    local = datetime.fromtimestamp(frame.now, frame.zone).astimezone(frame.zone)
    zone = "UTC" if not local.utcoffset() else f"{local:%Z} (UTC{local.isoformat()[-6:]})"
    made = f"Made at {local:%Y-%m-%d %H:%M:%S}. Times are in {zone}. holdfast-receiver {frame.version}. "
    again = link(f"Load it again every {REPEAT_S} s", frame.path, **{**frame.query, "again": "1"})
    if frame.repeated:
        again = link("Stop loading it again", frame.path, **frame.query)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", f"{title} - Holdfast receiver"),
        element("meta", http_equiv="refresh", content=str(REPEAT_S)) if frame.repeated else html(),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href=f"data:image/svg+xml;base64,{base64.b64encode(ICON.encode()).decode()}"),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", element("strong", "Holdfast receiver"), navigation, leave if frame.signed_in else html()),
        element("main", element("h1", title), *content, id="content", tabindex="-1"),
        element("footer", made, again if here else html()),
    )
    page = f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
    return page.encode("utf-8", "replace")
