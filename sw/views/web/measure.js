// What the reader keeps: two marks with the cycles between them and the operations under them, and
// pinned operations.
const MOST_NAMES = 12;
let marks = [],
  pins = [],
  measuring = false;

function setMeasuring(on) {
  measuring = on;
  $("measure").setAttribute("aria-pressed", on);
}
function mark(cycle) {
  marks = marks.length === 2 ? [cycle] : [...marks, cycle].sort((a, b) => a - b);
  if (marks.length === 2) setMeasuring(false);
  listKept();
}
// The operations that begin before `last` and end after `first`, with the beats that the MXM and the
// VXM do for them in between.
function operationsIn(first, last) {
  const found = new Map();
  for (
    let token = Math.max(tokenAt(first) - 1, 0);
    token < D.tokens.length && D.tokens[token][0] < last;
    token++
  ) {
    for (const operation of template(token).operations) {
      const at = D.tokens[token][0] + operation[1],
        [begin, end] = spans[operation[2]];
      if (
        at + end <= first ||
        at + begin >= last ||
        !D.forms[operation[2]].some(([unit]) => UNITS[unit] !== "issue")
      )
        continue;
      const name = shortName(operation[0]),
        entry = found.get(name) || { name, times: 0, mxm: 0, vxm: 0, operation };
      entry.times++;
      for (const [unit, rounds] of D.forms[operation[2]])
        if (UNITS[unit] in entry) entry[UNITS[unit]] += busy(rounds.flat(), first - at, last - at);
      found.set(name, entry);
    }
  }
  return [...found.values()];
}
function busy(runs, first, last) {
  let sum = 0;
  for (const [s, l, d, n] of runs)
    for (let i = 0; i < n; i++)
      sum += Math.max(0, Math.min(s + d * i + l, last) - Math.max(s + d * i, first));
  return sum;
}
function togglePin() {
  const [unit, cycle] = place(),
    found = operationAt(unit, cycle);
  if (!found) {
    $("found").textContent = "no operation here to pin";
    return;
  }
  const same = pins.findIndex(pin => pin.operation === found.operation && pin.token === found.token);
  if (same >= 0) pins.splice(same, 1);
  else {
    const [first, last] = spans[found.operation[2]];
    pins.push({
      operation: found.operation,
      token: found.token,
      first: startOf(found) + first,
      last: startOf(found) + last,
    });
  }
  listKept();
}
function listKept() {
  let html = "";
  if (marks.length === 1)
    html += `<h2>Measure</h2><p>from cycle ${number(marks[0])}: set the second mark</p>`;
  if (marks.length === 2) {
    const [first, last] = marks,
      found = operationsIn(first, last);
    html += `<h2>Measured: ${number(last - first)} cycles</h2>
      <p>from cycle ${number(first)} to cycle ${number(last)}
      <button data-clear>clear</button></p>
      <table><tr><th>operation</th><th>times</th><th>MXM</th><th>VXM</th></tr>`;
    for (const { name, times, mxm, vxm, operation } of found.slice(0, MOST_NAMES))
      html += `<tr><td><span class="dot" style="background:${colourOf(operation)}">
        </span>${escaped(name)}</td><td>${times}</td><td>${number(mxm)}</td><td>${number(vxm)}</td></tr>`;
    html += `</table>` + (found.length > MOST_NAMES ? `<p>and ${found.length - MOST_NAMES} more</p>` : "");
    const [mxm, vxm] = ["mxm", "vxm"].map(unit => found.reduce((sum, entry) => sum + entry[unit], 0));
    html += `<p>The MXM is at work in ${percent(mxm / Math.max(last - first, 1))} of these cycles,
      the VXM in ${percent(vxm / Math.max(last - first, 1))}.</p>`;
  }
  if (pins.length) html += `<h2>Pinned</h2>`;
  pins.forEach(({ operation, token, first, last }, i) => {
    html += `<div class="pin">
      <button data-go="${i}">${escaped(nameOf(operation))}</button>
      <button data-unpin="${i}" aria-label="unpin">&times;</button>
      <p>position ${D.tokens[token][1]},
      cycles ${number(first)} to ${number(last)}: ${number(last - first)} cycles</p>
      <code>${operation[0]}: ${escaped(D.instructions[operation[0]].text)}</code></div>`;
  });
  $("kept").innerHTML = html;
  dirty = true;
}
function clearKept() {
  marks = [];
  selected = null;
  setMeasuring(false);
  hideTip();
  listKept();
  changed();
}
$("kept").addEventListener("click", ({ target: { dataset } }) => {
  if ("clear" in dataset) clearKept();
  if ("unpin" in dataset) {
    pins.splice(+dataset.unpin, 1);
    listKept();
  }
  if ("go" in dataset) {
    const { first, last } = pins[+dataset.go];
    moveCursor(first);
    show(first, last, 0.6);
  }
});
// Drawn over the chart: the measured part with its length, and a frame with a number around each pinned
// operation.
function drawKept() {
  for (const { first, last } of pins) outline(first, last, THEME.mark, 0, UNITS.length);
  const [first, last] = [
    marks[0],
    marks.length === 2 ? marks[1] : pointer ? Math.floor(cycleAt(pointer.x)) : cursor,
  ].sort((a, b) => a - b);
  if (!marks.length) return;
  screen.fillStyle = THEME.mark;
  screen.globalAlpha = 0.14;
  screen.fillRect(x(first), TOP, (last - first) * view.scale, height);
  screen.globalAlpha = 1;
  screen.fillRect(x(first), 17, 1.5, height);
  screen.fillRect(x(last), 17, 1.5, height);
  const text = `${number(last - first)} cycles`,
    wide = textWidth(screen, text) + 10;
  const left = Math.min(Math.max((x(first) + x(last) - wide) / 2, gutter + 2), width - wide - 2);
  screen.fillRect(left, 15, wide, 16);
  screen.fillStyle = readable(THEME.mark);
  screen.fillText(text, left + 5, 27);
}
