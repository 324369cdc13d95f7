// The timeline of each page, drawn as the server's events come in.
//
// A frame is one of: `page` (a page begins), `task` (spawned, or ended with an outcome), `attempt` (of a policy),
// `cancel` (the cause that ended the rest), `end` (the page is answered). Times are in microseconds since the page began.

const KEPT = 24;

const pages = new Map(); // by id, the oldest first
let chosen = null; // an id; null follows the newest
let shown = null;

export function startTimeline() {
  const events = new EventSource("/api/live");
  const connection = document.getElementById("connection");
  events.addEventListener("open", () => state(connection, "live", "live"));
  events.addEventListener("error", () => state(connection, "lost", "connection lost, trying again"));
  for (const [name, take] of Object.entries(TAKES)) {
    events.addEventListener(name, (event) => {
      take(JSON.parse(event.data));
      schedule();
    });
  }
  document.getElementById("recent").addEventListener("change", (event) => {
    chosen = event.target.value || null;
    schedule();
  });
}

function state(element, name, text) {
  element.dataset.state = name;
  element.textContent = text;
}

const TAKES = {
  page({ page, user, deadline_us }) {
    const began = performance.now();
    pages.set(page, { id: page, user, deadline_us, began, rows: new Map(), cause: null, end: null });
    while (pages.size > KEPT) pages.delete(pages.keys().next().value);
    options();
  },
  task({ page, group, task, name, at_us, outcome, text }) {
    const key = `${group}/${task}`;
    const row = rowOf(page, key, name, at_us, false);
    if (row && outcome) Object.assign(row, { end: at_us, state: outcome, text });
  },
  attempt({ page, group, task, number, hedge, at_us, outcome, text }) {
    const under = `${group}/${task}`;
    const name = hedge ? `attempt ${number}, a hedge` : `attempt ${number}`;
    const row = rowOf(page, `${under}#${number}`, name, at_us, true, under);
    if (row && outcome) Object.assign(row, { end: at_us, state: outcome, text });
  },
  cancel({ page, text }) {
    const found = pages.get(page);
    if (found) found.cause ??= text;
  },
  end({ page, status, at_us }) {
    const found = pages.get(page);
    if (found) {
      found.end = at_us;
      found.status = status;
      options();
    }
  },
};

// The row of a task or an attempt, made when it is first heard of.
function rowOf(page, key, name, start, attempt, under) {
  const found = pages.get(page);
  if (!found) return null;
  if (!found.rows.has(key)) found.rows.set(key, { key, name, start, attempt, under, state: "running", end: null });
  return found.rows.get(key);
}

function options() {
  const select = document.getElementById("recent");
  const label = (page) => `user ${page.user}: ${page.status ?? "…"} (${page.id})`;
  const newest = [...pages.values()].reverse();
  const entries = newest.map((page) => new Option(label(page), page.id, false, page.id === chosen));
  select.replaceChildren(new Option("the newest", "", false, chosen === null), ...entries);
}

let scheduled = false;

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw() {
  const page = pages.get(chosen) ?? [...pages.values()].at(-1);
  if (!page) return;
  links(page);
  const now = page.end ?? (performance.now() - page.began) * 1000;
  const ends = [...page.rows.values()].map((row) => row.end ?? now);
  const span = Math.max(now, ...ends, 1000);
  const container = document.getElementById("rows");
  if (shown !== page.id) container.replaceChildren();
  shown = page.id;
  const rows = ordered(page);
  rows.forEach((row, index) => place(container, drawRow(container, row, now, span, page), index));
  place(container, drawAxis(container, span), rows.length);
  drawCause(container, page);
  if (page.end === null) schedule();
}

// Each attempt below its task, unless there was only the one that says what the task says.
function ordered(page) {
  const rows = [...page.rows.values()];
  const tasks = rows.filter((row) => !row.attempt);
  const below = (task) => rows.filter((row) => row.under === task.key);
  return tasks.flatMap((task) => {
    const attempts = below(task);
    const telling = attempts.length > 1 || attempts.some((row) => row.state === "rejected");
    return telling ? [task, ...attempts] : [task];
  });
}

function place(container, element, index) {
  if (container.children[index] !== element) container.insertBefore(element, container.children[index] ?? null);
}

function child(container, key, make) {
  const found = [...container.children].find((element) => element.dataset.key === key);
  if (found) return found;
  const made = make();
  made.dataset.key = key;
  return made;
}

function drawRow(container, row, now, span, page) {
  const element = child(container, row.key, () => {
    const made = div(row.attempt ? "row attempt" : "row");
    const track = div("track");
    track.append(div("fill"), div("deadline"), div("note"));
    made.append(div("label"), track);
    return made;
  });
  const end = row.end ?? now;
  const [label, track] = element.children;
  const [fill, deadline, note] = track.children;
  element.dataset.state = row.state;
  label.textContent = row.name;
  fill.style.left = `${(100 * row.start) / span}%`;
  fill.style.width = `${(100 * (end - row.start)) / span}%`;
  deadline.hidden = !page.deadline_us || page.deadline_us > span;
  deadline.style.left = `${(100 * page.deadline_us) / span}%`;
  const brief = `${WORDS[row.state] ?? row.state} ${millis(end)}`;
  const whole = row.text ? `${brief}: ${row.text}` : brief;
  note.textContent = row.attempt ? brief : whole;
  element.title = whole;
  beside(note, (100 * end) / span);
  return element;
}

// Puts the note behind a bar that ends early, and at the end of one that does not.
function beside(note, percent) {
  const behind = percent < 55;
  note.style.left = behind ? `${percent}%` : "auto";
  note.style.right = behind ? "0" : `${100 - percent}%`;
  note.style.maxWidth = behind ? "" : `${percent}%`;
}

const WORDS = {
  running: "…",
  succeeded: "✓",
  failed: "✗ failed",
  rejected: "✗ not sent",
  cancelled: "cancelled",
  panicked: "✗ panicked",
  lost: "✗ lost",
};

function drawAxis(container, span) {
  const axis = child(container, "axis", () => {
    const made = div("axis");
    made.append(div(""), div(""), div(""));
    return made;
  });
  [0, span / 2, span].forEach((at, index) => { axis.children[index].textContent = millis(at); });
  return axis;
}

function drawCause(container, page) {
  const cause = child(container, "cause", () => div("cause"));
  cause.textContent = page.cause ? `The rest was cancelled: ${page.cause}` : "";
  container.append(cause);
}

const millis = (micros) => `${Math.round(micros / 1000)} ms`;

function div(className) {
  const made = document.createElement("div");
  made.className = className;
  return made;
}

function links(page) {
  const id = encodeURIComponent(page.id);
  document.getElementById("trace").href = `/api/recent/${id}/trace.json`;
  const picture = document.getElementById("picture");
  picture.href = `/api/recent/${id}/picture.svg`;
  picture.download = `page-${page.id}.svg`;
}
