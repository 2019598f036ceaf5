"""The timetable's page in a headless browser: it draws, zooms, searches and shows what is under the mouse."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import compile_model
from marey.sw.formats import load_model
from marey.sw.views.entries import entries
from marey.sw.views.measure import measure
from marey.sw.views.page import page
from tests.faults import moved

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

SCRIPT = """<script>
  // A user: looks, finds, moves the mouse, zooms; what was seen goes into the title, since the DOM is all that comes back.
  {
  const seen = {}, { x, y, units, view, data } = window.timetable;
  const canvas = document.getElementById("canvas"), box = () => canvas.getBoundingClientRect();
  const mouse = (kind, cycle, unit, more = {}) => canvas.dispatchEvent(new MouseEvent(kind, {
    clientX: box().left + x(cycle + 0.5), clientY: box().top + y(units.indexOf(unit)) + 10, bubbles: true, ...more }));
  const painted = () => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size;
  const tip = () => document.getElementById("tip").innerText;
  const wait = () => new Promise(done => setTimeout(done, 100));
  (async () => {
    await wait();
    seen.colours = painted();
    seen.whole = view.scale;
    document.getElementById("search").value = "QUERY";
    document.getElementById("next").click();
    await wait();
    seen.found = document.getElementById("found").textContent;
    seen.cursor = document.getElementById("cursor").textContent;
    mouse("mousemove", CYCLE, "vxm");
    seen.tip = tip();
    const before = view.scale;
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 300, clientX: box().left + x(CYCLE), cancelable: true }));
    seen.zoomed = view.scale < before;
    document.querySelector("[data-zoom=beat]").click();
    seen.closest = view.scale;
    document.querySelector("[data-zoom=run]").click();
    await wait();
    seen.again = Math.abs(view.scale / seen.whole - 1) < 1e-6;
    document.getElementById("slider").value = CYCLE;
    document.getElementById("slider").dispatchEvent(new Event("input"));
    seen.now = document.getElementById("now").innerText;
    const still = document.getElementById("cursor").textContent;
    document.getElementById("speed").value = "8";
    document.getElementById("play").click();
    for (let turn = 0; turn < 40 && document.getElementById("cursor").textContent === still; turn++) await wait();
    seen.played = document.getElementById("cursor").textContent;
    const begun = performance.now();
    for (let turn = 0; turn < 20; turn++) { document.querySelector("[data-zoom=in]").click(); draw(); }
    seen.frame = (performance.now() - begun) / 20;
    seen.verdict = document.getElementById("verdict").textContent;
    document.title = "seen " + encodeURIComponent(JSON.stringify(seen));
  })();
  }
</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no headless browser: install Debian's chromium")
    return found


def visit(browser, folder, html, fragment=""):
    """The page's DOM after some seconds of its own time, and what it wrote on the console."""
    path = folder / "timetable.html"
    path.write_text(html)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         "--window-size=1400,1000", "--virtual-time-budget=8000", "--enable-logging=stderr", "--dump-dom", f"file://{path}{fragment}"],
        capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def act(browser, folder, html, query, cycle):
    dom, console = visit(browser, folder, html + SCRIPT.replace("QUERY", query).replace("CYCLE", str(cycle)))
    assert console == []
    title = re.search(r"<title>seen ([^<]*)</title>", dom)
    assert title, "the page did not get through the script"
    return json.loads(unquote(title[1]))


def test_a_story_draws_zooms_finds_and_tells(browser, stories, tmp_path):
    program = compile_model(load_model(stories), preset("sim8x8"), name="stories260K")
    position = 127
    exp = next(operation for operation in entries(program, position) if operation.name == "layer 3 softmax exp")
    cycle = int(exp.cycles("vxm")[0])
    seen = act(browser, tmp_path, page(program, position), "layer 3 softmax", cycle)
    assert seen["colours"] > 50 and seen["zoomed"] and seen["again"] and seen["closest"] > 10 * seen["whole"]
    assert seen["found"].endswith("layer 3 softmax exp") and seen["found"].startswith("1 of ")
    assert seen["cursor"] == f"cycle {exp.issue.cycle:,}"
    assert seen["tip"].startswith(f"cycle {cycle:,}, position 127\nlayer 3 softmax exp, head 0\nVXM: beats, 1 of ")
    assert f"issued in cycle {exp.issue.cycle:,}" in seen["tip"] and f"{exp.issue.pc}: VXM engine=1" in seen["tip"]
    assert "VXM: beats: layer 3 softmax exp" in seen["now"] and "MEM: x: layer 3 softmax exp" in seen["now"]
    assert seen["played"] != f"cycle {cycle:,}"


def test_two_hundred_tokens_open_without_stutter(browser, stories, tmp_path):
    program = compile_model(load_model(stories), preset("sim8x8"), name="stories260K")
    html = page(program, 0, 200)
    assert len(html) < 1 << 20
    seen = act(browser, tmp_path, html, "layer 3 softmax head 2", 1000)
    assert seen["found"].endswith("layer 3 softmax exp")
    # Ten times the milliseconds of a frame at 60 a second, on a machine without a graphics card.
    assert seen["frame"] < 160


def test_measured_and_a_planted_fault(browser, compiler, tiny_model, tmp_path):
    program = compile_model(tiny_model, preset("sim8x8"), name="tiny")
    seen = act(browser, tmp_path, page(program, 5, 1, measure(program, 5)), "wo", 100)
    assert seen["verdict"] == "measured: every unit in every cycle as planned"
    pc = next(at for at, instruction in enumerate(program.image.instructions) if instruction.note == "w3" and instruction.wait)
    measured = measure(program, 5, image=moved(program, pc))
    first = measured.differences()[0].cycle
    seen = act(browser, tmp_path, page(program, 5, 1, measured), "", first)
    assert seen["verdict"] == f"measured: not as planned from cycle {first} on"


def test_a_link_leads_to_a_place(browser, tiny_model, tmp_path):
    program = compile_model(tiny_model, preset("sim8x8"), name="tiny")
    dom, console = visit(browser, tmp_path, page(replace(program, name="a <b> & c"), 20), "#find=" + quote("layer 1 values"))
    assert console == [] and "layer 1 values</span>" in dom and "a &lt;b&gt; &amp; c on sim8x8" in dom
