// The run at one glance: before and after, what was fixed and broken, where the judge was wrong, which constraints fail,
// what depth brought and what it cost. Every number that stands for prompts is a button that lists them.

function dashboard(run, totals, state, change) {
  if (!totals || !totals.trees) return el("div", { class: "dashboard" }, heading(run, totals, state), el("p", { class: "note" }, state.problem || "No trees yet."));
  return el(
    "div",
    { class: "dashboard" },
    heading(run, totals, state),
    el(
      "div",
      { class: "cards" },
      el("div", { class: "top-row" }, resultCard(totals, change), judgeCard(totals, change)),
      el("div", { class: "column" }, constraintsCard(totals, change), stopsCard(totals, change)),
      el("div", { class: "column" }, depthCard(totals), costCard(totals), metricsCard(run)),
      settingsCard(run, totals),
    ),
  );
}

/** Whether the searches made more than one response a prompt; greedy decoding does not. */
function isSearched(totals) {
  return totals.nodes > totals.trees;
}

/** What the run says of itself, without the settings of a search or a judge that it never called. */
function factsOf(run, totals) {
  const unused = new Set();
  if (totals?.trees && !isSearched(totals)) unused.add("budget").add("refiner");
  if (totals?.trees && totals.unjudged === totals.trees) unused.add("judge").add("votes").add("gate");
  return run.facts.filter(([label]) => !unused.has(label));
}

function heading(run, totals, state) {
  // The first of a label counts: the judge's method comes before its model.
  const facts = Object.fromEntries(factsOf(run, totals).reverse());
  const words = ["strategy", "budget", "judge"].filter((key) => facts[key]).map((key) => (key === "strategy" ? facts[key] : `${key} ${facts[key]}`));
  const of = run.expected && totals && run.expected > totals.trees ? ` of ${whole(run.expected)}` : "";
  const status = state.live ? el("span", { class: `tag ${state.live.startsWith("running") ? "running" : ""}` }, state.live) : null;
  return el(
    "header",
    { class: "run-head" },
    el("h1", {}, run.name),
    el("p", {}, [`${whole(totals?.trees ?? 0)}${of} prompts`, ...words].join(" · "), status),
    state.problem ? el("p", { class: "problem", role: "alert" }, state.problem) : null,
  );
}

function card(name, title, ...content) {
  return el("section", { class: `card ${name}` }, el("h2", {}, title), content);
}

function resultCard(totals, change) {
  const { shown } = totals;
  if (!shown) return card("result", "Result", el("p", { class: "note" }, "No answer was judged and no program can check them."));
  const byTruth = totals.truth?.n ?? 0;
  const by = !byTruth ? "by the judge" : byTruth >= shown.n ? "by ground truth" : `by ground truth (${whole(byTruth)}) or the judge (${whole(shown.n - byTruth)})`;
  const [gain, gainError] = shown.gain;
  const searched = isSearched(totals);
  const parts = ["passed", "fixed", "broken", "failed"].map((name) => [name, totals.changes[name] ?? 0]).filter(([, n]) => n);
  const all = parts.reduce((sum, [, n]) => sum + n, 0);
  const shares = (each) => `${percent(each.before[0])} → ${percent(each.after[0])}`;
  const other = byTruth && totals.judge && shares(shown) !== shares(totals.judge) ? totals.judge : null;
  return card(
    "result",
    `Pass ${by}`,
    el("p", { class: "big" }, searched ? [share(shown.before), el("span", { class: "arrow", "aria-label": "then" }, "→")] : null, share(shown.after)),
    searched
      ? el(
          "p",
          { class: "gain" },
          el("b", { class: gain > 0 ? "pass" : gain < 0 ? "fail" : "" }, `${gain < 0 ? "−" : "+"}${(100 * Math.abs(gain)).toFixed(1)} points`),
          `${errorText(gainError)}, first draft → answer, ${plural(shown.n, "prompt")}`,
        )
      : el("p", { class: "gain" }, plural(shown.n, "prompt")),
    el(
      "div",
      { class: "flow" },
      parts.map(([name, n]) => grown(el("button", { type: "button", class: `flow-part ${name}`, title: `${CHANGES[name].word}: ${whole(n)}`, onclick: () => change({ filter: name }) }, n / all > 0.07 ? whole(n) : ""), n)),
    ),
    el(
      "ul",
      { class: "keys" },
      parts.map(([name, n]) => el("li", {}, el("button", { type: "button", class: "key", "data-filter": name, onclick: () => change({ filter: name }) }, el("i", { class: `swatch ${name}` }), `${CHANGES[name].word} `, el("b", {}, whole(n))))),
    ),
    other ? el("p", { class: "note" }, `By the judge: ${shares(other)}.`) : null,
  );
}

function share([value, error]) {
  return el("span", {}, (100 * value).toFixed(1), el("small", {}, " %"), el("small", { class: "error" }, errorText(error)));
}

/** A standard error in points; with one prompt there is none. */
function errorText(error) {
  return error === null ? "" : ` ± ${(100 * error).toFixed(1)}`;
}

/** Give an element a share of its row. */
function grown(element, share) {
  element.style.flexGrow = share;
  return element;
}

function judgeCard(totals, change) {
  if (!totals.compared) return null;
  const wrong = totals.too_lenient + totals.too_strict;
  const rows = [
    [totals.too_lenient, "passed an answer that is wrong"],
    [totals.too_strict, "failed an answer that is right"],
  ];
  return card(
    "judge",
    "Where the judge is wrong",
    el(
      "p",
      { class: "big small" },
      el("button", { type: "button", class: "number", "data-filter": "judge-wrong", onclick: () => change({ filter: "judge-wrong" }) }, whole(wrong)),
      el("small", {}, ` of ${plural(totals.compared, "answer")}, ${percent(wrong / totals.compared)}`),
    ),
    wrong ? rows.map(([n, words]) => bar(n, wrong, "fault", `${whole(n)} `, words)) : el("p", { class: "note" }, "Judge and ground truth agree on every answer."),
  );
}

/** A bar with words below it. */
function bar(n, most, kind, ...words) {
  const inner = el("i", { class: `bar ${kind}` });
  inner.style.width = `${(100 * n) / (most || 1)}%`;
  return el("div", { class: "bar-row" }, el("div", { class: "track" }, inner), el("span", {}, words));
}

function constraintsCard(totals, change) {
  const failing = totals.constraints.filter(([, , before, after]) => before || after);
  if (!totals.constraints.length) return null;
  const most = Math.max(1, ...failing.map(([, , before, after]) => Math.max(before, after)));
  const shown = failing.slice(0, 12);
  return card(
    "constraints-card",
    "Constraints that fail",
    failing.length ? el("p", { class: "note" }, isSearched(totals) ? "In answers; the outline is the first drafts." : "In answers.") : el("p", { class: "note" }, "Every answer meets every constraint."),
    el(
      "div",
      { class: "types" },
      shown.map(([type, n, before, after]) => {
        const track = el("span", { class: "track" }, sized("i", "bar outline", before / most), sized("i", "bar fail", after / most));
        return el(
          "button",
          { type: "button", class: "type", title: `${type}: fails in ${before} first drafts and ${after} answers, of ${n}`, "data-type": type, onclick: () => change({ type, filter: "all" }) },
          el("span", { class: "type-name" }, typeName(type)),
          track,
          el("span", { class: "type-count" }, before === after ? whole(after) : `${whole(before)} → ${whole(after)}`, el("small", {}, ` of ${whole(n)}`)),
        );
      }),
    ),
    failing.length > shown.length ? el("p", { class: "note" }, `and ${failing.length - shown.length} more types`) : null,
  );
}

function sized(tag, kind, width) {
  const element = el(tag, { class: kind });
  element.style.width = `${100 * width}%`;
  return element;
}

/** Mean best score within each depth, with standard errors, on an axis from 0 to 1. */
function depthCard(totals) {
  const points = totals.depths;
  if (points.length < 2) return null;
  const [width, height, left, bottom, top] = [360, 170, 34, 26, 14];
  const shown = points.slice(0, 24);
  const x = (depth) => left + 12 + (depth * (width - left - 30)) / Math.max(1, shown.length - 1);
  const y = (score) => top + (1 - Math.min(Math.max(score, 0), 1)) * (height - top - bottom);
  const every = Math.ceil(shown.length / 8);
  return card(
    "depth",
    "Score by depth",
    svg(
      "svg",
      { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": shown.map(([depth, , mean]) => `depth ${depth}: ${mean.toFixed(2)}`).join(", ") },
      [0, 0.5, 1].map((score) => [svg("line", { class: "grid", x1: left, x2: width - 6, y1: y(score), y2: y(score) }), svg("text", { class: "axis", x: left - 6, y: y(score) + 4, "text-anchor": "end" }, score)]),
      svg("path", { class: "line", d: shown.map(([depth, , mean], i) => `${i ? "L" : "M"}${x(depth)} ${y(mean)}`).join("") }),
      shown.map(([depth, reached, mean, error]) => [
        error ? svg("path", { class: "whisker", d: `M${x(depth)} ${y(mean - error)}V${y(mean + error)}` }) : null,
        svg("circle", { class: "dot", cx: x(depth), cy: y(mean), r: 3.5 }, svg("title", {}, `depth ${depth}: ${mean.toFixed(3)}${error ? ` ± ${error.toFixed(3)}` : ""}, reached by ${plural(reached, "tree")}`)),
        depth % every === 0 ? svg("text", { class: "axis", x: x(depth), y: height - 8, "text-anchor": "middle" }, depth) : null,
      ]),
    ),
    el("p", { class: "note" }, `Mean of the best score so far over all judged trees; depth 0 are the drafts, and ${plural(points.at(-1)[1], "tree")} went to depth ${points.at(-1)[0]}.`),
  );
}

function costCard(totals) {
  const rows = totals.usage;
  const [calls, read, made] = [1, 2, 4].map((column) => rows.reduce((sum, row) => sum + row[column], 0));
  const most = Math.max(1, ...rows.map((row) => row[2] + row[4]));
  return card(
    "cost",
    "What it cost",
    el("p", { class: "big small" }, short(read + made), el("small", {}, ` tokens in ${plural(calls, "call")}`)),
    el("p", { class: "note" }, `A prompt: ${(calls / totals.trees).toFixed(1)} calls, ${short((read + made) / totals.trees)} tokens, ${duration(totals.seconds / totals.trees)} of searching.`),
    rows.map(([role, roleCalls, roleRead, , roleMade]) =>
      el(
        "div",
        { class: "role" },
        el("span", { class: "role-name" }, role),
        el("span", { class: "track" }, sized("i", "bar read", roleRead / most), sized("i", "bar made", roleMade / most)),
        el("span", { class: "type-count" }, short(roleRead + roleMade), el("small", {}, ` in ${plural(roleCalls, "call")}`)),
      ),
    ),
    rows.length ? el("p", { class: "note" }, el("i", { class: "swatch read" }), `${short(read)} tokens read `, el("i", { class: "swatch made" }), `${short(made)} generated`) : null,
  );
}

function stopsCard(totals, change) {
  const words = { solved: ["solved", "solved"], exhausted: ["nothing left to try", "unsolved"], budget: ["budget spent", "unsolved"] };
  const rows = Object.entries(totals.stops).map(([stop, n]) => [words[stop][0], n, words[stop][1], stop === "solved" ? "pass" : "fail"]);
  if (totals.unjudged) rows.push(["answered, not judged", totals.unjudged, "unjudged", "unjudged"]);
  return card(
    "stops",
    "How the searches ended",
    rows.sort((a, b) => b[1] - a[1]).map(([name, n, filter, kind]) => {
      const row = bar(n, totals.trees, kind, el("button", { type: "button", class: "key", onclick: () => change({ filter }) }, el("b", {}, whole(n)), ` ${name}`));
      return row;
    }),
    el("p", { class: "note" }, `${plural(totals.nodes, "response")}, ${plural(totals.refinements, "refinement")} among them`, totals.faulty ? [", ", el("button", { type: "button", class: "key", onclick: () => change({ filter: "faults" }) }, `${plural(totals.faulty, "tree")} with failed attempts`)] : null, "."),
  );
}

function metricsCard(run) {
  if (!run.metrics?.length) return null;
  return card(
    "metrics",
    "Metrics of the evaluation",
    el(
      "table",
      {},
      el("tbody", {}, run.metrics.map(({ name, value, stderr, n, unit }) => el("tr", {}, el("td", {}, name.replaceAll("_", " ")), el("td", {}, unit ? `${value.toFixed(2)} ${unit}` : percent(value), stderr === null ? null : el("small", {}, unit ? ` ± ${stderr.toFixed(2)}` : ` ± ${(100 * stderr).toFixed(1)}`)), el("td", {}, el("small", {}, `n ${whole(n)}`))))),
    ),
  );
}

function settingsCard(run, totals) {
  const facts = factsOf(run, totals);
  if (!facts.length) return null;
  return card("settings", "Settings", el("dl", {}, facts.map(([label, value]) => [el("dt", {}, label), el("dd", {}, value)])));
}
