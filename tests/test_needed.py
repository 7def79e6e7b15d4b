"""A test that cannot be run is no test that was passed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import needed


@pytest.mark.parametrize(("ci", "user", "fails"), [("", 0, True), ("true", 1000, True), ("", 1000, False)])
def test_what_is_lacking_fails_under_ci_and_as_root_and_is_skipped_elsewhere(
    ci: str, user: int, fails: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(needed, "_no_namespace", lambda: "Operation not permitted")
    with pytest.raises(
        pytest.fail.Exception if fails else pytest.skip.Exception, match="namespace here: Operation not"
    ):
        needed.on_small_disk(tmp_path, "size=1m")


def test_a_small_disk_is_as_small_as_it_says_and_nobody_else_sees_it(tmp_path: Path) -> None:
    fill = [*needed.on_small_disk(tmp_path, "size=1m"), "sh", "-c", 'df --output=size "$0"; touch "$0/file"', tmp_path]
    done = subprocess.run(fill, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "1024"
    assert list(tmp_path.iterdir()) == []
