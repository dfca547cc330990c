// SPDX-License-Identifier: Apache-2.0
//
// One group: its prompt, and its completions beside one another.
import {address, get} from "./api.js";
import {diverging, paint} from "./colours.js";
import {el, facts, line, number, outcomeNode, replace, shown, signed, table} from "./dom.js";

export async function show(main, p, context) {
  const {run} = p;
  const group = await get("/api/group", {run, id: p.id}, context.signal);
  const parts = Object.keys(group.trajectories[0]?.parts ?? {});
  const rows = group.trajectories.map((one) => {
    const advantage = el("td", {class: "number"}, signed(one.advantage));
    paint(advantage, diverging(one.advantage, 2));
    return el("tr", {},
              el("td", {class: "name"}, el("a", {href: address("trajectory", {run, id: one.id}), "data-item": true},
                              `sample ${one.sample}`)),
              el("td", {class: "name"}, outcomeNode(one.outcome)),
              el("td", {class: "number"}, number(one.reward)),
              advantage,
              parts.map((name) => el("td", {class: "number"}, number(one.parts[name]))),
              el("td", {class: "number"}, number(one.length)),
              el("td", {class: "name"}, one.stop.replace("_", " ")),
              el("td", {class: "text"}, el("span", {class: "mono"}, line(one.extracted, 120))),
              el("td", {class: "text"}, line(one.completion, 500)));
  });
  replace(main, el("h1", {}, `${run}, group of iteration ${group.iteration}`),
          el("div", {class: "columns"},
             el("div", {}, el("h2", {}, "Prompt"), el("pre", {}, shown(group.prompt)),
                group.answer ? [el("h2", {}, "Gold answer"), el("pre", {}, shown(group.answer))] : null),
             el("div", {}, el("h2", {}, "Group"), facts([
               ["task", el("span", {}, line(group.task))], ["source", el("span", {}, line(group.source))],
               ["policy version", group.version], ["completions", `${group.got} judged of ${group.asked} asked`],
               ["mean reward", number(group.baseline)], ["spread", number(group.reward_std)],
               ["flat", group.flat ? "yes: all rewards equal, it teaches nothing" : "no"],
               ["trained on", group.drop === "none" ? "yes" : `no: ${group.drop}`],
               ["id", el("span", {class: "mono"}, group.id)],
             ]))),
          el("h2", {}, "Completions"),
          table(["Sample", "Outcome", ["Reward", "number"], ["Advantage", "number"],
                 ...parts.map((name) => [name, "number"]), ["Tokens", "number"], "Stopped by", "Extracted",
                 "Completion"], rows),
          group.lost.length === 0 ? null : [el("h2", {}, "Left out"), table(["Sample", "Why", "What happened"],
            group.lost.map((one) => el("tr", {}, el("td", {}, one.position), el("td", {}, one.outcome),
                                       el("td", {class: "text"}, line(one.detail, 500)))))]);
  return {title: `group of iteration ${group.iteration}`, up: address("groups", {run, i: group.iteration})};
}
