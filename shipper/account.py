"""An attempt as the row that is kept of it. Pure."""

from collections.abc import Sequence
from dataclasses import asdict

from shipper.backoff import http_date
from shipper.exchange import Attempt, Response
from shipper.lanes import Lane
from shipper.outcome import Outcome, Verdict
from spool.batch import Batch
from spool.ledger import AttemptRow, ranges


def attempt_row(
    attempt: Attempt, verdict: Verdict, lane: Lane, batches: Sequence[Batch], body_bytes: int, started_at: float
) -> AttemptRow:
    """The row of `attempt`, which carried `batches` (or one part of a batch) and began at `started_at`."""
    ids = [each.id for each in batches]
    return AttemptRow(
        started_at=started_at,
        lane=str(lane),
        first_batch=min(ids),
        last_batch=max(ids),
        batches=len(ids),
        ids=ranges(ids),
        points=sum(each.points for each in batches),
        body_bytes=body_bytes,
        outcome=str(verdict.outcome),
        phase=str(attempt.phase),
        status=(attempt.response.status or None) if attempt.response is not None else None,
        error=verdict.note if verdict.outcome is Outcome.ACKNOWLEDGED else verdict.reason,
        **{name: _rounded(value) for name, value in asdict(attempt.timings).items()},
        total_ms=round(attempt.total_ms, 3),
        overshoot_ms=round(attempt.overshoot_ms, 3),
        sent_bytes=attempt.sent_bytes,
        received_bytes=attempt.received_bytes,
        address=attempt.address,
    )


def clock_offset_s(response: Response, now: float) -> float | None:
    """How far the server's clock is ahead of ours, to the second, by its Date header; None if it has none."""
    theirs = http_date(response.headers.get("date", ""))
    return None if theirs is None else round(theirs - now, 0)


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
