// Lists trajectories and shows one turn by turn. Text of models is set by textContent only.
"use strict";

const ROW = 30; // pixels, as in page.css
const SPARE = 8; // rows drawn above and below those in sight
const KEPT = 6; // unpacked chunks held
const SIGNS = ["✓", "↻", "◐", "✗"]; // of outcomes

const byId = (id) => document.getElementById(id);

/** An element with a class, a text and children. */
function make(tag, kind = "", text = "", ...children) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** The value that the script element with this id holds packed. */
async function unpack(id) {
  const packed = atob(byId(id).textContent);
  const bytes = Uint8Array.from(packed, (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

let index; // see page.py
let shown = []; // numbers of the trajectories that the filters leave
let chosen = -1; // place in `shown`
const chunks = new Map();

function chunk(number) {
  const name = `chunk-${number}`;
  const found = chunks.get(name) ?? unpack(name);
  chunks.delete(name); // the least recently used one comes first
  chunks.set(name, found);
  if (chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
  return found;
}

// The list: of any number of rows, those in sight are in the document.

function drawRows() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  const rows = byId("rows");
  rows.style.height = `${shown.length * ROW}px`;
  const drawn = [];
  for (let place = first; place < last; place++) drawn.push(row(place));
  rows.replaceChildren(...drawn);
  const active = chosen >= first && chosen < last;
  if (active) list.setAttribute("aria-activedescendant", `row-${chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

function row(place) {
  const number = shown[place];
  const made = make(
    "div", "row", "",
    make("span", `sign outcome-${index.outcome[number]}`, SIGNS[index.outcome[number]]),
    make("span", "task", named(number)),
    make("span", "run", index.runs[index.run[number]].name),
  );
  made.id = `row-${place}`;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", place === chosen);
  made.setAttribute("aria-setsize", shown.length);
  made.setAttribute("aria-posinset", place + 1);
  made.title = index.outcomes[index.outcome[number]];
  made.style.top = `${place * ROW}px`;
  made.addEventListener("click", () => choose(place));
  return made;
}

function named(number) {
  const sample = index.sample[number];
  return sample ? `${index.task[number]} #${sample}` : index.task[number];
}

function filter() {
  const run = byId("of-run").value;
  const outcome = byId("of-outcome").value;
  const error = byId("of-error").value;
  const task = byId("of-task").value.trim().toLowerCase();
  const before = shown[chosen];
  shown = [];
  for (let number = 0; number < index.task.length; number++) {
    if (run !== "" && index.run[number] !== Number(run)) continue;
    if (outcome !== "" && index.outcome[number] !== Number(outcome)) continue;
    if (error !== "" && !index.errors[number].includes(Number(error))) continue;
    if (task && !index.task[number].toLowerCase().includes(task)) continue;
    shown.push(number);
  }
  chosen = before === undefined ? -1 : shown.indexOf(before);
  const all = index.task.length.toLocaleString("en");
  byId("found").textContent = `${shown.length.toLocaleString("en")} of ${all}`;
  byId("list").scrollTop = 0;
  reveal();
  drawRows();
}

/** Has the list show what is chosen: at its edge after a step, in its middle after a leap. */
function reveal() {
  if (chosen < 0) return;
  const list = byId("list");
  const [top, lowest] = [chosen * ROW, (chosen + 1) * ROW - list.clientHeight];
  const away = Math.max(list.scrollTop - top, lowest - list.scrollTop);
  if (away > 2 * ROW) list.scrollTop = (top + lowest) / 2;
  else if (away > 0) list.scrollTop = top < list.scrollTop ? top : lowest;
}

function choose(place) {
  if (!shown.length) return;
  chosen = Math.min(Math.max(place, 0), shown.length - 1);
  reveal();
  drawRows();
  show(shown[chosen]);
}

function move(event) {
  const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW) - 1);
  const places = {
    ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + page, PageUp: chosen - page,
    Home: 0, End: shown.length - 1,
  };
  if (!(event.key in places)) return;
  event.preventDefault();
  choose(places[event.key]);
}

// One trajectory.

async function show(number) {
  const { turns, verdict } = (await chunk(Math.floor(number / index.chunk)))[number % index.chunk];
  if (number !== shown[chosen]) return; // another was chosen meanwhile
  const run = index.runs[index.run[number]];
  const facts = [
    index.outcomes[index.outcome[number]],
    `${index.answers[number]} answer${index.answers[number] === 1 ? "" : "s"}`,
    `${index.tokens[number].toLocaleString("en")} tokens`,
    ...Object.entries(verdict).map(([suite, status]) => `${suite} tests: ${status}`),
  ];
  const article = byId("trajectory");
  article.replaceChildren(
    make("h3", "", named(number)),
    make("p", "facts", "", ...facts.map((fact) => make("span", "fact", fact))),
    make("p", "note", `${run.name}: ${run.protocol}, ${run.model}`),
    ...others(number),
    ...turns.map((one) => turn(one, run.tests)),
  );
  article.scrollTop = 0;
  const place = new URLSearchParams({
    run: run.name, task: index.task[number], sample: index.sample[number],
  });
  history.replaceState(null, "", `#${place}`);
}

/** The same task in other runs and samples. */
function others(number) {
  const same = [];
  for (let other = 0; other < index.task.length; other++) {
    if (other !== number && index.task[other] === index.task[number]) same.push(other);
  }
  if (!same.length) return [];
  const buttons = same.slice(0, 40).map((other) => {
    const name = index.runs[index.run[other]].name;
    const sample = index.sample[other] ? ` #${index.sample[other]}` : "";
    const button = make("button", "", `${SIGNS[index.outcome[other]]} ${name}${sample}`);
    button.type = "button";
    button.title = index.outcomes[index.outcome[other]];
    button.addEventListener("click", () => find(other));
    return button;
  });
  return [make("p", "others", "The same task elsewhere: ", ...buttons)];
}

/** A turn; `tests` are those that an answer passed where it has no error. */
function turn(one, tests) {
  if (one.role !== "answer") {
    const title = one.role[0].toUpperCase() + one.role.slice(1);
    return make("section", `turn ${one.role === "user" ? "user" : ""}`, "",
      make("h4", "", title), make("pre", "", one.text || "(empty)"));
  }
  const passed = one.error === null;
  const parts = [
    make("h4", "", `Answer ${one.number}`,
      make("span", passed ? "fact good" : "fact bad", passed ? `passed ${tests}` : one.error),
      make("span", "fact", `${one.tokens.toLocaleString("en")} tokens`),
      make("span", "fact", one.finish === "length" ? "cut off" : one.finish)),
    make("pre", "", one.text || "(empty)"),
  ];
  if (one.program !== undefined) parts.push(folded("Program as it was run", make("pre", "", one.program)));
  if (one.diff !== undefined) parts.push(difference(one.diff));
  if (one.unseen !== undefined) {
    parts.push(folded("What its run gave; the model was not shown this", make("pre", "", one.unseen)));
  }
  return make("section", "turn answer", "", ...parts);
}

function folded(title, ...inside) {
  return make("details", "", "", make("summary", "", title), ...inside);
}

function difference(lines) {
  if (!lines.length) return make("p", "note", "The same program as before.");
  const kinds = { "+": "added", "-": "removed", "@": "place" };
  const pre = make("pre", "diff");
  lines.forEach((line, place) => {
    const kind = place < 2 ? "names" : kinds[line[0]] ?? "";
    pre.append(make("span", kind, `${line}\n`));
  });
  return make("div", "", "", make("h5", "", "What changed in the program"), pre);
}

// What is chosen by an address, or by a button: filters that hide it are cleared.

function find(number) {
  if (!shown.includes(number)) {
    byId("filters").reset();
    filter();
  }
  choose(shown.indexOf(number));
}

function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (!wanted.has("task")) return;
  const number = index.task.findIndex((task, place) =>
    task === wanted.get("task")
    && (!wanted.has("run") || index.runs[index.run[place]].name === wanted.get("run"))
    && index.sample[place] === Number(wanted.get("sample") ?? 0));
  if (number < 0) return;
  byId("trajectories").scrollIntoView();
  find(number);
}

function offer(id, names, counts) {
  names.forEach((name, place) => {
    if (!counts[place]) return;
    const option = make("option", "", `${name} (${counts[place].toLocaleString("en")})`);
    option.value = place;
    byId(id).append(option);
  });
}

function tally(length, places) {
  const counts = new Array(length).fill(0);
  for (const place of places) counts[place]++;
  return counts;
}

async function start() {
  index = await unpack("index");
  offer("of-run", index.runs.map((run) => run.name), tally(index.runs.length, index.run));
  offer("of-outcome", index.outcomes, tally(index.outcomes.length, index.outcome));
  offer("of-error", index.kinds, tally(index.kinds.length, index.errors.flat()));
  byId("filters").addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("list").addEventListener("scroll", drawRows, { passive: true });
  byId("list").addEventListener("keydown", move);
  addEventListener("resize", drawRows);
  addEventListener("hashchange", follow);
  filter();
  follow();
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  byId("found").textContent = `cannot unpack: ${error.message}`;
});
