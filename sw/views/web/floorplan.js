// The floorplan: slices, the wires between them, and what moves in the cursor's cycle; and the replay,
// which moves the cursor.
const SLICES = {
  link: [20, 14, 150, 50, "link"],
  sequencer: [290, 14, 180, 50, "sequencer"],
  mem: [10, 130, 170, 90, "MEM"],
  mxm: [270, 120, 220, 110, "MXM"],
  vxm: [580, 130, 170, 90, "VXM"],
  scalars: [580, 272, 170, 50, "scalars"],
};
const WIRES = {
  "mem.act": "M180 160 H270",
  drain: "M490 175 H580",
  "mem.x": "M180 195 H240 V248 H605 V220",
  "mem.y": "M130 220 V260 H630 V220",
  "mem.write": "M725 130 V90 H85 V130",
  "wram.keys": "M695 130 V104 H420 V120",
  "wram.values": "M695 130 V104 H340 V120",
  "scalar.vxm": "M660 272 V220",
  "scalar.reduced": "M690 220 V272",
  chosen: "M290 36 H170",
  issue: "M380 64 V120",
};
const SLICE_OF = {
  link: ["chosen"],
  sequencer: ["issue"],
  mem: ["mem.act", "mem.x", "mem.y", "mem.write"],
  mxm: ["mxm", "wram", "drain"],
  vxm: ["vxm", "stream"],
  scalars: ["sfu", "scalar.reduced", "scalar.vxm", "scalar.computed"],
};
const COLUMNS = Math.min(D.cols, 32),
  LETTERS = 24;
function floorplan() {
  let html = "";
  for (const [unit, path] of Object.entries(WIRES))
    html += `<path class="wire" data-unit="${unit}" d="${path}"/>`;
  for (const [name, [left, top, wide, tall, label]] of Object.entries(SLICES))
    html += `<rect class="slice" data-slice="${name}" x="${left}" y="${top}"
               width="${wide}" height="${tall}"/>
             <text x="${left + 9}" y="${top + 19}">${label}</text>
             <text class="what" data-what="${name}" x="${left + 9}" y="${top + 37}"></text>`;
  const wide = 202 / COLUMNS;
  for (let column = 0; column < COLUMNS; column++)
    html += `<rect data-column="${column}" x="${279 + column * wide}" y="168"
              width="${wide - (COLUMNS > 16 ? 1 : 2)}" height="52"/>`;
  $("floorplan").innerHTML = html;
}
function replay() {
  const now = UNITS.map((_, unit) => operationAt(unit, cursor)),
    at = unit => now[UNITS.indexOf(unit)];
  for (const wire of document.querySelectorAll("path.wire")) {
    const found = at(wire.dataset.unit);
    wire.classList.toggle("on", Boolean(found));
    wire.style.stroke = found ? colourOf(found.operation) : "";
  }
  for (const [slice, units] of Object.entries(SLICE_OF)) {
    const found = units.map(at).find(Boolean),
      name = found ? nameOf(found.operation).replace("layer ", "L") : "";
    const box = document.querySelector(`[data-slice="${slice}"]`),
      what = document.querySelector(`[data-what="${slice}"]`);
    box.style.stroke = found ? colourOf(found.operation) : "";
    box.style.strokeWidth = found ? 3 : 1.2;
    what.textContent = name.length > LETTERS ? `${name.slice(0, LETTERS - 3)}...` : name;
  }
  const wram = UNITS.indexOf("wram");
  for (const column of document.querySelectorAll("[data-column]")) {
    const found = operationAt(wram, Math.floor(cursor - (column.dataset.column * D.cols) / COLUMNS));
    column.style.fill = found ? colourOf(found.operation) : THEME.idle;
  }
  // One line for each operation, with the units that it uses in this cycle.
  const lines = new Map();
  D.units.forEach(([unit, label], index) => {
    const found = now[index],
      name = found && nameOf(found.operation);
    if (found && !unit.startsWith("engine"))
      lines.set(name, { found, labels: [...(lines.get(name)?.labels || []), label] });
  });
  let html = "";
  for (const [name, { found, labels }] of lines)
    html += `<div><span class="dot" style="background:${colourOf(found.operation)}"></span>
      <b>${escaped(name)}</b> <span class="facts">${labels.join(", ")}</span></div>`;
  $("now").innerHTML = html || "<div class='facts'>nothing moves in this cycle</div>";
  $("cursor").textContent = `cycle ${number(cursor)}`;
}
function moveCursor(cycle) {
  cursor = Math.min(Math.max(Math.round(cycle), 0), D.cycles - 1);
  $("slider").value = cursor;
  replay();
  side();
  dirty = true;
}
let timer,
  travelled = 0;
function step() {
  travelled += +$("speed").value;
  if (travelled < 1) return;
  moveCursor(cursor + Math.floor(travelled));
  travelled %= 1;
  reveal(cursor);
  if (cursor === D.cycles - 1) toggle();
}
// A timer, not the screen's own rate, so that cycles a second are what they say.
function toggle() {
  timer = timer ? clearInterval(timer) : setInterval(step, 1000 / 60);
  $("play").textContent = timer ? "pause" : "play";
}
