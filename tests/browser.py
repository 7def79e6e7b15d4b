"""A real Chromium without a window, for tests of our pages: what a person sees, reads aloud or reaches by keyboard.

    def test_something(page):                        # `page` is a fixture, see conftest.py; the Chromium is shared
        page.open("https://127.0.0.1:8443/", headers={"Authorization": "Bearer ..."})
        assert page.problems == []                   # console errors, exceptions, refused by policy, loads that failed
        assert "web-1" in page.text()
        page.press("Tab")
        assert page.focused() == ("link", "Skip to content")
        page.screenshot(tmp_path / "page.png")

It is spoken to over a pair of pipes (`--remote-debugging-pipe`), in messages of JSON that end with a zero byte:

    {"id": 7, "method": "Page.navigate", "params": {"url": ...}, "sessionId": ...}
    {"id": 7, "result": {...}}                                   the answer
    {"method": "Page.loadEventFired", "params": {...}, ...}      an event; events come at any time

Protocol: https://chromedevtools.github.io/devtools-protocol/. No port is opened and nothing but Debian's package
`chromium` is needed. Only addresses of loopback resolve: a page that wants something from elsewhere has a problem.
"""

import base64
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S, ANSWER_S = 60.0, 30.0
"""Two loaded cores need a while."""

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one; it only ever sees our own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE localhost",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

KEYS = {"Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Space": (" ", 32, " "), "Escape": ("Escape", 27, "")}


class Browser:
    """A running Chromium. `page()` gives a fresh one with cookies of its own."""

    def __init__(self, profile: Path) -> None:
        """Start it with its files in `profile`, a folder for it alone."""
        to_read, self._to = _high_pipe()
        self._from, to_write = _high_pipe()
        # It reads from 3 and writes to 4, whatever these are here. (dash knows no descriptor of two digits.)
        shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash"]
        self._process = subprocess.Popen(
            [*shell, "chromium", *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._unread = b""
        self._ids = 0
        self.events: list[dict[str, Any]] = []
        try:
            self.ask("Browser.getVersion", within_s=START_S)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it and all of its processes."""
        os.close(self._to)
        os.close(self._from)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(10)

    def ask(self, method: str, session: str | None = None, within_s: float = ANSWER_S, **parameters: Any) -> Any:
        """One command and its result; events that come first are kept in `events`."""
        self._ids += 1
        command: dict[str, Any] = {"id": self._ids, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        unwritten = json.dumps(command).encode() + b"\0"
        while unwritten:
            unwritten = unwritten[os.write(self._to, unwritten) :]
        give_up_at = time.monotonic() + within_s
        while True:
            message = self._message(give_up_at, method)
            if message.get("id") == self._ids:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def await_event(self, method: str, session: str) -> dict[str, Any]:
        """The parameters of the first event of that name since `events` was emptied."""
        give_up_at = time.monotonic() + ANSWER_S
        while True:
            for each in self.events:
                if each["method"] == method and each.get("sessionId") == session:
                    return dict(each["params"])
            self._message(give_up_at, method)

    def _message(self, give_up_at: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._from], [], [], max(0.0, give_up_at - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, f"Chromium {'has ended' if ready else 'does not answer'}: {what}"
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    @contextmanager
    def page(self, *, width: int = 1100, height: int = 900) -> Iterator["Page"]:
        """A page without a past: no cookies, nothing stored."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.resize(width, height)
        try:
            yield page
        finally:
            self.ask("Target.disposeBrowserContext", browserContextId=context)
            self.events.clear()


class Page:
    """One tab. What is asked of it is about the document that `open`, or a key pressed, loaded last."""

    def __init__(self, browser: Browser, session: str) -> None:
        """Use Browser.page()."""
        self._browser, self._session = browser, session
        browser.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """Any command of the protocol."""
        return self._browser.ask(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """The size of what is seen, CSS pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """`light` or `dark`, as a person's settings say."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def trust_any_certificate(self) -> None:
        """For a server with a certificate of a test's own making."""
        self.ask("Security.setIgnoreCertificateErrors", ignore=True)

    def without_script(self) -> None:
        """As a browser in which scripts are switched off."""
        self.ask("Emulation.setScriptExecutionDisabled", value=True)

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> int:
        """Load `url` to its end; `headers` go with every request. Returns the HTTP status, 0 if there was no answer."""
        self.ask("Network.setExtraHTTPHeaders", headers=dict(headers or {}))
        with self.loading():
            failed = self.ask("Page.navigate", url=url).get("errorText")
        return 0 if failed else self.status()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What is done inside leads to another document: wait until that is loaded."""
        self._browser.events.clear()
        yield
        self._browser.await_event("Page.loadEventFired", self._session)
        self.ask("Page.getFrameTree")  # the answer comes after whatever the load had to say

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [
            each["params"]
            for each in self._browser.events
            if each["method"] == method and each.get("sessionId") == self._session
        ]

    def status(self) -> int:
        """The HTTP status of the document."""
        found = [each["response"] for each in self._events("Network.responseReceived") if each["type"] == "Document"]
        return int(found[-1]["status"]) if found else 0

    @property
    def requested(self) -> list[str]:
        """The URL of everything that the document asked for, itself included."""
        return [each["request"]["url"] for each in self._events("Network.requestWillBeSent")]

    @property
    def problems(self) -> list[str]:
        """Console warnings and errors, exceptions, what the content security policy refused, loads that failed."""
        said = [
            f"{each['entry']['level']}: {each['entry']['text']} {each['entry'].get('url', '')}".rstrip()
            for each in self._events("Log.entryAdded")
            if each["entry"]["level"] in ("warning", "error")
        ]
        said += [
            f"console.{each['type']}: {[arg.get('value') for arg in each['args']]}"
            for each in self._events("Runtime.consoleAPICalled")
            if each["type"] in ("warning", "error", "assert")
        ]
        said += [each["exceptionDetails"]["text"] for each in self._events("Runtime.exceptionThrown")]
        return said

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in JavaScript."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def dom(self) -> str:
        """The document as it is now, as HTML."""
        return str(self.evaluate("document.documentElement.outerHTML"))

    def text(self) -> str:
        """What can be read on the page, without what is hidden."""
        return str(self.evaluate("document.body.innerText"))

    def screenshot(self, file: Path, *, whole: bool = True) -> Path:
        """Write a PNG of the whole page, or of what is seen of it without scrolling."""
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        file.write_bytes(base64.b64decode(picture["data"]))
        return file

    def _clip(self, whole: bool) -> dict[str, Any]:
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}} if whole else {}

    def press(self, key: str, *, shift: bool = False) -> None:
        """One of KEYS, pressed and let go; inside `loading()` if it leads elsewhere."""
        name, code, text = KEYS[key]
        shared = {"key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **shared)

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self.ask("Input.insertText", text=text)

    def focused(self) -> tuple[str, str] | None:
        """Role and name of what has the keyboard's focus, as a screen reader says them; None for nothing."""
        found = [each for each in self._spoken_nodes() if _property(each, "focused")]
        inner = [each for each in found if each["role"]["value"] != "RootWebArea"]
        return _spoken(inner[-1]) if inner else None

    def spoken(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader finds, in its order: ("heading", "Losses"), ("link", ...)"""
        return [_spoken(each) for each in self._spoken_nodes()]

    def _spoken_nodes(self) -> list[dict[str, Any]]:
        return [each for each in self.ask("Accessibility.getFullAXTree")["nodes"] if not each["ignored"]]


def _property(node: Mapping[str, Any], name: str) -> Any:
    return next((each["value"].get("value") for each in node.get("properties", ()) if each["name"] == name), None)


def _spoken(node: Mapping[str, Any]) -> tuple[str, str]:
    return str(node["role"]["value"]), str(node.get("name", {}).get("value", ""))


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends have numbers above those that the shell redirects."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in low)
    for each in low:
        os.close(each)
    return high[0], high[1]
