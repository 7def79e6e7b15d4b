"""deploy/install into a folder of its own: it runs by the unit, is upgraded in place, and goes without its data.

systemd itself is not here but in test_systemd.py: the unit's own commands are run with its environment, as its user.
"""

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.deploy.test_run import processes_of
from tests.processes.pipeline import free_port, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL_S = 300


class Host:
    """A folder that deploy/install takes for the root of a host."""

    def __init__(self, root: Path) -> None:
        self.root, self.user = root, "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.statsd = free_port(socket.SOCK_DGRAM)
        self.config = root / "etc/holdfast/holdfast.toml"
        self.unit = root / "etc/systemd/system/holdfast.service"
        self.supervisord: subprocess.Popen[bytes] | None = None

    def install(self, checkout: Path, *options: str) -> str:
        command = [checkout / "deploy/install", "--prefix", self.root, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def said_by_unit(self, key: str) -> list[str]:
        lines = self.unit.read_text().splitlines()
        return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]

    def environment(self) -> Mapping[str, str]:
        return dict(pair.split("=", 1) for line in self.said_by_unit("Environment") for pair in line.split())

    def as_user(self, command: str) -> list[str]:
        user = pwd.getpwnam(*self.said_by_unit("User"))
        before = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return (before if os.geteuid() == 0 else []) + shlex.split(command)

    def holdfast(self, *arguments: str) -> str:
        command = self.as_user(shlex.join([str(self.root / "usr/local/bin/holdfast"), *arguments]))
        environment = {**self.environment(), "HOME": "/"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True, cwd="/")
        return done.stdout

    def start(self) -> None:
        run = self.root / "run/holdfast"
        run.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(run, self.user)
        (prepare,) = self.said_by_unit("ExecStartPre")
        subprocess.run(self.as_user(prepare), env=self.environment(), check=True, timeout=30, cwd="/")
        (begin,) = self.said_by_unit("ExecStart")
        self.supervisord = subprocess.Popen(self.as_user(begin), env=self.environment(), cwd="/")
        log = self.root / "var/log/holdfast/collector.log"
        heard = log.read_text().count(" listening ") if log.exists() else 0
        wait_until(lambda: log.exists() and log.read_text().count(" listening ") > heard, 30, "the collector receives")

    def collector(self) -> int:
        """Its process."""
        (beat,) = self.root.rglob("heartbeat-collector.json")
        return int(json.loads(beat.read_text())["pid"])

    def reload(self) -> None:
        """As systemd does: one command after the other, until one fails."""
        environment = self.environment()
        for command in map(self.as_user, self.said_by_unit("ExecReload")):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=30, check=False, cwd="/"
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def stop(self) -> None:
        if self.supervisord is not None:
            self.supervisord.send_signal(signal.SIGTERM)
            self.supervisord.wait(45)
            self.supervisord = None

    def send(self, lines: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for _ in range(lines):
                out.sendto(b"t.hits:1|c", ("127.0.0.1", self.statsd))

    def total(self) -> float:
        return float(
            self.holdfast("query", "--csv", "SELECT total(value) FROM points WHERE name = 't.hits'").split()[1]
        )


@pytest.fixture
def host() -> Iterator[Host]:
    root = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))  # where another user gets, too
    root.chmod(0o755)
    host = Host(root)
    yield host
    host.stop()
    shutil.rmtree(root)


def everything(root: Path) -> dict[str, float]:
    """When each file and link came to be as it is."""
    found = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path): path.lstat().st_mtime_ns for path in found if "__pycache__" not in str(path)}


@pytest.mark.timeout(2 * INSTALL_S + 120)
def test_installed_upgraded_in_place_and_removed_without_a_line_lost(host: Host, tmp_path: Path) -> None:
    host.install(CHECKOUT, "--user", host.user)
    text = host.config.read_text().replace("8125", str(host.statsd)).replace("8443", str(free_port()))
    host.config.write_text(text.replace("interval_s = 10", "interval_s = 1").replace("536_870_912", "0 #"))
    before = everything(host.root)
    assert "wrote" not in host.install(CHECKOUT, "--user", host.user)
    assert everything(host.root) == before, "a second time changes nothing"

    assert (host.root / "usr/local/share/man/man1/holdfast-status.1").exists()
    assert "holdfast" in (host.root / "usr/local/share/bash-completion/completions/holdfast-shipper").read_text()

    host.start()
    host.send(50)
    wait_until(lambda: "acknowledged" in host.holdfast("list"), 30, "a batch acknowledged")
    assert (host.root / "var/lib/holdfast").stat().st_mode & 0o077 == 0

    config, rendered = host.config.read_text(), (host.root / "run/holdfast/supervisord.conf").stat().st_mtime_ns
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        other = str(stranger.getsockname()[1])
        for change, complaint in (
            ((str(host.statsd), other), f"{other}: in use"),
            (('/token"', '/no-token"'), "no-token"),
        ):
            host.config.write_text(config.replace(*change))
            with pytest.raises(AssertionError, match=complaint):
                host.reload()
    host.config.write_text(config)
    assert (host.root / "run/holdfast/supervisord.conf").stat().st_mtime_ns == rendered, "nothing has been changed"
    assert "reload_refused" not in (host.root / "var/log/holdfast/collector.log").read_text(), "nobody was asked"

    newer = tmp_path / "newer"
    shutil.copytree(CHECKOUT, newer, ignore=shutil.ignore_patterns(".*", "tests", "data", "__pycache__"))
    with (newer / "spool/__init__.py").open("a") as file:
        file.write("# A newer release.\n")
    assert "current is" in host.install(newer, "--user", host.user)
    host.send(20)  # while the old release still runs
    collector = host.collector()
    host.reload()
    host.send(10)
    current = (host.root / "opt/holdfast/current").readlink()
    wait_until(lambda: f"{current}/" in Path(f"/proc/{collector}/cmdline").read_text(), 20, "the new release")
    assert host.collector() == collector, "the same process"
    host.stop()
    host.start()
    host.send(20)
    wait_until(lambda: host.total() == 100, 20, "every line in the spool")
    assert host.config.read_text() == config
    assert len(list((host.root / "opt/holdfast/releases").iterdir())) == 2, "the release before stays"
    host.stop()
    assert processes_of(host.root) == []

    current = (host.root / "opt/holdfast/current").readlink()
    host.config.write_text(config.replace("interval_s = 1", 'interval_s = "ten"'))
    with pytest.raises(AssertionError, match="interval_s = 'ten'"):  # said before anything is switched
        host.install(CHECKOUT, "--user", host.user)
    assert (host.root / "opt/holdfast/current").readlink() == current

    host.install(newer, "--uninstall")
    left = {path.name for path in host.root.rglob("*")}
    assert {"holdfast.toml", "spool.db", "received.db", "collector.log"} <= left
    assert not {"holdfast.service", "releases", "current", "holdfast-collector"} & left
    assert [path for path in (host.root / "usr").rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("name", ["with space", "R&D", "50%", "a#b"])
def test_a_folder_that_a_unit_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    command = [CHECKOUT / "deploy/install", "--prefix", tmp_path / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and f"{name}: a systemd unit takes letters, digits and ._/+- only" in done.stderr
    assert list((tmp_path / name).iterdir()) == []


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "holdfast.service"
    text = (CHECKOUT / "deploy/holdfast.service").read_text().replace("User=holdfast", "User=daemon")
    for program in ("python", "supervisord", "supervisorctl", "holdfast-collector", "holdfast-shipper"):
        text = text.replace(f"/opt/holdfast/current/bin/{program}", "/bin/true")
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30, check=False)
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
