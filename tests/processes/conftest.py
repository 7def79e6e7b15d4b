"""The pipeline of real processes, ended after each test whatever happened; its logs are shown when the test failed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.pipeline import Pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path / "holdfast")
    yield pipeline
    pipeline.stop_all()
    for log in sorted(pipeline.home.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")
