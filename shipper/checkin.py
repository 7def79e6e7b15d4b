"""The check-in: once a minute, and soon after each change of state, each server is told how its deliveries stand.

It runs as a process beside the shippers with connections of its own, reads the same files and sends no batches, so it
goes on reporting while an upload hangs. The server learns from it what silence cannot tell: data that is late (`owed`:
windows by number, some of them delivered), data that will never come (`losses_since` the last check-in that was
acknowledged, also one before a restart), and that this host is alive but has nothing to say. Where a server takes no
check-ins, this host tells its operator: since when and why is in the heartbeat, from which `status` has it.

    POST /v1/checkin
    {"v":1, "state":"DEGRADED", "reasons":["main: oldest unsent batch waits for 6m"], ...,
     "host":"web-1", "version":"0.1.0", "sqlite":"3.40.1", "since":1764000000.0, "losses_since":[...],
     "owed":{"batches":360,"first_window":8841,"last_window":9203}}

The first line is what `holdfast status --json` says of this destination.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.attempting import Sender
from shipper.config import DestinationConfig, ShipperConfig, token_of
from shipper.exchange import MAX_CHECKIN_BYTES, Attempt, Request
from shipper.protocols.answer import is_page, status_and_words
from spool.config import SpoolConfig
from spool.errors import HoldfastError, SpoolMissing
from spool.health import GRACE_S, Facts, State, as_json, judge
from spool.heartbeat import beat, heartbeats
from spool.logfmt import fields
from spool.reader import SpoolReader
from spool.survey import survey

BEAT_S = 5.0
RETRY_S = 10.0
"""After a check-in that the server did not take, the next one comes so soon."""

LOOK_S = 10.0
"""So often health is looked at; a state that the server was not told is told at once. It costs some milliseconds."""

LOSSES_MOST = 100
"""Rows of losses in one check-in, fewer if they do not fit; more are summed up by `losses` of the facts."""

log = logging.getLogger("holdfast.checkin")


@dataclass(frozen=True, slots=True)
class Report:
    """What is the same in every check-in of this process."""

    host: str
    version: str
    sqlite: str
    interval_s: int


class CheckIn:
    """Posts the health of each destination that has a `checkin_url`. `turn` does what is due."""

    def __init__(
        self,
        directory: Path,
        limits: SpoolConfig,
        destinations: Mapping[str, DestinationConfig],
        settings: ShipperConfig,
        report: Report,
        senders: Mapping[str, Sender],
        now: Callable[[], float],
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._directory, self._limits, self._settings, self._report = directory, limits, settings, report
        self._destinations = {name: each for name, each in destinations.items() if each.checkin_url}
        self._senders, self._now, self._clock, self._draw = senders, now, clock, draw
        self._started_at = clock()
        self._due_at = dict.fromkeys(self._destinations, self._started_at)
        self._look_at = clock() + LOOK_S
        self._told: dict[str, str] = {}  # the state that each server knows
        before = heartbeats(directory).get("checkin", {})
        told_until = before.get("told_until", {})
        self._told_until = {name: float(told_until.get(name, now())) for name in self._destinations}
        # The newest loss that each server knows, and that it was shown last: the spool's id and the row's.
        self._told_loss: dict[str, tuple[str, int]] = {
            name: (spool_id, loss) for name, (spool_id, loss) in before.get("told_loss", {}).items()
        }
        self._shown_loss: dict[str, tuple[str, int]] = {}
        # Since when each server takes none, and the newest reason: `survey` reads it from the heartbeat.
        self._failing: dict[str, tuple[float, str]] = {
            name: (since, why) for name, (since, why) in before.get("failing", {}).items() if name in self._destinations
        }

    def turn(self) -> float:
        """Post every check-in that is due. Returns the seconds until there is something to do, 0 to BEAT_S."""
        self._beat("waiting")
        if self._look_at <= self._clock():
            self._look_at = self._clock() + LOOK_S
            self._due_at |= {name: self._clock() for name, state in self._told.items() if state != self._state(name)}
        for name, due_at in self._due_at.items():
            if due_at <= self._clock():
                # Jitter of +-10 %: a fleet that was started by one command does not report in one second.
                self._beat("telling", at_most_s=self._settings.checkin_deadline_s)
                error = self._tell(name, self._destinations[name])
                if error is None:
                    self._failing.pop(name, None)
                else:
                    self._failing[name] = self._failing.get(name, (self._now(), ""))[0], error
                interval_s = self._settings.checkin_interval_s
                wait_s = interval_s if error is None else min(RETRY_S, interval_s)
                self._due_at[name] = self._clock() + wait_s * (0.9 + 0.2 * self._draw())
        soonest = min([*self._due_at.values(), self._look_at]) - self._clock()
        return min(max(soonest, 0.0), BEAT_S)

    def _beat(self, phase: str, **facts: float) -> None:
        # What was told survives a restart in the heartbeat: losses of the time between are told after it.
        told = {"told_until": self._told_until, "told_loss": self._told_loss, "failing": self._failing}
        beat(self._directory, "checkin", self._now(), phase, **told, **facts)

    def _tell(self, name: str, destination: DestinationConfig) -> str | None:
        """Post one check-in; returns why the server did not take it, None if it did."""
        now = self._now()
        try:
            body = self.body(name, now)
            headers = {"Content-Type": "application/json"}
            token = token_of(destination)
        except HoldfastError as error:
            log.warning("checkin_not_sent", extra=fields(destination=name, error=str(error)))
            return str(error)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = Request("POST", str(destination.checkin_url), headers, _text(body))
        attempt = self._senders[name].attempt(request, self._settings.checkin_deadline_s)
        self._senders[name].close()
        refusal = _refusal(attempt)
        if refusal is None:
            self._told_until[name], self._told[name] = now, body["state"]
            if name in self._shown_loss:  # else the spool could not be read
                self._told_loss[name] = self._shown_loss[name]
        _log_checkin(name, body["state"], attempt, refusal)
        return refusal

    def _state(self, name: str) -> str:
        try:
            return str(judge(self._facts(name, self._now())).state)
        except HoldfastError as error:
            return self._unseen(error)

    def _unseen(self, error: HoldfastError) -> State:
        """What it means that nothing can be seen: nothing yet, if everything has just been started."""
        early = isinstance(error, SpoolMissing) and self._clock() - self._started_at < GRACE_S
        return State.UNKNOWN if early else State.FAIL

    def _facts(self, name: str, now: float) -> Facts:
        return survey(self._directory, [name], self._limits, self._report.interval_s, now)

    def body(self, name: str, now: float) -> dict[str, Any]:
        """What is said to destination `name` at `now` (Unix seconds)."""
        since = self._told_until[name]
        self._shown_loss.pop(name, None)
        try:
            facts = self._facts(name, now)
            with SpoolReader(self._directory) as spool:
                losses, host = self._untold_losses(name, spool), spool.host
            health = as_json(facts, judge(facts))
            owed = _owed(facts)
        except HoldfastError as error:  # no spool, or a damaged one: that is what the server has to know
            losses, host, owed = [], self._report.host, None
            health = {"v": 1, "state": self._unseen(error), "reasons": [str(error)], "at": now}
        own = {"host": host, "version": self._report.version, "sqlite": self._report.sqlite}
        return {**health, **own, "owed": owed, "since": since, "losses_since": losses}

    def _untold_losses(self, name: str, spool: SpoolReader) -> list[dict[str, Any]]:
        """The losses that destination `name` was not told of, newest first.

        By number, where one is known: a row may be dated some seconds before it is committed, or by a clock that is set
        back since.
        """
        newest = spool.losses(limit=1)
        spool_id, told = self._told_loss.get(name, ("", 0))
        if spool_id == spool.spool_id:
            losses = spool.losses(limit=LOSSES_MOST, after=told)
        else:
            losses = spool.losses(self._told_until[name], LOSSES_MOST)
        self._shown_loss[name] = spool.spool_id, max((each["id"] for each in (*losses, *newest)), default=0)
        return losses


def _owed(facts: Facts) -> dict[str, int | None]:
    """The windows that the destination has still to get."""
    (stands,) = (each for each in facts.destinations if each.configured)
    first, last = stands.first_unsent_window, stands.last_unsent_window
    return {"batches": stands.unsent_batches, "first_window": first, "last_window": last}


def _text(body: Mapping[str, Any]) -> bytes:
    """The check-in as it travels, with as many of its losses, the newest first, as there is room for."""
    text = json.dumps(body, separators=(",", ":")).encode()
    if len(text) <= MAX_CHECKIN_BYTES or not body["losses_since"]:
        return text
    return _text({**body, "losses_since": body["losses_since"][: len(body["losses_since"]) // 2]})


def _refusal(attempt: Attempt) -> str | None:
    """Why the server did not take the check-in, None if it did."""
    response = attempt.response
    if response is None:
        return attempt.error or "no answer"
    taken = 200 <= response.status < 300 and not is_page(response)
    return None if taken else status_and_words(response)


def _log_checkin(name: str, state: str, attempt: Attempt, refusal: str | None) -> None:
    response = attempt.response
    log.log(
        logging.INFO if refusal is None else logging.WARNING,
        "checkin",
        extra=fields(
            destination=name,
            state=state,
            status=response.status if response is not None else None,
            phase=str(attempt.phase),
            total_ms=round(attempt.total_ms, 1),
            overshoot_ms=round(attempt.overshoot_ms, 1),
            error=refusal,
        ),
    )
