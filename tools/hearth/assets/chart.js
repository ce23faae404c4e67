// Charts of lines in SVG. The pointer, or the arrow keys, choose a place on the x axis, whose values
// are then read out below.
"use strict";

const kSvg = "http://www.w3.org/2000/svg";

function svgElement(name, attributes, parent) {
  const element = document.createElementNS(kSvg, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

function element(name, properties, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

const percent = (part) => (100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0) + " %";
const grouped = (count) => Math.round(count).toString().replace(/\B(?=(\d{3})+$)/g, ",");

// The y of a line at x, between its points; null outside of them.
function valueAt(points, x) {
  if (points.length === 0 || x < points[0][0] || x > points[points.length - 1][0]) return null;
  for (let i = 1; i < points.length; ++i) {
    const [x0, y0] = points[i - 1], [x1, y1] = points[i];
    if (x <= x1) return x1 === x0 ? y1 : y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  }
  return points[points.length - 1][1];
}

// holder: an element, emptied first.
// chart: {label, x: axis, y: axis, series: [{name, points: [[x, y]...], style}]}
//   axis: {label, from, to, ticks: [number...], text: number -> string, log: true for log2}
//   style: "" | "dashed" | "dotted" | "thin" (no name in the legend, no value read out)
function lineChart(holder, chart) {
  const width = 640, height = 380, left = 58, right = 14, top = 12, bottom = 46;
  const place = (axis, value) => {
    const scale = axis.log ? Math.log2 : (v) => v;
    return (scale(value) - scale(axis.from)) / (scale(axis.to) - scale(axis.from));
  };
  const px = (x) => left + place(chart.x, x) * (width - left - right);
  const py = (y) => height - bottom - place(chart.y, y) * (height - top - bottom);

  const svg = svgElement("svg", {
    viewBox: `0 0 ${width} ${height}`, tabindex: "0", role: "img", "aria-label": chart.label,
  });
  for (const tick of chart.x.ticks) {
    svgElement("line", { class: "axis", x1: px(tick), x2: px(tick), y1: top, y2: height - bottom }, svg);
    svgElement("text", { x: px(tick), y: height - bottom + 18, "text-anchor": "middle" }, svg)
      .textContent = chart.x.text(tick);
  }
  for (const tick of chart.y.ticks) {
    svgElement("line", { class: "axis", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }, svg);
    svgElement("text", { x: left - 8, y: py(tick) + 4, "text-anchor": "end" }, svg)
      .textContent = chart.y.text(tick);
  }
  svgElement("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, svg)
    .textContent = chart.x.label;

  const legend = element("div", { className: "legend" });
  const named = [];
  for (const series of chart.series) {
    const path = svgElement("path", {
      class: "curve " + (series.style || ""),
      d: series.points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join(""),
    }, svg);
    if (series.style === "thin") continue;
    const colour = `var(--series-${named.length % 8})`;
    path.style.stroke = colour;
    const shown = { ...series, visible: true };
    named.push(shown);
    const swatch = element("span", { className: "swatch " + (series.style || "") });
    swatch.style.borderTopColor = colour;
    const button = element("button", { type: "button" }, swatch, series.name);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      shown.visible = !shown.visible;
      path.style.display = shown.visible ? "" : "none";
      button.setAttribute("aria-pressed", String(shown.visible));
    });
    legend.append(button);
  }

  const cursor = svgElement("line", { class: "cursor", y1: top, y2: height - bottom, display: "none" }, svg);
  const readout = element("output", {});
  let at = null;  // part of the way along the x axis
  const show = (part) => {
    at = Math.min(1, Math.max(0, part));
    const { from, to, log } = chart.x;
    const x = log ? from * Math.pow(to / from, at) : from + at * (to - from);
    cursor.setAttribute("x1", px(x));
    cursor.setAttribute("x2", px(x));
    cursor.setAttribute("display", "");
    const values = named.filter((series) => series.visible)
      .map((series) => [series.name, valueAt(series.points, x)])
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${chart.y.text(value, true)}`);
    readout.textContent = `${chart.x.text(x, true)}: ${values.join(" · ")}`;
  };
  const hide = () => {
    at = null;
    cursor.setAttribute("display", "none");
    readout.textContent = "";
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    show((x - left) / (width - left - right));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 };
    if (event.key === "Escape") return hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    show((at === null ? (event.key === "ArrowLeft" ? 1 : 0) : at) + steps[event.key]);
  });

  holder.replaceChildren(svg, readout, legend);
  holder.classList.add("chart");
}
