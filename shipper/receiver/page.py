"""The receiver's page: which hosts are heard, how fresh they are, what is missing, which metrics there are.

Plain HTML, no script, nothing from elsewhere. Pure: facts in, text out; everything that came over the network
is escaped. Ages are relative to the server's clock and are as old as the page.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}

HOST_COLUMNS = ("Host", "Newest window ended", "Batches", "Gaps (windows missing)", "Last check-in")

STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem }
caption { text-align: left; font-weight: bold; font-size: 1.2rem }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8886; vertical-align: top }
.n { text-align: right; font-variant-numeric: tabular-nums }
"""


def age(seconds: float) -> str:
    """`12 s`, `5 m`, `3 h 07 m`, `2 d 04 h`; a clock ahead of ours counts as 0."""
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} m"
    if whole < 172_800:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600:02} h"


def render(hosts: Iterable[Mapping[str, Any]], names: Iterable[tuple[str, str, int]], now: float) -> str:
    """The page. `hosts` and `names` as Store.hosts and Store.names give them, `now` in Unix seconds."""
    host_rows = "".join(_host(each, now) for each in hosts)
    name_rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(kind)}</td><td class="n">{series}</td></tr>'
        for name, kind, series in names
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdfast receiver</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>
<body><main><h1>Holdfast receiver</h1>
{_table("Hosts", HOST_COLUMNS, host_rows)}
{_table("Metrics", ("Name", "Type", "Series"), name_rows)}
</main></body></html>
"""


def _table(caption: str, columns: Iterable[str], rows: str) -> str:
    if not rows:
        return f"<h2>{caption}</h2><p>Nothing has arrived yet.</p>"
    heads = "".join(f'<th scope="col">{each}</th>' for each in columns)
    return f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _host(host: Mapping[str, Any], now: float) -> str:
    fresh = "never" if host["last_window_end"] is None else f"{age(now - host['last_window_end'])} ago"
    gaps = [
        f"{first}" if first == last else f"{first} to {last}"
        for spool in host["spools"]
        for first, last in spool["gaps"]
    ]
    missing = f"{host['missing']}: {', '.join(gaps[-5:])}{' and others' if len(gaps) > 5 else ''}" if gaps else "none"
    checkin = host["checkin"]
    told = "never"
    if checkin is not None:
        state = str(checkin["body"].get("state", "no state"))
        told = f"{state}, {age(now - checkin['received_at'])} ago"
    return (
        f'<tr><th scope="row">{escape(host["host"])}</th><td>{fresh}</td><td class="n">{host["batches"]}</td>'
        f"<td>{missing}</td><td>{escape(told)}</td></tr>"
    )
