"""The line protocol under bytes that nobody thought of: a little in the normal run, guided by coverage in the soak."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.fuzzed import DIALECTS, SEEDS, one

ROOT = Path(__file__).parents[2]
FUZZ_S = int(os.environ.get("HOLDFAST_FUZZ_S", "600"))

pieces = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([part for seed in SEEDS for part in re.split(rb"(?<=[:|,\n])", seed)]),
    st.sampled_from([b"\0", b"\n", b"|", b":", b"1", b"@0.5", b"#", b"a:1|c\n", b"_e{1,1}:", b"_sc|"]),
)


@settings(max_examples=400)
@given(st.integers(0, len(DIALECTS) - 1), st.lists(pieces, max_size=30).map(b"".join))
def test_bytes_of_any_kind_are_taken_or_rejected_and_counted(dialect: int, data: bytes) -> None:
    one(bytes([dialect]) + data)


@pytest.mark.parametrize("dialect", range(len(DIALECTS)))
def test_every_seed_with_any_byte_left_out_or_changed(dialect: int) -> None:
    for seed in SEEDS:
        one(bytes([dialect]) + seed)
        for place in range(dialect, len(seed), len(DIALECTS)):
            one(bytes([dialect]) + seed[:place] + seed[place + 1 :])
            one(bytes([dialect]) + seed[:place] + bytes([seed[place] ^ 1 << place % 8]) + seed[place + 1 :])


@pytest.mark.soak
@pytest.mark.timeout(FUZZ_S + 300)
def test_a_fuzzer_that_sees_the_branches_it_takes_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tests/collector/fuzz.py", tmp_path, f"-max_total_time={FUZZ_S}", "-timeout=10",
         f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5_000:]
    assert "DONE" in done.stderr
