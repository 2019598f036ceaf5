// Bars: one operation after another, each unit's cycles in its row, with names where they fit.
const widths = new Map();
function textWidth(ctx, text) {
  if (!widths.has(text)) widths.set(text, ctx.measureText(text).width);
  return widths.get(text);
}
function drawRuns(ctx, runs, from, unit, colour, first_, last_) {
  const top = y(unit) + 3,
    tall = ROW - 6,
    scale = view.scale;
  ctx.fillStyle = colour;
  for (const run of runs) {
    const [s, l, d, n] = run,
      first = from + s,
      last = from + endOf(run);
    if (last < first_ || first > last_) continue;
    if (n > 1 && d * scale < 4) {
      const solid = ctx.globalAlpha;
      ctx.globalAlpha = solid * (0.3 + 0.7 * Math.min(l / d, 1));
      ctx.fillRect(x(first), top, Math.max((last - first) * scale, 1), tall);
      ctx.globalAlpha = solid;
      continue;
    }
    const begin = n > 1 ? Math.max(0, Math.floor((first_ - first - l) / d)) : 0;
    const end = n > 1 ? Math.min(n - 1, Math.ceil((last_ - first) / d)) : 0;
    for (let i = begin; i <= end; i++) {
      const left = first + d * i;
      ctx.fillRect(x(left), top, Math.max(l * scale - (scale > 8 ? 1 : 0), 1), tall);
    }
    if (scale > 10) {
      ctx.fillStyle = THEME.paper;
      for (let i = begin; i <= end; i++) {
        const left = first + d * i,
          before = Math.max(1, Math.floor(first_ - left)),
          after = Math.min(l, Math.ceil(last_ - left));
        for (let beat = before; beat < after; beat++) ctx.fillRect(x(left + beat) - 1, top, 1, tall);
      }
      ctx.fillStyle = colour;
    }
  }
}
// The train's path: through the units in their order, by the first cycle and by the last.
function drawTrain(ctx, form, origin, colour, bold) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = bold ? 2 : 0.8;
  for (const edge of [0, 1]) {
    ctx.beginPath();
    for (const [unit, rounds] of form) {
      if (UNITS[unit].startsWith("engine") || (edge && UNITS[unit] === "issue")) continue;
      const runs = edge ? rounds[rounds.length - 1] : rounds[0];
      ctx.lineTo(x(origin + (edge ? endOf(runs[runs.length - 1]) : runs[0][0])), y(unit) + ROW / 2);
    }
    ctx.stroke();
  }
}
// A name in a bar that is at least nearly solid: the longest that fits into the part in view.
function drawName(ctx, unit, origin, [first, last, busy], colour, names) {
  if (busy < 0.85 * (last - first)) return;
  const left = Math.max(x(origin + first), gutter),
    room = Math.min(x(origin + last), width) - left - 8;
  const name = room > 14 && names.find(name => textWidth(ctx, name) <= room);
  if (!name) return;
  ctx.fillStyle = colour;
  ctx.fillRect(left + 2, y(unit) + 3, textWidth(ctx, name) + 4, ROW - 6);
  ctx.fillStyle = readable(colour);
  ctx.fillText(name, left + 4, y(unit) + 15);
}
function drawNames(ctx, origin, operation, colour) {
  const [pc, , form, layer] = operation,
    { heads, note, text } = D.instructions[pc];
  const names = [nameOf(operation), shortName(pc), note || text.split(" ")[0]];
  for (const [unit, whole, rounds] of unitSpans[form]) {
    const wide = (rounds[0][1] - rounds[0][0]) * view.scale;
    if (heads.length && rounds.length === heads.length && wide > 30)
      rounds.forEach((round, i) => {
        const short = heads[i].replace("KV head", "KV").replace("head", "h").replace(" ", "");
        drawName(ctx, unit, origin, round, colour, [
          ...names.slice(0, 2).map(name => `${name}, ${heads[i]}`),
          heads[i],
          short,
        ]);
      });
    else drawName(ctx, unit, origin, whole, colour, names);
  }
}
function drawToken(ctx, index, first_, last_) {
  const [start] = D.tokens[index],
    { operations, gaps } = template(index),
    scale = view.scale,
    named = [];
  for (const [first, last, cause] of gaps) {
    if (start + last < first_ || start + first > last_) continue;
    ctx.fillStyle = CAUSE[cause];
    ctx.globalAlpha = 0.18;
    ctx.fillRect(x(start + first), y(MXM), Math.max((last - first) * scale, 1), ROW);
    ctx.globalAlpha = 1;
  }
  for (
    let i = lastBefore(operations, first_ - start - longest, operation => operation[1]);
    i < operations.length;
    i++
  ) {
    const operation = operations[i],
      [, cycle, form] = operation,
      [first, last] = spans[form],
      origin = start + cycle;
    if (origin > last_) break;
    if (origin + last < first_) continue;
    const colour = colourOf(operation),
      lit = !selected || (selected.operation === operation && selected.token === index);
    ctx.globalAlpha = lit ? 1 : 0.55;
    if ((last - first) * scale > 18) drawTrain(ctx, D.forms[form], origin, colour, lit && selected);
    for (const [unit, rounds] of D.forms[form])
      for (const runs of rounds) drawRuns(ctx, runs, origin, unit, colour, first_, last_);
    ctx.globalAlpha = 1;
    if ((last - first) * scale > 24) named.push([origin, operation, colour]);
  }
  for (const [origin, operation, colour] of named) drawNames(ctx, origin, operation, colour);
  for (const [first, last, cause] of gaps) {
    const left = Math.max(x(start + first), gutter),
      room = Math.min(x(start + last), width) - left;
    if (room > textWidth(ctx, cause) + 8) {
      ctx.fillStyle = CAUSE[cause];
      ctx.fillText(cause, left + 4, y(MXM) + 15);
    }
  }
}
// Measured: a dark line under the planned bar.
function drawMeasured(ctx, index, first_, last_) {
  const start = D.tokens[index][0];
  ctx.fillStyle = THEME.ink;
  for (const [unit, runs] of D.measured.forms[D.measured.tokens[index]])
    for (const run of runs) {
      const [s, l, d, n] = run;
      if (start + endOf(run) < first_ || start + s > last_) continue;
      if (n > 1 && d * view.scale < 3)
        ctx.fillRect(x(start + s), y(unit) + ROW - 3, (endOf(run) - s) * view.scale, 1.5);
      else
        for (let i = 0; i < n; i++)
          ctx.fillRect(x(start + s + d * i), y(unit) + ROW - 3, Math.max(l * view.scale - 0.5, 0.5), 1.5);
    }
}
