"""Anything that takes a POST: the stored documents as newline-delimited JSON, gzip-compressed.

    {"v":1,"key":"9f3c...-8841","id":8841,"host":"web-1","window":{...},"points":[...]}\\n     one line per batch

The request is that of Holdfast's own protocol (spool/batch.py has the format of a line), bearer token and
Idempotency-Key included; timers and sets carry their sketch, events and service checks their words, the collector's own
points are among the others. Any complete 2xx acknowledges, so whoever answers must have stored all lines by then, and
must not answer in the place of a server that is down. A batch sent twice has the same `key`: that is for the server to
notice.
"""

from collections.abc import Sequence

from shipper.exchange import Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import is_page, status_and_words
from shipper.protocols.holdfast import encode
from shipper.protocols.traits import Traits
from spool.batch import Batch

__all__ = ["TRAITS", "encode", "judge"]

TRAITS = Traits(
    proof="what the server means by 2xx",
    again="has the same key: the server may notice",
    old="are for the server to judge",
)


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring. A web page is no acknowledgement: it is a portal's or a proxy's."""
    if not 200 <= response.status < 300:
        return Verdict(of_status(response.status), status_and_words(response))
    if is_page(response):
        return Verdict(Outcome.RETRY, f"{response.status} with a web page: who answers there?")
    return Verdict(Outcome.ACKNOWLEDGED, str(response.status), frozenset(each.key for each in batches))
