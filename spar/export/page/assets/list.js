// The list of prompts: filters, sorting, and a list that draws only the rows in sight.

const ROW_HEIGHT = 70;

/** What became of the first draft: word, glyph and colour. */
const CHANGES = {
  fixed: { word: "fixed", glyph: "↑", kind: "pass" },
  broken: { word: "broken", glyph: "↓", kind: "fail" },
  passed: { word: "right at first", glyph: "✓", kind: "pass" },
  failed: { word: "still fails", glyph: "✗", kind: "fail" },
};

/** Name of a filter, its words and its test. The first two are always there, others where they have a row. */
const FILTERS = [
  ["all", "all", () => true],
  ["fixed", "fixed", (row) => row.change === "fixed"],
  ["broken", "broken", (row) => row.change === "broken"],
  ["failed", "still fail", (row) => row.change === "failed"],
  ["passed", "right at first", (row) => row.change === "passed"],
  ["judge-wrong", "judge wrong", (row) => judgeWrong(row)],
  ["solved", "solved", (row) => row.judged && row.stop === "solved"],
  ["unsolved", "not solved", (row) => row.judged && row.stop !== "solved"],
  ["faults", "faults", (row) => row.faults > 0],
  ["unjudged", "not judged", (row) => !row.error && !row.judged],
  ["damaged", "no tree", (row) => row.error],
  ["starred", "✱ starred", (row) => row.star],
  ["noted", "✎ with a note", (row) => row.note],
];

const SORTS = [
  ["number", "in order", (row) => row.number],
  ["score", "lowest score", (row) => row.score ?? 2],
  ["calls", "most calls", (row) => -row.calls],
  ["tokens", "most tokens", (row) => -row.tokens],
  ["nodes", "most nodes", (row) => -row.nodes],
  ["seconds", "longest", (row) => -row.seconds],
];

function judgeWrong(row) {
  const [judge, truth] = row.after ?? [null, null];
  return judge !== null && truth !== null && judge !== truth;
}

/** Add a row to the numbers that stand beside the filters. */
function countRow(state, row, by = 1) {
  for (const [name, , test] of FILTERS) if (test(row)) state.counts[name] = (state.counts[name] ?? 0) + by;
  for (const type of row.failing ?? []) state.types[type] = (state.types[type] ?? 0) + by;
}

/** Leave out a row that a later one of its prompt replaces. */
function replaceRow(state, row) {
  row.replaced = true;
  state.replaced += 1;
  countRow(state, row, -1);
  for (const type of row.failing ?? []) if (!state.types[type]) delete state.types[type];
}

/** Put what a reader noted (id -> [star, note]) on the rows, and count it. */
function markRows(state) {
  for (const row of state.rows) [row.star = false, row.note = ""] = Object.hasOwn(state.marks, row.id) ? state.marks[row.id] : [];
  for (const [name, , test] of FILTERS.slice(-2)) state.counts[name] = state.rows.filter((row) => !row.replaced && test(row)).length;
}

/** What a search asks of marks, and the text that is left: "is:starred note:odd a comma". */
function splitMarks(text) {
  const notes = [];
  let starred = false;
  const rest = text.replace(/(?<!\S)(?:is:starred(?!\S)|note:(?:"([^"]*)"?|(\S*)))/g, (term, quoted, word) => {
    if (term === "is:starred") starred = true;
    else notes.push((quoted ?? word).toLowerCase());
    return "";
  });
  const meant = (row) => (row.star || !starred) && (!notes.length || (row.note && notes.every((note) => row.note.toLowerCase().includes(note))));
  return { text: starred || notes.length ? rest.split(/\s+/).filter(Boolean).join(" ") : text.trim(), meant };
}

/** The rows that the filters let through, in order. */
function shownRows(state) {
  const test = FILTERS.find(([name]) => name === state.filter)[2];
  const { text, meant } = splitMarks(state.text);
  const folded = text === text.toLowerCase();
  const rows = state.rows.filter(
    (row) =>
      !row.replaced &&
      test(row) &&
      meant(row) &&
      (!state.type || row.failing?.includes(state.type)) &&
      (!text ||
        state.hits.has(row.number) ||
        (folded ? `${row.id} ${row.title}`.toLowerCase() : `${row.id} ${row.title}`).includes(text)),
  );
  const key = SORTS.find(([name]) => name === state.sort)[2];
  if (state.sort !== "number") rows.sort((a, b) => key(a) - key(b) || a.number - b.number);
  return rows;
}

/** The rows in sight, and no others. */
class VirtualList {
  #rows = [];
  #drawn = new Map();
  #current = null;

  constructor() {
    this.space = el("div", { class: "rows" });
    this.element = el("div", { class: "list-scroll", tabindex: "0", role: "listbox", "aria-label": "Prompts" }, this.space);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  show(rows, current) {
    this.#rows = rows;
    this.#current = current;
    this.space.style.height = `${rows.length * ROW_HEIGHT}px`;
    this.#drawn.forEach((row) => row.remove());
    this.#drawn.clear();
    this.draw();
  }

  /** Mark the row whose tree is shown. */
  mark(number) {
    this.#current = number;
    for (const [at, row] of this.#drawn) {
      const isCurrent = this.#rows[at].number === number;
      row.classList.toggle("current", isCurrent);
      row.setAttribute("aria-selected", isCurrent ? "true" : "false");
    }
  }

  /** Bring a row into sight. */
  reveal(number) {
    const at = this.#rows.findIndex((row) => row.number === number);
    if (at < 0) return;
    const [top, height] = [at * ROW_HEIGHT, this.element.clientHeight];
    if (top < this.element.scrollTop) this.element.scrollTop = top - ROW_HEIGHT / 2;
    else if (top + ROW_HEIGHT > this.element.scrollTop + height) this.element.scrollTop = top - height + 1.5 * ROW_HEIGHT;
  }

  draw() {
    const first = Math.max(Math.floor(this.element.scrollTop / ROW_HEIGHT) - 4, 0);
    const last = Math.min(first + Math.ceil(this.element.clientHeight / ROW_HEIGHT) + 8, this.#rows.length);
    for (const [at, row] of this.#drawn) {
      if (at < first || at >= last) {
        row.remove();
        this.#drawn.delete(at);
      }
    }
    for (let at = first; at < last; at++) {
      if (!this.#drawn.has(at)) {
        const row = this.#row(this.#rows[at]);
        row.style.top = `${at * ROW_HEIGHT}px`;
        this.#drawn.set(at, row);
        this.space.append(row);
      }
    }
  }

  #row(row) {
    const change = row.error
      ? { word: "not a tree", glyph: "!", kind: "fault" }
      : (CHANGES[row.change] ?? { word: "not judged", glyph: "·", kind: "unjudged" });
    return el(
      "a",
      {
        class: `row${row.number === this.#current ? " current" : ""}`,
        href: address(row.id),
        role: "option",
        "aria-selected": row.number === this.#current ? "true" : "false",
      },
      el("span", { class: `mark ${change.kind}`, title: change.word, "aria-label": change.word }, change.glyph),
      el("span", { class: "row-title" }, markGlyphs(row), row.title || row.id),
      el(
        "span",
        { class: "row-story" },
        judgeWrong(row) ? el("b", { class: "tag fault" }, "judge wrong") : null,
        row.faults && !row.nodes ? el("b", { class: "tag fault" }, "faults") : null,
        rowStory(row.story ?? ""),
      ),
    );
  }
}

/** The glyphs of a star and a note. */
function markGlyphs({ star, note }) {
  if (!star && !note) return null;
  return el("span", { class: "reader-mark", title: [star ? "starred" : "", note].filter(Boolean).join(": ") }, star ? "✱ " : "", note ? "✎ " : "");
}

/** What the search did, the outcome first, since a list has room for few words. */
function rowStory(story) {
  const [before, ...after] = story.split(" → ");
  return after.length ? [el("b", {}, after.join(" → ")), ` · ${before}`] : before;
}

/** The search field, the chips and the list. */
class ListPane {
  constructor(change) {
    this.change = change;
    this.search = el("input", {
      type: "search",
      placeholder: "Search prompts and responses",
      title: "also note:word, is:starred",
      "aria-label": "Search prompts and responses",
      spellcheck: "false",
      oninput: () => change({ text: this.search.value }),
    });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Filter" });
    this.type = el("select", { "aria-label": "Failing constraint", onchange: () => change({ type: this.type.value }) });
    this.sort = el(
      "select",
      { "aria-label": "Sort", onchange: () => change({ sort: this.sort.value }) },
      SORTS.map(([name, words]) => el("option", { value: name }, words)),
    );
    this.count = el("span", { class: "count", role: "status" });
    this.list = new VirtualList();
    this.element = el(
      "section",
      { class: "list", "aria-label": "Prompts" },
      el("div", { class: "list-head" }, this.search, this.chips, el("div", { class: "list-tools" }, this.count, this.type, this.sort)),
      this.list.element,
      this.#pages(),
    );
  }

  show(state, shown) {
    this.chips.replaceChildren(
      ...FILTERS.map(([name, words]) => [name, words, state.counts[name] ?? 0]).flatMap(([name, words, n]) =>
        n || name === "all" || name === state.filter
          ? [
              el(
                "button",
                {
                  class: "chip",
                  type: "button",
                  "aria-pressed": name === state.filter ? "true" : "false",
                  "data-filter": name,
                  onclick: () => this.change({ filter: name }),
                },
                words,
                el("span", {}, whole(n)),
              ),
            ]
          : [],
      ),
    );
    this.#showTypes(state);
    this.sort.value = state.sort;
    if (this.search.value !== state.text) this.search.value = state.text;
    const searching = state.searching ? ", searching …" : "";
    const all = state.rows.length - state.replaced;
    const of = shown.length === all ? "" : ` of ${whole(all)}`;
    this.count.textContent = `${whole(shown.length)}${of} ${all === 1 ? "prompt" : "prompts"}${searching}`;
    this.list.show(shown, state.number);
  }

  #showTypes(state) {
    const counts = new Map(Object.entries(state.types));
    if (state.type && !counts.has(state.type)) counts.set(state.type, 0);
    const types = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    this.type.hidden = !types.length;
    this.type.replaceChildren(
      el("option", { value: "" }, "any constraint"),
      ...types.map(([type, n]) => el("option", { value: type, title: type }, `fails ${typeName(type)} (${whole(n)})`)),
    );
    this.type.value = state.type;
  }

  /** The other files of a large run. */
  #pages() {
    if (!RUN.pages?.length) return null;
    return el(
      "nav",
      { class: "pages", "aria-label": "Pages" },
      "page ",
      RUN.pages.map((name, at) =>
        at === RUN.page ? el("b", { "aria-current": "page" }, at + 1) : el("a", { href: encodeURIComponent(name) }, at + 1),
      ),
    );
  }
}
