"""What tests of more than one package begin with."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.browser import Browser, Page

# A shell starts what runs in the background deaf to Ctrl-C, and so would be the programs that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else runs: a test says what it promises, not how fast.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: two processes that run tests may have others, with a time stamp or random."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium, started when the first test asks for it."""
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in it with cookies of its own."""
    with browser.page() as each:
        yield each
