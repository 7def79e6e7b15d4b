"""deploy/install and the unit under a real systemd, whose hardening everything must work with."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.booted import Booted, unbootable
from tests.needed import lacking
from tests.processes.pipeline import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL = (
    "cd /srv/shared/checkout && PYTHON=/usr/bin/python3 PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/shared/wheels deploy/install"
)
LISTEN = """["udp://127.0.0.1:8125", "udp://[::1]:8125", "tcp://127.0.0.1:8125",
    "unixgram:///run/holdfast/statsd.sock", "unix:///run/holdfast/stream.sock"]
workers = 2
admin = "127.0.0.1:8126" """
SEND = """
import socket, sys, time
name, for_s, sent, until = sys.argv[1], float(sys.argv[2]), 0, time.monotonic() + float(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    while not sent or time.monotonic() < until:
        sent += out.sendto(f"{name}:1|c".encode(), ("127.0.0.1", 8125)) > 0
        time.sleep(0.005)
for kind, address in ((socket.AF_INET, ("127.0.0.1", 8125)), (socket.AF_UNIX, "/run/holdfast/stream.sock")):
    with socket.socket(kind) as out:
        out.connect(address)
        sent += out.sendall(f"{name}:1|c\\n".encode()) is None
for kind, address in ((socket.AF_INET6, ("::1", 8125)), (socket.AF_UNIX, "/run/holdfast/statsd.sock")):
    with socket.socket(kind, socket.SOCK_DGRAM) as out:
        sent += out.sendto(f"{name}:1|c".encode(), address) > 0
print(sent)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    why_not = unbootable()
    if why_not is not None:
        lacking(f"no systemd can be booted here: {why_not}")
    host = Booted(tmp_path_factory.mktemp("systemd"))
    try:
        requires = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["build-system"]["requires"]
        wheels = [sys.executable, "-m", "pip", "download", "-q", "-d", host.shared / "wheels"]
        subprocess.run([*wheels, f"{CHECKOUT}[receiver]", *requires], check=True, timeout=300)
        ignored = shutil.ignore_patterns(".*", "tests", "data", "__pycache__")
        shutil.copytree(CHECKOUT, host.shared / "checkout", ignore=ignored)
        (host.shared / "send.py").write_text(SEND)
        host.run(INSTALL)
        text = host.run("cat /etc/holdfast/holdfast.toml").replace("interval_s = 10", "interval_s = 1")
        host.write(
            "/etc/holdfast/holdfast.toml", text.replace('["udp://127.0.0.1:8125"]', LISTEN).replace("536_870_912", "0")
        )
        host.run("systemctl reload holdfast")
        wait_until(lambda: "stream.sock" in host.run("ls /run/holdfast"), 20, "the new sockets")
        yield host
    finally:
        host.end()


def send(host: Booted, name: str, for_s: float = 0.0) -> int:
    """As somebody else on that host, to all five sockets, most of it to UDP."""
    return int(host.run(f"runuser -u nobody -- python3 /srv/shared/send.py {name} {for_s}"))


def arrived(host: Booted, name: str, count: int) -> None:
    """So many lines are at the receiver and no more."""
    query = f"\"select total(value) from points where name = '{name}'\""
    database = "/var/lib/holdfast/receiver/received.db"
    reader = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    command = f'runuser -u holdfast -- python3 -c "{reader}" {database} {query}'
    wait_until(lambda: float(host.run(command)) >= count, 40, f"{count} of {name}")
    assert float(host.run(command)) == count


def test_every_kind_of_socket_works_for_everybody_within_the_hardening(host: Booted) -> None:
    arrived(host, "t.kinds", send(host, "t.kinds", 1))
    assert "verdict" in host.holdfast("audit")
    assert "MemoryDenyWriteExecute=yes" in host.run("systemctl show -p MemoryDenyWriteExecute holdfast")


def test_a_reload_fails_with_the_reason_while_a_program_would_refuse_the_configuration(host: Booted) -> None:
    file = "/etc/holdfast/holdfast.toml"
    text = host.run(f"cat {file}")
    try:
        host.write(file, text.replace("holdfast/receiver/token", "holdfast/receiver/no-token"))
        host.run("! systemctl reload holdfast")
        assert "no-token" in host.run("journalctl -u holdfast -n 20")
    finally:
        host.write(file, text)
    host.run("systemctl reload holdfast")


def test_an_upgrade_under_load_loses_nothing(host: Booted) -> None:
    with (host.shared / "checkout/spool/__init__.py").open("a") as file:
        file.write("# A newer release.\n")
    said = host.run(f"python3 /srv/shared/send.py t.upgrade 40 >/tmp/sent & {INSTALL} && wait && cat /tmp/sent")
    assert "in place" in said
    arrived(host, "t.upgrade", int(said.split()[-1]))
    assert "place" not in host.run(INSTALL), "a second time there is nothing to do"


def test_a_killed_supervisord_is_started_again_and_its_collector_commits_first(host: Booted) -> None:
    main = "systemctl show -p MainPID --value holdfast"
    before = host.run(main)
    count = send(host, "t.killed")
    host.run(f"kill -9 $({main})")
    wait_until(lambda: host.run(main) not in (before, "0\n"), 30, "another supervisord")
    arrived(host, "t.killed", count)
    assert "spawned: 'collector'" in host.run("journalctl -u holdfast"), "the journal has what supervisord says"


def test_removed_and_installed_again_it_goes_on_with_what_was_unsent(host: Booted) -> None:
    count = send(host, "t.removed")
    host.run(f"{INSTALL} --uninstall")
    assert host.run("pgrep -u holdfast || true") == ""
    host.run(INSTALL)
    arrived(host, "t.removed", count)
    assert "adds up" in host.holdfast("audit")
