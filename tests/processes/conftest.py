"""The pipeline of real processes, ended after each test whatever happened; its logs are shown when the test failed.

After a test that passed the spool is audited before anything is ended: it must add up.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.processes.pipeline import Pipeline

PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember for the fixture below whether the test passed."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def pipeline(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path / "holdfast")
    yield pipeline
    try:
        if request.node.stash.get(PASSED, False) and (pipeline.spool / "delivery-main.db").exists():
            pipeline.audit()
    finally:
        pipeline.stop_all()
    for log in sorted(pipeline.home.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")
