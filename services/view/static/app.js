// SPDX-License-Identifier: Apache-2.0
//
// The frame round the pages: addresses, navigation, live events, keyboard.
import {address, get, go, here} from "./api.js";
import {el, replace, say} from "./dom.js";
import * as about from "./about.js";
import * as compare from "./compare.js";
import * as curves from "./curves.js";
import * as group from "./group.js";
import * as groups from "./groups.js";
import * as rows from "./rows.js";
import * as runs from "./runs.js";
import * as timeline from "./timeline.js";
import * as trajectory from "./trajectory.js";

// A page: show(main, p, context) draws it and returns {title, update?, keys?, up?}. update(progress)
// is called when a run grew.
const PAGES = {runs, curves, groups, group, trajectory, search: rows, compare, timeline, about};
const MENU = [["runs", "Runs"], ["curves", "Curves"], ["groups", "Iterations"], ["search", "Search"],
              ["compare", "Compare"], ["timeline", "Timeline"], ["about", "Run"]];

const main = document.getElementById("main");
const runChoice = document.getElementById("run");
const live = document.getElementById("live");
const help = document.getElementById("help");
let known = [];     // runs, as /api/runs lists them
let shown = {};     // what show() returned
let shownPage = "";
let drawing = null; // aborts what the page before was waiting for
let events = null;

function currentRun() {
  const {p} = here();
  return p.run ?? p.a ?? runChoice.value ?? known[0]?.key ?? "";
}

function drawFrame() {
  const {page} = here();
  const inMenu = {group: "groups", trajectory: "groups"}[page] ?? page;
  const run = currentRun();
  replace(document.getElementById("pages"), MENU.map(([name, label]) => {
    const wantsRun = !["runs", "curves", "compare"].includes(name);
    return el("a", {href: address(name, wantsRun ? {run} : {}),
                    "aria-current": inMenu === name ? "page" : null}, label);
  }));
  const keys = known.filter((one) => !one.error).map((one) => one.key);
  if ([...runChoice.options].map((option) => option.value).join("\n") !== keys.join("\n")) {
    replace(runChoice, keys.map((key) => el("option", {value: key}, key)));
  }
  if (keys.includes(run)) runChoice.value = run;
}

async function draw() {
  drawing?.abort();
  drawing = new AbortController();
  const {signal} = drawing;
  const {page, p} = here();
  const from = shownPage;
  shown = {};
  shownPage = page;
  drawFrame();
  main.setAttribute("aria-busy", "true");
  const module = PAGES[page] ?? runs;
  if (!p.run && !["runs", "curves", "compare"].includes(page)) p.run = currentRun();
  const fresh = el("div", {class: "page"});
  try {
    const result = await module.show(fresh, p, {get runs() { return known; }, signal});
    if (signal.aborted) return;
    shown = result ?? {};
  } catch (error) {
    if (signal.aborted) return;
    replace(fresh, el("h1", {}, "This cannot be shown"), el("p", {class: "error"}, error.message));
    shown = {title: "Error"};
  }
  replace(main, fresh);
  main.setAttribute("aria-busy", "false");
  main.dataset.page = page;
  document.title = (shown.title ? shown.title + " – " : "") + "Hone";
  if (from !== "" && from !== page) {
    main.focus({preventScroll: true});
    window.scrollTo(0, 0);
    say(shown.title ?? page);
  }
  shown.ready?.();
}

async function refreshRuns() {
  try {
    known = (await get("/api/runs")).runs;
    drawFrame();
  } catch (error) {
    live.textContent = "no answer";
  }
}

// Once for all that happens in a second and a half.
let waiting = 0;
function later() {
  if (waiting) return;
  waiting = setTimeout(async () => {
    waiting = 0;
    await refreshRuns();
    shown.refreshed?.();
  }, 1500);
}

function connect() {
  events?.close();
  events = new EventSource("/events");
  events.onopen = async () => {
    live.textContent = "live";
    live.classList.add("on");
    await refreshRuns();
    for (const run of known) shown.update?.(run);
  };
  events.onerror = () => {
    live.textContent = "not connected";
    live.classList.remove("on");
  };
  events.addEventListener("run", (event) => {
    const progress = JSON.parse(event.data);
    const at = known.findIndex((run) => run.key === progress.key);
    if (at < 0) {
      refreshRuns().then(() => shown.update?.(progress));
      return;
    }
    Object.assign(known[at], progress);
    shown.update?.(progress);
    if (shown.refreshed) later();
  });
}

// A hidden tab needs no stream: a browser has six connections for a server.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    events?.close();
    live.textContent = "paused";
    live.classList.remove("on");
  } else {
    connect();
  }
});

function moveInList(step) {
  const items = [...main.querySelectorAll("[data-item]")];
  if (items.length === 0) return;
  const at = items.findIndex((item) => item === document.activeElement ||
                                       item.contains(document.activeElement));
  const to = at < 0 ? (step > 0 ? 0 : items.length - 1)
                    : Math.min(items.length - 1, Math.max(0, at + step));
  items[to].focus();
  items[to].scrollIntoView({block: "nearest"});
  if (to === items.length - 1) shown.more?.();
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const inField = event.target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea");
  if (event.key === "Escape" && inField) return event.target.blur();
  if (inField || help.open) return;
  const own = shown.keys?.[event.key];
  if (own && own(event) !== false) return event.preventDefault();
  switch (event.key) {
    case "?": help.showModal(); break;
    case "/": {
      const field = main.querySelector("[data-search]");
      if (field) {
        field.focus();
        field.select();
      } else {
        go("search", {run: currentRun(), focus: "1"});
      }
      break;
    }
    case "j": moveInList(1); break;
    case "k": moveInList(-1); break;
    case "u": if (shown.up) location.hash = shown.up; break;
    default: return;
  }
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
document.getElementById("help-button").addEventListener("click", () => help.showModal());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
runChoice.addEventListener("change", () => {
  const {page, p} = here();
  if (page === "curves") return go("curves", {...p, runs: runChoice.value});
  if (page === "compare") return go("compare", {a: runChoice.value, b: runChoice.value});
  const to = {group: "groups", trajectory: "groups", runs: "groups"}[page] ?? page;
  go(to, {run: runChoice.value});
});
window.addEventListener("hashchange", draw);

await refreshRuns();
await draw();
connect();
