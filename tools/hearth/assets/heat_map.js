// The heat map of a profile on a canvas: layers down, experts across.
"use strict";

// From barely used to hottest, of like steps in lightness; in the dark the other way round in
// lightness, so that heat always stands out from the ground.
const kRampLight = [[205, 222, 240], [150, 194, 224], [94, 163, 204], [44, 113, 178], [95, 56, 150], [158, 27, 92], [97, 8, 38]];
const kRampDark = [[38, 52, 84], [46, 82, 140], [58, 128, 170], [88, 176, 160], [170, 208, 110], [244, 214, 80], [255, 246, 196]];

function rampColour(ramp, part) {
  const at = Math.min(1, Math.max(0, part)) * (ramp.length - 1);
  const low = Math.min(ramp.length - 2, Math.floor(at));
  const mixed = ramp[low].map((value, i) => Math.round(value + (ramp[low + 1][i] - value) * (at - low)));
  return `rgb(${mixed.join(",")})`;
}

// Numbers of the experts of a layer in the order they are drawn.
function expertOrder(values, byHeat) {
  const order = values.map((_, expert) => expert);
  if (byHeat) order.sort((a, b) => values[b] - values[a] || a - b);
  return order;
}

// How hot a value is, 0 to 1; 0 only for no use at all. The logarithmic scale begins at the coldest
// value that was used at all, but reaches over no more than a factor of a thousand.
function heatOf(value, { coldest, hottest }, logarithmic) {
  if (value <= 0 || hottest <= 0) return 0;
  const from = Math.min(Math.max(coldest, hottest / 1000), hottest * 0.999);
  const part = logarithmic ? Math.log(value / from) / Math.log(hottest / from) : value / hottest;
  return Math.max(0.02, part);
}

class HeatMap {
  // chosen(layer, expert) is called with positions in `layers`, or with nulls.
  constructor(canvas, chosen) {
    this.canvas = canvas;
    this.chosen = chosen;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.cell = null;  // {row, column} as drawn
    canvas.addEventListener("pointermove", (event) => {
      const cell = this.cellAt(event);
      if (JSON.stringify(cell) !== JSON.stringify(this.cell)) this.choose(cell);
    });
    canvas.addEventListener("pointerleave", () => this.choose(null));
    canvas.addEventListener("keydown", (event) => this.step(event));
    this.dark.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get ramp() { return this.dark.matches ? kRampDark : kRampLight; }

  // layers: [{layer, partners: per expert those of the next layer}], values: per layer an array.
  show(layers, values, { byHeat, logarithmic }) {
    this.layers = layers;
    this.values = values;
    this.logarithmic = logarithmic;
    this.orders = values.map((layer) => expertOrder(layer, byHeat));
    const used = values.flat().filter((value) => value > 0);
    this.range = { coldest: used.reduce((a, b) => Math.min(a, b), Infinity),
                   hottest: used.reduce((a, b) => Math.max(a, b), 0) };
    this.columns = Math.max(...values.map((layer) => layer.length));
    this.draw();
    this.choose(this.cell);
  }

  measure() {
    const width = this.canvas.clientWidth;
    this.gutter = 40;
    this.cellWidth = (width - this.gutter) / this.columns;
    this.rowHeight = Math.min(22, Math.max(7, 560 / this.layers.length));
    return { width, height: this.rowHeight * this.layers.length };
  }

  draw() {
    if (!this.layers) return;
    const { width, height } = this.measure();
    const density = window.devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    const context = this.canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const gap = this.cellWidth > 5 ? 1 : 0;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    const every = Math.ceil(13 / this.rowHeight);  // rows between two labels
    this.layers.forEach(({ layer }, row) => {
      const y = row * this.rowHeight;
      context.fillStyle = style.getPropertyValue("--faint");
      if (row % every === 0) context.fillText(String(layer), this.gutter - 8, y + this.rowHeight / 2);
      this.orders[row].forEach((expert, column) => {
        const heat = heatOf(this.values[row][expert], this.range, this.logarithmic);
        context.fillStyle = heat === 0 ? style.getPropertyValue("--never") : rampColour(this.ramp, heat);
        context.fillRect(this.gutter + column * this.cellWidth, y, this.cellWidth - gap, this.rowHeight - 1);
      });
    });
    this.outline(context, style);
  }

  // Around the chosen cell, and thinner around its partners in the next layer.
  outline(context, style) {
    if (this.cell === null) return;
    const { row, column } = this.cell;
    context.strokeStyle = style.getPropertyValue("--text");
    const around = (r, c, lineWidth) => {
      context.lineWidth = lineWidth;
      context.strokeRect(this.gutter + c * this.cellWidth, r * this.rowHeight, this.cellWidth, this.rowHeight - 1);
    };
    around(row, column, 2);
    if (row + 1 === this.layers.length) return;
    for (const expert of this.layers[row].partners[this.orders[row][column]])
      around(row + 1, this.orders[row + 1].indexOf(expert), 1);
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - this.gutter) / this.cellWidth);
    const row = Math.floor((event.clientY - box.top) / this.rowHeight);
    return this.exists(row, column) ? { row, column } : null;
  }

  exists(row, column) {
    return row >= 0 && row < this.layers.length && column >= 0 && column < this.orders[row].length;
  }

  step(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") return this.choose(null);
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [down, across] = moves[event.key];
    const from = this.cell || { row: -down, column: -across };
    const row = Math.max(0, from.row + down), column = Math.max(0, from.column + across);
    if (this.exists(row, column)) this.choose({ row, column });
  }

  choose(cell) {
    this.cell = cell !== null && this.exists(cell.row, cell.column) ? cell : null;
    this.draw();
    if (this.cell === null) return this.chosen(null, null);
    this.chosen(this.cell.row, this.orders[this.cell.row][this.cell.column]);
  }
}
