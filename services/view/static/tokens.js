// SPDX-License-Identifier: Apache-2.0
//
// The tokens of a trajectory, tinted by a channel. Only the lines in sight exist as elements, so that
// 32,000 tokens scroll like 32.
import {diverging, paint, rising, unlikely} from "./colours.js";
import {el, isOdd, nameOdd, number, replace} from "./dom.js";

const LINE = 22;        // pixels, as --row of style.css
const OVERSCAN = 6;     // lines above and below those in sight
const MOST_LINES = 700000;  // beyond, browsers' elements are not that tall

// k3: an estimate of KL(policy || reference) that is never negative.
const k3 = (from, to) => Math.exp(to - from) - (to - from) - 1;

// name -> {label, value(i) or null, colour(value), words(value)}; only what the trajectory has.
export function channelsOf(t) {
  const {behaviour_logprobs: logprobs, entropy, reference_logprob: reference, current_logprob: current,
         advantage} = t.channels;
  const sampled = new Uint8Array(t.token_ids.length);
  for (const one of t.segments) {
    if (one.kind === "model") sampled.fill(1, one.first_token, one.first_token + one.token_count);
  }
  const only = (values) => (i) => (values && sampled[i] ? values[i] : null);
  const pair = (a, b, f) => (i) => (a && b && sampled[i] && a[i] !== null && b[i] !== null ? f(a[i], b[i]) : null);
  const exact = (value) => number(value, 5);
  return {
    none: {label: "no tint", has: true, value: () => null, colour: () => ""},
    probability: {label: "probability", has: Boolean(logprobs), value: only(logprobs), colour: unlikely,
                  words: (value) => `${exact(Math.exp(value))} (logprob ${exact(value)})`,
                  scale: [[0, "1"], [Math.log(0.5), "0.5"], [Math.log(0.1), "0.1"], [Math.log(0.001), "0.001"]]},
    entropy: {label: "entropy", has: Boolean(entropy), value: only(entropy), colour: (v) => rising(v, 3),
              words: (value) => `${exact(value)} nats`, scale: [[0, "0"], [1, "1"], [2, "2"], [3, "3 nats"]]},
    advantage: {label: "advantage", has: t.advantage !== null,
                value: (i) => (sampled[i] ? (advantage ? advantage[i] : t.advantage) : null),
                colour: (v) => diverging(v, 2), words: exact, scale: [[-2, "−2"], [-1, "−1"], [1, "+1"], [2, "+2"]]},
    kl: {label: "KL to the reference (k3)", has: Boolean(logprobs && reference), value: pair(logprobs, reference, k3),
         colour: (v) => rising(v, 0.5), words: exact, scale: [[0, "0"], [0.1, "0.1"], [0.25, "0.25"], [0.5, "0.5"]]},
    ratio: {label: "ratio current / behaviour", has: Boolean(logprobs && current),
            value: pair(logprobs, current, (a, b) => Math.exp(b - a)), colour: (v) => diverging(v === null ? null : v - 1, 0.5),
            words: exact, scale: [[0.5, "0.5"], [0.8, "0.8"], [1.2, "1.2"], [1.5, "1.5"]]},
  };
}

// Parts of a trajectory: [{name, from, to}], a model segment parted where its thinking ends.
export function regionsOf(t) {
  const regions = [];
  for (const one of t.segments) {
    const from = one.first_token, to = from + one.token_count;
    if (one.kind !== "model" || !t.texts) {
      regions.push({name: one.kind === "model" ? "completion" : one.kind, from, to});
      continue;
    }
    let text = "", end = -1;
    for (let i = from; i < to && end < 0; ++i) {
      text = text.slice(-40) + t.texts[i];
      if (text.includes("</think>")) end = i + 1;
    }
    if (end < 0) {
      regions.push({name: "completion, thinking not ended", from, to});
    } else {
      regions.push({name: "thinking", from, to: end});
      if (end < to) regions.push({name: "answer", from: end, to});
    }
  }
  return regions;
}

// What a token looks like: pieces of text, and whether its line ends with it.
function look(t, i) {
  let text = t.texts ? t.texts[i] : `⟨${t.token_ids[i]}⟩`;
  if (text === "") return {text: t.pieces?.[i] ? `⟨${t.pieces[i]}⟩` : "·", ghost: true, ends: false};
  const ends = text.endsWith("\n");
  text = text.replaceAll("\n", "⏎").replaceAll("\t", "→   ");
  if (isOdd(text)) {
    let named = "";
    for (const character of text) named += isOdd(character) ? `‹${nameOdd(character)}›` : character;
    text = named;
  }
  return {text, ghost: false, ends};
}

function columns(text) {
  let count = 0;
  for (const character of text) count += character.codePointAt(0) >= 0x1100 ? 2 : 1;
  return count;
}

// Lines of at most `width` columns: {head} or {from, to}.
function linesOf(t, regions, width) {
  const lines = [];
  for (const region of regions) {
    lines.push({head: `${region.name} · ${region.to - region.from} tokens`, from: region.from, to: region.from});
    let from = region.from, used = 0;
    for (let i = region.from; i < region.to; ++i) {
      const {text, ends} = look(t, i);
      const size = columns(text);
      if (used > 0 && used + size > width) {
        lines.push({from, to: i});
        from = i;
        used = 0;
      }
      used += size;
      if (ends) {
        lines.push({from, to: i + 1});
        from = i + 1;
        used = 0;
      }
    }
    if (from < region.to) lines.push({from, to: region.to});
    if (lines.length > MOST_LINES) break;
  }
  return lines;
}

export class TokenView {
  // chosen(i) is called when another token is looked at.
  constructor(t, {channel = "probability", chosen = null} = {}) {
    this.t = t;
    this.channels = channelsOf(t);
    this.regions = regionsOf(t);
    this.channel = this.channels[channel]?.has ? channel : "none";
    this.onChosen = chosen;
    this.at = -1;
    this.found = new Set();
    this.facts = el("div", {class: "token-facts", id: "token-facts"}, el("span", {class: "soft"},
      "Point at a token, or focus the tokens and use the arrow keys."));
    this.space = el("div", {class: "space"});
    this.box = el("div", {class: "tokens", tabindex: 0, role: "group", "aria-describedby": "token-facts",
                          "aria-label": `${t.token_ids.length} tokens; arrow keys move`}, this.space);
    this.drawn = new Map();
    this.box.addEventListener("scroll", () => this.later(), {passive: true});
    this.box.addEventListener("pointerover", (event) => this.point(event.target));
    this.box.addEventListener("click", (event) => this.point(event.target, true));
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.layout()).observe(this.box);
  }

  layout() {
    const probe = el("div", {class: "line"}, "M".repeat(100));
    this.space.append(probe);
    const one = probe.getBoundingClientRect().width ? measure(probe) / 100 : 8.4;
    probe.remove();
    const width = Math.max(20, Math.floor((this.box.clientWidth - 24) / one));
    if (width === this.width) return this.later();
    this.width = width;
    this.lines = linesOf(this.t, this.regions, width);
    this.space.style.height = `${this.lines.length * LINE}px`;
    this.clear();
    this.draw();
    if (this.at >= 0) this.reveal(this.at);
  }

  clear() {
    for (const node of this.drawn.values()) node.remove();
    this.drawn.clear();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    if (!this.lines) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / LINE) - OVERSCAN);
    const last = Math.min(this.lines.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / LINE) + OVERSCAN);
    for (const [i, node] of this.drawn) {
      if (i >= first && i < last) continue;
      node.remove();
      this.drawn.delete(i);
    }
    const fresh = document.createDocumentFragment();
    for (let i = first; i < last; ++i) {
      if (this.drawn.has(i)) continue;
      const node = this.drawLine(this.lines[i]);
      node.style.top = `${i * LINE}px`;
      this.drawn.set(i, node);
      fresh.append(node);
    }
    this.space.append(fresh);
  }

  drawLine(line) {
    if (line.head) return el("div", {class: "line head"}, line.head);
    const node = el("div", {class: "line"});
    const channel = this.channels[this.channel];
    for (let i = line.from; i < line.to; ++i) {
      const {text, ghost} = look(this.t, i);
      const token = document.createElement("span");
      token.className = "token" + (ghost ? " ghost" : "") + (i === this.at ? " chosen" : "") +
                        (this.found.has(i) ? " found" : "");
      token.textContent = text;
      token.dataset.i = i;
      const colour = channel.colour(channel.value(i));
      if (colour) paint(token, colour);
      node.append(token);
    }
    return node;
  }

  again() {
    this.clear();
    this.draw();
  }

  setChannel(name) {
    this.channel = name;
    this.again();
  }

  point(target, choose = false) {
    const i = target.dataset?.i;
    if (i === undefined) return;
    if (choose) this.choose(Number(i)); else this.describe(Number(i));
  }

  describe(i) {
    const {t} = this;
    const pairs = [["token", `${i} of ${t.token_ids.length}`], ["id", t.token_ids[i]],
                   ["text", JSON.stringify(t.texts ? t.texts[i] || t.pieces?.[i] || "" : "")]];
    for (const [name, channel] of Object.entries(this.channels)) {
      const value = name === "none" ? null : channel.value(i);
      if (value !== null) pairs.push([channel.label, channel.words(value)]);
    }
    for (const [name, values] of Object.entries(t.channels)) {
      if (!["behaviour_logprobs", "entropy"].includes(name)) pairs.push([name, number(values[i], 5)]);
    }
    replace(this.facts, pairs.map(([name, value]) => el("span", {}, el("span", {class: "soft"}, name + " "),
      el("b", {class: "mono"}, value))));
  }

  choose(i) {
    this.at = Math.min(this.t.token_ids.length - 1, Math.max(0, i));
    this.describe(this.at);
    this.reveal(this.at);
    this.again();
    this.onChosen?.(this.at);
  }

  lineOf(i) {
    let low = 0, high = this.lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle].from <= i) low = middle; else high = middle - 1;
    }
    return low;
  }

  reveal(i) {
    if (!this.lines) return;
    const top = this.lineOf(i) * LINE;
    if (top < this.box.scrollTop + LINE || top > this.box.scrollTop + this.box.clientHeight - 2 * LINE) {
      this.box.scrollTop = Math.max(0, top - this.box.clientHeight / 2);
    }
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.lines) return;
    const at = Math.max(0, this.at);
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const lines = {ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20}[event.key];
    if (step) {
      this.choose(this.at < 0 ? 0 : at + step);
    } else if (lines) {
      const here = this.lineOf(at);
      let to = Math.min(this.lines.length - 1, Math.max(0, here + lines));
      while (this.lines[to]?.head && to + Math.sign(lines) >= 0 && to + Math.sign(lines) < this.lines.length) {
        to += Math.sign(lines);
      }
      if (!this.lines[to].head) this.choose(Math.min(this.lines[to].from + at - this.lines[here].from, this.lines[to].to - 1));
    } else if (event.key === "Home") {
      this.choose(0);
    } else if (event.key === "End") {
      this.choose(this.t.token_ids.length - 1);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // Tokens that a text covers; goes to the next one after the chosen token. Their number of places.
  find(text) {
    this.found = new Set();
    if (text === "" || !this.t.texts) {
      this.again();
      return 0;
    }
    if (!this.whole) {
      this.starts = new Uint32Array(this.t.texts.length + 1);
      this.t.texts.forEach((one, i) => { this.starts[i + 1] = this.starts[i] + one.length; });
      this.whole = this.t.texts.join("").toLowerCase();
    }
    const wanted = text.toLowerCase();
    const places = [];
    for (let at = this.whole.indexOf(wanted); at >= 0 && places.length < 10000; at = this.whole.indexOf(wanted, at + 1)) {
      let low = 0, high = this.t.texts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.starts[middle] <= at) low = middle; else high = middle - 1;
      }
      places.push(low);
      for (let i = low; i < this.t.texts.length && this.starts[i] < at + wanted.length; ++i) this.found.add(i);
    }
    if (places.length > 0) this.choose(places.find((i) => i > this.at) ?? places[0]); else this.again();
    return places.length;
  }
}

function measure(probe) {
  const range = document.createRange();
  range.selectNodeContents(probe);
  return range.getBoundingClientRect().width;
}
