// The tables beside the chart: the token at the cursor, its phases, idle cycles and layers.
let listed = null;
const dot = (colour, opacity = 1) =>
  `<span class="dot" style="background:${colour};opacity:${opacity}"></span>`;
const rowOf = (kind, cells) => `<tr>${cells.map(cell => `<${kind}>${cell}</${kind}>`).join("")}</tr>`;
const table = (head, rows) =>
  `<table>${head ? rowOf("th", head) : ""}${rows.map(row => rowOf("td", row)).join("")}</table>`;
function side() {
  const index = tokenAt(cursor),
    { cycles, alone, phases, layers, gaps, floor } = template(index);
  if (listed === index) return;
  listed = index;
  const idle = { data: 0, structure: 0, fill: 0 };
  for (const [first, last, cause] of gaps) idle[cause] += last - first;
  const used = floor ? `, ${percent(floor / alone)} of the MACs' floor` : "";
  let html = `<h2>Position ${D.tokens[index][1]}: ${number(alone)} cycles${used}</h2>`;
  if (alone !== cycles)
    html += `<p class="facts">${number(alone)} cycles are those of a run for this token alone, as the report says
    them. In this
    run of ${D.tokens.length} tokens it takes ${number(cycles)}: a run
    is started and ended once, not for each token.</p>`;
  if (template(index).runs.length > 1)
    html += `<p class="facts">in ${template(index).runs.length} runs, one after another;
      the link's time between runs is not drawn</p>`;
  html += table(
    ["phase", "MXM", "VXM", "floor", "idle before"],
    phases
      .filter(row => row.mxm || row.vxm)
      .map(row => [
        dot(COLOUR[row.name]) + row.name,
        number(row.mxm),
        number(row.vxm),
        row.floor ? number(row.floor) : "",
        row.idle ? number(row.idle) : "",
      ]),
  );
  html +=
    "<h2>The MXM's idle cycles</h2>" +
    table(
      null,
      Object.entries(idle).map(([cause, count]) => [
        `${dot(CAUSE[cause], 0.6)}${cause}: ${CAUSE_TEXT[cause]}`,
        number(count),
        percent(count / cycles),
      ]),
    );
  if (layers.length)
    html +=
      "<h2>Layers</h2>" +
      table(
        ["layer", "cycles", "MXM beats", "in use"],
        layers.map(layer => [
          layer.name,
          number(layer.end - layer.start),
          number(layer.mxm),
          percent(layer.mxm / (layer.end - layer.start)),
        ]),
      );
  if (D.report)
    html +=
      "<h2>Report</h2>" +
      table(
        null,
        D.report.map(row => row.map(String).map(escaped)),
      );
  $("side").innerHTML = html;
}
