// The plot: for each token its cycles, and its wall-clock time here, both divided by their medians.
const LEFT = 34,
  RIGHT = 474,
  HIGH = 12,
  LOW = 128;
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];
function plot(tokens) {
  const late = Math.max(0, ...tokens.map(token => token.ms)) / (median(tokens.map(token => token.ms)) || 1),
    most = Math.min(Math.max(Math.ceil(late), 2), 5), // the highest ratio that is drawn
    px = index => LEFT + ((RIGHT - LEFT) * index) / Math.max(tokens.length - 1, 1),
    py = ratio => LOW - ((LOW - HIGH) * Math.min(ratio, most)) / most;
  const line = (name, values) => {
    const middle = median(values) || 1;
    return `<polyline class="${name}" points="${values.map((value, at) => `${px(at)},${py(value / middle)}`).join(" ")}"/>`;
  };
  let svg = "";
  for (let ratio = 0; ratio <= most; ratio += most > 2 ? 1 : 0.5)
    svg += `<line class="axis" x1="${LEFT}" x2="${RIGHT}" y1="${py(ratio)}" y2="${py(ratio)}"/>
      <text x="4" y="${py(ratio) + 4}">${ratio}</text>`;
  svg += `<text x="${LEFT}" y="146" style="fill: var(--good)">the tile's cycles</text>
    <text x="${LEFT + 110}" y="146" style="fill: var(--accent)">wall clock of this server</text>`;
  if (tokens.length)
    svg += line("wall", tokens.map(token => token.ms)) + line("tile", tokens.map(token => token.cycles));
  $("jitter").innerHTML = svg;
  if (!tokens.length) return;
  const off = Math.max(...tokens.map(token => Math.abs(token.cycles - token.promised))),
    times = tokens.map(token => token.ms);
  $("flat").textContent =
    `${tokens.length} tokens: measured minus promised at most ${off} cycles; ` +
    `wall clock ${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)} ms`;
}
