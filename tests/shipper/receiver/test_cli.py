"""The command as a real process: init, run, SIGKILL, SIGTERM, SIGUSR1, and errors in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[3]
NDJSON_GZIP = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
AS_INSTALLED = ("-m", "shipper.receiver.cli")


class Process:
    """`holdfast-receiver run` on a free port; `lines` is what it has logged."""

    def __init__(self, folder: Path, *interpreted: str) -> None:
        self.popen = subprocess.Popen(
            command("run", interpreted=interpreted or AS_INSTALLED),
            cwd=folder,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.url = self.wait_for(r"receiver_started url=(\S+)").group(1)

    def _listen(self) -> None:
        for line in self.popen.stderr:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()

    def wait_for(self, pattern: str, within_s: float = 20) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._heard:
            match = self._heard.wait_for(found, within_s)
        assert match, f"no {pattern} in:\n{''.join(self.lines)}"
        return match

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        code = self.popen.wait(20)
        self._listener.join()
        self.popen.stderr.close()
        return code


def command(*words: str, interpreted: tuple[str, ...] = AS_INSTALLED) -> list[str]:
    return [sys.executable, *interpreted, *words]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "holdfast.toml").write_text('[receiver]\nlisten = "https://127.0.0.1:0"\ntoken_file = "secret/token"\n')
    return tmp_path


@pytest.fixture
def start(folder):
    processes: list[Process] = []

    def started(*interpreted: str) -> Process:
        processes.append(Process(folder, *interpreted))
        return processes[-1]

    yield started
    for each in processes:
        if each.popen.returncode is None:
            each.end(signal.SIGKILL)


def post(folder: Path, url: str, payload: bytes) -> dict[str, list[str]]:
    token = (folder / "secret/token").read_text().strip()
    answered = requests.post(
        f"{url}/v1/batches",
        data=payload,
        headers=NDJSON_GZIP | {"Authorization": f"Bearer {token}"},
        verify=str(folder / "data/receiver/ca.pem"),
        timeout=20,
    )
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_batches_posted_again_after_sigkill_are_there_exactly_once(folder, start, batch) -> None:
    assert ran(folder, "init").returncode == 0
    first = start()
    assert post(folder, first.url, batch(1, 2.0).payload)["accepted"] == ["cafe-1"]
    first.end(signal.SIGKILL)
    second = start()
    both = batch(1, 2.0).payload + batch(2, 3.0).payload
    assert post(folder, second.url, both) == {"accepted": ["cafe-2"], "duplicate": ["cafe-1"], "rejected": []}
    token = (folder / "secret/token").read_text().strip()
    totals = requests.get(
        f"{second.url}/v1/totals?name=hits",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(folder / "data/receiver/ca.pem"),
        timeout=20,
    ).json()
    assert totals["totals"][0]["sum"] == 5.0
    assert second.end(signal.SIGTERM) == 0


def test_a_request_is_one_line_without_the_token(folder, start, batch) -> None:
    ran(folder, "init")
    process = start()
    post(folder, process.url, batch(1).payload)
    requests.get(process.url + "/v1/hosts", verify=str(folder / "data/receiver/ca.pem"), timeout=20)
    process.wait_for(
        r"info request status=200 .*host=web-1 batches=1 accepted=1 duplicate=0 rejected=0 body_bytes=\d+ ms="
    )
    process.wait_for(r"warning request status=401 ")
    process.end(signal.SIGTERM)
    assert (folder / "secret/token").read_text().strip() not in "".join(process.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_in_less_than_2_s_with_a_client_stalling(folder, start, number) -> None:
    ran(folder, "init")
    process = start()
    host, port = process.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(b"\x16\x03\x01")
        begun = time.monotonic()
        assert process.end(number) == 0
        assert time.monotonic() - begun < 2.0
    assert "receiver_stopped" in process.lines[-1]
    assert not list((folder / "data/receiver").glob("*-wal"))


@pytest.mark.timeout(120)
def test_it_stops_wherever_the_signal_meets_it(folder, start) -> None:
    """It does nothing but wait here: a handler would meet its thread in every place of that, and hold its locks."""
    ran(folder, "init")
    busy = "from shipper.receiver import cli; cli.FORGET_EVERY_S = 0.0; cli._forget = lambda *_: None; cli.main()"
    for number in [signal.SIGTERM, signal.SIGINT] * 4:
        assert start("-c", busy).end(number) == 0


def test_sigusr1_shows_the_stack_of_every_thread_and_serving_goes_on(folder, start, batch) -> None:
    ran(folder, "init")
    process = start()
    process.popen.send_signal(signal.SIGUSR1)
    process.wait_for(r"Current thread .*most recent call first")
    assert post(folder, process.url, batch(1).payload)["accepted"] == ["cafe-1"]


def test_init_may_be_repeated_and_keeps_what_is_there(folder) -> None:
    first = ran(folder, "init")
    assert first.stdout.count("made ") == 5
    kept = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    again = ran(folder, "init")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == kept
    assert f'ca_file = "{folder}/data/receiver/ca.pem"' in again.stdout
    assert (folder / "secret/token").stat().st_mode & 0o777 == 0o600


def test_run_without_a_certificate_tells_to_run_init(folder) -> None:
    answered = ran(folder, "run")
    assert answered.returncode == 78
    assert "holdfast-receiver init" in answered.stderr
    assert "Traceback" not in answered.stderr


@pytest.mark.parametrize("content", [None, "", "two words", "caf\u00e9"])
def test_an_unusable_token_file_is_a_configuration_error(folder, content) -> None:
    ran(folder, "init")
    token = folder / "secret/token"
    token.unlink()
    if content is not None:
        token.write_text(content, encoding="utf-8")
    answered = ran(folder, "run")
    assert answered.returncode == 78
    assert str(token) in answered.stderr
    assert "Traceback" not in answered.stderr


def test_a_busy_port_names_the_port_and_the_key(folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "holdfast.toml").write_text(f'[receiver]\nlisten = "http://127.0.0.1:{port}"\n')
        answered = ran(folder, "run")
    assert answered.returncode == 1
    assert str(port) in answered.stderr
    assert "[receiver] listen" in answered.stderr
    assert "Traceback" not in answered.stderr


def test_http_on_loopback_needs_nothing_but_a_start(folder, start, batch) -> None:
    (folder / "holdfast.toml").write_text('[receiver]\nlisten = "http://127.0.0.1:0"\n')
    process = start()
    answered = requests.post(f"{process.url}/v1/batches", data=batch(1).payload, headers=NDJSON_GZIP, timeout=20)
    assert answered.json()["accepted"] == ["cafe-1"]
    assert {each.name: each.stat().st_mode & 0o777 for each in (folder / "data/receiver").iterdir()} == {
        "received.db": 0o600,
        "received.db-shm": 0o600,
        "received.db-wal": 0o600,
    }


def test_a_folder_that_is_a_file_is_said_in_a_sentence(folder) -> None:
    (folder / "data").write_text("")
    for words in ("init", "run"):
        (folder / "holdfast.toml").write_text('[receiver]\nlisten = "http://127.0.0.1:0"\n')
        answered = ran(folder, words)
        assert answered.returncode in (1, 2)
        assert "data/receiver" in answered.stderr
        assert "Traceback" not in answered.stderr
