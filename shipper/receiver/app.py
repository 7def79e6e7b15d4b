"""The receiver as a WSGI application: which request does what, and what it is told.

    POST /v1/batches   200 {"accepted":[keys],"duplicate":[keys],"rejected":[{"key":..,"error":..}]}
    POST /v1/checkin   200 {"ok":true,"server_time":1764000000.1}
    GET  /healthz      200 {"ok":true,"batches":1204,"last_batch_at":1764000000.1,"version":"0.1.0"}, or 503
    GET  /v1/hosts     200 {"hosts":[...]}: see report.hosts
    GET  /v1/totals    200 {"totals":[...],"truncated":false}: see report.totals; ?name=GLOB
    GET  /             200 the pages of site.py, for people

Everything else is a status with {"error": "..."}: 400 a body that is no batches, 401, 404, 405, 411, 413,
415, 507 disk full, 503 database locked or unwritable (both with Retry-After). Promises: batches are listed
as accepted or duplicate only after they are on the disk, and each in exactly one of the three lists; a
request that is refused as a whole stores nothing. All paths but /healthz ask for the token if one is set; a page
asks a person for it.

Knows no socket. `clock` gives Unix seconds, `monotonic` seconds for durations.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from shipper.exchange import MAX_CHECKIN_BYTES
from shipper.receiver.answer import Answer, Endpoint, as_json, refusal
from shipper.receiver.intake import BodyError, BodyTooLarge, checkin_host, documents
from shipper.receiver.reader import StoreReader
from shipper.receiver.request import Body, Refused, authorise, media_type
from shipper.receiver.site import Site
from shipper.receiver.store import Store, StoreBusy, StoreFull
from spool.logfmt import fields

log = logging.getLogger(__name__)

MAX_TOTALS = 10_000
FEW_REJECTED = 100
"""Of more, the reasons are cut short: the shipper reads 64 KiB of an answer and sends 500 batches (lanes.Limits)."""
PROBE_EVERY_S = 5.0


class Application:
    """The WSGI callable. Holds no state but when it last tried the disk for /healthz."""

    def __init__(
        self,
        store: Store,
        *,
        token: str | None,
        max_body_bytes: int,
        max_raw_bytes: int,
        version: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        zone: tzinfo | None = None,
    ) -> None:
        self._store, self._token, self._version = store, token, version
        self._max_body_bytes, self._max_raw_bytes = max_body_bytes, max_raw_bytes
        self._clock, self._monotonic = clock, monotonic
        self._probed_at = float("-inf")
        self._trouble: str | None = None
        self._reader = StoreReader(store.path, monotonic)
        self._pages = Site(self._reader, token=token, version=version, clock=clock, zone=zone).endpoints
        self._endpoints: Mapping[str, tuple[str, Endpoint]] = {
            **self._pages,
            "/healthz": ("GET", self._healthz),
            "/v1/batches": ("POST", self._batches),
            "/v1/checkin": ("POST", self._checkin),
            "/v1/hosts": ("GET", self._hosts),
            "/v1/totals": ("GET", self._totals),
        }

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        begun = self._monotonic()
        body = Body(environ)
        try:
            answer = self._answer(environ, body)
        except Refused as refused:
            answer = refusal(refused.status, str(refused), refused.headers)
        except BodyError as error:
            answer = refusal(HTTPStatus.BAD_REQUEST, str(error))
        except BodyTooLarge as error:
            answer = refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except StoreFull as error:
            answer = refusal(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except StoreBusy as error:
            answer = refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        body.discard()
        self._note(environ, body, answer, (self._monotonic() - begun) * 1000)
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **answer.headers,
        }
        start_response(f"{answer.status.value} {answer.status.phrase}", list(headers.items()))
        return [answer.body]

    def _answer(self, environ: Mapping[str, Any], body: Body) -> Answer:
        path = environ.get("PATH_INFO", "")
        if path not in self._endpoints:
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing here; there are {', '.join(self._endpoints)}")
        method, endpoint = self._endpoints[path]
        if environ["REQUEST_METHOD"] != method:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {method}", Allow=method)
        if path != "/healthz" and path not in self._pages:
            authorise(environ, self._token)
        return endpoint(environ, body)

    def _batches(self, environ: Mapping[str, Any], body: Body) -> Answer:
        if media_type(environ) != "application/x-ndjson":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/x-ndjson")
        encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
        if encoding not in ("gzip", "identity"):
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "Content-Encoding must be gzip or identity",
                Accept_Encoding="gzip",
            )
        content = body.read(self._max_body_bytes)
        arrivals = documents(content, gzipped=encoding == "gzip", limit_bytes=self._max_raw_bytes)
        receipt = self._store.add(arrivals, self._clock())
        error_chars = 200 if len(receipt.rejected) <= FEW_REJECTED else 50
        said = {
            "accepted": receipt.accepted,
            "duplicate": receipt.duplicate,
            "rejected": [{"key": each.key, "error": each.error[:error_chars]} for each in receipt.rejected],
        }
        accepted, duplicate, rejected = len(receipt.accepted), len(receipt.duplicate), len(receipt.rejected)
        noted = {
            "host": receipt.host,
            "batches": accepted + duplicate + rejected,
            "accepted": accepted,
            "duplicate": duplicate,
            "rejected": rejected,
        }
        return as_json(said, noted=noted)

    def _checkin(self, environ: Mapping[str, Any], body: Body) -> Answer:
        if media_type(environ) != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        text = body.read(MAX_CHECKIN_BYTES)
        host = checkin_host(text)
        now = self._clock()
        self._store.check_in(host, text.decode("utf-8"), now)
        return as_json({"ok": True, "server_time": round(now, 3)}, noted={"host": host})

    def _healthz(self, _environ: Mapping[str, Any], _body: Body) -> Answer:
        if self._monotonic() - self._probed_at >= PROBE_EVERY_S:  # nobody without a token may make us write more
            self._probed_at = self._monotonic()
            try:
                self._store.probe()
            except StoreBusy as error:
                self._trouble = str(error)
            else:
                self._trouble = None
        if self._trouble is not None:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, self._trouble)
        return as_json({"ok": True, **self._reader.counts(), "version": self._version})

    def _hosts(self, _environ: Mapping[str, Any], _body: Body) -> Answer:
        return as_json({"hosts": self._reader.hosts()})

    def _totals(self, environ: Mapping[str, Any], _body: Body) -> Answer:
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        found = self._reader.totals(asked.get("name", ["*"])[-1], MAX_TOTALS + 1)
        return as_json({"totals": found[:MAX_TOTALS], "truncated": len(found) > MAX_TOTALS})

    def _note(self, environ: Mapping[str, Any], body: Body, answer: Answer, took_ms: float) -> None:
        """One line per request that stored or refused something."""
        if environ["REQUEST_METHOD"] == "GET" and answer.status == HTTPStatus.OK:
            return
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        log.log(
            logging.INFO if answer.status < HTTPStatus.BAD_REQUEST else logging.WARNING,
            "request",
            extra=fields(
                status=int(answer.status),
                method=environ["REQUEST_METHOD"],
                path=environ.get("PATH_INFO", "")[:100],
                peer=environ.get("REMOTE_ADDR"),
                **answer.noted,
                body_bytes=body.length,
                ms=took_ms,
                idempotency_key=key[:64] if key else None,
            ),
        )
