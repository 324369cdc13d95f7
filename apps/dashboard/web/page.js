// The page itself: asks for it, and shows what came, or why nothing did.

const PARTS = ["profile", "orders", "recommendations", "ads"];
const EVERY = 2000;

const money = (cents) => `$${(cents / 100).toFixed(2)}`;

// What each part shows of its answer.
const SHOWN = {
  profile: (profile) => [element("p", profile.name, "value"), element("p", profile.city)],
  orders: (orders) => [list(orders.map(order))],
  recommendations: (all) => [list(all.map((one) => one.product))],
  ads: (ad) => [element("p", ad.slogan)],
};

const order = (one) =>
  `${one.quantity} × ${one.product}, ${money(one.cents)}${one.in_stock ? "" : " (not in stock)"}`;

let repeating;

export function startPage() {
  const form = document.getElementById("load");
  const repeat = document.getElementById("repeat");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  repeat.addEventListener("change", () => {
    clearInterval(repeating);
    if (repeat.checked) repeating = setInterval(load, EVERY);
  });
}

async function load() {
  const user = document.getElementById("user").value;
  const since = performance.now();
  PARTS.forEach((part) => show(part, "loading"));
  tell("loading", `Loading the page of user ${user} …`);
  try {
    const response = await fetch(`/api/pages/${encodeURIComponent(user)}`);
    const answer = await response.json();
    const took = Math.round(performance.now() - since);
    if (response.ok) succeeded(answer, took);
    else failed(response.status, answer, took);
  } catch (error) {
    PARTS.forEach((part) => show(part, "idle"));
    tell("failed", `The server did not answer: ${error.message}`);
  }
}

function succeeded(page, took) {
  const missing = PARTS.filter((part) => page[part] === null);
  for (const part of PARTS) {
    if (page[part] === null) show(part, "missing", [element("p", "left out: it failed or was late")]);
    else show(part, "succeeded", SHOWN[part](page[part]));
  }
  if (missing.length === 0) tell("complete", `Complete after ${took} ms.`);
  else tell("partial", `After ${took} ms, without ${missing.join(" and ")}.`);
}

// What failed says why. What was late had no time left. The others were cancelled, or had answered in vain.
function failed(status, problem, took) {
  const late = new Set(problem.late ?? []);
  const cancelled = new Set(problem.cancelled ?? []);
  for (const part of PARTS) {
    if (part === problem.source) show(part, "failed", [element("p", problem.error)]);
    else if (late.has(part)) show(part, "late", [element("p", "late")]);
    else if (cancelled.has(part)) show(part, "cancelled", [element("p", "cancelled")]);
    else show(part, "idle", [element("p", "answered, in vain")]);
  }
  tell("failed", `HTTP ${status} after ${took} ms. ${problem.error}`);
}

function tell(state, text) {
  const outcome = document.getElementById("outcome");
  outcome.dataset.state = state;
  outcome.textContent = text;
}

function show(part, state, children = []) {
  const card = document.getElementById(`card-${part}`);
  card.dataset.state = state;
  card.querySelector(".body").replaceChildren(...children);
}

function list(texts) {
  const ul = document.createElement("ul");
  ul.append(...texts.map((text) => element("li", text)));
  return ul;
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}
