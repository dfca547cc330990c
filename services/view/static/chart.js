// SPDX-License-Identifier: Apache-2.0
//
// Curves and stacked bars as SVG.
import {el, number, replace, svg} from "./dom.js";

const WIDTH = 520, HEIGHT = 220;
const LEFT = 58, RIGHT = 10, TOP = 10, BOTTOM = 24;

// Round figures over a range, four to seven of them.
export function ticks(low, high) {
  if (!(high > low)) return [low];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const list = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) {
    list.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  }
  return list;
}

// An exponential mean with its start corrected; gaps stay gaps.
export function smooth(points, keep) {
  if (!(keep > 0)) return points;
  let sum = 0, weight = 0;
  return points.map(([x, y]) => {
    if (y === null) return [x, null];
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [x, sum / weight];
  });
}

// Without the noughts at its end.
function short(value) {
  if (Math.abs(value) >= 1e5) return value.toLocaleString("en", {notation: "compact"});
  return Number.isInteger(value) || Math.abs(value) < 0.001 ? number(value) : String(parseFloat(value.toFixed(4)));
}

function range(values, pad) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low === 0 && high === 0) return [0, 1];
  if (low === high) return [low - 0.5, high + 0.5];
  return [low - pad * (high - low), high + pad * (high - low)];
}

function axes(xs, ys, place) {
  const parts = [];
  for (const y of ticks(...ys)) {
    const at = place.y(y);
    parts.push(svg("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at}),
               svg("text", {x: LEFT - 6, y: at + 4, "text-anchor": "end"}, short(y)));
  }
  for (const x of ticks(...xs).filter(Number.isInteger)) {
    parts.push(svg("text", {x: place.x(x), y: HEIGHT - 7, "text-anchor": "middle"}, x));
  }
  return parts;
}

function scales(xs, ys) {
  return {
    x: (x) => LEFT + (x - xs[0]) / Math.max(1e-12, xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT),
    y: (y) => HEIGHT - BOTTOM - (y - ys[0]) / Math.max(1e-300, ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM),
  };
}

function path(points, place) {
  let text = "", pen = "M";
  for (const [x, y] of points) {
    if (y === null) {
      pen = "M";
      continue;
    }
    text += `${pen}${place.x(x).toFixed(1)} ${place.y(y).toFixed(1)}`;
    pen = "L";
  }
  return text;
}

// At most some two points a pixel, with the least and the greatest of each step kept.
function thin(points, most = 1000) {
  if (points.length <= most) return points;
  const step = Math.ceil(points.length / (most / 2));
  const kept = [];
  for (let from = 0; from < points.length; from += step) {
    const part = points.slice(from, from + step).filter((point) => point[1] !== null);
    if (part.length === 0) continue;
    const low = part.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = part.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low[0] < high[0] ? [low, high] : low === high ? [low] : [high, low]));
  }
  return kept;
}

function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && Math.abs(points[low - 1][0] - x) < Math.abs(points[low][0] - x) ? points[low - 1] : points[low];
}

// One metric, a curve a run: series = [{name, kind, points: [[x, y or null], ...]}], kind being a
// colour's number. Pointing at an iteration shows its figures in the legend; clicking calls pick(x).
export function curvePanel(title, series, {keep = 0, pick = null} = {}) {
  const filled = series.filter((one) => one.points.length > 0);
  const legend = el("div", {class: "legend"});
  const label = (x) => replace(legend, filled.map((one) => {
    const [at, value] = x === null ? one.points[one.points.length - 1] : nearest(one.points, x);
    return el("span", {class: `series-${one.kind}`}, el("span", {class: "swatch"}), one.name, " ",
              el("span", {class: "value"}, number(value, 4), el("span", {class: "soft"}, ` at ${at}`)));
  }));
  if (filled.length === 0) {
    return el("figure", {}, el("figcaption", {}, title), el("p", {class: "soft"}, "no figures"));
  }
  label(null);
  const smoothed = filled.map((one) => ({...one, curve: smooth(one.points, keep)}));
  const xs = range(filled.flatMap((one) => [one.points[0][0], one.points[one.points.length - 1][0]]), 0);
  const ys = range(smoothed.flatMap((one) => (keep > 0 ? one.curve : one.points).map((p) => p[1])), 0.05);
  const place = scales(xs, ys);
  const cursor = svg("line", {class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9});
  const last = filled.map((one) => `${one.name} ${number(one.points[one.points.length - 1][1], 4)}`).join(", ");
  const chart = svg("svg", {class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
                            "aria-label": `${title} by iteration; last: ${last}`},
                    axes(xs, ys, place), smoothed.map((one) => [
                      keep > 0 ? svg("path", {class: `curve faint series-${one.kind}`,
                                              d: path(thin(one.points.map(([x, y]) => [x, y === null ? null :
                                                  Math.min(ys[1], Math.max(ys[0], y))])), place)}) : null,
                      svg("path", {class: `curve series-${one.kind}`, d: path(thin(one.curve), place)}),
                      one.points.length === 1 && one.points[0][1] !== null ?
                          svg("circle", {class: `block series-${one.kind}`, r: 3, cx: place.x(one.points[0][0]),
                                         cy: place.y(one.points[0][1])}) : null,
                    ]), cursor);
  const at = (event) => {
    const box = chart.getBoundingClientRect();
    const inside = (event.clientX - box.left) / box.width * WIDTH;
    const x = xs[0] + (inside - LEFT) / (WIDTH - LEFT - RIGHT) * (xs[1] - xs[0]);
    return Math.round(Math.min(xs[1], Math.max(xs[0], x)));
  };
  chart.addEventListener("pointermove", (event) => {
    const x = at(event);
    cursor.setAttribute("x1", place.x(x));
    cursor.setAttribute("x2", place.x(x));
    label(x);
  });
  chart.addEventListener("pointerleave", () => {
    cursor.setAttribute("x1", -9);
    cursor.setAttribute("x2", -9);
    label(null);
  });
  if (pick) chart.addEventListener("click", (event) => pick(at(event)));
  return el("figure", {}, el("figcaption", {}, title), chart, legend);
}

// Stacked bars: parts = [{name, kind, values}], a value an x.
export function barPanel(title, xs, parts, unit, pick = null) {
  const totals = xs.map((x, i) => parts.reduce((sum, part) => sum + (part.values[i] ?? 0), 0));
  const place = scales([xs[0] - 0.5, xs[xs.length - 1] + 0.5], [0, Math.max(1e-9, ...totals)]);
  const width = Math.max(0.5, (place.x(1) - place.x(0)) * 0.92);
  const blocks = [];
  xs.forEach((x, i) => {
    let sum = 0;
    for (const part of parts) {
      const value = part.values[i] ?? 0;
      if (!(value > 0)) continue;
      const top = place.y(sum + value);
      blocks.push(svg("rect", {class: `block series-${part.kind}`, x: (place.x(x) - width / 2).toFixed(2),
                               y: top.toFixed(2), width: width.toFixed(2),
                               height: Math.max(0, place.y(sum) - top).toFixed(2)}));
      sum += value;
    }
  });
  const legend = el("div", {class: "legend"});
  const label = (i) => replace(legend, parts.map((part) => {
    const sum = part.values.reduce((total, value) => total + (value ?? 0), 0);
    const value = i === null ? sum : part.values[i] ?? 0;
    return el("span", {class: `series-${part.kind}`}, el("span", {class: "swatch"}), part.name, " ",
              el("span", {class: "value"}, number(value, 2), " ", unit));
  }), el("span", {class: "soft"}, i === null ? `all ${xs.length} iterations` : `iteration ${xs[i]}`));
  label(null);
  const chart = svg("svg", {class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
                            "aria-label": `${title}, by iteration, ${unit}`},
                    axes([xs[0], xs[xs.length - 1]], [0, Math.max(1e-9, ...totals)], place), blocks);
  const at = (event) => {
    const box = chart.getBoundingClientRect();
    const inside = (event.clientX - box.left) / box.width * WIDTH;
    const x = xs[0] - 0.5 + (inside - LEFT) / (WIDTH - LEFT - RIGHT) * (xs[xs.length - 1] - xs[0] + 1);
    return Math.min(xs.length - 1, Math.max(0, Math.round(x - xs[0])));
  };
  chart.addEventListener("pointermove", (event) => label(at(event)));
  chart.addEventListener("pointerleave", () => label(null));
  if (pick) chart.addEventListener("click", (event) => pick(xs[at(event)]));
  return el("figure", {}, el("figcaption", {}, title), chart, legend);
}
