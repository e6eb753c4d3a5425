// Addresses, keys and the theme; the rest is in the other files.
//
//     #                 the run: its dashboard
//     #prompt-7         the tree of a prompt, at its answer
//     #prompt-7/3       its node 3; #prompt-7/fault-0 its first failed attempt

const state = {
  rows: [],
  replaced: 0,
  counts: {},
  types: Object.create(null),
  totals: RUN.totals ?? null,
  marks: RUN.marks ?? {},
  shown: [],
  filter: "all",
  type: "",
  sort: "number",
  text: "",
  hits: new Set(),
  searching: false,
  number: null,
  live: "",
  problem: "",
};

const source = RUN.live ? new ServedTrees() : new EmbeddedTrees();
const listPane = new ListPane(change);
const treePane = new TreePane(step);
const main = el("main", { class: "main", tabindex: "-1" });
const numbers = new Map();
let drawnDashboard = null;

function address(id, key = null) {
  return `#${encodeURIComponent(id)}${key === null ? "" : `/${key}`}`;
}

function go(id, key = null) {
  const target = address(id, key);
  if (location.hash === target) route();
  else if (key !== null && location.hash.startsWith(address(id))) history.replaceState(null, "", target), route();
  else location.hash = target;
}

/** Change what the list shows; on a small screen, go to it. */
function change(values) {
  const isSearch = values.text !== undefined && values.text !== state.text;
  Object.assign(state, values);
  if (isSearch) search();
  update();
  listPane.list.element.scrollTop = 0;
  if (!isSearch && values.sort === undefined) document.body.dataset.pane = "list";
}

function update() {
  state.shown = shownRows(state);
  listPane.show(state, state.shown);
}

let searches = 0;

/** Look for the text in all responses, in the background. */
async function search() {
  const [mine, { text }] = [++searches, splitMarks(state.text)];
  state.hits = new Set();
  state.searching = Boolean(text);
  if (!text) return;
  await new Promise((resume) => setTimeout(resume, 200));
  const isCurrent = () => mine === searches;
  if (!isCurrent()) return;
  const hit = (found) => {
    if (!found.length) return;
    found.forEach((number) => state.hits.add(number));
    update();
  };
  try {
    if (!(await source.search(text, hit, isCurrent))) return;
  } catch (error) {
    state.problem = error.message;
  }
  state.searching = false;
  update();
}

/** Show what the address says. */
async function route() {
  let [id, key = null] = location.hash.slice(1).split("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    id = "";
  }
  if (!id && RUN.single && state.rows.length) id = state.rows[0].id;
  if (!id) return showDashboard();
  const number = numbers.get(id);
  if (number === undefined) {
    if (state.rows.length) main.replaceChildren(el("p", { class: "note missing" }, `There is no tree ${id} in this ${RUN.pages?.length ? "page of the" : ""} run.`));
    return;
  }
  document.body.dataset.pane = "tree";
  if (state.number === number && treePane.tree && main.contains(treePane.element)) return treePane.choose(key);
  state.number = number;
  listPane.list.mark(number);
  listPane.list.reveal(number);
  let tree = null;
  try {
    tree = await source.tree(number);
  } catch (error) {
    main.replaceChildren(el("p", { class: "note missing", role: "alert" }, error.message));
  }
  if (state.number !== number || !tree) return;
  drawnDashboard = null;
  main.replaceChildren(treePane.element);
  const at = state.shown.findIndex((row) => row.number === number);
  treePane.show(tree, key, at < 0 || RUN.single ? "" : `${whole(at + 1)} of ${whole(state.shown.length)}`);
  document.title = `${tree.id} · ${RUN.name} · spar`;
}

function showDashboard() {
  if (state.number !== null) {
    state.number = null;
    listPane.list.mark(null);
  }
  if (document.body.dataset.pane === "tree") document.body.dataset.pane = "run";
  const drawn = JSON.stringify([state.totals, state.live, state.problem]);
  if (drawn === drawnDashboard && main.firstElementChild?.classList.contains("dashboard")) return;
  drawnDashboard = drawn;
  main.replaceChildren(dashboard(RUN, state.totals, state, change));
  document.title = `${RUN.name} · spar`;
}

/** Go to the next or the previous tree of the list. */
function step(by) {
  if (!state.shown.length) return;
  const at = state.shown.findIndex((row) => row.number === state.number);
  const next = at < 0 ? (by > 0 ? 0 : state.shown.length - 1) : Math.min(Math.max(at + by, 0), state.shown.length - 1);
  go(state.shown[next].id);
}

function receive({ rows, from, totals, status, problem, isNew, facts, marks }) {
  if (isNew) {
    Object.assign(state, { rows: [], replaced: 0, counts: {}, types: Object.create(null), number: null });
    treePane.tree = null;
    numbers.clear();
  }
  state.problem = problem ?? "";
  if (status) state.live = status;
  if (facts) Object.assign(RUN, facts, { name: RUN.name });
  const hasNew = Boolean(rows?.length);
  for (const row of rows ?? []) {
    row.number = state.rows.length;
    state.rows.push(row);
    countRow(state, row);
    if (row.error) continue;
    const earlier = numbers.get(row.id);
    if (earlier !== undefined && RUN.live) replaceRow(state, state.rows[earlier]);
    numbers.set(row.id, row.number);
  }
  const hasNewMarks = marks !== undefined && JSON.stringify(marks) !== JSON.stringify(state.marks);
  if (marks !== undefined) state.marks = marks;
  if (hasNew || hasNewMarks) markRows(state);
  if (totals) state.totals = totals;
  const isFirst = hasNew && state.rows.length === rows.length;
  if (hasNew || hasNewMarks) update();
  if (hasNewMarks && treePane.tree) treePane.showMark(marks);
  if (isFirst || !location.hash.slice(1) || (hasNew && main.querySelector(".missing"))) route();
}

const THEMES = ["auto", "light", "dark"];

/** Follow the system, or the reader's choice, which the browser remembers where it may. */
function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = { auto: "◐ auto", light: "○ light", dark: "● dark" }[theme];
  try {
    localStorage.setItem("spar-theme", theme);
  } catch {
    // a file opened without storage forgets it
  }
}

function storedTheme() {
  try {
    return THEMES.includes(localStorage.getItem("spar-theme")) ? localStorage.getItem("spar-theme") : "auto";
  } catch {
    return "auto";
  }
}

function nextTheme() {
  applyTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]);
}

const themeButton = el("button", { type: "button", class: "quiet", title: "light or dark (t)", onclick: nextTheme });

const KEYS = [
  ...(RUN.runs
    ? []
    : [
        ["j  k", "next and previous prompt; outside a tree ↑ ↓ too"],
        ["← ↑ ↓ →", "move between the nodes of a tree"],
        ["/", "search prompts and responses; enter opens the next one found"],
        ["f  F", "next and previous filter"],
        ["esc", "back to the run; leave the search"],
      ]),
  ["t", "light or dark"],
  ["?", "these keys"],
];

const help = el(
  "dialog",
  { class: "help", "aria-label": "Keys" },
  el("h2", {}, "Keys"),
  el("dl", {}, KEYS.map(([key, words]) => [el("dt", {}, key), el("dd", {}, words)])),
  el("form", { method: "dialog" }, el("button", {}, "Close")),
);
help.addEventListener("submit", (event) => (event.preventDefault(), help.close()));

/** The keys of the list of runs. */
function onRunsKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.key === "t") nextTheme();
  if (event.key === "?") help.showModal();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (location.hash.slice(1)) location.hash = "";
    else if (state.text || state.filter !== "all" || state.type) change({ text: "", filter: "all", type: "" });
    return;
  }
  if (typing) {
    if (event.key === "Enter" && event.target === listPane.search) step(1), event.target.blur();
    return;
  }
  const arrows = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };
  const actions = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => (show("list"), listPane.search.focus()),
    f: () => nextFilter(1),
    F: () => nextFilter(-1),
    t: nextTheme,
    "?": () => help.showModal(),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  } else if (arrows[event.key] && main.contains(treePane.element) && !listPane.element.contains(event.target)) {
    const key = treePane.neighbour(arrows[event.key]);
    if (key !== null) {
      event.preventDefault();
      go(treePane.tree.id, key);
    }
  } else if (arrows[event.key] && ["up", "down"].includes(arrows[event.key])) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  }
}

function nextFilter(by) {
  const names = [...listPane.chips.children].map((chip) => chip.dataset.filter);
  change({ filter: names.at((names.indexOf(state.filter) + by) % names.length) });
}

/** Show a pane, where a small screen has room for one alone. */
function show(pane) {
  document.body.dataset.pane = pane;
}

function start() {
  const header = el(
    "header",
    { class: "top" },
    RUN.home ? el("a", { class: "brand", href: RUN.home }, "spar") : el("span", { class: "brand" }, "spar"),
    el("span", { class: "run-name", title: RUN.name }, RUN.name ?? ""),
    el("span", { class: "spacer" }),
    RUN.runs || RUN.single
      ? null
      : el(
          "nav",
          { class: "panes", "aria-label": "Panes" },
          el("button", { type: "button", class: "quiet", onclick: () => ((location.hash = ""), show("run")) }, "Run"),
          el("button", { type: "button", class: "quiet", onclick: () => show("list") }, "Prompts"),
        ),
    themeButton,
    el("button", { type: "button", class: "quiet", title: "keys (?)", "aria-label": "keys", onclick: () => help.showModal() }, "?"),
  );
  document.querySelector("noscript")?.remove();
  applyTheme(storedTheme());
  if (RUN.runs) {
    addEventListener("keydown", onRunsKey);
    return document.body.prepend(header, runsPage(RUN.runs), help);
  }
  document.body.dataset.pane = "run";
  if (RUN.single) document.body.classList.add("single");
  document.body.prepend(header, el("div", { class: "panes-grid" }, listPane.element, main), help);
  addEventListener("hashchange", route);
  addEventListener("keydown", onKey);
  addEventListener("beforeprint", () => main.contains(treePane.element) && treePane.tree && treePane.element.append(printedPath(treePane.tree)));
  addEventListener("afterprint", () => treePane.element.querySelector(".printed")?.remove());
  if (!("DecompressionStream" in window)) return main.replaceChildren(el("p", { class: "note missing" }, "This browser is too old to unpack the page's data: it has no DecompressionStream."));
  showDashboard();
  source.follow(receive);
}

start();
