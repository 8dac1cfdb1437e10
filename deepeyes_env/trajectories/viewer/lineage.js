"use strict";
// Where each image comes from: the question's images, below each of them what calls made of it, and so on.

/** What an image is, in words. */
function titleOf({ number, call, name }) {
  const what = call ? `image of call ${call}` : `image ${number + 1} of the question`;
  return name && name !== what ? `${what} (${name})` : what;
}

/** The part of the question's images that an image shows, in words. */
function partOf({ call, region }) {
  if (region === null) return "a drawing";
  if (!call || region.box === null) return "";
  const [x1, y1, x2, y2] = region.box.map(Math.round);
  const held = [region.mirrored ? "mirrored" : "", region.quarters ? `turned ${90 * region.quarters}°` : "", region.tilted ? "tilted" : ""];
  return [`${x2 - x1} × ${y2 - y1} px at ${x1}, ${y1}`, ...held].filter(Boolean).join(", ");
}

/** The images as a tree; null where there is one only. `look(number)` puts an image on the stage. */
function lineageOf(shown, look) {
  if (shown.length < 2) return null;
  const entry = (image) => {
    const below = shown.filter(({ parent }) => parent === image.number);
    const button = el("button", { type: "button", "data-shown": image.number, title: titleOf(image), onclick: () => look(image.number) },
      el("img", { src: image.view, alt: titleOf(image), loading: "lazy" }),
      el("span", {}, image.call ? `call ${image.call}` : `image ${image.number + 1}`, el("small", {}, partOf(image))));
    if (image.call) button.style.setProperty("--colour", colourOf(image.call));
    return el("li", {}, button, below.length ? el("ul", {}, below.map(entry)) : null);
  };
  const tree = el("ul", {}, shown.filter(({ parent }) => parent === null).map(entry));
  const node = el("nav", { class: "lineage", "aria-label": "Images" }, tree);
  markLooked(node, 0);
  return node;
}

/** Says which image is on the stage. */
function markLooked(lineage, number) {
  for (const button of lineage?.querySelectorAll("button") ?? []) {
    button.setAttribute("aria-current", String(Number(button.dataset.shown) === number));
  }
}
