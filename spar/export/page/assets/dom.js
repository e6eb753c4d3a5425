// Elements and numbers. Text is only ever set as text; nothing in this page parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: el("p", {class: "story", onclick: open}, "text", child). Attributes that are null or false are left out. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of a drawing. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 12,345 */
function whole(number) {
  return NUMBER.format(number);
}

/** 12.3K */
function short(number) {
  return SHORT.format(number);
}

/** "1 call", "2 calls" */
function plural(number, name) {
  return `${whole(number)} ${name}${number === 1 ? "" : "s"}`;
}

/** A share as 66.7 % */
function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** 3.2 s, 4 min 10 s, 2 h 5 min */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The last part of a constraint type in words: "length_constraints:number_words" is "number words". */
function typeName(type) {
  return type.split(":").pop().replaceAll("_", " ");
}

/** A text on one line of at most so many characters. */
function cut(text, length) {
  const line = text.slice(0, 4 * length).replace(/\s+/g, " ").trim();
  return line.length > length || text.length > 4 * length ? `${line.slice(0, length - 1)}…` : line;
}
