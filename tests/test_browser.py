"""The browser of the other tests sees what they rely on: a check that cannot fail is a defect."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

HTML = b"""<!doctype html><html lang="en"><title>t</title>
<style>@media (prefers-color-scheme: dark) { body { background: black } }</style>
<h1>Seen</h1><p hidden>unseen</p><a href="/next">Further</a>
<script>document.title = "run"</script><script>throw new Error("broken")</script>
<img src="http://elsewhere.example/x.png" alt="">"""


@pytest.fixture
def server():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"<p>{self.path} {self.headers.get('X-Told', '')}".encode() if self.path != "/" else HTML
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        serving.daemon_threads = True
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_it_shows_says_reports_and_is_driven_by_keys(server, page, tmp_path) -> None:
    page.prefer("dark")
    assert page.open(f"{server}/") == 200
    assert page.text().split() == ["Seen", "Further"]
    assert page.evaluate("document.title") == "run"
    assert ("heading", "Seen") in page.spoken()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
    assert any("elsewhere.example" in each for each in page.requested)
    assert any("Uncaught" in each for each in page.problems)
    assert any("elsewhere.example" in each for each in page.problems)
    assert page.screenshot(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    page.press("Tab")
    assert page.focused() == ("link", "Further")
    with page.loading():
        page.press("Enter")
    assert page.text() == "/next"
    page.open(f"{server}/told", headers={"X-Told": "so"})
    assert page.text() == "/told so"
    assert page.problems == []


def test_a_page_that_nobody_serves_has_no_status(page) -> None:
    assert page.open("http://127.0.0.1:9/") == 0
