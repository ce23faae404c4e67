// The page of one or more profiles of a model: #data holds what tools/hearth/profile_page.cpp wrote.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const checked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const sum = (values) => values.reduce((a, b) => a + b, 0);
const shareAxis = (label) => ({
  label, from: 0, to: 1, ticks: [0, 0.25, 0.5, 0.75, 1], text: percent,
});

// [part of the experts, part of the uses that goes to the hottest so many]
function coverage(counts) {
  const total = sum(counts);
  if (total === 0) return [];
  let covered = 0;
  const points = [[0, 0]];
  [...counts].sort((a, b) => b - a).forEach((count, i) => {
    covered += count;
    points.push([(i + 1) / counts.length, covered / total]);
  });
  return points;
}

// [distance, part of the repeated uses at most so far]: a bucket b ends before 2^(b+1), the last
// one never.
function reuseWithin(buckets) {
  const total = sum(buckets);
  if (total === 0) return [];
  let within = 0;
  return buckets.slice(0, -1).map((count, b) => {
    within += count;
    return [2 ** (b + 1) - 1, within / total];
  });
}

function drawCoverage(profile) {
  lineChart(byId("coverage"), {
    label: "Part of the uses that the hottest experts get",
    x: shareAxis("hottest part of the experts"), y: shareAxis(""),
    series: [
      ...profile.layers.map((layer) => ({ points: coverage(layer.counts), style: "thin" })),
      { name: "all layers", points: coverage(profile.layers.flatMap((layer) => layer.counts)), style: "" },
      { name: "if all were used alike", points: [[0, 0], [1, 1]], style: "dotted" },
    ],
  });
}

function drawReuse(profile) {
  const all = profile.layers[0].reuse.map((_, b) => sum(profile.layers.map((layer) => layer.reuse[b])));
  // As far as nearly all repeated uses reach.
  const reached = reuseWithin(all).findIndex(([, part]) => part > 0.999);
  const end = reached < 0 ? all.length - 1 : Math.max(3, reached + 1);
  const last = 2 ** end;
  const within = (buckets) => reuseWithin(buckets).slice(0, end);
  const curves = profile.layers.map((layer) => within(layer.reuse));
  const ticks = all.map((_, b) => 2 ** b).slice(0, end + 1).filter((_, b) => end < 8 || b % 2 === 0);
  lineChart(byId("reuse"), {
    label: "Part of the repeated uses within a number of tokens",
    x: {
      label: "tokens since the use before", from: 1, to: last, log: true, ticks,
      text: (v, exactly) => (exactly ? `within ${grouped(v)} tokens` : grouped(v)),
    },
    y: shareAxis(""),
    series: [...curves.map((points) => ({ points, style: "thin" })),
             { name: "all layers", points: within(all), style: "" }],
  });
}

function drawHits(profile) {
  const none = profile.curves.length === 0;
  byId("replayed").textContent = none
    ? "No routing was replayed for this profile, so no hit rates are known."
    : `Hit rates of ${grouped(profile.replayed_tokens)} replayed tokens, by the part of all experts that ` +
      "fits. static is the hottest set, pinned; belady knows the future, so nothing does better.";
  byId("hits").style.display = none ? "none" : "";
  if (none) return;
  const styles = { belady: "dashed", static: "dotted" };
  lineChart(byId("hits"), {
    label: "Hit rates of the cache policies",
    x: shareAxis("part of all experts in memory"), y: shareAxis(""),
    series: profile.curves.map(({ policy, points }) => ({
      name: policy, points: [[0, 0], ...points, [1, 1]], style: styles[policy] || "",
    })),
  });
}

function drawLayers(profile) {
  const cell = (name, text) => element(name, { textContent: text });
  const heading = element("tr", {}, ...["layer", "experts", "used", "for 50 %", "for 90 %", "entropy", "Gini"]
    .map((text) => cell("th", text)));
  const rows = profile.layers.map((layer) => element("tr", {},
    ...[layer.layer, layer.counts.length, layer.used, layer.for_half, layer.for_nine_tenths,
        layer.entropy.toFixed(3), layer.gini.toFixed(3)].map((text) => cell("td", text))));
  byId("layers").replaceChildren(heading, ...rows);
}

function describe(profile, row, expert) {
  if (row === null) return "";
  const layer = profile.layers[row], counts = layer.counts, count = counts[expert];
  const total = sum(counts);
  const rank = counts.filter((other) => other > count).length + 1;
  const times = total > 0 ? ((count / total) * counts.length).toFixed(2) : "0";
  return `Layer ${layer.layer}, expert ${expert}: ${grouped(count)} uses, ` +
    `${total > 0 ? ((100 * count) / total).toFixed(2) : 0} % of the layer, ${times} times its even share, ` +
    `rank ${rank} of ${counts.length}.` +
    (layer.partners[expert].length ? ` In the next layer most often with ${layer.partners[expert].join(", ")}.` : "");
}

let profile = data.profiles[0];

const heatMap = new HeatMap(byId("heat"), (row, expert) => {
  byId("cell").textContent = describe(profile, row, expert);
  [...byId("layers").children].forEach((tr, i) => tr.classList.toggle("chosen", row !== null && i === row + 1));
});

function drawHeat() {
  const measure = checked("measure");
  heatMap.show(profile.layers, profile.layers.map((layer) => layer[measure]), {
    byHeat: checked("order") === "heat", logarithmic: checked("scale") === "log",
  });
  const ramp = heatMap.ramp;
  byId("ramp").style.background =
    `linear-gradient(to right, ${ramp.map((_, i) => rampColour(ramp, i / (ramp.length - 1))).join(", ")})`;
  byId("hottest").textContent = `${grouped(heatMap.range.hottest)} uses`;
}

function drawAll() {
  const { model, workloads } = profile;
  byId("title").textContent = `Experts of ${model.name || model.architecture}`;
  byId("subtitle").textContent =
    `${model.architecture}, ${profile.layers.length} layers with experts, ${model.experts_used} of up to ` +
    `${model.experts_per_layer} used per token, ${model.formats}. Recorded: ` +
    workloads.map(({ label, tokens }) => `${grouped(tokens)} tokens of ${label}`).join(", ") + ".";
  drawLayers(profile);
  drawHeat();
  drawCoverage(profile);
  drawReuse(profile);
  drawHits(profile);
}

data.profiles.forEach(({ name }, i) => byId("profile").append(element("option", { value: String(i), textContent: name })));
byId("choice").style.display = data.profiles.length > 1 ? "" : "none";
byId("profile").addEventListener("change", (event) => {
  profile = data.profiles[Number(event.target.value)];
  drawAll();
});
for (const input of document.querySelectorAll("input[type=radio]")) input.addEventListener("change", drawHeat);
drawAll();
