// Runs the scripts of a page of profiles without a browser, uses it as a person would, and prints
// what was to be seen as JSON:  node fake_browser.js page.html
// Only what the page needs of a browser is here; anything else throws, and the test fails.
"use strict";
const fs = require("fs"), vm = require("vm");

class Element {
  constructor(name) {
    Object.assign(this, { name, children: [], attributes: {}, listeners: {}, style: {}, text: "",
                          className: "", clientWidth: 840, checked: false, classes: new Set() });
    this.classList = {
      add: (c) => this.classes.add(c),
      toggle: (c, on) => (on ? this.classes.add(c) : this.classes.delete(c)),
    };
  }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  addEventListener(type, listener) { (this.listeners[type] ||= []).push(listener); }
  getBoundingClientRect() { return { left: 0, top: 0, width: this.clientWidth, height: 400 }; }
  set textContent(text) { this.text = String(text); this.children = []; }
  get textContent() { return this.text + this.children.map((c) => c.textContent ?? c).join(""); }
  getContext() { return this.context ||= new Canvas(); }
  fire(type, event = {}) {
    for (const listener of this.listeners[type] || []) listener({ target: this, preventDefault() {}, ...event });
  }
  all(name) { return this.children.flatMap((c) => (c.all ? [...(c.name === name ? [c] : []), ...c.all(name)] : [])); }
}

// Keeps the rectangles of the last drawing, which begins with setTransform.
class Canvas {
  setTransform() { this.cells = []; this.outlines = 0; }
  fillRect(x, y, width, height) { this.cells.push({ x, y, width, height, colour: this.fillStyle }); }
  strokeRect() { this.outlines += 1; }
  fillText() {}
}

const html = fs.readFileSync(process.argv[2], "utf8");
const scripts = [...html.matchAll(/<script>\n([\s\S]*?)<\/script>/g)].map((match) => match[1]);
const ids = {};
for (const [, name, id] of html.matchAll(/<(\w+)[^>]*\sid="([\w-]+)"/g)) ids[id] = new Element(name);
ids.data.textContent = html.match(/id="data">([\s\S]*?)<\/script>/)[1];
const radios = [...html.matchAll(/<input type="radio" name="(\w+)" value="(\w+)"( checked)?>/g)]
  .map(([, group, value, checked]) => Object.assign(new Element("input"), { group, value, checked: Boolean(checked) }));

const document = {
  documentElement: new Element("html"),
  getElementById: (id) => ids[id],
  createElement: (name) => new Element(name),
  createElementNS: (_, name) => new Element(name),
  querySelector: (selector) => {
    const group = selector.match(/^input\[name="(\w+)"\]:checked$/)[1];
    return radios.find((radio) => radio.group === group && radio.checked);
  },
  querySelectorAll: (selector) => (selector === "input[type=radio]" ? radios : null),
};
const window = { devicePixelRatio: 2 };
const context = vm.createContext({
  document, window,
  matchMedia: () => ({ matches: false, addEventListener() {} }),
  getComputedStyle: () => ({ getPropertyValue: (name) => name }),
  ResizeObserver: class { observe() {} },
});
vm.runInContext(scripts.join("\n"), context);

function choose(group, value) {
  for (const radio of radios) if (radio.group === group) radio.checked = radio.value === value;
  radios.find((radio) => radio.group === group && radio.checked).fire("change");
}
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
