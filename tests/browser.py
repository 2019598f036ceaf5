"""A headless browser for tests, spoken to over a pipe by the Chrome DevTools Protocol.

Time in the page is real time, keys are real keys, and nothing but the browser is needed. Protocol:
https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
           "--no-first-run", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe")
KEY_CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Escape": 27}
CONTROL, SHIFT = 2, 8
"""Modifier keys, as the protocol numbers them."""


def find_browser() -> str:
    """The path of a browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no headless browser: install Debian's chromium")
    return found


class Browser:
    """A browser with one page. Use as a context manager; `console` lists the page's errors, warnings and messages."""

    def __init__(self, profile: Path):
        read, self._to_browser = os.pipe()
        from_browser, write = os.pipe()
        # The browser reads from file descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", find_browser(), *OPTIONS, f"--user-data-dir={profile}",
             "about:blank"], pass_fds=(read, write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self._answers = os.fdopen(from_browser, "rb")
        self._rest, self._numbers, self._session, self.console = b"", count(1), None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._to_browser)
        self._process.kill()
        self._process.wait()
        self._answers.close()

    def _receive(self):
        while b"\0" not in self._rest:
            part = self._answers.read1(1 << 20)
            if not part:
                raise ConnectionError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        if found.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.console.append(found["params"])
        return found

    def call(self, method: str, **parameters) -> dict:
        """Calls a method of the protocol, and returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_browser, data):]
        while (answer := self._receive()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, place: Path | str, fragment: str = "", width: int = 1500, height: int = 1000, dark: bool = False) -> None:
        """Opens a file, or a URL, in a window of some size, and waits until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        # By way of an empty page, since a new fragment alone would not load it again.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{place if isinstance(place, str) else place.absolute().as_uri()}{fragment}")
        while self._receive().get("method") != "Page.loadEventFired":
            pass
        self.settle()

    def run(self, script: str):
        """The value of a JavaScript expression, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def settle(self) -> None:
        """Waits until the page has drawn twice."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def press(self, *keys: str) -> None:
        """Presses and releases keys, one after another; each is a name such as "Enter", or a character."""
        for key in keys:
            facts = {"key": key, "windowsVirtualKeyCode": KEY_CODES.get(key, ord(key[0].upper()))}
            self.call("Input.dispatchKeyEvent", type="keyDown", **facts, **({"text": key} if len(key) == 1 else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **facts)
        self.settle()

    def click(self, x: float, y: float, modifiers: int = 0, count: int = 1) -> None:
        """Moves the mouse to a place in the window, and clicks."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count, modifiers=modifiers)
        self.settle()

    def wheel(self, x: float, y: float, down: float, modifiers: int = 0) -> None:
        """Turns the wheel by some pixels at a place in the window."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down, modifiers=modifiers)
        self.settle()

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
