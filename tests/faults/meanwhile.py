"""A real collector that goes on receiving while attempts hang: what it committed meanwhile, and when."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes.pipeline import Pipeline, wait_until

EVERY_S = 0.05


@dataclass
class Meanwhile:
    """`windows`: rows of the collector's windows, 1 s each, oldest first; there once it has ended."""

    sent: int = 0
    windows: list[dict[str, Any]] = field(default_factory=list)

    def during(self, began_at: float, ended_at: float) -> list[dict[str, Any]]:
        """The windows that were open at some time between the two, Unix seconds."""
        return [each for each in self.windows if each["window_start"] < ended_at and each["window_end"] > began_at]


@contextmanager
def collecting(home: Path) -> Iterator[Meanwhile]:
    """A collector for the time of the block, with a line every 50 ms for it."""
    pipeline, meanwhile, over = Pipeline(home), Meanwhile(), threading.Event()

    def send() -> None:
        while not over.wait(EVERY_S):
            pipeline.send("t.hits:1|c")
            meanwhile.sent += 1

    sending = threading.Thread(target=send)
    try:
        pipeline.start("collector")
        sending.start()
        wait_until(pipeline.windows, 10, "the first window")
        yield meanwhile
        over.set()
        sending.join()
        pipeline.end("collector")
        meanwhile.windows = pipeline.windows()
    finally:
        over.set()
        pipeline.stop_all()
