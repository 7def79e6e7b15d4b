"""`holdfast-shipper once`, `ping`, `run`: exit codes, and one clear sentence for each mistake of an operator."""

import json
import signal
from pathlib import Path

import pytest

from tests.processes.pipeline import Pipeline, free_port, wait_until


@pytest.fixture
def collected(pipeline: Pipeline) -> Pipeline:
    """Two windows in the spool, a receiver set up and running, nothing sent."""
    pipeline.start("receiver", "collector")
    pipeline.send("t.hits:5|c")
    wait_until(lambda: len(pipeline.windows()) >= 2, 10, "two windows")
    pipeline.end("collector")
    return pipeline


def test_once_sends_everything_and_ends_with_0(collected: Pipeline) -> None:
    done = collected.command("shipper.cli", "once")
    assert "everything is settled" in done.stderr
    assert collected.received_sum("t.hits") == 5
    assert collected.everything_acknowledged()


def test_once_ends_with_75_while_something_is_unsent(collected: Pipeline) -> None:
    collected.end("receiver")
    done = collected.command("shipper.cli", "once", check=False)
    assert done.returncode == 75
    assert "still unsent" in done.stderr and "connection refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", [False, True])
def test_once_without_a_spool_says_so_and_creates_nothing(pipeline: Pipeline, folder: bool) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    if folder:
        pipeline.spool.mkdir()
    before = sorted(pipeline.home.rglob("*"))
    done = pipeline.command("shipper.cli", "once", check=False)
    assert done.returncode == 2 and f"{pipeline.spool}/spool.db: no such file" in done.stderr
    assert sorted(pipeline.home.rglob("*")) == before and "Traceback" not in done.stderr


def test_ping_times_each_phase_and_says_what_the_answer_would_mean(collected: Pipeline) -> None:
    done = json.loads(collected.command("shipper.cli", "ping", "--json").stdout)
    assert done["ok"] and done["status"] == 200 and done["meaning"] == "would be acknowledged"
    assert all(done[f"{phase}_ms"] >= 0 for phase in ("dns", "connect", "tls", "write", "wait", "read"))
    assert collected.received_keys() == set()
    assert "would be acknowledged" in collected.command("shipper.cli", "ping").stdout


def test_ping_names_what_is_wrong(collected: Pipeline) -> None:
    (collected.home / "receiver/token").write_text("wrong\n")
    done = collected.command("shipper.cli", "ping", check=False)
    assert done.returncode == 1 and "would not be acknowledged: 401" in done.stdout
    collected.configure(deadline_s=1, url=f"https://127.0.0.1:{free_port()}/v1/batches")
    done = collected.command("shipper.cli", "ping", check=False)
    assert done.returncode == 1 and "connection refused" in done.stdout


def edited(pipeline: Pipeline, old: str, new: str) -> None:
    text = pipeline.file.read_text()
    assert old in text
    pipeline.file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('url = "https://', 'url = "ftp://', "[destination.main] url = 'ftp://"),
        (
            "deadline_s = 1.0\nconnect",
            "deadline_s = -1\nconnect",
            "[shipper] deadline_s = -1: allowed is a number from",
        ),
        ("[shipper]", "[shiper]", "[shiper]: no such table; known are"),
        ("checkin_interval_s", "chekin_interval_s", "chekin_interval_s: no such key; known are"),
        ('ca_file = "receiver/ca.pem"', 'ca_file = "nowhere.pem"', "nowhere.pem"),
        ('token_file = "receiver/token"\nca', 'token_file = "nowhere"\nca', "nowhere: No such file"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_and_ends_with_78(
    pipeline: Pipeline, old: str, new: str, said: str
) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    edited(pipeline, old, new)
    done = pipeline.command("shipper.cli", "run", check=False)
    assert done.returncode == 78, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr and "Error: " in done.stderr


def test_a_token_that_everybody_may_read_is_refused_and_not_shown(pipeline: Pipeline) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    token = pipeline.home / "receiver/token"
    token.chmod(0o644)
    done = pipeline.command("shipper.cli", "run", check=False)
    assert done.returncode == 78 and "chmod o-rwx" in done.stderr
    assert token.read_text().strip() not in done.stdout + done.stderr


def test_a_spool_path_that_is_a_file_is_one_clear_error(pipeline: Pipeline) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    pipeline.spool.write_text("not a folder")
    for module, command in (("shipper.cli", "run"), ("collector.cli", "run"), ("spool.cli", "status")):
        done = pipeline.command(module, command, check=False)
        assert done.returncode == 2, (module, done.stderr)
        assert str(pipeline.spool) in done.stderr and "Traceback" not in done.stderr


def test_a_second_shipper_of_the_same_destination_is_refused(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper")
    wait_until(lambda: Path(pipeline.spool / "shipper-main.lock").exists(), 10, "the first shipper's lock")
    done = pipeline.command("shipper.cli", "run", check=False)
    assert done.returncode == 2 and f"process {pipeline.processes['shipper'].pid}" in done.stderr


def test_nothing_that_is_kept_or_logged_holds_the_token(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper", "checkin")
    pipeline.send("t.hits:1|c")
    wait_until(lambda: pipeline.received_sum("t.hits") == 1, 15, "the line at the receiver")
    token = (pipeline.home / "receiver/token").read_text().strip().encode()
    pipeline.stop_all()
    holding = [each for each in pipeline.home.rglob("*") if each.is_file() and token in each.read_bytes()]
    assert holding == [pipeline.home / "receiver/token"]


def test_check_is_content_with_what_run_would_start_with(pipeline: Pipeline) -> None:
    pipeline.command("shipper.receiver.cli", "init")
    said = pipeline.command("shipper.cli", "check").stdout
    assert "ok    destination main" in said and "check-ins of main  https://" in said
    (pipeline.home / "receiver/ca.pem").unlink()
    done = pipeline.command("shipper.cli", "check", check=False)
    assert done.returncode == 78 and "ca.pem" in done.stderr


def test_status_tells_who_has_ended_however_it_ended(pipeline: Pipeline) -> None:
    pipeline.start("receiver", "collector", "shipper", "checkin")

    def phases() -> dict[str, str]:
        return {who: each["phase"] for who, each in pipeline.operator("status")["beats"].items()}

    wait_until(lambda: set(phases()) == {"collector", "shipper-main", "checkin"}, 20, "everybody's first heartbeat")
    pipeline.end("collector")
    pipeline.end("shipper", signal.SIGKILL)
    wait_until(lambda: [phases()[each] for each in ("collector", "shipper-main")] == ["ended"] * 2, 20, "both ended")
    assert phases()["checkin"] != "ended"


def test_sighup_reads_the_configuration_anew_between_two_attempts_and_refuses_a_bad_one(pipeline: Pipeline) -> None:
    pipeline.configure(deadline_s=1, url="http://127.0.0.1:1/v1/batches")
    pipeline.start("receiver", "collector", "shipper")
    shipper = pipeline.processes["shipper"]
    wait_until(pipeline.attempts, 20, "an attempt that reaches nobody")
    pipeline.configure(deadline_s=1, url="http://127.0.0.1:1/v1/batches", extra="[destination.main.more]")
    shipper.send_signal(signal.SIGHUP)
    wait_until(lambda: " reload_refused " in pipeline.log("shipper"), 20, "a bad configuration is refused")
    pipeline.configure(deadline_s=1, url=f"{pipeline.listen}/v1/batches")
    shipper.send_signal(signal.SIGHUP)
    wait_until(pipeline.received_keys, 20, "a batch at the receiver")
    assert shipper.poll() is None
    assert pipeline.log("shipper").count(" reloading") == 1
