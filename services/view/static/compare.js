// SPDX-License-Identifier: Apache-2.0
//
// Two runs, or two iterations of one, on the same tasks.
import {address, get, go} from "./api.js";
import {el, line, number, outcomeNode, replace, shown, table} from "./dom.js";

// Where two texts part: [same, differs in a, differs in b, same], cut at blanks.
export function parts(a, b) {
  const words = (text) => text.split(/(?<=\s)/);
  const x = words(a), y = words(b);
  let head = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) ++head;
  let tail = 0;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) ++tail;
  const cut = (list) => [list.slice(0, head).join(""), list.slice(head, list.length - tail).join(""), list.slice(list.length - tail).join("")];
  return {a: cut(x), b: cut(y), word: head};
}

function sideNode(title, one, [head, middle, tail]) {
  return el("div", {}, el("h3", {}, title, "  ", outcomeNode(one.outcome)),
            el("p", {class: "soft"}, `${number(one.length)} tokens, extracted `, el("span", {class: "mono"}, line(one.extracted))),
            el("pre", {}, shown(head), middle ? el("mark", {}, shown(middle)) : null, shown(tail)));
}

async function completionOf(side, p, entry, signal) {
  if (p.name) {
    const {completions} = await get("/api/evaluated", {run: p[side], iteration: p[side + "i"], name: p.name, position: entry[side].position}, signal);
    return completions[0];
  }
  const group = await get("/api/group", {run: p[side], id: entry[side].group}, signal);
  return group.trajectories[0];
}

function evaluationNames(runs, p) {
  const names = new Set();
  for (const key of [p.a, p.b]) {
    for (const one of runs.find((run) => run.key === key)?.evaluations ?? []) names.add(one.name);
  }
  return [...names];
}

function chooser(context, p) {
  const usable = context.runs.filter((run) => !run.error);
  const names = evaluationNames(usable, p);
  const change = (changes) => go("compare", {...p, ...changes});
  const iterations = (side) => {
    const run = usable.find((one) => one.key === p[side]);
    const evaluated = (run?.evaluations ?? []).filter((one) => one.name === p.name).map((one) => one.iteration);
    if (p.name) {
      return el("select", {"aria-label": `Iteration of ${side.toUpperCase()}`, onchange: (event) => change({[side + "i"]: event.target.value})},
                evaluated.map((i) => el("option", {value: i, selected: String(i) === String(p[side + "i"])}, i)));
    }
    return el("input", {type: "number", min: 0, value: p[side + "i"] ?? 0, "aria-label": `Iteration of ${side.toUpperCase()}; 0: all`,
                        onchange: (event) => change({[side + "i"]: event.target.value})});
  };
  const side = (name) => el("fieldset", {}, el("legend", {}, name.toUpperCase()),
    el("select", {"aria-label": `Run ${name.toUpperCase()}`, onchange: (event) => change({[name]: event.target.value, [name + "i"]: ""})},
       usable.map((run) => el("option", {value: run.key, selected: run.key === p[name]}, run.key))),
    " iteration ", iterations(name));
  return el("div", {class: "bar"}, side("a"), side("b"),
    el("label", {}, "On ", el("select", {onchange: (event) => change({name: event.target.value, ai: "", bi: "", kind: event.target.value ? "" : "training"})},
       names.map((name) => el("option", {value: name, selected: name === p.name}, `evaluation ${name}`)),
       el("option", {value: "", selected: p.name === ""}, "training groups (iteration 0: all)"))));
}

// What was not said in the address: the evaluation with most tasks, its first and last iterations.
function complete(context, given) {
  const p = {...given};
  const usable = context.runs.filter((run) => !run.error);
  p.a = usable.some((run) => run.key === p.a) ? p.a : usable[0]?.key;
  p.b = usable.some((run) => run.key === p.b) ? p.b : p.a;
  const of = (key) => usable.find((run) => run.key === key)?.evaluations ?? [];
  if (p.name === undefined) {
    p.name = p.kind === "training" ? "" : [...of(p.a)].sort((x, y) => y.n - x.n)[0]?.name ?? "";
  }
  if (p.name) {
    const first = of(p.a).filter((one) => one.name === p.name), last = of(p.b).filter((one) => one.name === p.name);
    p.ai = p.ai || String(p.a === p.b ? first[0]?.iteration ?? 0 : first.at(-1)?.iteration ?? 0);
    p.bi = p.bi || String(last.at(-1)?.iteration ?? 0);
  }
  return p;
}

function tableOf(c) {
  const cell = (n) => el("td", {class: "number"}, number(n));
  return el("table", {class: "win-table"}, el("caption", {class: "soft"}, "First completion of each task"),
    el("thead", {}, el("tr", {}, el("td"), el("th", {scope: "col"}, "B right"), el("th", {scope: "col"}, "B wrong"))),
    el("tbody", {}, el("tr", {}, el("th", {scope: "row"}, "A right"), cell(c.both), cell(c.a_only_right)),
       el("tr", {}, el("th", {scope: "row"}, "A wrong"), cell(c.b_only_right), cell(c.neither))));
}

export async function show(main, given, context) {
  const p = complete(context, given);
  const head = [el("h1", {}, "Compare"), chooser(context, p)];
  if (!p.a) {
    replace(main, head, el("p", {class: "note"}, "No run yet."));
    return {title: "Compare"};
  }
  let c;
  try {
    c = await get("/api/compare", {a: p.a, ai: p.ai, b: p.b, bi: p.bi, name: p.name}, context.signal);
  } catch (error) {
    if (context.signal.aborted) throw error;
    replace(main, head, el("p", {class: "error"}, error.message));
    return {title: "Compare"};
  }
  const detail = el("div", {});
  const open = async (entry, node) => {
    const [a, b] = await Promise.all([completionOf("a", p, entry, context.signal), completionOf("b", p, entry, context.signal)]);
    const difference = parts(a.completion, b.completion);
    replace(detail, el("h2", {}, "Task ", el("span", {class: "mono"}, line(entry.task))),
      el("p", {class: "soft"}, a.completion === b.completion ? "The same completion." : `They part at word ${difference.word + 1}.`),
      el("div", {class: "two"}, sideNode(`A: ${p.a}, iteration ${p.ai || "all"}`, a, difference.a), sideNode(`B: ${p.b}, iteration ${p.bi || "all"}`, b, difference.b)));
    detail.scrollIntoView({block: "nearest"});
    node?.focus();
    go("compare", {...p, task: entry.task}, true);
  };
  const sideCells = (side) => [el("td", {}, `${side.correct} of ${side.n}`), el("td", {class: "text mono"}, line(side.extracted, 80)), el("td", {class: "number"}, number(side.length))];
  const rows = c.rows.map((entry) => el("tr", {},
    el("td", {}, el("button", {type: "button", "data-item": true, onclick: (event) => open(entry, event.target)}, line(entry.task, 60))),
    el("td", {}, entry.a.first === entry.b.first ? "same" : el("b", {class: entry.b.first ? "good" : "bad"}, entry.b.first ? "B alone right" : "A alone right")),
    sideCells(entry.a), sideCells(entry.b)));
  const listed = c.rows.length < c.tasks ? ` The first ${c.rows.length} are listed.` : "";
  replace(main, head, c.tasks === 0 ? el("p", {class: "note"}, "They have no task in common.") : [
    el("div", {class: "columns"}, tableOf(c), el("div", {},
      el("p", {}, `${number(c.tasks)} tasks in common`, c.only_a + c.only_b > 0 ? `, ${number(c.only_a)} of A alone, ${number(c.only_b)} of B alone.` : "."),
      el("p", {}, `Accuracy: A ${number(c.accuracy_a)}, B ${number(c.accuracy_b)}.`),
      el("p", {}, `McNemar's exact test on first completions: p = ${number(c.p)}.`))),
    detail, el("h2", {}, "Tasks"), el("p", {class: "soft"}, `Those that differ stand first.${listed}`),
    table(["Task", "", "A right", "A extracted", ["A tokens", "number"], "B right", "B extracted", ["B tokens", "number"]], rows)]);
  const entry = p.task ? c.rows.find((one) => one.task === p.task) : null;
  if (entry) await open(entry, null);
  return {title: `compare ${p.a} and ${p.b}`, up: address("runs")};
}
