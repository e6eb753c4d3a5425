// One tree: the instruction, the verdicts side by side, what the search did, the drawing, and the chosen node.

class TreePane {
  constructor(step) {
    this.step = step;
    this.note = el("div", {});
    this.element = el("article", { class: "tree", "aria-label": "Search tree" });
  }

  /** Show a tree; `key` is that of the chosen node or fault. */
  show(tree, key, position) {
    this.tree = tree;
    this.drawing = drawTree(tree, (picked) => go(tree.id, picked));
    this.pane = el("section", { class: "node", "aria-live": "polite" });
    this.showMark(state.marks);
    this.element.replaceChildren(
      this.#bar(position),
      el("h1", { class: "instruction", dir: "auto" }, instructionText(tree)),
      el("p", { class: "story" }, storyTag(tree), tree.story),
      this.note,
      el("div", { class: "facing" }, answerVerdict("Judge", tree.before[0], tree.after[0], tree), answerVerdict("Ground truth", tree.before[1], tree.after[1], tree)),
      el("div", { class: "canvas", tabindex: "-1" }, this.drawing),
      el("p", { class: "legend" }, "★ answer · ✓ ✗ constraint or vote · ◆ right, ◇ wrong by ground truth · − + words that changed"),
      this.pane,
      ...this.#rest(),
    );
    this.element.parentElement?.scrollTo(0, 0);
    this.choose(key);
  }

  /** Show what a reader noted about the tree. */
  showMark(marks) {
    const [star, note] = Object.hasOwn(marks, this.tree.id) ? marks[this.tree.id] : [false, ""];
    const words = [star ? el("b", {}, "✱ starred ") : null, note ? `✎ ${note}` : ""];
    this.note.replaceChildren(...(star || note ? [el("p", { class: "reader-mark" }, words)] : []));
  }

  /** Show a node or a fault of the shown tree. */
  choose(key) {
    const { tree } = this;
    this.key = this.#has(key) ? key : this.#first();
    if (this.key === null) return this.pane.replaceChildren(el("p", { class: "note" }, "The search made no response."));
    const isFault = this.key.startsWith("fault-");
    this.pane.replaceChildren(...(isFault ? faultParts(tree, Number(this.key.slice(6))) : nodeParts(tree, Number(this.key))).filter(Boolean));
    chooseBox(this.drawing, this.key);
  }

  /** The key of the box in a direction from the chosen one; null if there is none. */
  neighbour(direction) {
    const boxes = [
      ...this.tree.nodes.map((node, at) => ({ key: String(at), ...node })),
      ...this.tree.faults.map((fault, at) => ({ key: `fault-${at}`, ...fault })),
    ];
    const here = boxes.find((box) => box.key === this.key);
    if (!here) return null;
    if (direction === "left") return here.parent === null ? null : String(here.parent);
    const near = (found) => found.sort((a, b) => Math.abs(a.row - here.row) - Math.abs(b.row - here.row))[0]?.key ?? null;
    if (direction === "right") return near(boxes.filter((box) => String(box.parent) === this.key));
    const sign = direction === "down" ? 1 : -1;
    return near(boxes.filter((box) => box.column === here.column && sign * (box.row - here.row) > 0));
  }

  #has(key) {
    if (key?.startsWith("fault-")) return Number(key.slice(6)) < this.tree.faults.length;
    return key !== null && Number(key) < this.tree.nodes.length;
  }

  /** The answer; else the first node or fault. */
  #first() {
    if (this.tree.selected !== null) return String(this.tree.selected);
    return this.tree.nodes.length ? "0" : this.tree.faults.length ? "fault-0" : null;
  }

  #bar(position) {
    return el(
      "nav",
      { class: "tree-bar", "aria-label": "Trees" },
      RUN.single ? null : el("a", { class: "back", href: "#" }, "‹ run"),
      el("code", { class: "id" }, this.tree.id),
      el("span", { class: "spacer" }),
      position ? el("span", { class: "count" }, position) : null,
      RUN.single ? null : el("button", { type: "button", title: "previous (k)", "aria-label": "previous tree", onclick: () => this.step(-1) }, "↑"),
      RUN.single ? null : el("button", { type: "button", title: "next (j)", "aria-label": "next tree", onclick: () => this.step(1) }, "↓"),
    );
  }

  #rest() {
    const { tree } = this;
    const facts = [
      tree.stop,
      tree.strategy,
      plural(tree.nodes.length, "node"),
      tree.faults.length ? plural(tree.faults.length, "failed attempt") : "",
      tree.cancelled ? `${whole(tree.cancelled)} cancelled` : "",
      duration(tree.seconds),
    ];
    return [
      el(
        "section",
        { class: "about" },
        fold("What the search cost", [usageTable(tree.usage), el("p", { class: "note" }, facts.filter(Boolean).join(" · "))]),
        tree.turns.length > 1 ? fold(`The whole conversation, ${tree.turns.length} turns`, turns(tree.turns)) : null,
        fold("The prompt's other fields", tree.meta && prose(tree.meta)),
        tree.source ? el("p", { class: "note" }, `source: ${tree.source}`) : null,
      ),
    ];
  }
}

/** The last turn, of which a long one opens on demand. */
function instructionText(tree) {
  const text = tree.turns.at(-1)[1];
  if (text.length <= 900) return text;
  const rest = el("button", { type: "button", class: "more", onclick: () => rest.replaceWith(text.slice(700)) }, `${whole(text.length - 700)} characters more`);
  return [text.slice(0, 700), rest];
}

function storyTag(tree) {
  const change = CHANGES[tree.change];
  return change ? el("span", { class: `mark ${change.kind}`, "aria-hidden": "true" }, change.glyph) : null;
}

/** One authority on the first draft and on the answer: "Judge ✗ → ✓". */
function answerVerdict(name, before, after, tree) {
  const isTruth = name !== "Judge";
  const glyphs = isTruth ? { true: "◆ right", false: "◇ wrong" } : { true: "✓ passes", false: "✗ fails" };
  const word = (verdict) => (verdict === null ? el("span", { class: "unjudged" }, isTruth ? "unknown" : "not judged") : el("span", { class: verdict ? "pass" : "fail" }, glyphs[verdict]));
  const isSame = tree.selected === 0 || tree.nodes.length < 2;
  return el(
    "p",
    { class: "face" },
    el("b", {}, name),
    isSame ? null : [word(before), el("span", { class: "arrow", "aria-label": "then" }, "→")],
    word(after),
    isTruth && tree.judge_wrong ? el("span", { class: "tag fault" }, "judge wrong") : null,
  );
}

/** For print, all nodes on the path to the answer, one below the other. */
function printedPath(tree) {
  const path = tree.nodes.flatMap((node, at) => (node.path ? [at] : []));
  return el("div", { class: "printed" }, path.map((at) => el("section", { class: "node" }, nodeParts(tree, at))));
}
