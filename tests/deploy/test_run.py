"""`deploy/run` as a newcomer uses it: one command, one metric, one Ctrl-C; from any folder, as any user."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.pipeline import free_port, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL_S = 300
"""The first start makes an environment; that is the package index's speed, not ours."""


class Launched:
    """A deploy/run in the foreground of a session of its own, as a terminal would have it; ended with the block."""

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.interrupt()

    def __init__(self, home: Path, folder: Path, *before: str) -> None:
        self.home = home
        self.said = home.parent / f"{home.name}.out"
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [*before, str(CHECKOUT / "deploy/run"), "--home", str(home)],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.said.read_text()

    def ready(self, within_s: float = INSTALL_S) -> str:
        wait_until(lambda: "How is it:" in self.text() or self.process.poll() is not None, within_s, "the banner")
        assert self.process.poll() is None, self.text()
        return self.text()

    def interrupt(self) -> int:
        """What Ctrl-C does: SIGINT to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(40)


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that have `home` in them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if str(home) in command and entry.name != str(os.getpid()):
            found.append(command)
    return found


def configure(home: Path) -> tuple[int, int]:
    """The shipped configuration on free ports, with windows of a second."""
    statsd, receiver = free_port(socket.SOCK_DGRAM), free_port()
    text = (CHECKOUT / "deploy/holdfast.toml").read_text()
    text = text.replace("8125", str(statsd)).replace("8443", str(receiver)).replace("interval_s = 10", "interval_s = 1")
    home.mkdir(parents=True, exist_ok=True)
    (home / "holdfast.toml").write_text(text.replace("536_870_912", "0 #"))
    return statsd, receiver


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that has been started once, so that its environment is there."""
    home = tmp_path_factory.mktemp("deploy") / "home"
    configure(home)
    with Launched(home, Path("/")) as launched:
        launched.ready()
        assert launched.interrupt() == 0
        yield home
        shutil.rmtree(home)


def holdfast(home: Path, *arguments: str) -> str:
    command = [str(home / ".venv/bin/holdfast"), "-c", str(home / "holdfast.toml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.mark.timeout(INSTALL_S + 120)
def test_a_newcomers_metric_gets_through_and_ctrl_c_leaves_nothing_behind(installed: Path) -> None:
    statsd, receiver = configure(installed)
    with Launched(installed, installed) as launched:
        said = launched.ready()
        assert f"/dev/udp/127.0.0.1/{statsd}" in said and f"https://127.0.0.1:{receiver}" in said
        assert "in data/receiver/token)" in said
        told = said.partition("Holdfast runs;")[2]
        assert told and str(installed) not in told  # seen from there, every path is a short one
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(b"demo.hits:1|c", ("127.0.0.1", statsd))
        [look] = re.findall("Look at it: +(.*)", said)

        def looked() -> str:
            return subprocess.run(look, shell=True, cwd=installed, capture_output=True, text=True, check=True).stdout

        wait_until(lambda: "demo.hits" in looked(), 10, "the metric in the spool")
        wait_until(lambda: "acknowledged" in holdfast(installed, "list"), 10, "the batch acknowledged")
        assert launched.interrupt() == 0
        assert processes_of(installed) == []
        assert "stopped" in launched.text()
        assert "partial=true" in (installed / "data/log/collector.log").read_text()


def test_a_second_start_reuses_everything_and_is_quick(installed: Path) -> None:
    configure(installed)
    began = time.monotonic()
    with Launched(installed, Path("/tmp")) as launched:
        said = launched.ready(within_s=15)
        print(f"second start took {time.monotonic() - began:.1f} s")
        assert launched.interrupt() == 0
        assert "making the environment" not in said and "wrote" not in said


@pytest.mark.parametrize("start", ["-c", "launch.py"])
def test_ctrl_c_while_a_python_starts_is_no_traceback(installed: Path, start: str) -> None:
    """In `site` there is no line of ours yet to catch it: the check of the environment, and the launcher."""
    configure(installed)
    [packages] = (installed / ".venv/lib").glob("python3*/site-packages")
    met = installed / "met"
    press = packages / "press.pth"
    press.write_text(
        f"import os, sys; {start!r} in sys.orig_argv[1] and (open({str(met)!r}, 'w').close(), os.killpg(0, 2))\n"
    )
    try:
        with Launched(installed, Path("/")) as launched:
            code = launched.process.wait(30)
    finally:
        press.unlink()
        assert met.exists()
        met.unlink()
    assert (code, launched.text()) == (-signal.SIGINT, "")
    with Launched(installed, Path("/")) as launched:
        assert "making the environment" not in launched.ready(within_s=30)


@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.0])
def test_ctrl_c_before_anything_runs_is_no_traceback(installed: Path, after_s: float) -> None:
    configure(installed)
    with Launched(installed, Path("/")) as launched:
        time.sleep(after_s)  # wherever it is by then
        code = launched.interrupt()
    assert "Traceback" not in launched.text()
    assert code in (0, -signal.SIGINT)
    wait_until(lambda: processes_of(installed) == [], 10, "its checks ended")


def test_a_killed_launcher_leaves_no_pipeline_behind(installed: Path) -> None:
    configure(installed)
    with Launched(installed, Path("/")) as launched:
        launched.ready(within_s=30)
        launched.process.kill()
        launched.process.wait()
        wait_until(lambda: not processes_of(installed), 20, "everything gone")


def test_a_killed_supervisord_takes_its_programs_with_it(installed: Path) -> None:
    configure(installed)
    with Launched(installed, Path("/")) as launched:
        launched.ready(within_s=30)
        os.kill(int((installed / "data/supervisord.pid").read_text()), signal.SIGKILL)
        assert launched.process.wait(40) == 1
    assert "supervisord ended by itself" in launched.text()
    assert processes_of(installed) == []


def test_what_the_shipper_lacks_is_said_before_anything_is_started(installed: Path) -> None:
    configure(installed)
    file = installed / "holdfast.toml"
    file.write_text(file.read_text().replace('ca_file = "data/receiver/ca.pem"', 'ca_file = "nowhere.pem"'))
    with Launched(installed, Path("/")) as launched:
        assert launched.process.wait(30) == 78
    assert "nowhere.pem" in launched.text() and "Nothing was started" in launched.text()


@pytest.mark.parametrize("which", ["statsd", "receiver"])
def test_a_busy_port_is_named_with_the_key_to_change(installed: Path, which: str) -> None:
    statsd, receiver = configure(installed)
    kind, port = (socket.SOCK_DGRAM, statsd) if which == "statsd" else (socket.SOCK_STREAM, receiver)
    with socket.socket(socket.AF_INET, kind) as busy:
        busy.bind(("127.0.0.1", port))
        if which == "receiver":
            busy.listen()
        launched = Launched(installed, Path("/"))
        assert launched.process.wait(30) != 0
    said = launched.text()
    assert str(port) in said and f"[{'collector' if which == 'statsd' else 'receiver'}] listen" in said
    assert "Traceback" not in said and processes_of(installed) == []


def test_a_second_start_in_the_same_home_is_refused(installed: Path) -> None:
    configure(installed)
    with Launched(installed, Path("/")) as launched:
        launched.ready(within_s=30)
        second = subprocess.run(
            [CHECKOUT / "deploy/run", "--home", installed], capture_output=True, text=True, timeout=30, check=False
        )
        assert launched.interrupt() == 0
        assert second.returncode == 1 and "already runs here" in second.stderr


def test_a_wrong_configuration_ends_with_78_and_names_the_key(installed: Path) -> None:
    configure(installed)
    file = installed / "holdfast.toml"
    file.write_text(file.read_text().replace("interval_s = 1", 'interval_s = "ten"'))
    with Launched(installed, Path("/")) as launched:
        assert launched.process.wait(30) == 78
        assert "[collector] interval_s = 'ten'" in launched.text() and "Traceback" not in launched.text()


def test_every_configured_destination_gets_a_shipper_of_its_own(installed: Path) -> None:
    configure(installed)
    with (installed / "holdfast.toml").open("a") as file:
        file.write('\n[destination.second]\nurl = "http://127.0.0.1:1/x"\n')
    with Launched(installed, Path("/")) as launched:
        launched.ready(within_s=30)
        running = processes_of(installed)
        assert launched.interrupt() == 0
        assert sum("run --destination main" in each for each in running) == 1
        assert sum("run --destination second" in each for each in running) == 1


@pytest.mark.timeout(INSTALL_S + 120)
def test_an_ordinary_user_can_start_it_in_a_deep_folder_of_a_checkout_he_cannot_write(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        deep = tmp_path / ("d" * 60) / ("e" * 60)
        before: tuple[str, ...] = ()
    else:
        nobody = pwd.getpwnam("nobody")
        top = Path("/var/tmp") / f"holdfast-test-{os.getpid()}"
        deep = top / ("d" * 60) / ("e" * 60)
        deep.mkdir(parents=True)
        for each in (top, *(deep.relative_to(top).parents), deep):
            os.chown(top / each, nobody.pw_uid, nobody.pw_gid)
        before = (
            "setpriv",
            f"--reuid={nobody.pw_uid}",
            f"--regid={nobody.pw_gid}",
            "--clear-groups",
            "env",
            f"HOME={deep}",
        )
    configure(deep / "home")
    if before:
        os.chown(deep / "home", pwd.getpwnam("nobody").pw_uid, -1)
        os.chown(deep / "home/holdfast.toml", pwd.getpwnam("nobody").pw_uid, -1)
    launched = Launched(deep / "home", Path("/"), *before)
    try:
        launched.ready()
        assert launched.interrupt() == 0
        assert processes_of(deep) == []
    finally:
        launched.__exit__()
        if before:
            shutil.rmtree(deep.parents[1])
