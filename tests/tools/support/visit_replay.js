// Uses a page of replays, and prints what was to be seen as JSON:  node visit_replay.js page.html
"use strict";
const { ids } = require("./fake_browser.js").openPage(process.argv[2]);

const rows = (table) => table.children.map((row) => row.children.map((cell) => cell.textContent));
function look() {
  return {
    subtitle: ids.subtitle.textContent,
    curves: ids.curves.all("path").map((path) => path.attributes.d),
    legend: ids.curves.all("button").map((button) => button.textContent),
    policies: rows(ids.policies),
    reason: ids.reason.textContent,
    choices: rows(ids.choices),
  };
}
function select(id, value) {
  ids[id].value = value;
  ids[id].fire("change");
}

const seen = {
  traces: ids.trace.children.map((option) => option.text),
  measures: ids.measure.children.map((option) => option.value),
  plain: look(),
};
select("measure", "misses_per_token");
select("budget", "1");
seen.chosen = look();
ids.curves.all("svg")[0].fire("keydown", { key: "ArrowRight" });
ids.curves.all("svg")[0].fire("pointermove", { clientX: 420 });
seen.readout = ids.curves.all("output")[0].textContent;
select("trace", "1");
seen.second = look();
console.log(JSON.stringify(seen));
