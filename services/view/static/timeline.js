// SPDX-License-Identifier: Apache-2.0
//
// Where the time went, by iteration.
import {address, download, get, go} from "./api.js";
import {barPanel, curvePanel} from "./chart.js";
import {el, line, replace, table} from "./dom.js";

const WALL = ["time/rollout_s", "time/update_s", "time/store_wait_s", "time/sync_s", "time/evaluate_s"];
const WORK = ["time/generate_s", "time/verify_s", "time/store_s"];
const RATES = ["tokens/per_s", "verifier/latency_p50_ms", "verifier/outage_share", "memory/rss_bytes"];

const clock = (time) => (time ?? "").replace("T", " ").slice(0, 19);

export async function show(main, p, context) {
  const {run} = p;
  const place = el("div", {});
  const save = el("a", {href: download("/api/trace.json", {run}), download: "trace.json"}, "Trace for Perfetto");
  const pick = (i) => go("groups", {run, i});
  let busy = false;
  const draw = async () => {
    const [{series}, about] = await Promise.all([
      get("/api/metrics", {run, names: [...WALL, ...WORK, ...RATES].join(",")}, context.signal),
      get("/api/run", {run}, context.signal)]);
    const xs = series["time/rollout_s"].map(([x]) => x);
    const bars = (names) => names.map((name, kind) => {
      const values = new Map(series[name]);
      return {name: name.slice(5, -2).replace("_", " "), kind, values: xs.map((x) => values.get(x) ?? null)};
    }).filter((part) => part.values.some((value) => value !== null));
    save.hidden = xs.length === 0;
    const events = about.events.slice().reverse();
    replace(place, xs.length === 0 ? el("p", {class: "note"}, about.iterations === 0 ? "No iteration was recorded yet." : "This run recorded no times.") : el("div", {class: "panels"},
      barPanel("Wall time of an iteration", xs, bars(WALL), "s", pick),
      barPanel("Work, summed over workers and threads", xs, bars(WORK), "s", pick),
      RATES.filter((name) => series[name].length > 0).map((name, kind) => curvePanel(name, [{name: run, kind, points: series[name]}], {pick}))),
      el("h2", {}, "Attempts"),
      table([["", "number"], "Started (UTC)", "Ended", "Why", "Host"], (about.attempts ?? []).map((one) => el("tr", {}, el("td", {class: "number"}, one.n),
        el("td", {}, clock(one.started)), el("td", {}, clock(one.ended)), el("td", {class: "text"}, line(one.end_reason || about.state)), el("td", {}, line(one.host))))),
      el("h2", {}, "Events and checkpoints"),
      events.length === 0 ? el("p", {class: "soft"}, "none") : table([["Iteration", "number"], "What", "", "At"], events.map((one) => el("tr", {},
        el("td", {class: "number"}, one.iteration), el("td", {}, line(one.kind)), el("td", {class: "text"}, line(one.text, 500)), el("td", {}, clock(one.at))))));
  };
  replace(main, el("h1", {}, `Timeline of ${run}`), el("p", {class: "soft"}, "Click an iteration to see its groups.  ",
    save), place);
  await draw();
  return {title: `timeline ${run}`, up: address("runs"), update: async (progress) => {
    if (progress.key !== run || busy) return;
    busy = true;
    try { await draw(); } finally { setTimeout(() => { busy = false; }, 1000); }
  }};
}
