// Curves over budgets and tables of one replay, from the data that `hearth replay --json` prints.
"use strict";

const traces = JSON.parse(document.getElementById("data").textContent).traces;
const byId = (id) => document.getElementById(id);
const points = (part) => (100 * part).toFixed(1);
const rate = (part) => points(part) + " %";

const measures = [
  { key: "hit_rate", name: "Hit rate", text: rate, most: 1 },
  { key: "below_belady", name: "Points below Belady", text: points },
  { key: "misses_per_token", name: "Misses per token", text: (value) => value.toFixed(2) },
  { key: "evictions_per_token", name: "Evictions per token", text: (value) => value.toFixed(2) },
  { key: "bytes_per_token", name: "MB per token", text: (value) => (value / 1e6).toFixed(2) },
  { key: "tokens_per_second", name: "Tokens per second, predicted", text: (value) => value.toFixed(1) },
];

let trace = traces[0];

const share = (budget) => budget.slots / budget.experts;
const policiesOf = (budget) => budget.policies.map(({ policy }) => policy);
const valueOf = (budget, policy, key) => budget.policies.find((row) => row.policy === policy)[key];

// Bytes are known with a model only, and speeds with a machine.
const known = () => measures.filter(({ key }) =>
  key in trace.budgets[0].policies[0] && (key !== "bytes_per_token" || trace.budgets[0].memory_bytes > 0));

function selectFrom(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => element("option", { value, textContent: text })));
  select.value = entries.some(([value]) => value === chosen) ? chosen : entries[0][0];
}

function tableRow(cells, kind) {
  return element("tr", {}, ...cells.map((cell) => element(kind, { textContent: cell })));
}

function drawCurves() {
  const measure = known().find(({ key }) => key === byId("measure").value);
  const budgets = [...trace.budgets].sort((a, b) => share(a) - share(b));
  const series = policiesOf(budgets[0]).map((policy) => ({
    name: policy,
    points: budgets.map((budget) => [share(budget), valueOf(budget, policy, measure.key)]),
    style: { belady: "dashed", static: "dotted" }[policy] || "",
  }));
  const values = series.flatMap((one) => one.points.map(([, y]) => y));
  const most = measure.most || Math.max(...values, 1e-9);
  lineChart(byId("curves"), {
    label: `${measure.name} over the part of the experts in memory`,
    x: { label: "experts in memory", from: 0, to: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: percent },
    y: {
      label: measure.name, from: 0, to: most, ticks: [0, 1, 2, 3, 4, 5].map((i) => (i * most) / 5),
      text: measure.text,
    },
    series,
  });
}

function drawBudget() {
  const budget = trace.budgets[Number(byId("budget").value)];
  const columns = known();
  byId("policies").replaceChildren(
    tableRow(["Policy", ...columns.map(({ name }) => name)], "th"),
    ...budget.policies.map((row) => {
      const made = tableRow([row.policy, ...columns.map(({ key, text }) => text(row[key]))], "td");
      made.classList.toggle("chosen", row.policy === budget.chosen);
      return made;
    }));
  const size = budget.memory_bytes > 0 ? `, ${(budget.memory_bytes / 2 ** 30).toFixed(2)} GiB` : "";
  byId("reason").textContent =
    `${grouped(budget.slots)} of ${grouped(budget.experts)} experts${size}. ` +
    `Chosen is ${budget.chosen}: ${budget.reason}.`;
}

function drawChoices() {
  byId("choices").replaceChildren(
    tableRow(["Budget", "Chosen", "Hit rate", "Below the best", "Below Belady"], "th"),
    ...trace.budgets.map((budget) => tableRow([
      budget.budget, budget.chosen, rate(valueOf(budget, budget.chosen, "hit_rate")),
      points(budget.below_best), points(valueOf(budget, budget.chosen, "below_belady")),
    ], "td")));
}

function drawTrace() {
  const label = trace.workload ? ` of ${trace.workload}` : "";
  byId("subtitle").textContent =
    `${grouped(trace.tokens)} tokens${label} (${[trace.origin, trace.model].filter(Boolean).join(", ")}), ` +
    `${trace.layers} layers, ${trace.experts_per_token} of ${trace.experts_per_layer} experts used per token. ` +
    `Judged on ${grouped(trace.tokens_judged)} tokens ${trace.start}.` +
    (trace.speed_basis ? ` Tokens per second are ${trace.speed_basis}.` : "");
  selectFrom(byId("measure"), known().map(({ key, name }) => [key, name]), byId("measure").value);
  selectFrom(byId("budget"), trace.budgets.map(({ budget }, i) => [String(i), budget]), byId("budget").value);
  drawCurves();
  drawBudget();
  drawChoices();
}

selectFrom(byId("trace"), traces.map(({ trace: path }, i) => [String(i), path]), "0");
byId("choice").style.display = traces.length > 1 ? "" : "none";
byId("trace").addEventListener("change", (event) => {
  trace = traces[Number(event.target.value)];
  drawTrace();
});
byId("measure").addEventListener("change", drawCurves);
byId("budget").addEventListener("change", drawBudget);
drawTrace();
