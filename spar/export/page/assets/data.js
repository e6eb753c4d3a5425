// The data of a run: embedded in this file, or served by `spar view`.
//
//     source.rows()              the rows of the list, all at once or as they come
//     await source.tree(3)       everything about a tree
//     source.search(text, hit)   the numbers of the trees with a text in them
//
// A tree's responses are stored as changes against the parent (see tree_data.py); `unfold` turns them into texts.

const RUN = JSON.parse(document.getElementById("run").textContent);

/** Decode the gzip of a JSON value in base64. */
async function unpack(base64) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** Trees in this file, decoded block by block when they are needed. */
class EmbeddedTrees {
  #blocks = new Map();

  async follow(update) {
    const rows = await unpack(document.getElementById("rows").textContent);
    update({ rows, totals: RUN.totals, done: true });
  }

  async tree(number) {
    const block = await this.#block(Math.floor(number / RUN.block));
    return unfold(block[number % RUN.block]);
  }

  /** Looks through all trees; calls `hit` with numbers as they are found. Returns false if it was cancelled. */
  async search(text, hit, isCurrent) {
    const last = Math.ceil(state.rows.length / RUN.block);
    for (let at = 0; at < last; at++) {
      const block = await this.#block(at);
      if (!isCurrent()) return false;
      hit(block.flatMap((tree, i) => (tree && contains(unfold(tree), text) ? [at * RUN.block + i] : [])));
    }
    return true;
  }

  /** A block of trees. At most eight stay decoded. */
  async #block(number) {
    let block = this.#blocks.get(number);
    if (!block) {
      await loaded(() => document.getElementById(`block-${number}`));
      block = unpack(document.getElementById(`block-${number}`).textContent);
    }
    this.#blocks.delete(number);
    this.#blocks.set(number, block);
    if (this.#blocks.size > 8) this.#blocks.delete(this.#blocks.keys().next().value);
    return block;
  }
}

/** Trees of a run that a server reads, perhaps while it is being written. */
class ServedTrees {
  #next = 0;
  #generation = null;

  async follow(update) {
    for (;;) {
      let wait = 1000;
      try {
        const answer = await this.#get(`rows?from=${this.#next}&generation=${this.#generation ?? ""}`);
        const isNew = answer.generation !== this.#generation;
        this.#generation = answer.generation;
        this.#next = answer.from + answer.rows.length;
        update({ ...answer, isNew });
        if (answer.rows.length && !answer.complete) wait = 0;
        else if (!answer.done) wait = 250;
      } catch (error) {
        update({ problem: `${error.message}. Is spar view still running?` });
        wait = 3000;
      }
      if (document.hidden) await new Promise((resume) => document.addEventListener("visibilitychange", resume, { once: true }));
      await new Promise((resume) => setTimeout(resume, wait));
    }
  }

  async tree(number) {
    return unfold(await this.#get(`tree/${number}`));
  }

  async search(text, hit, isCurrent) {
    for (let from = 0; ; ) {
      const answer = await this.#get(`search?from=${from}&text=${encodeURIComponent(text)}`);
      if (!isCurrent()) return false;
      hit(answer.numbers);
      from = answer.next;
      if (answer.done) return true;
    }
  }

  async #get(path) {
    const response = await fetch(`${RUN.live}/${path}`, { cache: "no-store" });
    if (!response.ok) throw new Error((await response.text()) || `error ${response.status}`);
    return response.json();
  }
}

/** Wait until an element of this document has been parsed. */
async function loaded(find) {
  while (!find() && document.readyState === "loading") {
    await new Promise((resume) => document.addEventListener("readystatechange", resume, { once: true }));
  }
}

/** The tree with each node's `text`, and for a refinement the `pieces` of its change. */
function unfold(tree) {
  for (const node of tree?.nodes ?? []) {
    if (node.delta && node.pieces === undefined) {
      node.pieces = pieces(tree.nodes[node.parent].text, node.delta);
      node.text = node.pieces.filter((piece) => piece.kind !== "removed").map((piece) => piece.text).join("");
    }
  }
  return tree;
}

/** The runs of text that two texts have in common, or that one of them has. */
function pieces(before, delta) {
  let at = 0;
  return delta.map((change) => {
    if (Array.isArray(change)) return { kind: "added", text: change[1] };
    const text = before.slice(at, (at += Math.abs(change)));
    return { kind: change > 0 ? "same" : "removed", text };
  });
}

/** Whether a turn of the prompt or a response has a text; case counts only if the text has capitals. */
function contains(tree, text) {
  const folded = text === text.toLowerCase();
  const texts = [...tree.turns.map((turn) => turn[1]), ...tree.nodes.map((node) => node.text)];
  return texts.some((each) => (folded ? each.toLowerCase() : each).includes(text));
}
