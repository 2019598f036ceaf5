// Search: every word must be in the name of the operation, head included.
let matches = [],
  match = -1,
  lastQuery = "";
const MOST_TOKENS = 64;
function search() {
  const query = $("search").value.trim().toLowerCase();
  if (!query) {
    selected = null;
    $("found").textContent = "";
    lastQuery = "";
    changed();
    return;
  }
  const cycle = query.match(/^(?:cycle )?([\d,]+)$/);
  if (cycle) {
    moveCursor(+cycle[1].replaceAll(",", ""));
    show(cursor - 40, cursor + 40);
    $("found").textContent = "";
    return;
  }
  if (query !== lastQuery) {
    lastQuery = query;
    match = -1;
    matches = matchesOf(query);
  }
  if (!matches.length) {
    $("found").textContent = "not found";
    selected = null;
    changed();
    return;
  }
  match = (match + 1) % matches.length;
  const { operation, token, round } = matches[match],
    origin = startOf(matches[match]);
  let [first, last] = spans[operation[2]];
  if (round >= 0) {
    const parts = unitSpans[operation[2]]
      .filter(([, , rounds]) => rounds.length > 1)
      .map(([, , rounds]) => rounds[round]);
    first = Math.min(...parts.map(([first]) => first));
    last = Math.max(...parts.map(([, last]) => last));
  }
  selected = { operation, token, first: origin + first, last: origin + last };
  $("found").textContent = `${match + 1} of ${matches.length}: ${nameOf(operation)}`;
  moveCursor(origin + first);
  show(origin + first, origin + last, 0.6);
}
function matchesOf(query) {
  // A number belongs to the word before it: layer 3, head 2.
  const words = query.match(/\S+(?: \d+)?/g).map(word => ` ${word}${/\d$/.test(word) ? " " : ""}`),
    here = tokenAt(cycleAt(middle()));
  const order = [here, ...D.tokens.keys()].filter((token, i) => !i || token !== here),
    found = [];
  for (const token of order.slice(0, MOST_TOKENS))
    for (const operation of template(token).operations) {
      const name = ` ${nameOf(operation)} `.toLowerCase(),
        { heads } = D.instructions[operation[0]];
      if (words.every(word => name.includes(word))) found.push({ operation, token, round: -1 });
      else
        heads.forEach((head, round) => {
          if (words.every(word => `${name}${head} `.toLowerCase().includes(word)))
            found.push({ operation, token, round });
        });
    }
  // Instructions of the sequencer, which start no slice, come last.
  const starts = ({ operation }) => unitSpans[operation[2]].some(([unit]) => UNITS[unit] !== "issue");
  return [...found.filter(starts), ...found.filter(one => !starts(one))];
}
