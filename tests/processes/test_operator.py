"""The operator's changing commands on a Holdfast that runs: what they change, and that nothing else notices."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from spool.reader import SpoolReader
from tests.processes.pipeline import Pipeline, free_port, wait_until
from tests.processes.test_outages import Load, commits_were_on_time


def holdfast(pipeline: Pipeline, *words: str) -> str:
    """What `holdfast WORDS` prints on stdout."""
    return pipeline.command("spool.cli", *words).stdout


def windows_of(pipeline: Pipeline, keys: set[str]) -> list[tuple[float, float]]:
    """Window end and arrival at the receiver of every batch but `keys`."""
    rows = pipeline.received("SELECT key, window_end, received_at FROM batches")
    return [(end, at) for key, end, at in rows if key not in keys]


def test_replaying_twice_while_live_data_flow_changes_no_total_and_delays_nothing(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(6)
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 20, "every line counted")
    before = pipeline.received_keys()
    for _ in range(2):
        assert "will be sent again" in holdfast(pipeline, "replay", "--since", "1h", "--apply")
        load.windows(3)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged again")
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 20, "every line counted once")
    assert before <= pipeline.received_keys() == set(pipeline.committed())
    lags_s = [at - end for end, at in windows_of(pipeline, before)]
    assert len(lags_s) >= 6
    assert max(lags_s) <= 5, lags_s
    commits_were_on_time(pipeline)
    sent = [each for each in pipeline.attempts() if each["outcome"] == "acknowledged"]
    assert sum(each["batches"] for each in sent) >= len(pipeline.committed()) + 2 * len(before) - 2
    changes = pipeline.operator("query", "select command, who from changes")
    assert [each["command"] for each in changes] == ["replay", "replay"]


def test_a_running_collector_prunes_and_imports_between_two_windows(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(4)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged")
    exported = tmp_path / "export.ndjson"
    exported.write_text(holdfast(pipeline, "export"))
    documents = [json.loads(line) for line in exported.read_text().splitlines()]
    with SpoolReader(pipeline.spool) as spool:
        (first,) = spool.headers_after(0, 1)
    assert "deleted" in holdfast(pipeline, "prune", "--keep-age", "2s", "--apply")
    with SpoolReader(pipeline.spool) as spool:
        assert spool.headers_after(0)[0].window_seq > first.window_seq
        assert spool.losses() == []
        assert [each["command"] for each in spool.changes()] == ["prune --keep-age 2s"]
    load.windows(1)
    # They come back under their keys, are sent again, and are counted once.
    taken = json.loads(holdfast(pipeline, "import", str(exported), "--apply", "--json"))
    assert taken["imported"] == len(documents) - taken["known"] >= 1
    wait_until(pipeline.everything_acknowledged, 20, "what was imported is acknowledged")
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 20, "every line counted once")
    assert {each["key"] for each in documents} <= set(pipeline.committed())
    assert list(pipeline.spool.glob("*errand-*")) == []
    commits_were_on_time(pipeline)
    assert "Traceback" not in pipeline.log("collector")


def test_another_hosts_export_arrives_as_what_it_was(pipeline: Pipeline, tmp_path: Path) -> None:
    """A host that cannot reach the server any more: its export goes through a neighbour's spool."""
    cut_off = Pipeline(tmp_path / "other", url=f"https://127.0.0.1:{free_port()}/v1/batches")
    try:
        cut_off.start("collector")
        there = Load(cut_off)
        there.windows(2)
        cut_off.end("collector")
    finally:
        cut_off.stop_all()
    exported = tmp_path / "export.ndjson"
    exported.write_text(holdfast(cut_off, "export"))
    pipeline.start("receiver", "collector", "shipper")
    Load(pipeline).windows(1)
    holdfast(pipeline, "import", str(exported), "--apply")
    keys = set(cut_off.committed())
    wait_until(lambda: keys <= pipeline.received_keys(), 20, "the other host's keys at the receiver")
    total = pipeline.received(
        "SELECT total(p.value) FROM points p JOIN batches b ON b.id = p.batch"
        f" WHERE p.name = 't.hits' AND p.stat = 'value' AND b.key IN ({','.join('?' * len(keys))})",
        *sorted(keys),
    )
    assert total == [(there.sent,)]


def test_a_host_is_drained_after_its_collector_has_stopped(pipeline: Pipeline) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    pipeline.start("collector", "shipper")
    load = Load(pipeline)
    load.windows(2)
    pipeline.end("collector")
    done = pipeline.command("spool.cli", "drain", "--deadline", "1s", check=False)
    assert done.returncode == 1 and "unsent" in done.stdout, done.stdout
    pipeline.start("receiver")
    assert holdfast(pipeline, "drain", "--deadline", "60s") == "main: drained\n"
    assert pipeline.received_sum("t.hits") == load.sent


def test_a_backup_of_a_running_spool_is_whole_and_delays_no_commit(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(2)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged")
    known = set(pipeline.committed())
    holdfast(pipeline, "backup", str(tmp_path / "copy"))
    load.windows(2)
    with SpoolReader(tmp_path / "copy", "main") as copy:
        keys = {each.key for each in copy.headers_after(0) if copy.batch(each.id).verified()}
        assert known <= keys <= set(pipeline.committed())
        assert copy.backlog().batches <= 1  # acknowledged since the delivery file was copied
    commits_were_on_time(pipeline)


def test_tail_follows_what_happens_and_ends_with_ctrl_c(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(1)
    with (tmp_path / "tail").open("wb") as out:
        tail = subprocess.Popen(
            [sys.executable, "-m", "spool.cli", "tail", "-f", "--json"], env=pipeline.environment(), stdout=out
        )
    try:
        load.windows(2)

        def told() -> set[str]:
            return {json.loads(line)["what"] for line in (tmp_path / "tail").read_text().splitlines()}

        wait_until(lambda: {"committed", "sent"} <= told(), 15, "tail tells of commits and uploads")
        pipeline.end("receiver", signal.SIGKILL)
        load.windows(1)
        wait_until(lambda: "failed" in told(), 15, "tail tells of a failed upload")
    finally:
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 0


def test_ctrl_c_takes_an_errand_back_that_nobody_takes_up(pipeline: Pipeline) -> None:
    """The collector is stopped in the middle: the command waits for it, and leaves nothing behind when it gives up."""
    pipeline.start("receiver", "collector", "shipper")
    Load(pipeline).windows(3)
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged")
    pipeline.processes["collector"].send_signal(signal.SIGSTOP)
    before = set(pipeline.committed())
    prune = subprocess.Popen(
        [sys.executable, "-m", "spool.cli", "prune", "--keep-age", "1s", "--apply"],
        env=pipeline.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: list(pipeline.spool.glob("errand-*.json")), 15, "the errand is there")
    prune.send_signal(signal.SIGINT)
    _, said = prune.communicate(timeout=10)
    assert prune.returncode == 1 and b"interrupted: 0 of" in said
    assert list(pipeline.spool.glob("*errand-*")) == []
    pipeline.processes["collector"].send_signal(signal.SIGCONT)
    seen = len(pipeline.windows())
    wait_until(lambda: len(pipeline.windows()) > seen + 1, 15, "collection goes on")
    assert before <= set(pipeline.committed())
