// SPDX-License-Identifier: Apache-2.0
//
// Curves of any metrics, of several runs over one another.
import {download, get, go} from "./api.js";
import {curvePanel} from "./chart.js";
import {el, replace} from "./dom.js";

const FIRST = ["reward/mean", "accuracy/mean", "format/mean", "completion/length_mean", "policy/entropy",
               "group/flat_share", "policy/grad_norm", "train/generator_learner_gap"];

function checks(title, names, chosen, change) {
  return el("fieldset", {}, el("legend", {}, title),
            el("div", {class: "checks"}, names.map((name) => el("label", {},
              el("input", {type: "checkbox", checked: chosen.has(name), onchange: (event) => {
                if (event.target.checked) chosen.add(name); else chosen.delete(name);
                change();
              }}), " ", name))));
}

export async function show(main, p, context) {
  const usable = context.runs.filter((run) => !run.error).map((run) => run.key);
  const asked = (p.runs ?? "").split(",").filter((key) => usable.includes(key));
  const runs = new Set(asked.length > 0 ? asked : usable.slice(0, 1));
  const names = new Set();
  for (const key of usable.slice(0, 20)) {
    for (const name of (await get("/api/metrics", {run: key}, context.signal)).names) names.add(name);
  }
  const evaluated = [...names].filter((name) => /^eval\/.*\/accuracy$/.test(name)).slice(0, 3);
  const metrics = new Set((p.m ? p.m.split(",") : [...evaluated, ...FIRST]).filter((name) => names.has(name)));
  let keep = Number(p.smooth ?? 0);
  const series = new Map();  // run -> metric -> points

  const panels = el("div", {class: "panels"});
  const state = () => ({runs: [...runs].join(","), m: [...metrics].join(","), smooth: keep || ""});
  const save = el("a", {download: "metrics.csv"}, "Table (CSV)");
  const drawPanels = () => {
    save.href = download("/api/metrics.csv", {runs: [...runs].join(","), names: [...metrics].join(",")});
    const shown = usable.filter((key) => runs.has(key));
    replace(panels, [...metrics].map((name) => curvePanel(name, shown.map((key) => ({
      name: key, kind: usable.indexOf(key) % 8, points: series.get(key)?.get(name) ?? [],
    })), {keep, pick: (x) => go("groups", {run: shown[0], i: x})})));
    if (metrics.size === 0) replace(panels, el("p", {class: "note"}, "Choose a metric."));
  };
  // What is not here yet, and what came since.
  const load = async () => {
    for (const key of runs) {
      if (!series.has(key)) series.set(key, new Map());
      const have = series.get(key);
      const missing = [...metrics].filter((name) => !have.has(name));
      if (missing.length > 0) {
        const answer = await get("/api/metrics", {run: key, names: missing.join(",")}, context.signal);
        for (const [name, points] of Object.entries(answer.series)) have.set(name, points);
      }
    }
    drawPanels();
  };
  const change = async () => {
    go("curves", state(), true);
    await load();
  };
  const find = el("input", {type: "search", placeholder: "metrics with …", "aria-label": "Find a metric",
                            "data-search": true, oninput: () => drawChoices()});
  const choices = el("div", {});
  const drawChoices = () => replace(choices, checks("Metrics", [...names].sort().filter(
      (name) => name.includes(find.value) || metrics.has(name)), metrics, change));
  drawChoices();
  replace(main, el("h1", {}, "Curves"),
          checks("Runs", usable, runs, change),
          el("div", {class: "bar"}, find, el("label", {}, "Smooth ",
            el("input", {type: "range", min: 0, max: 0.98, step: 0.02, value: keep, oninput: (event) => {
              keep = Number(event.target.value);
              go("curves", state(), true);
              drawPanels();
            }})), el("span", {class: "soft"}, "Click a curve to see that iteration."), save),
          choices, el("h2", {class: "spoken"}, "Charts"), panels);
  await load();
  let busy = false;
  return {
    title: "Curves",
    update: async (progress) => {
      if (!runs.has(progress.key) || busy || !series.has(progress.key)) return;
      const have = series.get(progress.key);
      const after = Math.max(0, ...[...have.values()].map((points) => points.at(-1)?.[0] ?? 0));
      if (progress.iterations === after) return;
      busy = true;
      try {
        // A run that was resumed from before starts over.
        const whole = progress.iterations < after;
        const answer = await get("/api/metrics", {run: progress.key, names: [...metrics].join(","),
                                                  after: whole ? 0 : after}, context.signal);
        if (whole) have.clear();
        for (const [name, points] of Object.entries(answer.series)) {
          have.set(name, (have.get(name) ?? []).concat(points));
        }
        drawPanels();
      } finally {
        busy = false;
      }
    },
  };
}
