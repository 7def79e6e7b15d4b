"""The page of a live pipeline in a real browser: seen, read aloud, and used by keyboard."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.processes.pipeline import Pipeline, free_port, wait_until


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Pipeline]:
    """Receiver, collector and shipper at work, some windows delivered."""
    pipeline = Pipeline(tmp_path / "pipeline")
    try:
        pipeline.start("receiver", "collector", "shipper")
        pipeline.send("api.hits:2|c|#env:prod", "api.lat:12.5|ms", "<script>alert(1)</script>:1|c")
        wait_until(lambda: pipeline.received_sum("api.hits") == 2, 20, "the first window has arrived")
        yield pipeline
    finally:
        pipeline.stop_all()


@pytest.fixture
def address(live: Pipeline) -> Iterator[str]:
    """Where `holdfast web` shows the page."""
    port = free_port()
    with (live.home / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [sys.executable, "-m", "spool.cli", "web", "-p", str(port)], env=live.environment(), stdout=log, stderr=log
        )

    def answers() -> bool:
        assert web.poll() is None, (live.home / "web.log").read_text()
        try:
            with urlopen(f"http://127.0.0.1:{port}/-/versions.json", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, 30, "Datasette answers")
        yield f"http://127.0.0.1:{port}/-/holdfast"
    finally:
        web.terminate()
        web.wait(10)


def test_a_live_spool_is_seen_read_aloud_and_used_by_keyboard(live, address, page, tmp_path) -> None:
    assert page.open(address) == 200
    assert page.problems == []
    assert page.requested == [address, f"{address}/spool"], "nothing from elsewhere"

    spoken = page.spoken()
    headings = [name for role, name in spoken if role == "heading"]
    assert headings[0].startswith("Holdfast on ")
    assert headings[2:] == ["Destination main", "Collection", "Losses", "Hangs", "Metrics"]
    pictures = [name for role, name in spoken if role in ("image", "img", "graphics-document") and name]
    assert [each.partition(",")[0] for each in pictures] == [
        "main: unsent batches",
        "main: age of the oldest unsent batch",
        "main: when collected (across) and when acknowledged (up)",
        "lines/s received",
    ]
    assert {"banner", "main", "contentinfo"} <= {role for role, _ in spoken}

    page.press("Tab")
    assert page.focused() == ("link", "Skip to the content")
    reached = []
    while len(reached) < 60 and ("textbox", "Name or pattern") not in reached:
        page.press("Tab")
        # A field with suggestions is a combobox to some versions.
        role, name = page.focused() or ("", "")
        reached.append(("textbox" if role == "combobox" else role, name))
    for expected in (("link", "6 hours"), ("textbox", "From"), ("button", "Show"), ("textbox", "Name or pattern")):
        assert expected in reached
    page.type("api.*")
    with page.loading():
        page.press("Enter")
    assert page.problems == []
    assert "name=api.*" in page.evaluate("location.href")
    assert ("image", "api.*, max of 1m") in page.spoken(), "six hours of seconds are drawn by the minute"
    assert page.screenshot(tmp_path / "page.png").stat().st_size > 20_000

    live.send("<script>alert(2)</script>:1|c", "api.hits:40|c|#env:prod")
    wait_until(lambda: live.received_sum("api.hits") == 42, 20, "the second has arrived")
    page.prefer("dark")
    assert page.open(f"{address}?name=%3Cscript*") == 200
    assert page.problems == []
    assert page.evaluate("document.scripts.length") == 0
    assert "<script>alert(" in page.text()

    late = [each["committed_at"] - each["window_end"] for each in live.windows()]
    assert max(late) < 1.0, "somebody who looks delays no commit"
