// SPDX-License-Identifier: Apache-2.0
//
// The list of runs.
import {address} from "./api.js";
import {el, number, outcome, replace, table} from "./dom.js";

const SHOWN_SETS = 4;  // task sets of a run

function accuracy(run) {
  const sets = new Map();
  for (const one of run.evaluations ?? []) {
    if (!sets.has(one.name)) sets.set(one.name, []);
    sets.get(one.name).push(one);
  }
  const nodes = [...sets].slice(0, SHOWN_SETS).map(([name, list]) => {
    const first = list[0];
    const last = list[list.length - 1];
    const interval = `95 % interval ${number(last.ci_low)} to ${number(last.ci_high)}, ${last.n} tasks`;
    return el("div", {title: interval}, list.length > 1 ? number(first.accuracy) + " → " : "",
              number(last.accuracy), el("span", {class: "soft"}, "  " + name));
  });
  if (sets.size <= SHOWN_SETS) return nodes;
  return [nodes, el("a", {href: address("about", {run: run.key})}, `and ${sets.size - SHOWN_SETS} more`)];
}

function stateNode(state) {
  const kind = state === "running" ? "good" : state.startsWith("failed") || state === "killed" ? "bad" : "soft";
  return el("span", {class: kind}, state || "new");
}

function row(run) {
  if (run.error) {
    return el("tr", {}, el("td", {}, run.key), el("td", {colspan: 7, class: "bad"}, run.error));
  }
  const last = run.last ?? {};
  return el("tr", {},
            el("td", {}, el("a", {href: address("groups", {run: run.key}), "data-item": true}, run.key),
               run.parent_run ? el("div", {class: "soft"}, "branch of ", run.parent_run.slice(0, 8)) : null),
            el("td", {}, stateNode(run.state)),
            el("td", {class: "number"}, number(run.iterations)),
            el("td", {class: "number"}, number(run.trajectories)),
            el("td", {class: "number"}, number(last["reward/mean"])),
            el("td", {class: "number"}, number(last["accuracy/mean"])),
            el("td", {}, accuracy(run)),
            el("td", {}, run.started ? run.started.replace("T", " ").slice(0, 16) : ""));
}

function body(context) {
  if (context.runs.length === 0) {
    return el("p", {class: "note"}, "No run yet. One appears here as soon as ", el("code", {}, "hone train"),
              " has made its store.");
  }
  return table(["Run", "State", ["Iterations", "number"], ["Trajectories", "number"], ["Reward", "number"],
                ["Accuracy", "number"], "Evaluations, first → last", "Started (UTC)"],
               context.runs.map(row));
}

export async function show(main, p, context) {
  const place = el("div", {}, body(context));
  const all = context.runs.filter((run) => !run.error).map((run) => run.key);
  replace(main, el("h1", {}, "Runs"), place,
          el("p", {}, el("a", {href: address("curves", {runs: all.slice(0, 8).join(",")})},
                         "Curves of ", all.length > 8 ? "the first eight" : "all")),
          el("p", {class: "soft"}, "Outcomes are marked ",
             ["correct", "wrong", "unparsable", "limit_exceeded", "violation"]
                 .map((name) => outcome(name).sign + " " + outcome(name).label).join(", "), "."));
  const again = () => {
    const focused = document.activeElement?.closest?.("tr")?.querySelector("a")?.textContent;
    replace(place, body(context));
    if (focused) [...place.querySelectorAll("a")].find((a) => a.textContent === focused)?.focus();
  };
  return {title: "Runs", update: again, refreshed: again};
}
