"""What several tests of the shipper begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.receiver.store import Store
from tests.shipper.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A spool with a shipper on it, closed afterwards."""
    host = Host(tmp_path / "spool")
    yield host
    host.drain.close()
    host.writer.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Where a reference server beside that spool keeps what it took (`Server.reference`)."""
    store = Store.open(tmp_path / "receiver")
    yield store
    store.close()
