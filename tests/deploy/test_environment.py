"""deploy/environment: virtual environments, also when two first starts want the same one."""

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
