// The tip: what is at the mouse, or at the cursor and its row for who uses keys.
function describe(unit, cycle) {
  const token = tokenAt(cycle),
    [start, position] = D.tokens[token];
  let lines =
    `cycle <b>${number(cycle)}</b>, position ${position}` +
    (D.tokens.length > 1 ? `, cycle ${number(cycle - start)} of its token` : "");
  if (far()) {
    const first = Math.max(cycle - 0.5 / view.scale, 0),
      last = Math.min(first + 1 / view.scale, D.cycles);
    lines +=
      `\n${D.units[unit][1]}: at work in ${percent(share(unit, first, last))} ` +
      `of the ${number(Math.round(last - first))} cycles of this pixel`;
  }
  const found = operationAt(unit, cycle);
  if (found) {
    const { operation, round, rounds } = found,
      { text, heads } = D.instructions[operation[0]];
    const [beat, all] = beatOf(rounds, round, cycle - startOf(found));
    lines +=
      `\n<b>${escaped(nameOf(operation))}</b>${heads.length && rounds.length > 1 ? `, ${heads[round]}` : ""}` +
      `\n${D.units[unit][1]}, ${beat} of ${all}` +
      `, issued in cycle ${number(startOf(found))}\n<code>${operation[0]}: ${escaped(text)}</code>`;
  } else if (unit === MXM) {
    const gap = gapAt(cycle);
    if (gap)
      lines += `\nidle for ${gap[1] - gap[0]} cycles: ${gap[2]}, ${CAUSE_TEXT[gap[2]]}\n${escaped(gap[3])}`;
  }
  if (D.measured)
    for (const [at, number, planned, measured] of D.measured.differences)
      if (at === cycle && number === unit)
        lines += `\n<span class="bad">${planned ? "planned" : "not planned"}, ` +
            `${measured ? "measured" : "not measured"}</span>`;
  return lines;
}
function showTip(unit, cycle, px, py) {
  const tip = $("tip"),
    inside =
      px >= gutter && px <= width && unit >= 0 && unit < UNITS.length && cycle >= 0 && cycle < D.cycles;
  tip.style.display = inside ? "block" : "none";
  if (!inside) return;
  tip.innerHTML = describe(unit, cycle);
  tip.style.left = Math.max(Math.min(px + 14, width - tip.offsetWidth - 8), 4) + "px";
  tip.style.top = py + (py > height - 120 ? -tip.offsetHeight - 12 : 16) + "px";
}
function hideTip() {
  $("tip").style.display = "none";
}
function hover(event) {
  const box = canvas.getBoundingClientRect();
  pointer = { x: event.clientX - box.left, y: event.clientY - box.top };
  showTip(Math.floor((pointer.y - TOP) / ROW), Math.floor(cycleAt(pointer.x)), pointer.x, pointer.y);
  dirty = true;
}
// The place that keys are about: under the mouse if it is in the chart, else the cursor and its row.
function place() {
  const unit = pointer && Math.floor((pointer.y - TOP) / ROW);
  return pointer && pointer.x >= gutter && unit >= 0 && unit < UNITS.length
    ? [unit, Math.floor(cycleAt(pointer.x))]
    : [row, cursor];
}
function walk(cycle, unit = row) {
  pointer = null;
  row = Math.min(Math.max(unit, 0), UNITS.length - 1);
  moveCursor(cycle);
  reveal(cursor);
  showTip(row, cursor, x(cursor), y(row) + ROW);
}
// To the next operation on the cursor's row, or back to the one before.
function hop(forward) {
  const here = tokenAt(cursor),
    begins = found => startOf(found) + unitSpans[found.operation[2]].find(([unit]) => unit === row)[1][0];
  for (
    let token = here + (forward ? -1 : 1);
    (token < D.tokens.length && token >= 0) || token === -1 || token === D.tokens.length;
    token += forward ? 1 : -1
  ) {
    if (!D.tokens[token]) continue;
    const on = template(token).operations.filter(([, , form]) =>
      unitSpans[form].some(([unit]) => unit === row),
    );
    const cycles = on
      .map(operation => begins({ operation, token }))
      .filter(cycle => (forward ? cycle > cursor : cycle < cursor));
    if (cycles.length) return walk(forward ? Math.min(...cycles) : Math.max(...cycles));
  }
}
