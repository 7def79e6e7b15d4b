"""Reading what servers say in their answers, for judgements and logs. Pure; nothing in here raises."""

import json
import re
from typing import Any

from shipper.exchange import Response

SAID_MOST = 300
"""Characters of a server's words that are kept: enough for the name of a metric and what is wrong with it."""

RULING_MOST = 8_192
"""Characters that are searched for a ruling: a name has 1,024 bytes at most."""
_QUOTED = re.compile(r'"[^"]*"')


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` is, else an empty one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def said(body: bytes) -> str:
    """What the server said about an error: one printable line of at most SAID_MOST characters, "" for nothing.

    It is `error`, `message` or `errors` of a JSON object, or the text itself.
    """
    return printable(_words(body)[:SAID_MOST]).strip()


def printable(text: str) -> str:
    """`text` as one line that every log and file can hold: JSON's escapes also make half a character ("\\ud800")."""
    return "".join(ch if ch.isprintable() else " " for ch in text)


def ruling(body: bytes) -> str:
    """What it says, without what it quotes: a metric called "user.retention" says nothing of what became of it.

    Longer than `said`, because the name comes before the ruling; short enough for any pattern.
    """
    return _QUOTED.sub('""', _words(body)[:RULING_MOST].replace('\\"', "'"))


def status_and_words(response: Response) -> str:
    """Like "400 partial write: ..."."""
    return f"{response.status} {said(response.body)}".strip()


def is_page(response: Response) -> bool:
    """Whether this is a web page: a portal's or a proxy's greeting, whatever its status says."""
    return "html" in response.headers.get("content-type", "") or response.body.lstrip()[:1] == b"<"


def _words(body: bytes) -> str:
    answer = json_object(body)
    words = [answer.get("error"), answer.get("message"), answer.get("errors")]
    return next((_plain(each) for each in words if each), body.decode("utf-8", "replace"))


def _plain(words: Any) -> str:
    return "; ".join(map(str, words)) if isinstance(words, list) else str(words)
