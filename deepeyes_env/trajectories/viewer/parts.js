"use strict";
// Small parts that everything else is made of. Text from a run only ever becomes a text node.

/** Makes an element: attributes by name, `on...` handlers as functions, children as nodes or text. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value; // the page's policy refuses the attribute
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const signed = (text) => text.replace("-", "\u2212");
const fixed = (value, digits = 2) => (value === null ? "\u2013" : signed(value.toFixed(digits)));
const percent = (value) => (value === null ? "\u2013" : `${(100 * value).toFixed(1)} %`);
/** A difference of two rates, with its sign. */
const change = (value) => `${value > 0 ? "+" : ""}${signed(percent(value))}`;
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const one = (index) => String.fromCharCode(65 + index);
/** Letter of an option as the policy was shown it: A to Z, then AA, AB ... */
const letter = (index) => (index < 26 ? one(index) : one(Math.floor(index / 26) - 1) + one(index % 26));
const words = (name) => name.replaceAll("_", " ");

const VERDICTS = new Map([
  [true, { name: "right", mark: "✓" }],
  [false, { name: "wrong", mark: "✗" }],
  [null, { name: "unknown", mark: "·" }],
]);

const TAGS = ["think", "tool_call", "answer", "code"];

/**
 * Splits a message at the tags of the protocols. A tag that is not closed, or opened again before it is, ends where the
 * next one opens.
 * Returns a list of {tag, body, closed}; tag is "" for text outside of tags.
 */
function segments(text) {
  const open = new RegExp(`<(${TAGS.join("|")})>`, "g");
  const parts = [];
  let done = 0;
  for (let match = open.exec(text); match; match = open.exec(text)) {
    if (match.index > done) parts.push({ tag: "", body: text.slice(done, match.index), closed: true });
    const start = open.lastIndex;
    const end = text.indexOf(`</${match[1]}>`, start);
    const again = text.indexOf(match[0], start);
    const closed = end >= 0 && !(again >= 0 && again < end);
    if (closed) {
      done = end + match[1].length + 3;
    } else {
      const next = open.exec(text);
      done = next ? next.index : text.length;
    }
    parts.push({ tag: match[1], body: text.slice(start, closed ? end : done), closed });
    open.lastIndex = done;
  }
  if (done < text.length) parts.push({ tag: "", body: text.slice(done), closed: true });
  return parts.filter((part) => part.tag || part.body.trim());
}

/** What the environment said: as it is, because tags in it are instructions or part of the protocol. */
function said(text) {
  return clamped(el("div", { class: "message" }, withImages(text.trim())), text.length);
}

/** What the policy wrote, with its tags told apart. */
function written(text) {
  const blocks = segments(text).map(({ tag, body, closed }) =>
    el("div", { class: `segment ${tag || "plain"}` },
      tag ? el("span", { class: "tag" }, tag, closed ? null : " (unclosed tag)") : null,
      el("div", { class: "body" }, body.trim() ? withImages(body.trim()) : el("span", { class: "muted" }, "empty"))));
  return clamped(el("div", { class: "message" }, blocks), text.length);
}

/** Text nodes, with each image placeholder as a chip. */
function withImages(text) {
  return text.split("<image>").flatMap((part, i) => (i ? [el("span", { class: "chip" }, "image"), part] : [part]));
}

/** Very long texts start folded. */
function clamped(node, length) {
  if (length < 4000) return node;
  node.classList.add("clamped");
  const more = el("button", { type: "button", class: "more", onclick: () => {
    node.classList.remove("clamped");
    more.remove();
  } }, `Show all ${length.toLocaleString("en")} characters`);
  return el("div", {}, node, more);
}

/** An image that opens in a tab of its own. */
function thumbnail(url, label) {
  const image = el("img", { src: url, alt: label, loading: "lazy", decoding: "async", onerror: () => {
    image.replaceWith(el("span", { class: "missing" }, `image not found: ${url}`));
  } });
  return el("a", { href: url, target: "_blank", rel: "noopener", class: "thumbnail", title: `${label}: open` }, image);
}
