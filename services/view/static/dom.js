// SPDX-License-Identifier: Apache-2.0
//
// Elements from data. Texts become text nodes and nothing else: whatever a model wrote is shown and
// never parsed.

// el("td", {class: "number", onclick: f}, "text", node, ...); null and false are left out.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      node.addEventListener(name.slice(2), value);
    } else if (name === "value" || name === "checked" || name === "disabled") {
      node[name] = value;
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

// Characters that are not seen, or that change what others look like: controls, direction
// overrides, zero-width ones, tags, lone surrogates.
const ODD = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}\\ud800-\\udfff]", "gu");

export function isOdd(text) {
  ODD.lastIndex = 0;
  return ODD.test(text);
}

export function nameOdd(character) {
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// A text from outside as nodes, odd characters by their names.
export function shown(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(ODD)) {
    if (match.index > from) parts.push(document.createTextNode(text.slice(from, match.index)));
    parts.push(el("span", {class: "odd"}, nameOdd(match[0])));
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(document.createTextNode(text.slice(from)));
  return parts;
}

// On one line, at most `limit` characters.
export function line(text, limit = 200) {
  const cut = text.length > limit ? text.slice(0, limit) + "…" : text;
  return shown(cut.replace(/\s*\n\s*/g, " ⏎ "));
}

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  const text = value.toFixed(size >= 100 ? 1 : digits);
  // Three places line up in columns; of more, noughts at the end say nothing.
  return digits > 3 ? String(parseFloat(text)) : text;
}

export function signed(value) {
  if (value === null || value === undefined) return "–";
  return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
}

// A time that was measured in microseconds.
export function duration(us) {
  if (us < 1000) return `${number(us)} µs`;
  return us < 1e6 ? `${number(us / 1000, 1)} ms` : `${number(us / 1e6, 2)} s`;
}

export function facts(pairs) {
  return el("dl", {class: "facts"},
            pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
                .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function table(heads, rows, attributes = {}) {
  return el("div", {class: "scroll"},
            el("table", attributes,
               el("thead", {}, el("tr", {}, heads.map((head) => {
                 const [text, kind] = Array.isArray(head) ? head : [head, null];
                 return el("th", {scope: "col", class: kind}, text);
               }))),
               el("tbody", {}, rows)));
}

export function outcome(name) {
  const signs = {correct: ["✓", "good"], wrong: ["✗", "bad"], unparsable: ["?", "warn"],
                 limit_exceeded: ["⊘", "warn"], violation: ["!", "bad"]};
  const [sign, kind] = signs[name] ?? ["·", "soft"];
  return {sign, kind, label: name.replace("_", " ")};
}

export function outcomeNode(name) {
  const {sign, kind, label} = outcome(name);
  return el("span", {class: kind}, sign + " " + label);
}

export function say(text) {
  document.getElementById("spoken").textContent = text;
}
