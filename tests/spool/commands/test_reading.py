"""`holdfast points`, `query`, `attempts`, `losses` and `hangs`."""

import fcntl
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from collector.statsd import Kind
from shipper.outcome import Outcome
from spool.batch import NOTICES, Window
from spool.cli import cli
from spool.commands.attempts import OUTCOMES
from spool.commands.points import TYPES
from spool.delivery import Condition
from spool.writer import SpoolWriter

ROOT = Path(__file__).parents[3]


def test_points_are_those_that_were_committed_newest_first(made) -> None:
    made.commit(150)  # more than a page
    rows = made.json("points", "api.*")
    assert [row["value"] for row in rows] == [float(seq) for seq in range(150, 0, -1)]
    assert rows[0] == {
        "batch": 150, "ts": made.last_end, "name": "api.hits", "type": "counter", "tags": {"env": "prod"},
        "stat": "value", "value": 150.0, "fields": None,
    }  # fmt: skip
    assert "api.hits  counter  value    150  env:prod" in made.run("points").stdout


def test_points_are_chosen_by_name_tag_and_time(made) -> None:
    made.commit(5)
    assert len(made.json("points")) == 5
    assert len(made.json("points", "--all")) == 10
    assert {row["name"] for row in made.json("points", "holdfast.*")} == {"holdfast.lines"}
    assert made.json("points", "--tag", "env=test") == []
    assert len(made.json("points", "--tag", "env=prod", "--since", f"@{made.last_end - 15}")) == 2


def test_points_say_when_there_are_more(made) -> None:
    made.commit(5)
    assert "only the newest 2 rows" in made.run("points", "-n", "2").stderr
    assert made.run("points", "-n", "5").stderr == ""


def test_a_pager_that_is_left_open_does_not_pin_the_write_ahead_log(made) -> None:
    made.commit(600)
    script = "from spool.cli import main; main()"
    command = [sys.executable, "-c", script, "-c", str(made.config), "points", "--all", "-n", "100000", "--nl"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    until = time.monotonic() + 20
    while "pipe_write" not in Path(f"/proc/{process.pid}/wchan").read_text() and time.monotonic() < until:
        time.sleep(0.02)  # until it is stuck in the middle of its output
    made.commit(5)
    db = sqlite3.connect(made.directory / "spool.db")
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.close()
    rows = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait(timeout=10) == 0
    assert busy == 0
    assert len(rows) >= 1200 - 2  # the pages read before the new windows were committed have their rows still


def test_query_joins_all_files(made) -> None:
    made.commit(3)
    made.acknowledge([1, 2])
    made.acknowledge([1], "old")
    (row,) = made.json("query", "select count(*) n, sum(value) s from points where name = 'api.hits'")
    assert row == {"n": 3, "s": 6.0}
    assert made.json("query", "select destination, count(*) n from states group by 1 order by 1") == [
        {"destination": "main", "n": 2},
        {"destination": "old", "n": 1},
    ]
    unsent = "select id from batches where id not in (select batch from states where destination = :d)"
    assert made.json("query", unsent, "-p", "d", "main") == [{"id": 3}]
    for view in ("windows", "losses", "recent_points", "attempts", "minutes", "condition", "changes"):
        made.run("query", f"select * from {view}")


def test_query_has_its_views_before_anything_was_delivered(made) -> None:
    made.commit(1)
    assert made.json("query", "select count(*) n from attempts") == [{"n": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from batches",
        "insert into losses (at) values (1) returning id",
        "with x as (select 1) update batches set points = 0",
        "create temp table t (a)",
        "drop view attempts",
        "attach '{folder}/made.db' as other",
        "vacuum into '{folder}/made.db'",
        "pragma journal_mode = delete",
        "pragma writable_schema = 1",
        "begin immediate",
        "select load_extension('x')",
        "select 1; delete from batches",
    ],
)
def test_query_cannot_write(made, sql: str) -> None:
    made.commit(2)
    made.acknowledge([1])
    result = made.run("query", sql.format(folder=made.folder), exit_code=2)
    assert result.stderr.startswith("Error: SQL: ")
    assert not (made.folder / "made.db").exists()
    assert made.json("query", "select count(*) n, sum(points) p from batches") == [{"n": 2, "p": 4}]


@pytest.mark.parametrize("sql", ["select nope", "selec", "", "select :missing", "select * from nowhere"])
def test_wrong_sql_is_one_sentence(made, sql: str) -> None:
    made.commit(1)
    result = made.run("query", sql, exit_code=2)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["select '\udcff'"], ["select :a", "-p", "a", "\udcff"], ["-"]])
def test_sql_that_is_no_utf8_is_one_sentence(made, words) -> None:
    made.commit(1)
    result = CliRunner().invoke(cli, ["-c", str(made.config), "query", *words], input=b"select '\xff'")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: SQL: has bytes that are no UTF-8, in the statement or in a value.\n",
    )


def test_query_limits_its_rows_and_says_so(made) -> None:
    made.commit(5)
    result = made.run("query", "select id from batches order by id", "-n", "2", "--csv")
    assert result.stdout == "id\n1\n2\n"
    assert "only the first 2 rows" in result.stderr


def test_ctrl_c_ends_a_long_query_at_once(made) -> None:
    made.commit(1)
    sql = "with recursive c (x) as (select 1 union all select x + 1 from c) select sum(x) from c"
    command = [sys.executable, "-c", "from spool.cli import main; main()", "-c", str(made.config), "query", sql]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    used = Path(f"/proc/{process.pid}/stat")
    until = time.monotonic() + 20
    while int(used.read_text().split()[13]) < 60 and time.monotonic() < until:  # clock ticks: well inside SQLite
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=5)
    assert process.returncode == 1
    assert b"Traceback" not in talk


def test_attempts_are_newest_first_with_their_phases(made, attempt) -> None:
    made.commit(3)
    now = time.time()
    made.delivery().record(attempt([1], now - 9), {}, Condition())
    made.delivery().record(attempt([1, 2], now - 5, "retry", "connection refused"), {}, Condition())
    rows = made.json("attempts")
    assert [row["outcome"] for row in rows] == ["retry", "acknowledged"]
    assert (rows[0]["destination"], rows[0]["wait_ms"], rows[0]["error"]) == ("main", None, "connection refused")
    assert [row["id"] for row in made.json("attempts", "--outcome", "acknowledged")] == [1]
    assert [row["id"] for row in made.json("attempts", "--batch", "2")] == [2]
    assert [row["id"] for row in made.json("attempts", "--until", f"@{now - 7}")] == [1]
    assert "connection refused" in made.run("attempts").stdout


def test_the_summary_of_attempts_is_per_outcome_and_phase(made, attempt) -> None:
    made.commit(1)
    for number in range(100):
        made.delivery().record(attempt([1], time.time() + number), {}, Condition())
    rows = {row["phase"]: row for row in made.json("attempts", "--summary")}
    assert rows["dns"] == {
        "destination": "main", "outcome": "acknowledged", "phase": "dns", "count": 100,
        "p50_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0,
    }  # fmt: skip
    assert list(rows) == ["dns", "connect", "tls", "write", "wait", "read", "close", "total"]


def test_losses_are_shown_with_their_reason(made) -> None:
    made.commit(2)
    assert "no losses are recorded" in made.run("losses").stderr
    assert made.json("losses") == []
    writer = SpoolWriter.open(made.directory, "web-1")
    writer.shed([Window(3, 0.0, 10.0, (), lines=7)], time.time(), "memory")
    writer.close()
    (row,) = made.json("losses", "--since", "1h")
    assert (row["reason"], row["lines"], row["batches"]) == ("memory", 7, 0)
    assert made.json("losses", "--until", "1h") == []
    assert made.json("status")["state"] == "FAIL"


def test_hangs_are_listed_and_shown(made) -> None:
    made.commit(1)
    assert "no hang has been recorded" in made.run("hangs").stderr
    folder = made.directory / "hangs"
    folder.mkdir()
    (folder / "shipper-main-12.txt").write_text("")
    (folder / "hang-20261123T080000Z-shipper-main.txt").write_text("Thread 0x00007f (most recent call first):\n")
    (row,) = made.json("hangs")
    assert row["name"] == "hang-20261123T080000Z-shipper-main.txt"
    assert "most recent call first" in made.run("hangs", row["name"]).stdout
    assert "holds no dump 'x'" in made.run("hangs", "x", exit_code=2).stderr
    assert "holds no dump" in made.run("hangs", "../spool.db", exit_code=2).stderr


def test_every_form_for_machines_is_understood(made) -> None:
    made.commit(2)
    made.acknowledge([1])
    for command in ("list", "points", "attempts", "losses", "hangs"):
        assert isinstance(json.loads(made.run(command, "--json").stdout), list)
        for flag in ("--nl", "--csv", "--tsv", "-t"):
            made.run(command, flag)
            made.run(command, flag, "--no-headers")


def test_lists_of_nothing_say_so_to_people_only(made) -> None:
    made.commit(1)
    for command in ("list --until 1d", "points nope", "attempts", "losses", "hangs", "dead list"):
        assert made.run(*command.split()).stdout == ""
        assert made.run(*command.split()).stderr.startswith("holdfast: no ")
        assert made.run(*command.split(), "--csv").output == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("points --type foo", "'counter', 'gauge', 'timer', 'set', 'event', 'service_check'"),
        ("points --tag env", "'env': allowed is KEY=VALUE; env= for no value"),
        ("attempts --outcome nope", "'acknowledged', 'retry', 'park', 'split', 'dead', 'expired'"),
        ("points --agg 1m:avg --plot --json", "--plot and --svg draw pictures, --json prints rows"),
        ("points --svg f.svg --csv", "--plot and --svg draw pictures, --csv prints rows"),
        ("list --csv --json", "--csv and --json exclude each other"),
        *(
            (f"{command} {10**20}", "not in the range")
            for command in ("list -n", "show", "explain", "hold", "release", "replay", "attempts --batch", "dead drop")
        ),
        (f"prune --keep-size {10**400}", "allowed is a size"),
        ("list --csv --fmt grid", "--csv and --fmt exclude each other"),
        ("export --lp --gzip", "--gzip and --lp exclude each other"),
        *(
            (f"{command} --since 1h --until 2h", "before --since")
            for command in ("replay", "list", "points", "attempts", "losses", "export", "plot backlog")
        ),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_that_says_what_can(made, words, said) -> None:
    made.commit(2)
    told = " ".join(made.run(*words.split(), exit_code=2).stderr.split())
    assert said in told and told.startswith("Usage: ")


def test_the_outcomes_and_types_that_may_be_asked_for_are_those_that_there_are() -> None:
    assert list(OUTCOMES) == [str(each) for each in Outcome]
    assert set(TYPES) == {*get_args(Kind), *NOTICES}
