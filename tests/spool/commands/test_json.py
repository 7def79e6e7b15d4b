"""What `--json` prints: the keys that the help names, no others, for every command that has it."""

import json
import re
import time
from typing import Any

import pytest

from spool.batch import State, Window
from spool.delivery import Settled
from spool.writer import SpoolWriter
from tests import readme
from tests.spool.commands.conftest import Made

BATCH = "id key window_start window_end window_seq committed_at points series raw_bytes payload_bytes"
STATE = "state at attempt reason"
ATTEMPT = (
    "destination id started_at lane first_batch last_batch batches ids points body_bytes outcome phase status error"
    " dns_ms connect_ms tls_ms write_ms wait_ms read_ms close_ms total_ms overshoot_ms sent_bytes received_bytes"
    " address"
)

KEYS = {
    "status": {
        "": "v state reasons at directory spool_id intake beats destinations losses disk",
        "intake": "interval_s started_at last_commit_at series lines_per_s batches_per_s windows_waiting windows lines"
        " accepted rejected rejected_by dropped overflowed recent_dropped",
        "beats.main": "at phase pid at_most_s started_at",
        "destinations": "name configured problem unsent_batches unsent_points unsent_bytes oldest_unsent_end"
        " first_unsent_window last_unsent_window waiting_since drained_per_s acknowledged dead expired held recent_dead"
        " recent_expired failures next_try_at parked_since parked_reason last_attempt_at last_ack_at last_error"
        " clock_offset_s backlog_minutes checkin_failing_since checkin_error",
        "losses": "recent_batches recent_points recent_rows week_batches week_points week_rows last_at",
        "disk": "free_bytes reserve_bytes used_bytes limit_bytes full_in_s",
    },
    "list": {"": f"{BATCH} states tries last_error"},
    "show 1 --points": {
        "": f"{BATCH} sha256 damage states attempts rows",
        "states.main": STATE,
        "attempts": ATTEMPT,
        "rows": "batch ts name type tags stat value fields",
    },
    "explain 1": {"": "batch destinations", "batch": BATCH, "destinations": "destination state history why next"},
    "tail": {"": "at what destination batches text"},
    "points": {"": "batch ts name type tags stat value fields"},
    "points --agg 1m:avg": {"": "ts name type tags stat value"},
    "attempts": {"": ATTEMPT},
    "attempts --summary": {"": "destination outcome phase count p50_ms p99_ms max_ms"},
    "attempts --plot": {
        "": "start end count failed p50_ms max_ms dns_ms connect_ms tls_ms write_ms wait_ms read_ms close_ms"
    },
    "losses": {
        "": "id at reason first_batch last_batch first_window last_window window_start window_end batches points lines"
        " unsent_at"
    },
    "hangs": {"": "name at bytes who phase ended where"},
    "hangs hang.txt": {"": "name at bytes who phase ended where text"},
    "replay 1": {
        "": "applied as_new plans",
        "plans": "destination batches points first_start last_end by_state unsent held too_old terms doubtful"
        " sent_again",
    },
    "hold 4": {"": "applied batches"},
    "release --all": {"": "applied batches"},
    "dead list": {"": "destination batch at attempt reason window_start window_end points held"},
    "dead requeue 3": {"": "applied batches"},
    "dead drop 3": {"": "applied batches"},
    "drain --deadline 1s": {
        "": "drained through destinations",
        "destinations": "destination unsent held dead expired why",
    },
    "prune --keep-age 1s": {
        "": "applied plan done",
        "plan.dead": "batches points payload_bytes first_start last_end",
    },
    "import {folder}/export": {"": "applied batches points known damaged first_start last_end imported"},
    "backup {folder}/copy": {"": "folder spool_id bytes"},
    "audit": {
        "": "problems attention windows lines accepted rejected dropped points destinations exit_code",
    },
    "check": {"": "exit_code findings", "findings": "what grade seen"},
    "salvage {folder}/spool/spool.db": {"": "applied readable held rotten windows"},
}
"""The call, and at each place in what it prints the keys there. Of a list the first element counts."""

ELSEWHERE = {
    "holdfast dead show": "prints what `holdfast show --json` prints",
    "holdfast query": "has the columns that the SQL names",
    "holdfast show": "attempts and rows have the keys of those commands",
    "holdfast explain": "a batch has the keys that it has in `list`",
}


def of(call: str) -> str:
    """The full name of the command that is called."""
    words = call.split()
    return f"holdfast {' '.join(words[:2] if words[0] == 'dead' else words[:1])}"


@pytest.fixture
def eventful(made: Made) -> Made:
    """A spool in which there is something of everything."""
    made.commit(5, rejected={"bad_value": 2})
    made.acknowledge([1, 2])
    made.delivery().settle({3: Settled(State.DEAD, "400")}, time.time())
    writer = SpoolWriter.open(made.directory, "web-1")
    writer.shed([Window(9, 0.0, 10.0, (), lines=7)], time.time(), "memory")
    writer.close()
    (made.directory / "hangs").mkdir()
    (made.directory / "hangs/hang.txt").write_text("Thread 0x00007f (most recent call first):\n")
    (made.folder / "export").write_text(made.run("export").stdout)
    return made


def documents(text: str) -> Any:
    """What was printed: one document, or one on each line."""
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def keys_at(document: Any, place: str) -> list[str]:
    for step in filter(None, place.split(".")):
        document = document[0] if isinstance(document, list) else document
        # `beats.main`: whichever comes first where the keys are names
        document = document.get(step) or next(iter(document.values()))
    document = document[0] if isinstance(document, list) else document
    return list(document)


def test_json_has_the_documented_keys(eventful: Made) -> None:
    for call, places in KEYS.items():
        words = call.format(folder=eventful.folder).split()
        code = 1 if words[0] in ("drain", "audit") else 2 if words[0] == "check" else 0
        document = documents(eventful.run(*words, "--json", exit_code=code).stdout)
        for place, keys in places.items():
            assert sorted(keys_at(document, place)) == sorted(keys.split()), (call, place)


def test_the_help_names_every_key() -> None:
    help_of = dict(readme.commands("holdfast"))
    for call, places in KEYS.items():
        named = set(re.findall(r"\w+", readme.help_text(of(call), help_of[of(call)])))
        for place, keys in places.items():
            if place and of(call) in ELSEWHERE:
                continue
            assert set(keys.split()) <= named, (call, place, set(keys.split()) - named)


def test_every_command_with_json_is_tried_here() -> None:
    have = {
        name
        for name, command in readme.commands("holdfast")
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert have - {of(call) for call in KEYS} == {"holdfast dead show", "holdfast query"}
