// SPDX-License-Identifier: Apache-2.0
//
// Search and filter over all trajectories of a run, in pages that follow as one scrolls.
import {address, get, go, query} from "./api.js";
import {diverging, paint} from "./colours.js";
import {el, line, number, outcome, replace, say, signed} from "./dom.js";

const PAGE = 100;
const SORTS = [["", "iteration"], ["advantage", "advantage, greatest first"], ["-advantage", "advantage, least first"],
               ["reward", "reward, greatest first"], ["-reward", "reward, least first"],
               ["length", "length, greatest first"], ["-length", "length, least first"]];

function rowNode(run, row) {
  const {sign, kind, label} = outcome(row.outcome);
  const advantage = el("span", {class: "n"}, signed(row.advantage));
  paint(advantage, diverging(row.advantage, 2));
  return el("a", {class: "row", href: address("trajectory", {run, id: row.id}), "data-item": true},
            el("span", {class: "n"}, row.iteration), el("span", {class: kind}, sign + " " + label),
            el("span", {class: "n"}, number(row.reward)), advantage, el("span", {class: "n"}, number(row.completion_tokens)),
            el("span", {class: "texts"}, el("span", {class: "soft"}, line(row.prompt)), el("span", {}, line(row.completion, 400))));
}

export async function show(main, p, context) {
  const {run} = p;
  const state = {search: p.search ?? "", syntax: p.syntax ?? "", filter: p.filter ?? "", order: p.sort ?? ""};
  const list = el("div", {class: "rows"});
  const words = el("p", {class: "soft", role: "status"});
  const problem = el("div", {});
  const save = el("a", {class: "save", download: "trajectories.jsonl"}, "Download as JSON Lines");
  let next = "", loading = null, count = 0;
  const end = el("div", {class: "soft"}, " ");
  const watch = new IntersectionObserver((seen) => { if (seen[0].isIntersecting) load(false); }, {rootMargin: "1200px"});
  const asked = () => ({run, search: state.search, syntax: state.syntax, filter: state.filter,
                        sort: state.order.replace("-", ""), desc: state.order && !state.order.startsWith("-") ? "1" : ""});
  const load = async (fresh) => {
    if (!fresh && (next === "" || loading)) return;
    loading?.abort();
    const mine = loading = new AbortController();
    context.signal.addEventListener("abort", () => mine.abort());
    try {
      const page = await get("/api/rows", {...asked(), after: fresh ? "" : next, limit: PAGE}, mine.signal);
      replace(problem);
      if (fresh) {
        replace(list);
        count = 0;
      }
      list.append(...page.rows.map((row) => rowNode(run, row)));
      count += page.rows.length;
      next = page.next;
      const behind = page.unsearched_texts > 0 ? `; ${number(page.unsearched_texts)} new texts are not indexed yet and were not searched` : "";
      words.textContent = `${number(page.total)} of ${number(page.of)} trajectories match${behind}`;
      save.href = "/api/export.jsonl" + query(asked());
      if (page.total === 0) replace(list, el("p", {class: "note"}, "Nothing matches."));
      if (fresh) say(words.textContent);
      // Looked at anew: who is at the end still, or again, is given more.
      watch.unobserve(end);
      watch.observe(end);
    } catch (error) {
      if (mine.signal.aborted) return;
      replace(problem, el("p", {class: "error"}, error.message));
    } finally {
      if (loading === mine) loading = null;
    }
  };
  const ask = () => {
    go("search", {run, search: state.search, syntax: state.syntax, filter: state.filter, sort: state.order}, true);
    return load(true);
  };
  const search = el("input", {type: "search", id: "search", value: state.search, placeholder: "words in prompts and completions",
                              "data-search": true});
  const filter = el("input", {type: "search", id: "filter", value: state.filter, spellcheck: "false",
                              placeholder: "outcome = wrong AND reward.format < 1", "aria-describedby": "filter-help"});
  const form = el("form", {class: "bar", role: "search", onsubmit: (event) => {
    event.preventDefault();
    state.search = search.value;
    state.filter = filter.value;
    ask();
  }},
    el("label", {class: "grow"}, "Text ", search),
    el("label", {}, el("input", {type: "checkbox", checked: state.syntax === "query", onchange: (event) => {
      state.syntax = event.target.checked ? "query" : "";
    }}), " with OR, NOT, prefix*"),
    el("label", {class: "grow"}, "Filter ", filter),
    el("label", {}, "Sort by ", el("select", {onchange: (event) => {
      state.order = event.target.value;
      ask();
    }}, SORTS.map(([value, label]) => el("option", {value, selected: value === state.order}, label)))),
    el("button", {}, "Search"));
  replace(main, el("h1", {}, `Trajectories of ${run}`), form,
          el("p", {class: "soft", id: "filter-help"}, "Fields: iteration, version, reward, reward.PART, verdict.PART, advantage, length, tokens, sample; " +
             "outcome, stop, kind (of failure), drop, source, task, group; flat. Operators: = != < <= > >=, and : for “contains”; AND, OR, NOT, ( )."),
          problem, el("div", {class: "bar"}, words, save),
          el("div", {class: "row head", "aria-hidden": "true"}, ["iteration", "outcome", "reward", "advantage", "tokens"].map((name, i) =>
            el("span", {class: i === 1 ? null : "n"}, name)), el("span", {}, "prompt and completion")),
          list, end);
  await load(true);
  return {title: `search ${run}`, more: () => load(false), ready: () => { if (p.focus) search.focus(); }};
}
