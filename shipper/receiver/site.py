"""What a person opens in a browser: the pages, and signing in to them.

    GET  /            all hosts, worst first
    GET  /host        one host, ?name=: its gaps and check-ins
    GET  /chart       the names of metrics, ?search=; with ?name= a chart: see question.py
    POST /sign-in     the token from a form; then a cookie stands for it: see session.py
    POST /sign-out    forget that

Where a token is set, a page wants it in one of two ways: the cookie, or `Authorization: Bearer` as for every other
path. Without either it answers 401 with the form. The token is never part of an address.

Promises that a page costs the database little however much is in it (reader.py). Knows no socket and no file.
"""

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from shipper.receiver import chart_page, curves, hosts_page, page, session
from shipper.receiver.answer import Answer, Endpoint
from shipper.receiver.curves import Steps
from shipper.receiver.page import Frame, document
from shipper.receiver.question import Choice, Question, asked, choose
from shipper.receiver.reader import StoreReader, TooMuch
from shipper.receiver.request import Body, Refused, is_token, media_type, shows_token
from shipper.receiver.standing import Gap, gaps
from shipper.receiver.store import StoreBusy
from spool.markup import element

PATHS = ("/", "/host", "/chart")
NAMES_MOST, SERIES_MOST, CHECKINS_READ, NOTICES_READ = 300, 5_000, 240, 30
NOTICES_S = 86_400.0
FORM_BYTES = 8_192

_OWN_ADDRESS = re.compile(rf"({'|'.join(PATHS)})(\?[!-~]*)?")


class Site:
    """The pages. `clock` gives Unix seconds; clock times are told and read in `zone`, None for local time."""

    def __init__(
        self,
        reader: StoreReader,
        *,
        token: str | None,
        version: str,
        clock: Callable[[], float],
        zone: tzinfo | None = None,
    ) -> None:
        self._reader, self._token, self._version, self._clock, self._zone = reader, token, version, clock, zone

    @property
    def endpoints(self) -> dict[str, tuple[str, Endpoint]]:
        """Path -> method, and what answers."""
        pages = dict(zip(PATHS, (self._hosts, self._host, self._chart), strict=True))
        return {
            **{path: ("GET", answer) for path, answer in pages.items()},
            "/sign-in": ("POST", self._sign_in),
            "/sign-out": ("POST", self._sign_out),
        }

    def _hosts(self, environ: Mapping[str, Any], _body: Body) -> Answer:
        return self._page(environ, lambda frame: hosts_page.hosts(self._reader.hosts(), frame, _own_url(environ)))

    def _host(self, environ: Mapping[str, Any], _body: Body) -> Answer:
        def made(frame: Frame) -> bytes:
            name = frame.query.get("name", "")
            found = self._reader.hosts(name)
            if not found:
                raise Refused(HTTPStatus.NOT_FOUND, "no such host has been heard")
            notices = self._reader.notices(name, frame.now - NOTICES_S, NOTICES_READ)
            return hosts_page.host(found[0], self._reader.checkins(name, CHECKINS_READ), notices, frame)

        return self._page(environ, made)

    def _chart(self, environ: Mapping[str, Any], _body: Body) -> Answer:

        def made(frame: Frame) -> bytes:
            question = asked(frame.query, frame.now, self._zone)
            if not question.name:
                names = self._reader.names(question.search, NAMES_MOST)
                return chart_page.names(names, NAMES_MOST, question, frame)
            return chart_page.chart(self._drawn(question), frame)

        return self._page(environ, made)

    def _sign_in(self, environ: Mapping[str, Any], body: Body) -> Answer:
        if media_type(environ) != "application/x-www-form-urlencoded":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this takes the form of the page")
        given = dict(parse_qsl(body.read(FORM_BYTES).decode("utf-8", "replace"), errors="replace"))
        then = given.get("then", "")
        then = then if _OWN_ADDRESS.fullmatch(then) else "/"
        if self._token is not None and not is_token(given.get("token", "").strip(), self._token):
            return self._sign_in_form(then, wrong=True)
        cookie = session.begun(self._token or "", self._clock(), secure=_secure(environ))
        return _see_other(then, cookie)

    def _sign_out(self, environ: Mapping[str, Any], _body: Body) -> Answer:
        return _see_other("/", session.ended(secure=_secure(environ)))

    def _page(self, environ: Mapping[str, Any], made: Callable[[Frame], bytes]) -> Answer:
        now = self._clock()
        signed_in = self._token is not None and session.holds(environ, self._token, now)
        if not signed_in and not shows_token(environ, self._token):
            query = environ.get("QUERY_STRING", "")
            return self._sign_in_form(environ["PATH_INFO"] + (f"?{query}" if query else ""), wrong=False)
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), errors="replace"))
        repeated = query.pop("again", "") == "1"
        frame = Frame(now, self._version, signed_in, self._zone, environ["PATH_INFO"], query, repeated)
        try:
            return _html(made(frame))
        except Refused as refused:
            status, title, sentence = refused.status, "Not found", f"{str(refused).capitalize()}."
        except TooMuch as error:
            status, title, sentence = HTTPStatus.OK, "Too much at once", str(error)
        except StoreBusy as error:
            status, title, sentence = HTTPStatus.SERVICE_UNAVAILABLE, "Not now", f"{str(error).capitalize()}."
        content = document(title, frame, element("p", sentence, role="alert"), here="/")
        return _html(content, status, noted={"error": sentence} if status >= HTTPStatus.BAD_REQUEST else {})

    def _sign_in_form(self, then: str, *, wrong: bool) -> Answer:
        frame = Frame(self._clock(), self._version, zone=self._zone)
        field = element(
            "input",
            type="password",
            name="token",
            autocomplete="current-password",
            required=True,
            autofocus=True,
            aria_describedby="wrong where" if wrong else "where",
            aria_invalid="true" if wrong else None,
        )
        form = element(
            "form",
            element("p", "This is not the token.", id="wrong", role="alert") if wrong else "",
            element("label", "Token", field),
            element("input", type="hidden", name="then", value=then),
            element("p", element("button", "Sign in")),
            method="post",
            action="/sign-in",
        )
        where = "It is in the file that [receiver] token_file names on this server. You stay signed in for 12 hours."
        content = document("Sign in", frame, form, element("p", where, id="where", class_="soft"))
        asks = {"WWW-Authenticate": 'Bearer realm="holdfast"'}
        error = "the token is wrong" if wrong else "not signed in"
        return _html(content, HTTPStatus.UNAUTHORIZED, asks, {"error": error})

    def _drawn(self, question: Question) -> chart_page.Drawn:
        """What the question is about, read from the database."""
        choice = choose(question, self._reader.series(question.name, question.host, SERIES_MOST))
        stats = self._reader.stats(choice.chosen[0].id) if choice.chosen else []
        shown = curves.shown(stats, question.stat, len(choice.chosen) if choice.together == "line" else 1)
        until, window_s = self._reader.newest_window((each.host for each in choice.read), question.until_at)
        steps = Steps(question.since_at, until, question.step_s(window_s))
        try:
            readings = self._reader.readings(choice.read, shown, steps) if shown else []
        except TooMuch as error:
            return chart_page.Drawn(question, choice, stats, shown, steps, (), trouble=str(error))
        lines = curves.lines(readings, choice.read, steps.step_s, choice.together)
        return chart_page.Drawn(question, choice, stats, shown, steps, lines, missing=self._missing(choice, question))

    def _missing(self, choice: Choice, question: Question) -> list[Gap]:
        """The gaps within the time, where all is about one host."""
        names = {each.host for each in choice.read}
        found = [gap for host in self._reader.hosts(*names) for gap in gaps(host)] if len(names) == 1 else []
        return [each for each in found if each.within(question.since_at, question.until_at)]


def _html(
    content: bytes,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] = MappingProxyType({}),
    noted: Mapping[str, Any] = MappingProxyType({}),
) -> Answer:
    return Answer(content, status, "text/html; charset=utf-8", {**page.HEADERS, **headers}, noted)


def _see_other(address: str, cookie: str) -> Answer:
    return Answer(b"", HTTPStatus.SEE_OTHER, "text/plain", {"Location": address, "Set-Cookie": cookie})


def _secure(environ: Mapping[str, Any]) -> bool:
    return bool(environ.get("wsgi.url_scheme") == "https")


def _own_url(environ: Mapping[str, Any]) -> str:
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST') or 'this-server'}"
