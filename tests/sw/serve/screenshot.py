"""The picture of the live page in docs/serve.md: `python -m tests.sw.serve.screenshot docs/live.png`.

The model that ships tells a story of two turns; the picture is of the second one.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.browser import Browser

COMMAND = [sys.executable, "-c", "import sys; from marey.sw.cli import main; sys.exit(main())", "serve", "--http-port", "0"]


def until(browser, script: str) -> None:
    """Waits until a script is true."""
    while not browser.run(script):
        time.sleep(0.02)


def say(browser, text: str) -> None:
    """Types a message and Enter."""
    browser.run("document.getElementById('prompt').focus()")
    browser.call("Input.insertText", text=text)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, text="\r")
    until(browser, "running !== null")


def main(picture: Path) -> None:
    """Writes the picture."""
    server = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://[\d.]+:\d+", next(line for line in server.stderr if "http://" in line))[0]
        with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
            browser.open(url, width=1500, height=1130)
            until(browser, "document.querySelectorAll('#boards tr').length > 3 && shown === 0")
            say(browser, "Once upon a time")
            until(browser, "running === null")
            say(browser, "The next day")
            until(browser, "shown > 9 && swept > 1200 && swept < 2400 || running === null")
            browser.screenshot(picture)
            assert browser.console == []
    finally:
        server.terminate()
        server.communicate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
