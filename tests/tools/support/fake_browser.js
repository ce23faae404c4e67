// Runs the scripts of a page without a browser; visit_*.js then use it as a person would.
// Only what the pages need of a browser is here; anything else throws, and the test fails.
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

// Elements by id, and a way to press radio buttons.
function openPage(path) {
  const html = fs.readFileSync(path, "utf8");
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
  return { ids, choose };
}

module.exports = { openPage };
