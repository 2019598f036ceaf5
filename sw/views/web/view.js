// The view: what part of the run is drawn, and in which colours.
const canvas = $("canvas"),
  TOP = 46,
  ROW = 21,
  BOTTOM = 8,
  height = TOP + ROW * UNITS.length + BOTTOM;
const HEAT_BELOW = 0.05; // pixels a cycle: below, single bars would be noise
const view = { left: 0, scale: 1 }; // the cycle at the left edge, and pixels a cycle
let gutter = 172,
  width = 0,
  cursor = 0,
  row = MXM,
  pointer = null;
let stale = true,
  dirty = true; // the chart must be drawn again; what lies over it must
const x = cycle => gutter + (cycle - view.left) * view.scale;
const y = unit => TOP + ROW * unit;
const cycleAt = px => view.left + (px - gutter) / view.scale;
const middle = () => (gutter + width) / 2;
function changed() {
  stale = dirty = true;
}

function clampView() {
  const least = (width - gutter) / (D.cycles * 1.02);
  view.scale = Math.max(Math.min(view.scale, 60), least);
  view.left = Math.min(
    Math.max(view.left, -D.cycles * 0.01),
    D.cycles * 1.01 - (width - gutter) / view.scale,
  );
  changed();
}
function show(first, last, part = 0.9) {
  view.scale = Math.min(((width - gutter) * part) / Math.max(last - first, 1), 60);
  view.left = (first + last) / 2 - (width - gutter) / view.scale / 2;
  clampView();
}
function zoom(factor, px) {
  const at = cycleAt(px),
    before = view.scale;
  view.scale *= factor;
  clampView();
  if (view.scale !== before) view.left = at - (px - gutter) / view.scale;
  clampView();
}
function pan(pixels) {
  view.left += pixels / view.scale;
  clampView();
}
function reveal(cycle) {
  if (x(cycle) < gutter + 20 || x(cycle) > width - 40) {
    view.left = cycle - (width - gutter) / view.scale / 3;
    clampView();
  }
}
const ZOOMS = {
  run: () => show(0, D.cycles, 0.98),
  token: () => {
    const index = tokenAt(cursor),
      start = D.tokens[index][0];
    show(start, start + template(index).cycles, 0.98);
  },
  layer: () => {
    const index = tokenAt(cursor),
      start = D.tokens[index][0],
      { layers, cycles } = template(index);
    const layer = layers.find(layer => cursor - start < layer.end) || { start: 0, end: cycles };
    show(start + layer.start, start + layer.end, 0.95);
  },
  cycle: () => show(cursor - 20, cursor + 20),
  in: () => zoom(1.5, zoomCentre()),
  out: () => zoom(1 / 1.5, zoomCentre()),
};
// Where keys and buttons zoom: at the mouse, else at the cursor if it is in view.
function zoomCentre() {
  if (pointer && pointer.x > gutter) return pointer.x;
  const px = x(cursor + 0.5);
  return px > gutter && px < width ? px : middle();
}

// Colours come from the style sheet, which has those for light and for dark.
const THEME = {};
let COLOUR, CAUSE;
function readTheme() {
  const style = getComputedStyle(document.documentElement),
    value = name => style.getPropertyValue(`--${name}`).trim();
  for (const name of [
    "ink",
    "soft",
    "line",
    "paper",
    "box",
    "stripe",
    "grid",
    "layer",
    "accent",
    "idle",
    "heat",
    "mark",
  ])
    THEME[name] = value(name);
  const phases = value("phases").split(" ");
  COLOUR = Object.fromEntries(D.phases.map((name, i) => [name, phases[i % phases.length]]));
  CAUSE = Object.fromEntries(Object.keys(CAUSE_TEXT).map(name => [name, value(name)]));
  changed();
}
const rgb = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
const bright = colour =>
  rgb(colour)
    .map(part => (part / 255) ** 2.2)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
// Black or white, whichever can be read on a colour.
const readable = colour => (bright(colour) > 0.18 ? "#10151a" : "#ffffff");
const colourOf = operation => COLOUR[D.instructions[operation[0]].phase];
const matchesDark = matchMedia("(prefers-color-scheme: dark)");
