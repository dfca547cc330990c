// SPDX-License-Identifier: Apache-2.0
//
// One trajectory: what was asked and said, why it got its reward, and its tokens.
import {address, get, go} from "./api.js";
import {paint} from "./colours.js";
import {duration, el, facts, line, number, outcomeNode, replace, shown, signed, table} from "./dom.js";
import {TokenView} from "./tokens.js";

// A model's text, its thinking and its answer apart.
function parted(text) {
  const end = text.indexOf("</think>");
  if (end < 0) return [["Completion (its thinking does not end)", text]];
  const thinking = text.slice(0, end).replace(/^\s*<think>\s?/, "");
  return [["Thinking", thinking], ["Answer", text.slice(end + 8).trim()]];
}

const SHOWN_CHARACTERS = 20000;

function textNode(text) {
  if (text.length <= SHOWN_CHARACTERS) return el("pre", {}, shown(text));
  const node = el("pre", {}, shown(text.slice(0, SHOWN_CHARACTERS)));
  const more = el("button", {type: "button", onclick: () => {
    replace(node, shown(text));
    more.remove();
  }}, `the rest, ${(text.length - SHOWN_CHARACTERS).toLocaleString("en")} characters`);
  return el("div", {}, node, more);
}

function textsNode(t) {
  return t.segments.flatMap((segment) => {
    if (segment.kind !== "model") {
      return [el("h3", {}, `${segment.role}: ${segment.kind}`), textNode(segment.text)];
    }
    return parted(segment.text).flatMap(([name, text]) => [el("h3", {}, name), textNode(text)]);
  });
}

// A text, marked from where another one is different.
function parting(text, other) {
  let at = 0;
  while (at < text.length && text[at] === other[at]) ++at;
  const rest = text.slice(at);
  return [line(text.slice(0, at), 1000), rest === "" ? null : el("mark", {}, line(rest, 1000))];
}

// The kinds of the tests in a row, and the first one that failed with what was expected.
function testsNode(evidence) {
  if (!evidence.tests) return null;
  const kinds = evidence.tests.split(" ");
  const failed = kinds.findIndex((kind) => kind !== "pass" && kind !== "not_run");
  return el("div", {},
            el("h3", {}, `Tests (${kinds.filter((kind) => kind === "pass").length} of the first ${kinds.length} passed)`),
            table(["Test", "Verdict", "Expected", "Got"], kinds.map((kind, i) => el("tr", {},
              el("td", {}, i + 1),
              el("td", {class: kind === "pass" ? "good" : kind === "not_run" ? "soft" : "bad"}, line(kind)),
              el("td", {class: "text mono"}, i === failed ? parting(evidence.expected ?? "", evidence.got ?? "") : ""),
              el("td", {class: "text mono"}, i === failed ? parting(evidence.got ?? "", evidence.expected ?? "") : "")))));
}

function verdictNode(t) {
  const {verdict} = t;
  const rest = Object.entries(verdict.evidence).filter(([name]) => !(verdict.evidence.tests && ["tests", "expected", "got"].includes(name)));
  const later = t.judgements.slice(1);
  return el("div", {},
            el("h2", {}, "Verdict"),
            facts([["outcome", outcomeNode(verdict.outcome)],
                   ["why", el("span", {}, line(verdict.detail, 2000))],
                   ["extracted", verdict.extracted === "" ? el("span", {class: "soft"}, "nothing") :
                     el("span", {class: "mono"}, line(verdict.extracted, 1000), verdict.extracted_truncated ? " (cut)" : "")],
                   ["gold", t.answer ? el("span", {class: "mono"}, line(t.answer, 1000)) : null],
                   ["verifier", el("span", {class: "mono"}, line(verdict.verifier))],
                   ["attempts", t.judgements[0]?.attempts > 1 ? `${t.judgements[0].attempts}: outages before it` : null],
                   ["time", t.judgements[0]?.elapsed_us > 0 ? duration(t.judgements[0].elapsed_us) : null]]),
            testsNode(verdict.evidence),
            rest.length === 0 ? null : [el("h3", {}, "Evidence"), facts(rest.map(([name, value]) =>
              [el("span", {}, line(name, 60)), value.includes("\n") ? el("pre", {}, shown(value)) : el("span", {class: "mono"}, line(value, 2000))]))],
            later.length === 0 ? null : [el("h3", {}, "Judged again"), table(["Origin", "Outcome", "Extracted", "Why", "Verifier"],
              later.map((one) => el("tr", {}, el("td", {}, one.origin), el("td", {}, outcomeNode(one.outcome)),
                el("td", {class: "mono"}, line(one.extracted)), el("td", {class: "text"}, line(one.detail, 500)),
                el("td", {class: "mono"}, line(one.verifier)))))]);
}

const SHOWN_EXPERTS = 12;

// By layer, the experts that its tokens were sent to most.
function expertsNode(t) {
  if (!t.experts) return null;
  return [el("h2", {}, "Experts"), table([["Layer", "number"], ["Used", "number"], "Share of the choices, most first"],
    t.experts.map((layer, i) => {
      const all = layer.reduce((sum, [, times]) => sum + times, 0);
      return el("tr", {}, el("td", {class: "number"}, i), el("td", {class: "number"}, layer.length),
        el("td", {class: "mono"}, layer.slice(0, SHOWN_EXPERTS).map(([expert, times]) =>
          `${expert}: ${Math.round(100 * times / all)} %`).join("   "), layer.length > SHOWN_EXPERTS ? "   …" : ""));
    }))];
}

function rewardNode(t) {
  return el("div", {},
            el("h2", {}, "Reward"),
            table(["Part", ["Raw", "number"], ["Weight", "number"], ["Value", "number"], ""], t.reward_parts.map((part) =>
              el("tr", {}, el("td", {}, part.name), el("td", {class: "number"}, part.raw === null ? "not computed" : number(part.raw)),
                 el("td", {class: "number"}, number(part.weight)), el("td", {class: "number"}, number(part.value)),
                 el("td", {class: "soft"}, part.gated ? "its gate was closed" : ""))).concat(
              el("tr", {}, el("th", {scope: "row"}, "total"), el("td"), el("td"), el("td", {class: "number"}, number(t.reward)),
                 el("td", {}, "advantage ", el("b", {}, signed(t.advantage))))), {class: "small"}),
            expertsNode(t),
            el("h2", {}, "Sampled"),
            facts([["task", el("span", {}, line(t.task))], ["source", el("span", {}, line(t.source))],
                   ["iteration", el("a", {href: address("groups", {run: t.run, i: t.iteration})}, t.iteration)],
                   ["group", el("a", {class: "mono", href: address("group", {run: t.run, id: t.group})}, t.group.slice(0, 12))],
                   ["policy version", t.version], ["length", `${number(t.length)} tokens, stopped by ${t.stop}`],
                   ["temperature", t.sampling.max_tokens === 0 ? null : `${number(t.sampling.temperature)}, top-p ${number(t.sampling.top_p)}, top-k ${t.sampling.top_k || "all"}, at most ${number(t.sampling.max_tokens)} tokens`],
                   ["backend", el("span", {class: "mono"}, line(t.backend))], ["id", el("span", {class: "mono"}, t.id)]]));
}

function scaleNode(channel) {
  if (!channel.scale) return null;
  return channel.scale.map(([value, label]) => {
    const swatch = el("span", {});
    paint(swatch, channel.colour(value));
    return [swatch, label];
  });
}

export async function show(main, p, context) {
  const {run} = p;
  const t = await get("/api/trajectory", {run, id: p.id}, context.signal);
  const state = () => ({run, id: t.id, channel: view.channel === "probability" ? "" : view.channel, t: view.at >= 0 ? view.at : ""});
  const view = new TokenView(t, {channel: p.channel ?? "probability", chosen: () => go("trajectory", state(), true)});
  const scale = el("span", {class: "scale", "aria-hidden": "true"});
  const found = el("span", {class: "soft", role: "status"});
  const choice = el("select", {onchange: (event) => {
    view.setChannel(event.target.value);
    replace(scale, scaleNode(view.channels[view.channel]));
    go("trajectory", state(), true);
  }}, Object.entries(view.channels).map(([name, channel]) => el("option", {value: name, disabled: !channel.has,
    selected: name === view.channel}, channel.label + (channel.has ? "" : " (not stored)"))));
  replace(scale, scaleNode(view.channels[view.channel]));
  const at = t.siblings.indexOf(t.id);
  const sibling = (step) => {
    const id = t.siblings[at + step];
    if (id) go("trajectory", {run, id, channel: state().channel});
  };
  replace(main, el("h1", {}, `${run}, iteration ${t.iteration}, sample ${t.sample}  `, outcomeNode(t.verdict.outcome)),
          el("div", {class: "bar"},
             el("button", {type: "button", disabled: at === 0, onclick: () => sibling(-1)}, "◀ previous (k)"),
             el("span", {class: "soft"}, `${at + 1} of ${t.siblings.length} in its group`),
             el("button", {type: "button", disabled: at === t.siblings.length - 1, onclick: () => sibling(1)}, "next (j) ▶"),
             el("a", {href: address("group", {run, id: t.group})}, "the group (u)")),
          t.not_kept ? el("p", {class: "note"}, line(t.not_kept, 1000)) : null,
          el("div", {class: "columns"}, el("div", {}, el("h2", {}, "Text"), textsNode(t)), el("div", {}, verdictNode(t), rewardNode(t))),
          el("h2", {}, "Tokens"),
          t.no_texts ? el("p", {class: "note"}, t.no_texts, ". Their ids are shown.") : null,
          el("div", {class: "bar"}, el("label", {}, "Tint by ", choice), scale,
             el("label", {}, "Find ", el("input", {type: "search", placeholder: "in the tokens", "data-search": true, onkeydown: (event) => {
               if (event.key !== "Enter") return;
               const places = view.find(event.target.value);
               found.textContent = places === 0 ? "nothing" : `${places} places; Enter goes to the next`;
             }})), found),
          view.facts, view.box);
  return {
    title: `trajectory ${t.id.slice(0, 8)}`,
    up: address("group", {run, id: t.group}),
    ready: () => {
      view.layout();
      if (p.t) view.choose(Number(p.t));
    },
    keys: {j: () => sibling(1), k: () => sibling(-1)},
  };
}
