"""A host with a real systemd: this machine's own files under an overlay, booted in namespaces of its own.

What happens there stays in a folder: files, users, processes, control groups, network (loopback only). Needs root, and
a systemd that is installed; it need not be the one that runs.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes.pipeline import wait_until

BOOT_S = 60
COMMAND_S = 300

BOOT = """
set -eu
mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" overlay root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
for each in null zero full random urandom tty; do touch dev/$each; mount --bind /dev/$each dev/$each; done
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s null dev/console
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mkdir -p srv/shared && mount --bind "$2" srv/shared
rm -rf etc/systemd/system/*.wants opt/holdfast etc/holdfast var/lib/holdfast etc/pip.conf root/.config/pip
mkdir .before && pivot_root . .before && cd / && umount -l .before
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=basic.target </dev/null
"""
"""Only basic.target: what is installed on this machine as a service is not to be started once more."""


class Booted:
    """Boots; `run` runs a command there; `shared` is /srv/shared there; `end` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self.shared, here = folder / "shared", folder / "host"
        self.shared.mkdir()
        here.mkdir()
        self._group = Path(cgroup2(), f"holdfast-test-{os.getpid()}")
        self._group.mkdir()
        unshare = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--fork", "--kill-child"]
        self._boot = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', self._group]
            + [*unshare, "bash", "-c", BOOT, "boot", here, self.shared],
            stdout=sys.stderr,
        )
        try:
            wait_until(lambda: self._boot.poll() is not None or self._up(), BOOT_S, "systemd is up")
            assert self._boot.poll() is None, "systemd ended at once"
        except AssertionError:
            self.end()
            raise

    def _up(self) -> bool:
        return self._inside("systemctl is-active basic.target").stdout.strip() == "active"

    def _inside(self, command: str) -> "subprocess.CompletedProcess[str]":
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess(command, 1, "", "not yet")
        environment = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", f"PATH={os.defpath}:/usr/sbin:/sbin:/usr/local/bin"]
        return subprocess.run(
            ["nsenter", "-t", children[0], "-a", *environment, "bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def run(self, command: str) -> str:
        """What the command says, as root; it must end with 0."""
        done = self._inside(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def holdfast(self, arguments: str) -> str:
        """As its user."""
        return self.run(f"runuser -u holdfast -- holdfast {arguments}")

    def write(self, path: str, text: str) -> None:
        """Make the file there say this."""
        self.run(f"printf %s {shlex.quote(text)} >{path}")

    def end(self) -> None:
        """End everything that runs there, and forget its files."""
        self._boot.send_signal(signal.SIGKILL)  # --kill-child: its systemd with it, and the kernel all the others
        self._boot.wait()
        wait_until(lambda: "populated 0" in (self._group / "cgroup.events").read_text(), 20, "everything has ended")
        for each in sorted(self._group.rglob("*"), reverse=True):
            if each.is_dir():
                each.rmdir()
        self._group.rmdir()


def cgroup2() -> str | None:
    """Where control groups of version 2 are mounted, writable."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next((each[1] for each in mounts if each[2] == "cgroup2" and "rw" in each[3].split(",")), None)


def unbootable() -> str | None:
    """Why a systemd cannot be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    if cgroup2() is None:
        return "no control groups of version 2"
    overlay = "mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir upper work && "
    overlay += "mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt"
    tried = subprocess.run(
        ["unshare", "--pid", "--mount", "--cgroup", "--net", "--fork", "sh", "-c", overlay],
        capture_output=True,
        check=False,
    )
    return f"no namespaces or overlays: {tried.stderr.decode().strip()}" if tried.returncode else None
