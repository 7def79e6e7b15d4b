"""A spool to look at, and Datasette's plugin asked for its page without a network."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette

from tests.spool.commands.conftest import Made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """A configuration whose spool is not there yet."""
    place = Made(tmp_path)
    yield place
    place.close()


@pytest.fixture
def get(made: Made) -> Iterator[Callable[..., Any]]:
    """What Datasette answers: get(path) -> response; with spool.db and that configuration unless told otherwise."""
    opened = []

    def answer(path: str, files: list[Path] | None = None, config: Path | None = None, **settings: Any) -> Any:
        async def ask() -> Any:
            plugins = {"plugins": {"holdfast": {"config": str(config or made.config)}}}
            shown = [str(each) for each in files or [made.directory / "spool.db"]]
            datasette = Datasette(shown, metadata=plugins | settings.pop("metadata", {}), **settings)
            opened.append(datasette)
            return await datasette.client.get(path, follow_redirects=True)

        return asyncio.run(ask())

    yield answer
    for datasette in opened:
        for database in datasette.databases.values():
            database.close()
        datasette.executor.shutdown()
