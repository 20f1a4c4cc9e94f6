"use strict";

// What the admin API tells, as tables. Everything it says becomes text, never markup.

const at = (id) => document.getElementById(id);

const VIEWS = {
  jobs: { path: "/api/jobs", columns: ["state", "kind", "model", "client", "task_id", "callers", "started_at"] },
  cache: { path: "/api/cache?limit=100", columns: ["kind", "model", "status", "bytes", "created_at", "last_used_at", "key"] },
};

const STATS = ["name", "paid", "hit", "joined", "failed", "unknown", "possible_double_payments", "unpriced", "usd_spent", "usd_saved"];

async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return fetch(path, { method, headers, body, credentials: "same-origin", cache: "no-store", redirect: "error" });
}

function cell(tag, value) {
  const made = document.createElement(tag);
  made.textContent = value === null || value === undefined ? "" : String(value);
  if (typeof value === "number") made.className = "number";
  return made;
}

function table(columns, rows) {
  if (rows.length === 0) return cell("p", "Nothing.");
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const name of columns) head.append(cell("th", name.replaceAll("_", " ")));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of columns) line.append(cell("td", row[name]));
  }
  return made;
}

async function fill(id, path, show) {
  const answer = await ask("GET", path);
  if (answer.status === 401) return false;
  at(id).replaceChildren(answer.ok ? show(await answer.json()) : cell("p", `Not served (${answer.status}).`));
  return true;
}

async function refresh() {
  at("message").textContent = "";
  try {
    let open = await fill("stats", "/api/stats", (stats) =>
      table(STATS, [{ ...stats, name: "all" }, ...(stats.groups ?? [])]));
    for (const [id, view] of Object.entries(VIEWS)) {
      open = open && await fill(id, view.path, (rows) => table(view.columns, rows));
    }
    at("login").hidden = open;
    for (const id of ["tables", "refresh", "logout"]) at(id).hidden = !open;
  } catch (error) {
    at("message").textContent = `The proxy does not answer: ${error.message}`;
  }
}

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = at("token").value.trim();
  at("token").value = "";
  try {
    const answer = await ask("POST", "/api/session", JSON.stringify({ token }));
    if (answer.ok) return void refresh();
    at("message").textContent = answer.status === 401 ? "That is not the token." : `Refused (${answer.status}).`;
  } catch (error) {
    at("message").textContent = `The proxy does not answer: ${error.message}`;
  }
});

at("logout").addEventListener("click", async () => {
  await ask("DELETE", "/api/session");
  refresh();
});

at("refresh").addEventListener("click", refresh);
refresh();
