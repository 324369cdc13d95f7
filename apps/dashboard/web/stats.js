// The figures and the live tree, read once a second while the page is looked at.

const EVERY = 1000;

const OUTCOMES = {
  complete: "complete",
  partial: "partial",
  not_found: "unknown",
  refused: "refused",
  late: "late",
  failed: "failed",
  left: "left",
};

const COUNTS = {
  started: "asked",
  answered: "answered",
  failed: "failed",
  late: "late",
  cancelled: "cancelled",
  in_flight: "now",
};

export function startStats() {
  refresh();
  setInterval(() => { if (!document.hidden) refresh(); }, EVERY);
}

async function refresh() {
  try {
    const [figures, tree] = await Promise.all([
      fetch("/api/stats").then((response) => response.json()),
      fetch("/api/tree").then((response) => response.text()),
    ]);
    outcomes(figures.outcomes);
    histogram(figures.latency_bounds_ms, figures.latencies);
    counts(figures.services);
    breaker(figures.breaker);
    waste(figures.calls);
    document.getElementById("snapshot").textContent = tree;
  } catch {
    // The connection's state is told by the timeline.
  }
}

function outcomes(values) {
  const entries = Object.entries(OUTCOMES).map(([key, label]) => {
    const entry = document.createElement("div");
    entry.append(text("dt", label), text("dd", values[key]));
    return entry;
  });
  document.getElementById("outcomes").replaceChildren(...entries);
}

function histogram(bounds, values) {
  const most = Math.max(1, ...values);
  const columns = values.map((value, index) => {
    const label = index < bounds.length ? `≤${short(bounds[index])}` : "more";
    const column = document.createElement("li");
    const bar = text("div", "", "column");
    bar.style.height = `${(70 * value) / most}%`;
    column.append(text("span", value || "", "count"), bar, text("span", label));
    column.title = `${value} pages in ${label} ms`;
    return column;
  });
  document.getElementById("histogram").replaceChildren(...columns);
}

const short = (millis) => (millis < 1000 ? `${millis}` : `${millis / 1000}k`);

function counts(services) {
  const rows = Object.entries(services).map(([name, seen]) => {
    const row = document.createElement("tr");
    const head = text("th", name);
    head.scope = "row";
    row.append(head, ...Object.entries(COUNTS).map(([key, label]) => count(seen[key], label)));
    row.id = `counts-${name}`;
    return row;
  });
  document.getElementById("counts").replaceChildren(...rows);
}

function count(value, label) {
  const cell = text("td", value);
  cell.dataset.label = label;
  return cell;
}

function breaker(state = "closed") {
  const element = document.getElementById("breaker");
  element.dataset.state = state;
  element.textContent = state.replace("_", " ");
}

function waste({ useful, wasted, finished_late }) {
  document.getElementById("waste").textContent =
    `Calls of use ${useful}, wasted ${wasted}, of which ${finished_late} were finished after the page had ended.`;
}

function text(tag, content, className = "") {
  const made = document.createElement(tag);
  made.textContent = content;
  made.className = className;
  return made;
}
