"""What several tests of the spool begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.delivery import Delivery
from spool.writer import SpoolWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    """A new spool, opened as its collector does."""
    writer = SpoolWriter.open(tmp_path / "spool", "host-1")
    yield writer
    writer.close()


@pytest.fixture
def main(writer: SpoolWriter) -> Iterator[Delivery]:
    """The delivery file of its destination "main", opened as that one's shipper does."""
    delivery = Delivery.open(writer.directory, "main", writer.spool_id)
    yield delivery
    delivery.close()
