// Everything about one node or one fault: verdicts and constraints first, then what changed, then the rest.

/** The parts of a node, for the pane and for print. */
function nodeParts(tree, at) {
  const node = tree.nodes[at];
  return [
    el(
      "header",
      { class: "node-head" },
      el("h2", {}, `#${node.id} `, el("small", {}, nodeOrigin(tree, node))),
      at === tree.selected ? el("span", { class: "tag answer" }, "★ the answer") : null,
      node.supplied ? el("span", { class: "tag" }, "supplied") : null,
    ),
    el("div", { class: "verdicts" }, judgeVerdict(node.judgement, tree.gate), truthVerdict(tree, at)),
    constraintTable(node),
    responseSection(tree, node),
    ...critiques(node.judgement),
    fold("Reflection before it", node.reflection && prose(node.reflection)),
    fold("The refiner's whole reply", node.reply && prose(node.reply)),
    fold("Strategy, when it asked for this node", node.statistics && statisticsList(node)),
    fold("Prompt that produced it", node.conversation && turns(node.conversation)),
    fold(`Cost: ${costSummary(node.usage)}`, usageTable(node.usage, node.seed && `seed ${node.seed}`)),
  ];
}

/** The parts of a failed attempt. */
function faultParts(tree, at) {
  const fault = tree.faults[at];
  const where = fault.parent === null ? "among the drafts" : `below #${tree.nodes[fault.parent].id}`;
  return [
    el("header", { class: "node-head" }, el("h2", {}, `${fault.stage} failed `, el("small", {}, where))),
    el("p", { class: "reason" }, fault.reason),
    fold("Text that could not be used", fault.unusable && prose(fault.unusable), true),
    fold(`Cost: ${costSummary(fault.usage)}`, usageTable(fault.usage)),
  ];
}

function nodeOrigin(tree, node) {
  if (node.parent === null) return "a draft";
  const merged = node.merged === undefined ? "" : ` merged with #${node.merged}`;
  return `refinement of #${tree.nodes[node.parent].id}${merged}`;
}

/** The judge's verdict in words. */
function judgeVerdict(judgement, gate) {
  if (!judgement) return el("p", { class: "verdict unjudged" }, el("b", {}, "Judge"), "not judged");
  const parts = [];
  if (judgement.findings) parts.push(`${judgement.findings.filter((finding) => finding[2]).length} of ${plural(judgement.findings.length, "constraint")} met`);
  if (judgement.points) parts.push(`points ${judgement.points.map((point) => point ?? "–").join(" ")}`);
  else if (judgement.probability !== undefined) parts.push(`P(yes) ${judgement.probability.toFixed(2)}`);
  else if (judgement.votes) parts.push(`${judgement.yes} of ${plural(judgement.parsed, "vote")} yes`);
  const votes = [...(judgement.votes ?? "")].map((vote, at) => {
    const [glyph, kind] = VOTE_GLYPHS[vote];
    const word = { y: "yes", n: "no", "-": "no verdict" }[vote] + (judgement.cut?.includes(at) ? ", cut at its token limit" : "");
    return el("span", { class: `vote ${kind}`, title: `vote ${at + 1}: ${word}` }, glyph);
  });
  const kind = judgement.passed ? "pass" : "fail";
  return el(
    "p",
    { class: `verdict ${kind}` },
    el("b", {}, "Judge"),
    el("span", { class: "word" }, judgement.passed ? "✓ passes" : "✗ fails"),
    el("span", { class: "how" }, `${parts.join(", ")}, score ${judgement.score.toFixed(2)}${judgement.votes ? `, passes above ${gate}` : ""}`),
    votes.length ? el("span", { class: "votes" }, votes) : null,
  );
}

/** Ground truth in words, beside the judge. */
function truthVerdict(tree, at) {
  const right = nodeTruth(tree, at);
  if (right === null) return el("p", { class: "verdict unjudged" }, el("b", {}, "Ground truth"), "unknown: no program can check this prompt");
  const [glyph, kind, word] = TRUTH[right];
  const judge = tree.nodes[at].judgement;
  const wrong = judge && judge.passed !== right;
  return el(
    "p",
    { class: `verdict ${kind}` },
    el("b", {}, "Ground truth"),
    el("span", { class: "word" }, `${glyph} ${word}`),
    wrong ? el("span", { class: "tag fault" }, right ? "the judge failed a right response" : "the judge passed a wrong response") : null,
  );
}

/** Each constraint once, with both verdicts and what was found. */
function constraintTable(node) {
  const judged = node.judgement?.findings ?? [];
  const truth = node.truth ?? [];
  const both = judged.length === truth.length && judged.every((finding, i) => finding[0] === truth[i][0]);
  const rows = both ? truth.map((finding, i) => [finding, judged[i]]) : [...truth.map((finding) => [finding, null]), ...judged.map((finding) => [null, finding])];
  if (!rows.length) return null;
  rows.sort((a, b) => met(a) - met(b));
  return el(
    "table",
    { class: "constraints" },
    el(
      "thead",
      {},
      el("tr", {}, el("th", { scope: "col" }, "Constraint"), truth.length ? el("th", { scope: "col" }, "Truth") : null, judged.length ? el("th", { scope: "col" }, "Judge") : null, el("th", { scope: "col" }, "Found")),
    ),
    el(
      "tbody",
      {},
      rows.map(([fact, opinion]) => {
        const finding = fact ?? opinion;
        return el(
          "tr",
          { class: met([fact, opinion]) ? "met" : "unmet" },
          el("td", { title: finding[0] }, finding[1]),
          truth.length ? el("td", {}, fact ? metMark(fact[2], TRUTH[fact[2]][0]) : "") : null,
          judged.length ? el("td", {}, opinion ? metMark(opinion[2], opinion[2] ? "✓" : "✗", opinion[4]) : "") : null,
          el("td", {}, finding[3] || (finding[2] ? "met" : "not met")),
        );
      }),
    ),
  );
}

function met([fact, opinion]) {
  return (fact ?? opinion)[2];
}

function metMark(isMet, glyph, share) {
  const votes = share === null || share === undefined ? "" : ` ${percent(share, 0)} yes`;
  return el("span", { class: isMet ? "pass" : "fail", "aria-label": isMet ? "met" : "not met" }, glyph, votes);
}

/** The response, and for a refinement what changed. */
function responseSection(tree, node) {
  if (!node.pieces) return el("section", { class: "response" }, el("h3", {}, "Response"), prose(node.text));
  const title = `Changed against #${tree.nodes[node.parent].id}`;
  const changed = node.pieces.some((piece) => piece.kind !== "same");
  const body = el("div", { class: "body" });
  const views = { [title]: () => (changed ? diff(node.pieces) : el("p", { class: "note" }, "No change: the same text as its parent.")), Response: () => prose(node.text) };
  const buttons = Object.keys(views).map((name) => el("button", { type: "button", class: "tab", onclick: () => show(name) }, name));
  const show = (name) => {
    body.replaceChildren(views[name]());
    buttons.forEach((button) => button.setAttribute("aria-pressed", button.textContent === name ? "true" : "false"));
  };
  show(changed ? title : "Response");
  return el("section", { class: "response" }, el("div", { class: "tabs" }, buttons), body);
}

function diff(parts) {
  return el(
    "div",
    { class: "prose diff" },
    parts.map(({ kind, text }) => (kind === "same" ? text : el(kind === "added" ? "ins" : "del", {}, visibleSpace(text)))),
  );
}

/** A change of white space alone has to be seen. */
function visibleSpace(text) {
  return text.trim() ? text : text.replaceAll(" ", "·").replaceAll("\n", "⏎\n");
}

function critiques(judgement) {
  if (!judgement) return [];
  const no = judgement.parsed - judgement.yes;
  const side = judgement.yes === no ? ["", ""] : judgement.yes > no ? [" (yes)", " (no)"] : [" (no)", " (yes)"];
  return [
    fold(`Critique${side[0]}`, judgement.critique && prose(judgement.critique), true),
    fold(`Dissent${side[1]}`, judgement.dissent && prose(judgement.dissent)),
    ...(judgement.texts ?? []).map(([title, text]) => fold(title, text ? prose(text) : el("p", { class: "note" }, "the same text as the critique"))),
  ];
}

function turns(conversation) {
  return conversation.map(([role, text]) => [el("h4", {}, role), prose(text)]);
}

function statisticsList(node) {
  return el("dl", {}, Object.entries(node.statistics).map(([name, value]) => [el("dt", {}, name), el("dd", {}, typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value))]));
}

/** A text as it was written. Huge ones open on demand. */
function prose(text) {
  const shown = 12000;
  if (text.length <= shown) return el("div", { class: "prose", dir: "auto" }, text);
  const body = el("div", { class: "prose", dir: "auto" }, text.slice(0, shown));
  const more = el("button", { type: "button", class: "more", onclick: () => (more.remove(), body.append(text.slice(shown))) }, `${whole(text.length - shown)} characters more`);
  return [body, more];
}

/** A titled part that folds; nothing without content. */
function fold(title, content, open = false) {
  if (!content || content.length === 0) return null;
  return el("details", { open }, el("summary", {}, title), el("div", { class: "fold" }, content));
}

function costSummary(usage) {
  const calls = (usage ?? []).reduce((sum, each) => sum + each[1], 0);
  const made = (usage ?? []).reduce((sum, each) => sum + each[4], 0);
  return `${plural(calls, "call")}, ${whole(made)} tokens`;
}

function usageTable(usage, note) {
  return el(
    "div",
    {},
    el(
      "table",
      { class: "usage" },
      el("thead", {}, el("tr", {}, ["role", "calls", "tokens read", "cached", "generated", "time"].map((name) => el("th", { scope: "col" }, name)))),
      el(
        "tbody",
        {},
        (usage ?? []).map(([role, calls, read, cached, made, seconds]) =>
          el("tr", {}, el("td", {}, role), [calls, read, cached, made].map((number) => el("td", {}, whole(number))), el("td", {}, duration(seconds))),
        ),
      ),
    ),
    note ? el("p", { class: "note" }, note) : null,
  );
}
