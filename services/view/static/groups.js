// SPDX-License-Identifier: Apache-2.0
//
// An iteration: a row a group, a cell a completion, coloured by advantage.
import {address, download, get, go} from "./api.js";
import {diverging, paint} from "./colours.js";
import {el, line, number, outcome, replace, say, signed} from "./dom.js";

const mean = (values) => values.reduce((a, b) => a + b, 0) / Math.max(1, values.length);
const spread = (values) => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
};

const SORTS = {
  order: ["order of drawing", () => 0],
  spread: ["spread of rewards", (group) => -group.reward_std],
  advantage: ["greatest advantage", (group) => -Math.max(0, ...group.cells.map((c) => Math.abs(c.advantage ?? 0)))],
  reward: ["mean reward, least first", (group) => group.baseline],
  length: ["spread of lengths", (group) => -spread(group.cells.map((cell) => cell.length))],
  parts: ["disagreement between reward parts", (group) => -group.disagreement],
};

function badges(group) {
  const cut = group.cells.filter((cell) => cell.stop === "length" || cell.stop === "context").length;
  const list = [];
  if (group.flat) list.push(["flat", "soft", "all rewards equal: it teaches nothing"]);
  if (group.drop !== "none" && group.drop !== "flat") list.push([`dropped: ${group.drop}`, "warn", "not trained on"]);
  if (cut > 0) list.push([`${cut} cut off`, "warn", "stopped by a limit on their length"]);
  const misformed = group.cells.filter((cell) => cell.parts.format === 0).length;
  if (misformed > 0) list.push([`${misformed} without form`, "warn", "the reward part format is 0"]);
  if (group.outages > 0) list.push([`${group.outages} outages`, "bad", "the verifier could not judge them"]);
  if (group.skipped > 0) list.push([`${group.skipped} skipped`, "warn", "they cannot be judged at all"]);
  return list.map(([text, kind, title]) => el("span", {class: `badge ${kind}`, title}, text));
}

const MOST_WIDE_CELLS = 16;  // of a group; beyond, a cell is its sign and colour

function cellNode(run, cell, wide) {
  const {sign, label} = outcome(cell.outcome);
  const cut = cell.stop === "length" || cell.stop === "context";
  const node = el("a", {
    class: "cell" + (cut ? " truncated" : "") + (wide ? "" : " narrow"),
    href: address("trajectory", {run, id: cell.id}),
    title: `sample ${cell.sample}: ${label}, reward ${number(cell.reward)}, advantage ${signed(cell.advantage)}, ` +
           `${cell.length} tokens${cut ? ", cut off" : ""}`,
    "aria-label": `sample ${cell.sample}: ${label}, advantage ${signed(cell.advantage)}`,
  }, wide ? `${sign} ${signed(cell.advantage)}` : sign);
  paint(node, diverging(cell.advantage, 2));
  return node;
}

function groupRow(run, group) {
  return el("div", {class: "group-row"},
            el("a", {class: "prompt", href: address("group", {run, id: group.id}), "data-item": true},
               line(group.prompt || group.task)),
            el("span", {class: "figures", title: "mean reward and its spread (standard deviation)"},
               `${number(group.baseline, 2)} ± ${number(group.reward_std, 2)}`),
            el("div", {class: "cells"}, group.cells.map((cell) => cellNode(run, cell, group.cells.length <= MOST_WIDE_CELLS)), badges(group)));
}

function summary(groups) {
  const cells = groups.flatMap((group) => group.cells);
  const right = cells.filter((cell) => cell.outcome === "correct").length;
  const flat = groups.filter((group) => group.flat).length;
  return `${groups.length} groups, ${cells.length} completions, ${right} correct, ${flat} groups flat`;
}

export async function show(main, p, context) {
  const {run} = p;
  let sort = SORTS[p.sort] ? p.sort : "order";
  let data = null;
  let following = !p.i;
  const list = el("div", {class: "group-grid"});
  const words = el("span", {class: "soft"});
  const number_ = el("output", {class: "mono", for: "slider"});
  const slider = el("input", {type: "range", min: 1, step: 1, id: "slider", "aria-label": "Iteration"});
  const heading = el("span", {});
  const report = el("a", {download: "report.html"}, "Report of it (HTML)");

  const drawList = () => {
    const key = SORTS[sort][1];
    const ordered = data.groups.map((group, i) => [key(group), i, group]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    replace(list, ordered.map(([, , group]) => groupRow(run, group)));
    if (ordered.length === 0) {
      replace(list, el("p", {class: "note"}, "This iteration has no groups", data.iterations === 0 ? " yet." : "."));
    }
    words.textContent = summary(data.groups);
  };
  const load = async (iteration) => {
    data = await get("/api/groups", {run, iteration}, context.signal);
    slider.max = Math.max(1, data.iterations);
    slider.value = data.iteration;
    number_.textContent = `${data.iteration} of ${data.iterations}`;
    report.href = download("/api/report.html", {run, iteration: data.iteration});
    heading.textContent = `${run}, iteration ${data.iteration}`;
    drawList();
  };
  const last = context.runs.find((one) => one.key === run)?.iterations ?? 0;
  let wanted = Number(p.i ?? 0) || Math.max(1, last);
  let pending = false;
  // The newest place of the slider wins; one request at a time.
  const goTo = async (iteration) => {
    wanted = Math.min(Math.max(1, iteration), Number(slider.max));
    slider.value = wanted;
    number_.textContent = `${wanted} of ${slider.max}`;
    following = false;
    go("groups", {run, i: wanted, sort: sort === "order" ? "" : sort}, true);
    if (pending) return;
    pending = true;
    try {
      while (data.iteration !== wanted) await load(wanted);
      say(`iteration ${wanted}: ${summary(data.groups)}`);
    } finally {
      pending = false;
    }
  };
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  replace(main, el("h1", {}, heading),
          el("div", {class: "bar"},
             el("button", {type: "button", onclick: () => goTo(wanted - 1), "aria-label": "Previous iteration"}, "◀"),
             slider, el("button", {type: "button", onclick: () => goTo(wanted + 1), "aria-label": "Next iteration"}, "▶"),
             number_, report,
             el("label", {}, "Sort by ", el("select", {onchange: (event) => {
               sort = event.target.value;
               go("groups", {run, i: following ? "" : wanted, sort}, true);
               drawList();
             }}, Object.entries(SORTS).map(([name, [label]]) =>
                 el("option", {value: name, selected: name === sort}, label))))),
          el("p", {}, words),
          el("div", {class: "group-row head", "aria-hidden": "true"}, el("span", {}, "prompt"),
             el("span", {class: "figures"}, "reward"), el("span", {}, "completions: outcome and advantage, blue above the mean of " +
             "the group, orange below; a double line: cut off")),
          list);
  await load(wanted);
  return {
    title: `${run}, iteration ${wanted}`,
    keys: {ArrowLeft: () => goTo(wanted - 1), ArrowRight: () => goTo(wanted + 1)},
    up: address("runs"),
    update: async (progress) => {
      if (progress.key !== run) return;
      if (following && progress.iterations > data.iteration) {
        wanted = progress.iterations;
        await load(wanted);
      } else if (progress.iterations > Number(slider.max)) {
        slider.max = progress.iterations;
        number_.textContent = `${wanted} of ${slider.max}`;
      }
    },
  };
}
