"""deploy/environment: virtual environments, also when two first starts want the same one."""

import os
import signal
import subprocess
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / "deploy/environment"


def test_two_first_starts_at_once_make_one_environment_and_both_have_it(tmp_path: Path) -> None:
    script = f'set -euo pipefail; . "{ENVIRONMENT}"; make_environment "$1" stamp pip; "$1/bin/python" -m pip --version'
    starts = [
        subprocess.Popen(["bash", "-c", script, "-", str(tmp_path / "env")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [each.communicate(timeout=120)[0] for each in starts]
    assert [each.returncode for each in starts] == [0, 0]
    assert sum("making the environment" in each for each in said) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["env"]


def test_an_active_environment_is_the_same_python_and_is_left_as_it_is(tmp_path: Path) -> None:
    script = f'set -euo pipefail; . "{ENVIRONMENT}"; make_environment "$1" stamp pip; ls -i "$1/stamp"'
    active = f'PATH="$1/bin:$PATH"; {script}'
    first, second, third = (
        subprocess.run(
            ["bash", "-c", each, "-", str(tmp_path / "env")], capture_output=True, text=True, timeout=120, check=True
        ).stdout.splitlines()
        for each in (script, active, script)
    )
    assert len(first) == 2 and second == third == first[1:]


def test_ctrl_c_while_it_is_made_blames_nothing(tmp_path: Path) -> None:
    script = f'set -euo pipefail; . "{ENVIRONMENT}"; make_environment "$1" stamp pip; echo made'
    start = subprocess.Popen(
        ["bash", "-c", script, "-", str(tmp_path / "env")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert start.stdout is not None
    assert start.stdout.readline().startswith("making the environment")
    os.killpg(start.pid, signal.SIGINT)
    said, complained = start.communicate(timeout=60)
    assert start.returncode and "made" not in said
    assert complained.splitlines()[-1] == "error: interrupted; the next start begins anew"
    assert "cannot" not in complained and "could not" not in complained
