// The list of runs that `spar view` serves, each with a link.

function runsPage(runs) {
  return el(
    "main",
    { class: "runs" },
    el("h1", {}, plural(runs.length, "run")),
    runs.length
      ? el(
          "table",
          {},
          el("thead", {}, el("tr", {}, ["run", "", "trees", "before → after", "solved", "search", "started"].map((name) => el("th", { scope: "col" }, name)))),
          el(
            "tbody",
            {},
            runs.map((run) =>
              el(
                "tr",
                {},
                el("td", {}, run.href ? el("a", { href: run.href }, run.name) : run.name),
                el("td", {}, el("span", { class: `tag ${run.state === "running" ? "running" : run.state === "finished" ? "" : "fault"}` }, run.state)),
                el("td", { class: "figure" }, run.trees === null ? "–" : whole(run.trees), run.expected && run.expected !== run.trees ? el("small", {}, ` of ${whole(run.expected)}`) : null),
                el("td", { class: "figure" }, run.after === null ? "–" : [run.before === null ? "" : `${percent(run.before)} → `, percent(run.after)]),
                el("td", { class: "figure" }, run.solved === null ? "–" : percent(run.solved)),
                el("td", {}, run.what),
                el("td", { class: "figure" }, run.started.slice(0, 16).replace("T", " ")),
              ),
            ),
          ),
        )
      : el("p", { class: "note" }, "There is no run in this folder yet. Reload the page once there is one."),
  );
}
