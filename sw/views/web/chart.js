// The chart: drawn once for a view to a canvas that is not shown; cursor, selection and marks are drawn
// over a copy of it.
const screen = canvas.getContext("2d"),
  sheet = new OffscreenCanvas(1, 1);
let selected = null;
const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7,
];
const far = () => view.scale < HEAT_BELOW;

function prepare(ctx) {
  const ratio = window.devicePixelRatio || 1;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.font = "12px system-ui, sans-serif";
}
function clip(ctx) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(gutter, 0, width - gutter, height);
  ctx.clip();
}
function drawChart() {
  const ctx = sheet.getContext("2d"),
    first_ = view.left,
    last_ = cycleAt(width);
  prepare(ctx);
  ctx.fillStyle = THEME.paper;
  ctx.fillRect(0, 0, width, height);
  UNITS.forEach((_, unit) => {
    if (unit % 2) {
      ctx.fillStyle = THEME.stripe;
      ctx.fillRect(0, y(unit), width, ROW);
    }
  });
  clip(ctx);
  drawScale(ctx, first_, last_);
  if (far()) drawHeat(ctx);
  const visible = [];
  for (let index = tokenAt(first_); index < D.tokens.length && D.tokens[index][0] < last_; index++)
    visible.push(index);
  for (const index of visible) {
    drawLayers(ctx, index);
    if (!far()) drawToken(ctx, index, first_, last_);
    if (D.measured && !far()) drawMeasured(ctx, index, first_, last_);
  }
  drawBorders(ctx, visible);
  ctx.fillStyle = "#ff0000";
  for (const [cycle, unit] of D.measured ? D.measured.differences : [])
    ctx.fillRect(x(cycle), y(unit), Math.max(view.scale, 2), ROW);
  ctx.restore();
  ctx.fillStyle = THEME.ink;
  D.units.forEach(([, label], unit) => ctx.fillText(label, 12, y(unit) + 15, gutter - 16));
  if (far()) drawLegend(ctx);
}
function drawScale(ctx, first_, last_) {
  const step = STEPS.find(step => step * view.scale > 74) || 2e7;
  for (let c = Math.max(0, Math.ceil(first_ / step) * step); c <= Math.min(last_, D.cycles); c += step) {
    ctx.fillStyle = THEME.grid;
    ctx.fillRect(Math.round(x(c)), 0, 1, height);
    const text = number(c),
      left = Math.round(x(c)) + 4;
    if (left >= gutter && left + textWidth(ctx, text) < width) {
      ctx.fillStyle = THEME.soft;
      ctx.fillText(text, left, 12);
    }
  }
}
// Where tokens begin: a line where there is room, and the position as often as it can be read; the
// first label stays in view.
function drawBorders(ctx, visible) {
  const wide = visible.length ? Math.min(...visible.map(index => template(index).cycles)) * view.scale : 0;
  const every = [1, 2, 5, 10, 20, 50, 100].find(every => every * wide > 44) || 200;
  visible.forEach((index, at) => {
    const [start, position] = D.tokens[index],
      { cycles } = template(index),
      px = Math.round(x(start)),
      labelled = position % every === 0;
    ctx.fillStyle = THEME.ink;
    if (wide >= 4 || labelled) {
      ctx.globalAlpha = labelled ? 0.8 : Math.min(0.15 + wide / 100, 0.8);
      ctx.fillRect(px, labelled ? 17 : TOP, 1, height);
      ctx.globalAlpha = 1;
    }
    const text = wide > 90 ? `position ${position}` : String(position),
      left = Math.max(px, gutter) + 4;
    if (labelled && left + textWidth(ctx, text) < x(start + cycles * every)) ctx.fillText(text, left, 28);
    for (const first of template(index).runs)
      if (first && (view.scale * cycles) / template(index).runs.length > 6) {
        ctx.globalAlpha = 0.3;
        ctx.fillRect(Math.round(x(start + first)), 32, 1, height);
        ctx.globalAlpha = 1;
      }
  });
}
function drawLayers(ctx, index) {
  const start = D.tokens[index][0];
  for (const layer of template(index).layers) {
    const left = Math.max(x(start + layer.start), gutter),
      right = Math.min(x(start + layer.end), width) - 1,
      text = `layer ${layer.name}`;
    if (right - left < 3) continue;
    ctx.fillStyle = THEME.layer;
    ctx.fillRect(left, 32, right - left, 13);
    const fits = [text, String(layer.name)].find(text => textWidth(ctx, text) + 6 < right - left);
    if (fits) {
      ctx.fillStyle = THEME.ink;
      ctx.fillText(fits, left + 3, 43);
    }
  }
}
function draw() {
  const ratio = window.devicePixelRatio || 1;
  if (stale) {
    stale = false;
    drawChart();
  }
  screen.setTransform(1, 0, 0, 1, 0, 0);
  screen.drawImage(sheet, 0, 0);
  prepare(screen);
  clip(screen);
  if (selected) outline(selected.first, selected.last, THEME.ink, 0, UNITS.length);
  for (const [c, colour] of [
    [cursor, THEME.accent],
    ...(pointer ? [[Math.floor(cycleAt(pointer.x)), THEME.soft]] : []),
  ]) {
    screen.fillStyle = colour;
    screen.globalAlpha = view.scale > 4 ? 0.3 : 0.6;
    screen.fillRect(x(c), 0, Math.max(view.scale, 1), height);
    screen.globalAlpha = 1;
  }
  drawKept();
  if (!pointer && document.activeElement === canvas) {
    screen.strokeStyle = THEME.accent;
    screen.lineWidth = 2;
    screen.strokeRect(x(cursor) - 1, y(row) + 1, Math.max(view.scale, 4) + 2, ROW - 2);
  }
  screen.restore();
}
function outline(first, last, colour, unit, count) {
  screen.strokeStyle = colour;
  screen.lineWidth = 1.5;
  screen.strokeRect(x(first), y(unit), Math.max((last - first) * view.scale, 2), ROW * count);
}
function resize() {
  const ratio = window.devicePixelRatio || 1;
  if (width === $("diagram").clientWidth && canvas.width === Math.round(width * ratio)) return;
  width = $("diagram").clientWidth;
  gutter = width < 760 ? 150 : 172;
  for (const target of [canvas, sheet]) {
    target.width = Math.round(width * ratio);
    target.height = Math.round(height * ratio);
  }
  canvas.style.height = height + "px";
  clampView();
}
