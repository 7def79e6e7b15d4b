"""A coverage-guided fuzzer of the line protocol: python tests/collector/fuzz.py FOLDER -max_total_time=600

FOLDER keeps what was found to be interesting, and is begun with; the options are libFuzzer's. Ends with 0 if nothing
was found, else it leaves the input in crash-*.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["collector"]):
    from tests.collector.fuzzed import DIALECTS, SEEDS, one

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for number in range(len(DIALECTS)):
        for place, seed in enumerate(SEEDS):
            (folder / f"seed-{number}-{place}").write_bytes(bytes([number]) + seed)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
