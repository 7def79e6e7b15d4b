"""Outages, hangs and kills, with real processes: nothing committed is lost, and collection never waits."""

import json
import random
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes.pipeline import Pipeline, free_port, wait_until


class Load:
    """Sends `t.hits:1|c` lines while a test does its worst; `sent` is how many have left."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.sent = pipeline, 0

    def burst(self, lines: int = 50) -> None:
        self.pipeline.send(*["t.hits:1|c"] * lines)
        self.sent += lines

    def windows(self, count: int) -> None:
        """A burst in each of the next `count` windows."""
        for _ in range(count):
            seen = len(self.pipeline.windows())
            self.burst()
            wait_until(lambda seen=seen: len(self.pipeline.windows()) > seen, 10, "one more window")


def commits_were_on_time(pipeline: Pipeline) -> None:
    """P2: nobody made a commit wait for as much as a second."""
    late = [each for each in pipeline.windows() if each["committed_at"] - each["window_end"] > 1.0]
    assert not late, late


def test_nothing_is_lost_while_the_receiver_is_away_and_the_backlog_drains_by_itself(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(2)
    pipeline.end("receiver")
    load.windows(5)
    assert pipeline.received_sum("t.hits") < load.sent
    pipeline.start("receiver")
    load.windows(2)
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 30, "every line counted at the receiver")
    wait_until(pipeline.everything_acknowledged, 30, "everything acknowledged")
    assert pipeline.received_sum("t.hits") == load.sent
    commits_were_on_time(pipeline)


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Accepts every connection and never reads, never answers."""
    with socket.create_server(("127.0.0.1", port)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for each in held:
            each.close()


def test_a_hanging_receiver_delays_no_commit_and_every_attempt_ends_by_its_deadline(tmp_path: Path) -> None:
    for scheme in ("http", "https"):
        pipeline = Pipeline(tmp_path / scheme)
        pipeline.command("shipper.receiver.cli", "init")
        port = free_port()
        pipeline.configure(deadline_s=1.0, url=f"{scheme}://127.0.0.1:{port}/v1/batches")
        try:
            with black_hole(port):
                pipeline.start("collector", "shipper")
                load = Load(pipeline)
                load.windows(6)
                wait_until(lambda: len(pipeline.attempts()) >= 3, 30, "three attempts")  # noqa: B023
            for each in pipeline.attempts():
                assert each["total_ms"] <= 1250 and each["outcome"] == "retry", each
                assert each["overshoot_ms"] <= 250
            assert {each["phase"] for each in pipeline.attempts()} == {"wait" if scheme == "http" else "tls"}
            commits_were_on_time(pipeline)
            pipeline.configure(deadline_s=5.0, url=f"{pipeline.listen}/v1/batches")
            pipeline.end("shipper")
            pipeline.start("receiver", "shipper")
            wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 30, "every line counted")  # noqa: B023
        finally:
            pipeline.stop_all()


def test_what_was_committed_arrives_although_processes_are_killed_at_random(pipeline: Pipeline) -> None:
    chance = random.Random(20261123)
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    for _ in range(8):
        victim = chance.choice(["collector", "shipper", "receiver"])
        for _ in range(chance.randrange(1, 20)):
            load.burst(3)
        chance.choice([lambda: None, lambda: load.windows(1)])()
        pipeline.end(victim, signal.SIGKILL)
        pipeline.start(victim)
    load.windows(1)
    wait_until(pipeline.everything_acknowledged, 60, "everything committed is acknowledged")
    committed = pipeline.committed()
    assert pipeline.received_keys() == set(committed)
    assert pipeline.received_sum("t.hits") == sum(committed.values())
    assert len({each["seq"] for each in pipeline.windows()}) == len(pipeline.windows())
    assert "Traceback" not in pipeline.log("collector") + pipeline.log("shipper") + pipeline.log("receiver")


def test_a_stopped_collector_commits_the_window_it_was_in(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(1)
    load.burst(7)
    assert pipeline.end("collector", within_s=3) == 0
    assert pipeline.windows()[-1]["partial"] == 1
    assert sum(pipeline.committed().values()) == load.sent
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 15, "the partial window at the receiver")


def test_a_stopped_shipper_is_gone_at_once_also_in_the_middle_of_a_hung_upload(tmp_path: Path) -> None:
    port = free_port()
    pipeline = Pipeline(tmp_path / "holdfast", deadline_s=20, url=f"http://127.0.0.1:{port}/v1/batches")
    pipeline.command("shipper.receiver.cli", "init")
    try:
        with black_hole(port):
            pipeline.start("collector", "shipper")
            Load(pipeline).windows(1)
            wait_until(lambda: '"sending"' in beat(pipeline), 20, "an upload under way")
            pipeline.end("shipper", within_s=2)
        assert pipeline.attempts() == []
    finally:
        pipeline.stop_all()


def beat(pipeline: Pipeline) -> str:
    """The shipper's heartbeat as text, empty while there is none."""
    file = pipeline.spool / "heartbeat-shipper-main.json"
    return file.read_text() if file.exists() else ""


def test_a_frozen_shipper_delays_no_commit(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(1)
    pipeline.processes["shipper"].send_signal(signal.SIGSTOP)
    load.windows(4)
    pipeline.processes["shipper"].send_signal(signal.SIGCONT)
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 20, "every line counted")
    commits_were_on_time(pipeline)


def test_the_check_in_tells_the_server_and_goes_on_while_uploads_fail(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "checkin")
    Load(pipeline).windows(1)
    sql = "SELECT body FROM checkins ORDER BY id"
    wait_until(lambda: len(pipeline.received(sql)) >= 3, 20, "three check-ins")
    told = [json.loads(row[0]) for row in pipeline.received(sql)]
    assert told[-1]["destinations"][0]["unsent_batches"] >= 1
    assert "OK" not in {each["state"] for each in told}


def test_replaying_sends_the_same_keys_again_and_changes_no_total(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    load = Load(pipeline)
    load.windows(3)
    wait_until(lambda: pipeline.received_sum("t.hits") == load.sent, 20, "every line counted")
    keys = pipeline.received_keys()
    planned = pipeline.command("spool.cli", "replay", "--since", "1h")
    assert "--apply" in planned.stdout + planned.stderr
    pipeline.command("spool.cli", "replay", "--since", "1h", "--apply")
    wait_until(lambda: "duplicate=" in pipeline.log("receiver").replace("duplicate=0", ""), 20, "duplicates seen")
    wait_until(pipeline.everything_acknowledged, 20, "everything acknowledged again")
    assert pipeline.received_sum("t.hits") == load.sent
    assert keys <= pipeline.received_keys() == set(pipeline.committed())
