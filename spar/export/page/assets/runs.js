// The list of runs that `spar view` serves, side by side, each with a link.

function runsPage(runs) {
  const { headings, numeric, rows } = runs;
  return el(
    "main",
    { class: "runs" },
    el("h1", {}, plural(rows.filter((run) => !run.level).length, "run")),
    rows.length
      ? el(
          "div",
          { class: "wide" },
          el(
            "table",
            {},
            el("thead", {}, el("tr", {}, ["run", ...headings, "started"].map((name, at) => el("th", { scope: "col", class: numeric[at - 1] ? "figure" : null }, name)))),
            el("tbody", {}, rows.map((run) => runRow(run, numeric))),
          ),
        )
      : el("p", { class: "note" }, "There is no run in this folder yet. Reload the page once there is one."),
    rows.length ? el("p", { class: "note" }, "Calls and generated tokens are means per prompt; scores are plus or minus one standard error.") : null,
  );
}

/** A run, or a stage of the run above it; a run that is not finished says so. */
function runRow(run, numeric) {
  const tag = run.state === "running" ? "running" : "fault";
  return el(
    "tr",
    { class: run.level ? "stage" : null },
    el("td", { class: "name" }, el("a", { href: run.href, title: run.name }, run.short), run.state === "finished" ? null : el("span", { class: `tag ${tag}` }, run.state)),
    run.cells.map((cell, at) => el("td", { class: numeric[at] ? "figure" : null }, cell)),
    el("td", { class: "date" }, run.started.slice(0, 16).replace("T", " ")),
  );
}
