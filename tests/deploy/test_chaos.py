"""P1 to P8 at once: whatever befalls the pipeline, in any order, costs nothing that was committed (chaotic.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.needed import on_small_disk

ROOT = Path(__file__).resolve().parents[2]


def survive(home: Path, chaos_s: float, freeze_most_s: float) -> None:
    """Run the chaos on a small disk of its own."""
    (home / "spool").mkdir(mode=0o700, parents=True)
    chaos = [sys.executable, "-m", "tests.deploy.chaotic", home, str(chaos_s), str(freeze_most_s)]
    alone = on_small_disk(home / "spool", "size=32m")
    done = subprocess.run([*alone, *chaos], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(420)
def test_three_minutes_of_chaos_cost_nothing_that_was_committed(tmp_path: Path) -> None:
    survive(tmp_path / "holdfast", chaos_s=180.0, freeze_most_s=10.0)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_half_an_hour_of_chaos_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    survive(tmp_path / "holdfast", chaos_s=1800.0, freeze_most_s=60.0)
