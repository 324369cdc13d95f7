// The knobs: how the services behave, and the policies of the page. A change is sent at once, and what the server made
// of it is shown.

const POLICIES = ["retry", "hedge", "optional"];
const FIELDS = [
  { key: "delay_ms", label: "delay, ms", max: 60000, step: 10 },
  { key: "slow_percent", label: "slow, %", max: 100, step: 5 },
  { key: "failure_percent", label: "failing, %", max: 100, step: 5 },
];

let initial;

export async function startKnobs() {
  const settings = await (await fetch("/api/settings")).json();
  initial = settings;
  build(settings.services);
  show(settings);
  const form = document.getElementById("settings");
  form.addEventListener("change", () => put(read()));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("reset").addEventListener("click", () => put(initial));
}

function build(services) {
  const body = document.querySelector(".services tbody");
  for (const name of Object.keys(services)) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    FIELDS.forEach((field) => cell(row, name, field.key, field.label, numberInput(field)));
    cell(row, name, "hang", "hangs", checkbox());
  }
}

function cell(row, service, key, label, input) {
  input.id = `${service}-${key}`;
  input.setAttribute("aria-label", `${service}: ${label}`);
  const cell = row.insertCell();
  cell.dataset.label = label;
  cell.append(input);
}

function numberInput({ max, step }) {
  return Object.assign(document.createElement("input"), { type: "number", min: 0, max, step, required: true });
}

function checkbox() {
  return Object.assign(document.createElement("input"), { type: "checkbox" });
}

const input = (id) => document.getElementById(id);

function show({ services, policies }) {
  set("timeout_ms", "value", policies.timeout_ms);
  POLICIES.forEach((key) => set(key, "checked", policies[key]));
  for (const [name, behavior] of Object.entries(services)) {
    FIELDS.forEach(({ key }) => set(`${name}-${key}`, "value", behavior[key]));
    set(`${name}-hang`, "checked", behavior.hang);
  }
}

// Leaves alone what is being typed.
function set(id, property, value) {
  const element = input(id);
  if (property === "value" && element === document.activeElement) return;
  element[property] = value;
}

function read() {
  const policies = { timeout_ms: input("timeout_ms").valueAsNumber };
  POLICIES.forEach((key) => { policies[key] = input(key).checked; });
  const services = {};
  for (const name of Object.keys(initial.services)) {
    const behavior = { hang: input(`${name}-hang`).checked };
    FIELDS.forEach(({ key }) => { behavior[key] = input(`${name}-${key}`).valueAsNumber; });
    services[name] = behavior;
  }
  return { services, policies };
}

let puts = 0;

async function put(settings) {
  const complaint = document.getElementById("complaint");
  const mine = ++puts;
  try {
    const response = await fetch("/api/settings", { method: "PUT", body: JSON.stringify(settings) });
    const answer = await response.json();
    if (mine !== puts) return; // a later change is under way
    complaint.textContent = response.ok ? "" : answer.error;
    if (response.ok) show(answer);
  } catch (error) {
    complaint.textContent = `not set: ${error.message}`;
  }
}
