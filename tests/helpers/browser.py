"""Real headless Chromium, driven as its own developer tools drive it."""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from websockets.sync.client import connect

from tests.helpers.proc import DEADLINE, Proc

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)


class Browser:
    """A browser that nobody sees; use it as a context manager.

    Args:
        program: The path of Chromium.
        folder: Where its profile may be.
        flags: Further flags of Chromium.

    """

    def __init__(self, program: str, folder: Path, *flags: str) -> None:
        profile = folder / "profile"
        self._process = Proc(
            program, *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank", cwd=folder
        )
        self._tabs: list[Tab] = []

    def __enter__(self) -> Self:
        self._process.__enter__()
        try:
            found = self._process.wait_for(r"DevTools listening on ws://([^/]+)/")
        except BaseException:
            self.__exit__()
            raise
        self._at = found[1]
        return self

    def __exit__(self, *_: object) -> None:
        for tab in self._tabs:
            tab.close()
        self._process.__exit__(None, None, None)

    def open(self, url: str, width: int = 1280, height: int = 800) -> Tab:
        """Open a page in a tab of its own."""
        with urlopen(Request(f"http://{self._at}/json/new?about:blank", method="PUT")) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        self._tabs.append(tab)
        is_phone = width < 600
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_phone,
        )
        tab.call("Page.navigate", url=url)
        tab.until("document.readyState == 'complete' && location.href != 'about:blank'")
        return tab


class PageGoneError(Exception):
    """The page was left before it could answer."""


class Tab:
    """One page."""

    def __init__(self, url: str) -> None:
        self._held = ExitStack()
        self._socket = self._held.enter_context(connect(url, max_size=None, open_timeout=DEADLINE))
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._held.close()

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Do something with the page, and return what came of it."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        end = time.monotonic() + DEADLINE
        while True:
            said = json.loads(self._socket.recv(max(end - time.monotonic(), 0)))
            self._note(said)
            if said.get("id") == number:
                if re.search("navigated|context", str(said.get("error"))):
                    raise PageGoneError(said["error"])
                assert "error" not in said, said["error"]
                result: dict[str, Any] = said["result"]
                return result

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(said["params"]["exceptionDetails"]))
        elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["source"] == "security":
            self.problems.append(str(said["params"]["entry"]))

    def get(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, or of its promise; ``None`` if the page went."""
        try:
            found = self.call(
                "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
            )
        except PageGoneError:
            return None
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + DEADLINE
        while not self.get(
            f"new Promise(done => {{ let n = 0; const look = () => {expression} ? done(true)"
            f" : n++ < 20 ? setTimeout(look, 25) : done(false); look() }})"
        ):
            assert time.monotonic() < end, f"never {expression}; the page shows: {self.text}"

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self.get("document.body?.innerText"))

    def shows(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.until(f"document.body?.innerText.includes({json.dumps(text)})")

    def click(self, selector: str) -> None:
        """Click on something."""
        self.get(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Type something where it belongs, and press Enter."""
        self.get(f"document.querySelector({json.dumps(selector)}).focus()")
        self.get(f"document.querySelector({json.dumps(selector)}).value = ''")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    def picture(self, path: Path) -> None:
        """Write what the page looks like to a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
