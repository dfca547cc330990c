// SPDX-License-Identifier: Apache-2.0
//
// What a run is: config, attempts, evaluations.
import {address, get} from "./api.js";
import {el, facts, line, number, replace, shown, table} from "./dom.js";

export async function show(main, p, context) {
  const {run} = p;
  const about = await get("/api/run", {run}, context.signal);
  const last = about.attempts?.at(-1);
  let environment = last?.environment ?? "";
  try {
    environment = JSON.stringify(JSON.parse(environment), null, 2);
  } catch (error) {
    // Shown as it is.
  }
  replace(main, el("h1", {}, run),
    facts([["folder", el("span", {class: "mono"}, line(about.path, 1000))], ["id", el("span", {class: "mono"}, about.id)],
           ["state", about.state], ["iterations", number(about.iterations)], ["groups", number(about.groups)],
           ["trajectories", number(about.trajectories)], ["code version", el("span", {}, line(about.code_version))],
           ["branch of", about.parent_run || null]]),
    el("h2", {}, "Evaluations"),
    about.evaluations.length === 0 ? el("p", {class: "soft"}, "none") :
      table([["Iteration", "number"], "Tasks", ["Accuracy", "number"], "95 % interval", ["Of", "number"], ["k", "number"], ["Cut off", "number"], ["Outages", "number"]],
        about.evaluations.map((one) => el("tr", {}, el("td", {class: "number"}, one.iteration), el("td", {}, line(one.name)),
          el("td", {class: "number"}, number(one.accuracy)), el("td", {}, `${number(one.ci_low)} to ${number(one.ci_high)}`),
          el("td", {class: "number"}, number(one.n)), el("td", {class: "number"}, one.k), el("td", {class: "number"}, number(one.truncated)), el("td", {class: "number"}, number(one.outages))))),
    el("h2", {}, "Last iteration"),
    facts(Object.entries(about.last).map(([name, value]) => [name, number(value, 5)])),
    el("h2", {}, "Config"), el("pre", {}, shown(about.config)),
    el("h2", {}, "Environment of the last attempt"), el("pre", {}, shown(environment)));
  return {title: run, up: address("runs")};
}
