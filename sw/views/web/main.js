// The start: what the page says about the run, its first view, and a frame whenever something has changed.
$("facts").textContent =
  `${D.name || "program"} on ${D.config}, ` +
  `${D.tokens.length > 1 ? D.tokens.length + " tokens" : "a token"}, ` +
  `${number(D.cycles)} cycles, all of them known before the first`;
if (D.measured) {
  const wrong = D.measured.differences.length;
  $("verdict").className = wrong ? "bad" : "good";
  $("verdict").textContent = wrong
    ? `measured: not as planned from cycle ${D.measured.differences[0][0]} on`
    : "measured: every unit in every cycle as planned";
}
// A link to a place: #find=layer 3 softmax, or #cycle=1200&scale=4.
function go() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("find")) {
    $("search").value = wanted.get("find");
    search();
  }
  if (wanted.has("cycle")) {
    moveCursor(+wanted.get("cycle"));
    view.scale = +wanted.get("scale") || 4;
    view.left = cursor - (width - gutter) / view.scale / 2;
    clampView();
  }
}
function frame() {
  if (dirty) {
    dirty = false;
    draw();
  }
  requestAnimationFrame(frame);
}
function recolour() {
  readTheme();
  listed = null;
  replay();
  side();
  listKept();
}
matchesDark.addEventListener("change", recolour);
// The width changes with the window, and with the bar at its right that scrolls the page.
new ResizeObserver(resize).observe($("diagram"));
window.addEventListener("hashchange", go);
window.timetable = { data: D, x, y, view, units: UNITS, draw, changed };
readTheme();
floorplan();
resize();
moveCursor(0);
if (D.measured && D.measured.differences.length) {
  moveCursor(D.measured.differences[0][0]);
  show(cursor - 60, cursor + 60);
} else ZOOMS.run();
go();
frame();
