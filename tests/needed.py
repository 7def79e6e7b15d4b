"""What a test needs of the machine it runs on, and may not be given there.

Under CI, and as root, who may have it, such a test fails: a promise that nobody has looked at is none. On somebody's
own machine it is skipped, and the summary says why.
"""

import functools
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """End a test that cannot be run for want of something: it fails or is skipped, see above."""
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(f"not tested: {what}", pytrace=False)
    pytest.skip(what)


def on_small_disk(disk: Path, options: str) -> list[str]:
    """What to put before a command so that it has a file system of its own at `disk`, a folder that is there.

    `options` are a tmpfs's (`size=16m`). It is mounted in a mount namespace, so no other process sees it, and it is
    gone with the command.
    """
    why_not = _no_namespace()
    if why_not:
        lacking(f"no mount namespace here: {why_not}")
    return _mounted(disk, options)


def _mounted(disk: Path, options: str) -> list[str]:
    script = 'mount -t tmpfs -o "$1,mode=700" tmpfs "$2" && shift 2 && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", options, str(disk)]


@functools.cache
def _no_namespace() -> str:
    """Why there is none, or nothing."""
    tried = [*_mounted(Path(__file__).parent, "size=1m"), "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"unshare ended with {done.returncode}" if done.returncode else ""
