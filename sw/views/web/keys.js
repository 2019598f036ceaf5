// Mouse and keys. All that a mouse does, keys do too; HELP lists both.
const HELP = [
  [
    "W S, + -, up down",
    "zoom in and out, at the mouse or the cursor (up and down while the chart has the focus)",
    "Ctrl and wheel",
  ],
  ["A D, left right", "pan", "drag; Shift and wheel"],
  ["1 2 3 4", "show the run, the token, the layer, the cycle at the cursor", "the buttons"],
  [", .", "cursor to the cycle before, after", "click; the slider"],
  ["[ ]", "cursor to the operation before, after, in its row", ""],
  ["J K", "cursor's row down, up; the tip says what is there", "move the mouse"],
  ["Home End", "cursor to the first, the last cycle", ""],
  [
    "M",
    "set a mark; two marks measure the cycles and operations between them",
    "Shift and click; the button measure, then two clicks",
  ],
  ["P", "pin the operation, or unpin it", "double click"],
  ["/", "search; Enter finds the next", ""],
  ["N", "next match", "the button next"],
  ["space", "play, pause", "the button play"],
  ["Escape", "clear the marks, the selection and the tip", ""],
  ["?", "these keys", "the button keys"],
];
function help() {
  const box = $("help");
  if (box.open) {
    box.close();
    return;
  }
  const keys = text => text.replace(/[^ ,]+|,(?= \.)/g, key => `<kbd>${escaped(key)}</kbd>`);
  box.innerHTML = `<h2>Keys</h2><table><tr><th>key</th><th>does</th><th>mouse</th></tr>${HELP.map(
    ([key, does, mouse]) => `<tr><td>${keys(key)}</td><td>${does}</td><td>${mouse}</td></tr>`,
  ).join("")}</table>
    <p class="facts">Far away, the chart shows shares: the stronger the colour of a pixel, the larger the share
      of its cycles in which the unit is at work.</p>
    <form method="dialog"><button>close</button></form>`;
  box.showModal();
}
const PAN = 0.15,
  ZOOM = 1.5;
const KEYS = {
  w: () => zoom(ZOOM, zoomCentre()),
  s: () => zoom(1 / ZOOM, zoomCentre()),
  "+": ZOOMS.in,
  "=": ZOOMS.in,
  "-": ZOOMS.out,
  a: () => pan(-PAN * width),
  d: () => pan(PAN * width),
  ArrowLeft: () => pan(-PAN * width),
  ArrowRight: () => pan(PAN * width),
  1: ZOOMS.run,
  2: ZOOMS.token,
  3: ZOOMS.layer,
  4: ZOOMS.cycle,
  ",": () => walk(cursor - 1),
  ".": () => walk(cursor + 1),
  "[": () => hop(false),
  "]": () => hop(true),
  j: () => walk(cursor, row + 1),
  k: () => walk(cursor, row - 1),
  Home: () => walk(0),
  End: () => walk(D.cycles - 1),
  m: () => mark(place()[1]),
  p: togglePin,
  "/": () => $("search").focus(),
  n: search,
  " ": toggle,
  Escape: clearKept,
  "?": help,
};
const ON_CHART = { ArrowUp: KEYS.w, ArrowDown: KEYS.s };
window.addEventListener("keydown", event => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("help").open) {
    if (key === "?") {
      event.preventDefault();
      help();
    }
    return;
  }
  if (target === $("search")) {
    if (key === "Enter") search();
    if (key === "Escape") canvas.focus();
    return;
  }
  if (target.matches("input, select") || (target.matches("button") && key === " ")) return;
  const act = (target === canvas && ON_CHART[key]) || KEYS[key] || KEYS[key.toLowerCase()];
  if (act) {
    event.preventDefault();
    act();
  }
});
// The wheel scrolls the page; with Ctrl it zooms the chart, with Shift or sideways it pans.
canvas.addEventListener(
  "wheel",
  event => {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !sideways) return;
    event.preventDefault();
    if (event.ctrlKey)
      zoom(Math.exp(-event.deltaY / 400), event.clientX - canvas.getBoundingClientRect().left);
    else pan(event.deltaX || event.deltaY);
  },
  { passive: false },
);
let drag = null;
canvas.addEventListener("pointerdown", event => {
  if (!event.button) drag = { x: event.clientX, left: view.left, moved: false };
});
window.addEventListener("pointermove", event => {
  if (!drag) return;
  drag.moved ||= Math.abs(event.clientX - drag.x) > 3;
  if (drag.moved) {
    view.left = drag.left - (event.clientX - drag.x) / view.scale;
    clampView();
  }
});
window.addEventListener("pointerup", event => {
  if (drag && !drag.moved && event.target === canvas) {
    hover(event);
    const cycle = Math.min(Math.max(Math.floor(cycleAt(pointer.x)), 0), D.cycles - 1),
      unit = Math.floor((pointer.y - TOP) / ROW);
    if (unit >= 0 && unit < UNITS.length) row = unit;
    if (event.shiftKey || measuring) mark(cycle);
    else moveCursor(cycle);
  }
  drag = null;
});
canvas.addEventListener("dblclick", togglePin);
canvas.addEventListener("pointermove", hover);
canvas.addEventListener("pointerleave", () => {
  pointer = null;
  hideTip();
  dirty = true;
});
for (const kind of ["focus", "blur"])
  canvas.addEventListener(kind, () => {
    dirty = true;
  });
for (const button of document.querySelectorAll("[data-zoom]")) button.onclick = ZOOMS[button.dataset.zoom];
$("search").addEventListener("input", () => {
  if (!$("search").value) search();
});
$("next").onclick = search;
$("measure").onclick = () => {
  if (!measuring && marks.length === 2) marks = [];
  setMeasuring(!measuring);
  listKept();
};
// The mouse is on the button then, so the button is about the cursor.
$("pin").onclick = togglePin;
$("ask").onclick = help;
$("play").onclick = toggle;
$("slider").max = D.cycles - 1;
$("slider").addEventListener("input", () => moveCursor(+$("slider").value));
