// The drawing of a tree, from the prompt on the left to the deepest refinements on the right.

const BOX = { width: 208, height: 66, gapX: 38, gapY: 14, margin: 10 };
const VOTE_GLYPHS = { y: ["✓", "pass"], n: ["✗", "fail"], "-": ["?", "fault"] };
const MARKS = 14;
/** Letters on a line of a box. */
const LINE = 29;

/** Ground truth has a glyph of its own, as in the terminal. */
const TRUTH = { true: ["◆", "pass", "right"], false: ["◇", "fail", "wrong"] };

/** Whether a node's response is right by ground truth; null where that is unknown. */
function nodeTruth(tree, at) {
  const node = tree.nodes[at];
  if (at === tree.selected && tree.after[1] !== null) return tree.after[1];
  return node.truth ? node.truth.every((finding) => finding[2]) : null;
}

/** The drawing; `pick` is called with "3" for a node and "fault-0" for a fault. */
function drawTree(tree, pick) {
  const items = [
    ...tree.nodes.map((node, at) => ({ key: String(at), ...node })),
    ...tree.faults.map((fault, at) => ({ key: `fault-${at}`, ...fault })),
  ];
  const columns = Math.max(0, ...items.map((item) => item.column));
  const rows = Math.max(tree.row, ...items.map((item) => item.row));
  const width = 2 * BOX.margin + (columns + 1) * (BOX.width + BOX.gapX) - BOX.gapX;
  const height = 2 * BOX.margin + (rows + 1) * (BOX.height + BOX.gapY) - BOX.gapY;
  const prompt = corner(0, tree.row);
  const edges = items.map((item) => {
    const from = item.parent === null ? prompt : corner(tree.nodes[item.parent].column, tree.nodes[item.parent].row);
    return edge(from, corner(item.column, item.row), item.path);
  });
  const words = tree.turns.at(-1)[1];
  return svg(
    "svg",
    { class: "drawing", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Search tree" },
    edges,
    svg(
      "g",
      { class: "box prompt", transform: `translate(${prompt.x} ${prompt.y})` },
      rect(),
      clipped(svg("text", { class: "head", x: 14, y: 20 }, "prompt"), twoLines(words)),
    ),
    items.map((item) => box(tree, item, pick)),
  );
}

/** Mark the chosen box and bring it into sight. */
function chooseBox(drawing, key) {
  for (const each of drawing.querySelectorAll(".chosen")) each.classList.remove("chosen");
  const chosen = [...drawing.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
  chosen?.classList.add("chosen");
  const pane = drawing.parentElement;
  if (!chosen || !pane) return;
  const [inner, outer] = [chosen.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (inner.left < outer.left || inner.right > outer.right) pane.scrollLeft += inner.left - outer.left - 60;
  if (inner.top < outer.top || inner.bottom > outer.bottom) pane.scrollTop += inner.top - outer.top - 30;
}

function corner(column, row) {
  return { x: BOX.margin + column * (BOX.width + BOX.gapX), y: BOX.margin + row * (BOX.height + BOX.gapY) };
}

function rect() {
  return svg("rect", { width: BOX.width, height: BOX.height, rx: 8 });
}

function edge(from, to, onPath) {
  const [x1, y1, y2] = [from.x + BOX.width, from.y + BOX.height / 2, to.y + BOX.height / 2];
  const half = BOX.gapX / 2;
  return svg("path", { class: onPath ? "edge path" : "edge", d: `M${x1} ${y1}C${x1 + half} ${y1} ${to.x - half} ${y2} ${to.x} ${y2}` });
}

function box(tree, item, pick) {
  const { x, y } = corner(item.column, item.row);
  const isFault = item.stage !== undefined;
  const kinds = ["box", isFault ? "fault" : outcomeKind(item), item.path ? "path" : ""];
  return svg(
    "g",
    {
      class: kinds.join(" "),
      transform: `translate(${x} ${y})`,
      "data-key": item.key,
      tabindex: "0",
      role: "button",
      "aria-label": isFault ? `${item.stage} failed` : nodeLabel(tree, item),
      onclick: () => pick(item.key),
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          pick(item.key);
        }
      },
    },
    rect(),
    svg("path", { class: "stripe", d: `M8 0H5V${BOX.height}H8A8 8 0 0 1 0 ${BOX.height - 8}V8A8 8 0 0 1 8 0Z` }),
    clipped(isFault ? faultText(item) : nodeText(tree, item)),
  );
}

function faultText(fault) {
  return [
    svg("text", { class: "head", x: 14, y: 20 }, `! ${fault.stage} failed`),
    twoLines(fault.reason),
  ];
}

/** Text that ends at the box's edge, whatever its letters measure. */
function clipped(...content) {
  return svg("svg", { width: BOX.width - 6, height: BOX.height }, content);
}

/** The beginning of a text on two lines. */
function twoLines(text) {
  const line = cut(text, 2 * LINE + 8);
  const space = line.length > LINE ? line.lastIndexOf(" ", LINE) : line.length;
  const end = space > LINE / 2 ? space : LINE;
  return [
    svg("text", { class: "tail", x: 14, y: 38 }, line.slice(0, end)),
    svg("text", { class: "tail", x: 14, y: 54 }, cut(line.slice(end), LINE)),
  ];
}

function nodeText(tree, node) {
  const at = Number(node.key);
  const truth = TRUTH[nodeTruth(tree, at)];
  return [
    svg("text", { class: "head", x: 14, y: 20 }, `${at === tree.selected ? "★ " : ""}#${node.id}`),
    svg(
      "text",
      { class: "head", x: BOX.width - 10, y: 20, "text-anchor": "end" },
      node.judgement ? svg("tspan", { class: "score" }, node.judgement.score.toFixed(2)) : null,
      truth ? svg("tspan", { class: truth[1], dx: 7 }, truth[0]) : null,
    ),
    svg("text", { class: "marks", x: 14, y: 38 }, marks(node)),
    svg("text", { class: "tail", x: 14, y: 55 }, changeSnippet(node)),
  ];
}

/** One mark for each constraint or vote. */
function marks(node) {
  const judgement = node.judgement;
  const findings = judgement?.findings ?? (judgement ? null : node.truth);
  const glyphs = [...(findings ?? []).map((finding) => VOTE_GLYPHS[finding[2] ? "y" : "n"]), ...[...(judgement?.votes ?? "")].map((vote) => VOTE_GLYPHS[vote])];
  const shown = glyphs.slice(0, MARKS).map(([glyph, kind]) => svg("tspan", { class: kind }, glyph));
  if (glyphs.length > MARKS) shown.push(svg("tspan", {}, ` +${glyphs.length - MARKS}`));
  if (judgement && !glyphs.length) shown.push(svg("tspan", { class: "unjudged" }, judgement.points ? "points" : "P(yes)"));
  if (!shown.length) shown.push(svg("tspan", { class: "unjudged" }, "not judged"));
  return shown;
}

/** What changed against the parent, or how a draft begins. */
function changeSnippet(node) {
  if (!node.pieces) return cut(node.text, LINE);
  const changed = node.pieces.filter((piece) => piece.kind !== "same");
  if (!changed.length) return "no change";
  const visible = changed.filter((piece) => piece.text.trim());
  if (!visible.length) return "white space alone changed";
  const lettered = visible.filter((piece) => /[\p{L}\p{N}]/u.test(piece.text));
  const words = lettered.length ? lettered : visible;
  const shown = [];
  for (let [at, left] = [0, LINE + 8]; at < words.length && left > 0; at++) {
    const text = cut(words[at].text, left);
    shown.push(svg("tspan", { class: words[at].kind, dx: at ? 5 : 0 }, `${words[at].kind === "added" ? "+" : "−"}\u2009${text}`));
    left -= text.length + 2;
  }
  return shown;
}

function outcomeKind(node) {
  return node.judgement ? (node.judgement.passed ? "pass" : "fail") : "unjudged";
}

function nodeLabel(tree, node) {
  const at = Number(node.key);
  const truth = TRUTH[nodeTruth(tree, at)];
  const judged = { pass: "judge: passes", fail: "judge: fails", unjudged: "not judged" }[outcomeKind(node)];
  return [`node ${node.id}`, at === tree.selected ? "the answer" : "", judged, truth ? `ground truth: ${truth[2]}` : ""].filter(Boolean).join(", ");
}
