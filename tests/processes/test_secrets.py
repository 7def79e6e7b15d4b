"""The token is in its file and on the wire, encrypted, and nowhere else."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.pipeline import PROGRAMS, Pipeline, wait_until
from tests.processes.test_outages import Load


def places_with(secret: str, pipeline: Pipeline) -> list[str]:
    """Files of the pipeline that contain it, and processes that show it in their arguments or environment."""
    found = [
        str(file)
        for file in pipeline.home.rglob("*")
        if file.is_file() and file != pipeline.home / "receiver/token" and secret.encode() in file.read_bytes()
    ]
    for name, process in pipeline.processes.items():
        for what in ("cmdline", "environ"):
            if secret.encode() in Path(f"/proc/{process.pid}/{what}").read_bytes():
                found.append(f"{what} of {name}")
    return found


def test_the_token_is_in_no_log_no_file_of_the_spool_and_no_process_list(pipeline: Pipeline) -> None:
    pipeline.start(*PROGRAMS)
    token = (pipeline.home / "receiver/token").read_text().strip()
    assert len(token) >= 16
    Load(pipeline).windows(2)
    wait_until(lambda: pipeline.attempts() and pipeline.everything_acknowledged(), 20, "everything acknowledged")
    (pipeline.home / "receiver/token").write_text(
        "another-token-than-the-receiver-knows\n"
    )  # the shipper reads it anew
    Load(pipeline).windows(1)
    wait_until(lambda: any(each["status"] == 401 for each in pipeline.attempts()), 20, "a refusal")
    pipeline.end("receiver")
    Load(pipeline).windows(1)
    for command in ("attempts", "hangs", "status", "list"):
        pipeline.command("spool.cli", command, check=False)
    wait_until(lambda: "status=401" in pipeline.log("shipper"), 10, "the refusal in the log")
    for secret in (token, "another-token-than-the-receiver-knows"):
        assert places_with(secret, pipeline) == []


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_token_that_others_may_read_is_refused_and_not_shown(mode: int, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "holdfast")
    pipeline.command("shipper.receiver.cli", "init")
    file = pipeline.home / "receiver/token"
    token = file.read_text().strip()
    file.chmod(mode)
    done = pipeline.command("shipper.cli", "run", check=False)
    assert done.returncode == 78 and token not in done.stdout + done.stderr
    assert str(file) in done.stderr and re.search(r"chmod|0?600|mode", done.stderr)


def test_neither_proxies_nor_authorities_are_taken_from_the_environment(pipeline: Pipeline, tmp_path: Path) -> None:
    """Every variable that requests, urllib3 or OpenSSL know of points somewhere that would break the upload."""
    pipeline.start("receiver", "collector")
    load = Load(pipeline)
    load.windows(1)
    hostile = {
        **dict.fromkeys(
            ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], "http://127.0.0.1:1"
        ),
        **dict.fromkeys(["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"], str(tmp_path / "missing.pem")),
        "SSLKEYLOGFILE": str(tmp_path / "keys.log"),
        "no_proxy": "",
    }
    environment = {**pipeline.environment(), **hostile}
    done = subprocess.run(
        [sys.executable, "-m", "shipper.cli", "ping", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert json.loads(done.stdout)["ok"], done.stdout + done.stderr
    assert not (tmp_path / "keys.log").exists()
    assert "http_proxy" in environment and os.environ.get("SSLKEYLOGFILE") is None
