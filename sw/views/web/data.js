"use strict";
// The chart's data, and what can be asked of it: names, tokens, what is at a place.
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const CAUSE_TEXT = {
  data: "waits for a value",
  structure: "waits for a busy unit",
  fill: "pipelines fill and drain",
};
const UNITS = D.units.map(([unit]) => unit),
  MXM = UNITS.indexOf("mxm");
const number = value => value.toLocaleString("en");
const percent = value => (100 * value).toFixed(1) + " %";
const escaped = text => text.replace(/[&<>]/g, sign => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

// A run [s, l, d, n]: n times l cycles, d apart, the first at s. Cycles count from an operation's issue on.
const endOf = ([s, l, d, n]) => s + d * (n - 1) + l;
// For each form, its first cycle and the cycle after its last; the same and its busy cycles, by unit
// and by round.
const spanOf = runs => [
  Math.min(...runs.map(([s]) => s)),
  Math.max(...runs.map(endOf)),
  runs.reduce((sum, [, l, , n]) => sum + l * n, 0),
];
const unitSpans = D.forms.map(form =>
  form.map(([unit, rounds]) => [unit, spanOf(rounds.flat()), rounds.map(spanOf)]),
);
const spans = unitSpans.map(form => [
  Math.min(0, ...form.map(([, [first]]) => first)),
  Math.max(0, ...form.map(([, [, last]]) => last)),
]);
const longest = Math.max(0, ...spans.map(([first, last]) => last - first));
const contains = (runs, c) =>
  runs.some(([s, l, d, n]) => {
    if (c < s || c >= s + d * (n - 1) + l) return false;
    return n === 1 || (c - s) % d < l;
  });

const shortName = pc => {
  const { note, phase, text } = D.instructions[pc],
    what = note || text.split(" ")[0];
  return what === phase || (phase === "other" && !note) ? what : `${phase} ${what}`;
};
const nameOf = ([pc, , , layer]) => (layer >= 0 ? `layer ${layer} ` : "") + shortName(pc);
// The index of the last of the sorted items whose `key` is not beyond a value.
function lastBefore(items, value, key) {
  let low = 0,
    high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (key(items[middle]) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
const tokenAt = cycle => lastBefore(D.tokens, cycle, token => token[0]);
const template = token => D.templates[D.tokens[token][2]];
const startOf = found => D.tokens[found.token][0] + found.operation[1];

// What is at a place: an operation, its token and round; or null.
function operationAt(unit, cycle) {
  const index = tokenAt(cycle);
  // A token's last results may come after the next one's start.
  for (const token of [index, index - 1]) {
    if (token < 0) continue;
    const at = cycle - D.tokens[token][0],
      { operations } = template(token);
    for (
      let i = lastBefore(operations, at, operation => operation[1]);
      i >= 0 && operations[i][1] >= at - longest;
      i--
    ) {
      const operation = operations[i],
        [first, last] = spans[operation[2]],
        c = at - operation[1];
      if (c < first || c >= last) continue;
      for (const [row, rounds] of D.forms[operation[2]])
        if (row === unit) {
          const round = rounds.findIndex(runs => contains(runs, c));
          if (round >= 0) return { operation, token, round, rounds };
        }
    }
  }
  return null;
}
// How many of an operation's cycles on a unit are over after its cycle c, and how many there are.
function beatOf(rounds, round, c) {
  let before = 0,
    all = 0;
  rounds.forEach((runs, r) =>
    runs.forEach(([s, l, d, n]) => {
      all += l * n;
      for (let i = 0; i < n; i++)
        before += Math.max(0, Math.min(l, c - s - d * i + 1)) * (r <= round ? 1 : 0);
    }),
  );
  return [before, all];
}
const gapAt = cycle => {
  const token = tokenAt(cycle),
    at = cycle - D.tokens[token][0];
  return template(token).gaps.find(([first, last]) => at >= first && at < last);
};
