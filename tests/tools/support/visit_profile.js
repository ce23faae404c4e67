// Uses a page of profiles, and prints what was to be seen as JSON:  node visit_profile.js page.html
"use strict";
const { ids, choose } = require("./fake_browser.js").openPage(process.argv[2]);

function look() {
  return {
    title: ids.title.textContent,
    subtitle: ids.subtitle.textContent,
    cells: ids.heat.context.cells.length,
    colours: new Set(ids.heat.context.cells.map((cell) => cell.colour)).size,
    first_row: ids.heat.context.cells.filter((cell) => cell.y === 0).map((cell) => cell.colour),
    layers: ids.layers.children.length - 1,
    curves: ["coverage", "reuse", "hits"].map((id) => ids[id].all("path").map((path) => path.attributes.d)),
    policies: ids.hits.all("button").map((button) => button.textContent),
  };
}

const seen = { profiles: ids.profile.children.map((option) => option.text), plain: look() };
choose("order", "heat");
choose("scale", "log");
seen.sorted = look();
ids.heat.fire("keydown", { key: "ArrowDown" });
seen.chosen = { text: ids.cell.textContent, outlines: ids.heat.context.outlines };
const svg = ids.coverage.all("svg")[0];
svg.fire("keydown", { key: "ArrowRight" });
svg.fire("pointermove", { clientX: 420 });
seen.readout = ids.coverage.all("output")[0].textContent;
if (seen.profiles.length > 1) {
  ids.profile.value = "1";
  ids.profile.fire("change");
  seen.second = look();
}
console.log(JSON.stringify(seen));
