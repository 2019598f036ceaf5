// The chat: turns, the request of an answer, and what its chunks say of the tile.
let model = null,
  name = "",
  turns = [],
  running = null;
function add(kind, text) {
  const box = document.createElement("div");
  box.className = `turn ${kind}`;
  box.textContent = text;
  $("log").append(box);
  box.scrollIntoView({ block: "nearest" });
  return box;
}
function note(text) {
  const line = document.createElement("p");
  line.className = "facts";
  line.textContent = text;
  $("log").append(line);
  line.scrollIntoView({ block: "nearest" });
}
const seconds = value => (value < 0.1 ? `${(value * 1000).toPrecision(3)} ms` : `${value.toPrecision(3)} s`);
// A model with a chat template answers; another one goes on with the text so far.
function wanted(signal) {
  const common = { model: name, temperature: +$("temperature").value, max_tokens: +$("tokens").value, stream: true };
  if (model.chat) return chunks("/v1/chat/completions", { ...common, messages: turns }, signal);
  const prompt = turns.map(turn => turn.content).join("");
  return chunks("/v1/completions", { ...common, prompt }, signal);
}
async function answer() {
  const tokens = [],
    promised = [];
  let box = null,
    text = "",
    promise = null,
    told = null,
    last = performance.now();
  for await (const { choices, marey } of wanted(running.signal)) {
    if (marey.promised) {
      promise = marey.promised;
      promised.push(...promise.token_cycles);
      note(`promised: at most ${promised.length} tokens, ${number(promise.deadline_cycles)} cycles; the last one is out after ` +
        `${seconds(promise.deadline_seconds)} at ${promise.clock_hz / 1e6} MHz (${promise.clock_of})`);
      box = add("assistant", "");
      last = performance.now();
    }
    text += choices[0].delta?.content ?? choices[0].text ?? "";
    box.textContent = text;
    const now = performance.now(),
      cycles = marey.token_cycles || [];
    for (const count of cycles)
      tokens.push({ cycles: count, promised: promised[tokens.length], ms: (now - last) / cycles.length });
    if (cycles.length) {
      last = now;
      const position = promise.prompt_tokens - 2 + tokens.length;
      $("token").textContent =
        `Token ${tokens.length}, at position ${position}: ${number(promised[tokens.length - 1])} cycles promised, ` +
        `${number(cycles[cycles.length - 1])} measured. The cursor shows them, slowed down.`;
      showPosition(position);
      plot(tokens);
    }
    told = marey.measured || told;
  }
  const equal = told.token_cycles.every((cycles, at) => cycles === promised[at]);
  note(`measured: ${told.token_cycles.length} tokens, ${number(told.cycles)} cycles, ` +
    `${equal ? "each as promised" : "not as promised"}; ${seconds(told.seconds)} at that clock`);
  turns.push({ role: "assistant", content: text });
}
async function send() {
  const text = $("prompt").value;
  if (running || !model || !text.trim()) return;
  turns.push({ role: "user", content: model.chat || !turns.length ? text : ` ${text}` });
  add("user", text);
  $("prompt").value = "";
  running = new AbortController();
  state(true);
  try {
    await answer();
  } catch (error) {
    turns.pop();
    add("error", running.signal.aborted ? "stopped" : error.message);
  }
  running = null;
  state(false);
  $("prompt").focus();
}
function state(busy) {
  $("send").disabled = busy;
  $("reset").disabled = busy;
  $("stop").disabled = !busy;
  sweeping = busy;
  document.body.dataset.busy = busy;
}
function reset() {
  turns = [];
  $("log").textContent = "";
  $("prompt").focus();
}
async function speeds() {
  const rows = await (await request("/speeds")).json();
  const cell = text => `<td>${String(text).replace(/[&<>]/g, "")}</td>`;
  $("boards").tBodies[0].innerHTML = rows.length
    ? rows.map(row => `<tr>${cell(row.name)}${cell(row.config)}${cell(`${row.clock_mhz} MHz`)}` +
        `${cell(row.tokens_per_second === null ? row.mode : number(row.tokens_per_second))}</tr>`).join("")
    : "<tr><td>no board is known here: pip install 'marey[boards]'</td></tr>";
}
async function connect() {
  try {
    const found = (await (await request("/v1/models")).json()).data[0];
    [name, model] = [found.id, found.marey];
  } catch (error) {
    $("key").hidden = error.status !== 401;
    $("facts").textContent = error.message;
    return;
  }
  $("key").hidden = true;
  $("facts").textContent = `${name} on ${model.tiles} x ${model.config}, ${model.mode}, a context of ${model.context}; ` +
    (model.chat ? "a chat" : "it has no chat template, and goes on with what you write");
  $("tokens").max = model.context;
  $("prompt").placeholder = model.chat ? "Ask something" : "Once upon a time";
  showPosition(0);
  speeds().catch(error => ($("boards").tBodies[0].textContent = error.message));
}
$("ask").addEventListener("submit", event => {
  event.preventDefault();
  send();
});
$("prompt").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", event => event.key === "Escape" && running?.abort());
$("stop").addEventListener("click", () => running?.abort());
$("reset").addEventListener("click", reset);
$("key").addEventListener("submit", event => {
  event.preventDefault();
  key = $("secret").value;
  connect();
});
plot([]);
state(false);
connect();
$("prompt").focus();
requestAnimationFrame(sweep);
