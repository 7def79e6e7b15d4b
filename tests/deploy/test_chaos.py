"""P1 to P8 at once: whatever befalls the pipeline, in any order, costs nothing that was committed (chaotic.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def survive(home: Path, chaos_s: float, freeze_most_s: float) -> None:
    """Run the chaos on a small disk of its own."""
    (home / "spool").mkdir(mode=0o700, parents=True)
    script = 'mount -t tmpfs -o size=32m,mode=700 tmpfs "$1/spool" && exec "$2" -m tests.deploy.chaotic "$1" "$3" "$4"'
    alone = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", home, sys.executable]
    done = subprocess.run(
        [*alone, str(chaos_s), str(freeze_most_s)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(420)
def test_three_minutes_of_chaos_cost_nothing_that_was_committed(tmp_path: Path) -> None:
    survive(tmp_path / "holdfast", chaos_s=180.0, freeze_most_s=10.0)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_half_an_hour_of_chaos_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    survive(tmp_path / "holdfast", chaos_s=1800.0, freeze_most_s=60.0)
