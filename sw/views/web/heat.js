// From far away: for each pixel and unit, the share of its cycles in which the unit is at work.
// Sums of busy cycles stand for BIN cycles at a time, once a template; a pixel is a difference of two sums.
const BIN = 8,
  sums = new Map();
function sumsOf(index) {
  if (!sums.has(index)) {
    const { cycles, operations } = D.templates[index],
      bins = Math.ceil(cycles / BIN);
    const rows = UNITS.map(() => new Float64Array(bins + 1));
    for (const [, cycle, form] of operations)
      for (const [unit, rounds] of D.forms[form])
        for (const runs of rounds) {
          for (const [s, l, d, n] of runs)
            for (let i = 0; i < n; i++) addSpan(rows[unit], cycle + s + d * i, l, bins);
        }
    for (const row of rows) for (let bin = 1; bin <= bins; bin++) row[bin] += row[bin - 1];
    sums.set(index, rows);
  }
  return sums.get(index);
}
// Adds a span of cycles to the bins that it touches; what comes after the token's end counts in its last bin.
function addSpan(sum, first, length, bins) {
  for (let at = first, left = length; left > 0;) {
    const bin = Math.min(Math.max(Math.floor(at / BIN), 0), bins - 1),
      part = bin === bins - 1 ? left : Math.min(left, (bin + 1) * BIN - at);
    sum[bin + 1] += part;
    at += part;
    left -= part;
  }
}
let before = null; // busy cycles of each unit before each token
function busyBefore(unit, cycle) {
  before ||= D.tokens.reduce(
    (all, [, , index]) => {
      const rows = sumsOf(index),
        last = all[all.length - 1];
      all.push(rows.map((row, u) => last[u] + row[row.length - 1]));
      return all;
    },
    [UNITS.map(() => 0)],
  );
  const token = tokenAt(cycle),
    [start, , index] = D.tokens[token],
    row = sumsOf(index)[unit];
  const at = Math.min(Math.max((cycle - start) / BIN, 0), row.length - 1),
    bin = Math.floor(at);
  return (
    before[token][unit] + row[bin] + (bin + 1 < row.length ? (row[bin + 1] - row[bin]) * (at - bin) : 0)
  );
}
const share = (unit, first, last) =>
  Math.min((busyBefore(unit, last) - busyBefore(unit, first)) / Math.max(last - first, 1), 1);
// The heat of the part in view: a pixel for each pixel and unit, stretched to the rows' height.
function drawHeat(ctx) {
  const left = Math.max(Math.floor(x(0)), gutter),
    right = Math.min(Math.ceil(x(D.cycles)), width),
    wide = right - left;
  if (wide <= 0) return;
  const image = new OffscreenCanvas(wide, UNITS.length),
    small = image.getContext("2d"),
    pixels = small.createImageData(wide, UNITS.length);
  const [red, green, blue] = rgb(THEME.heat);
  for (let unit = 0; unit < UNITS.length; unit++) {
    let sum = busyBefore(unit, cycleAt(left));
    for (let px = 0; px < wide; px++) {
      const next = busyBefore(unit, Math.min(cycleAt(left + px + 1), D.cycles)),
        at = 4 * (unit * wide + px);
      pixels.data[at] = red;
      pixels.data[at + 1] = green;
      pixels.data[at + 2] = blue;
      pixels.data[at + 3] = 255 * Math.min(Math.max((next - sum) * view.scale, 0), 1);
      sum = next;
    }
  }
  small.putImageData(pixels, 0, 0);
  ctx.imageSmoothingEnabled = false;
  for (let unit = 0; unit < UNITS.length; unit++)
    ctx.drawImage(image, 0, unit, wide, 1, left, y(unit) + 2, wide, ROW - 4);
}
function drawLegend(ctx) {
  const shades = 5,
    wide = 16;
  ctx.fillStyle = THEME.soft;
  ctx.fillText("share of cycles at work", 12, 14);
  ctx.fillText("0", 12, 32);
  ctx.fillText("100 %", 28 + shades * wide, 32);
  for (let shade = 0; shade < shades; shade++) {
    ctx.fillStyle = THEME.heat;
    ctx.globalAlpha = shade / (shades - 1);
    ctx.fillRect(24 + shade * wide, 22, wide, 12);
    ctx.globalAlpha = 1;
  }
  ctx.strokeStyle = THEME.soft;
  ctx.lineWidth = 1;
  ctx.strokeRect(24.5, 22.5, shades * wide - 1, 11);
}
