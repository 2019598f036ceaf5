"""The live page in a headless browser: a chat of two turns, the tile that moves, the plot, keys, light and dark."""

import time

import pytest

from tests.sw.serve.http import CHAT, ask
from tests.sw.serve.openers import Emulated
from tests.sw.serve.servers import MODEL, Running

SPEEDS = [{"name": "a <board>", "config": "tiny4x8", "mode": "resident", "clock_mhz": 24.0, "tokens_per_second": 1234.0},
          {"name": "other", "config": "tiny4x4", "mode": "no", "clock_mhz": 24.0, "tokens_per_second": None},
          {"name": "unknown", "config": "tiny4x4", "mode": "resident", "clock_mhz": None, "tokens_per_second": None}]


def speeds():
    return SPEEDS


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A server whose tile takes a while, so that the page can be watched."""
    with Running(tmp_path_factory.mktemp("live"), Emulated(0.1), speeds=speeds, api_key="s3cret") as running:
        yield running


def until(browser, script, seconds=30):
    """The first value of a script that is true."""
    end = time.monotonic() + seconds
    while not (found := browser.run(script)):
        assert time.monotonic() < end, script
        time.sleep(0.02)
    return found


def say(browser, text):
    """Types a message and Enter."""
    browser.call("Input.insertText", text=text)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, text="\r")
    browser.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", windowsVirtualKeyCode=13)


IDLE = "document.body.dataset.busy === 'false'"
CURSOR = "document.getElementById('timetable').contentDocument?.getElementById('cursor')?.textContent"


@pytest.mark.slow
def test_a_chat_of_two_turns(browser, live):
    browser.open(f"{live.url}/")
    until(browser, "!document.getElementById('key').hidden")  # the server has a key: the page asks for it
    assert "API key" in browser.run("document.getElementById('facts').textContent")
    # The browser itself tells of the refused request, which the page has answered by asking for the key.
    assert all("401" in str(message) for message in browser.console)
    browser.console.clear()
    browser.run("document.getElementById('secret').focus()")
    say(browser, "s3cret")
    until(browser, "model")
    until(browser, CURSOR)
    browser.run("document.getElementById('tokens').value = 4; document.getElementById('prompt').focus()")
    said = []
    for question in ("hi", "a\nb"):
        say(browser, question)
        until(browser, f"!({IDLE})")
        moved = {until(browser, CURSOR) for _ in range(3) if until(browser, f"({CURSOR}) !== 'cycle 0' || {IDLE}")}
        assert moved - {"cycle 0"}, "the tile did not move"
        until(browser, IDLE)
        said.append({"role": "user", "content": question})
        expected = ask(live, CHAT, {"model": MODEL, "messages": said, "temperature": 0, "max_tokens": 4},
                       {"authorization": "Bearer s3cret"}).json
        said.append({"role": "assistant", "content": expected["choices"][0]["message"]["content"]})
        assert browser.run("[...document.querySelectorAll('.turn')].map(turn => turn.textContent)") == [
            turn["content"] for turn in said]
        notes = browser.run("[...document.querySelectorAll('#log > .facts')].slice(-2).map(note => note.textContent)")
        measured = expected["marey"]["measured"]
        assert "promised: at most 4 tokens" in notes[0] and "each as promised" in notes[1]
        assert f"{sum(measured['token_cycles']):,}" in notes[1] or measured["prompt_cycles"] == 0
    points = browser.run("[...document.querySelectorAll('#jitter polyline')].map(line => line.points.length)")
    assert points[0] == points[1] > 0
    assert "measured minus promised at most 0 cycles" in browser.run("document.getElementById('flat').textContent")
    assert browser.run("[...document.querySelectorAll('#boards tr')].map(row => row.innerText.split('\\t'))") == [
        ["a board", "tiny4x8", "24 MHz", "1,234"], ["other", "tiny4x4", "24 MHz", "no"]]
    assert browser.console == []


@pytest.mark.slow
def test_escape_stops_an_answer_and_a_button_begins_anew(browser, live):
    browser.run("document.getElementById('tokens').value = 20; document.getElementById('prompt').focus()")
    before = browser.run("turns.length")
    say(browser, "x")
    until(browser, "running !== null && document.getElementById('reset').disabled")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", windowsVirtualKeyCode=27)
    until(browser, IDLE)
    assert browser.run("turns.length") == before
    assert browser.run("document.querySelector('#log').lastElementChild.textContent") == "stopped"
    browser.run("document.getElementById('reset').click()")
    assert browser.run("[turns.length, document.querySelector('#log').childElementCount]") == [0, 0]
    assert browser.run("document.activeElement.id") == "prompt"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1500, False), (420, True)])
def test_it_fits_in_light_and_dark(browser, live, dark, width):
    browser.open(f"{live.url}/", width=width, height=900, dark=dark)
    until(browser, "document.getElementById('facts').textContent.includes('API key')")
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 200) == dark
    assert browser.run("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways


def test_the_page_needs_nothing_else(server):
    page = ask(server, "/")
    assert page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert b"http://" not in page.body.replace(b"http://www.w3.org", b"") and b"src=" not in page.body
    assert b"<canvas" in ask(server, "/timetable?position=9").body
    for position in ("", "-1", "32", "x", "9" * 99, "%C2%B2"):
        assert ask(server, f"/timetable?position={position}").status == 400
    assert ask(server, "/speeds").json == []
