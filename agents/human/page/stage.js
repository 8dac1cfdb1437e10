"use strict";
// The image that is looked at, and the box drawn on it. Boxes to be seen come in fractions of the image. A box that is
// drawn is written in the coordinates of the image's `pad`: where it goes may be the image that a crop was cut from.

const COLOURS = ["#ff9f1c", "#2ec4ff", "#ff6fb5", "#ffe14d", "#b794ff", "#ff7a59"];
const colourOf = (call) => COLOURS[(call - 1) % COLOURS.length];

/** Less than this many screen pixels is a click that trembled. */
const SMALLEST = 4;

const clip = (value) => Math.min(1, Math.max(0, value));

class Stage {
  /** `drawn(box)` is told of the box while it is being drawn; null when there is none any more. */
  constructor(drawn) {
    this.drawn = drawn;
    this.shown = null;
    this.marks = [];
    this.box = null;
    this.image = el("img", { draggable: "false", onload: () => this.canvas.classList.remove("loading") });
    this.overlay = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.canvas = el("div", { class: "canvas" }, this.image, this.overlay);
    this.node = el("div", { class: "stage" }, this.canvas);
    this.node.addEventListener("pointerdown", (event) => this.press(event));
    new ResizeObserver(() => this.sharpen()).observe(this.canvas);
  }

  /** Shows an image and its boxes. */
  show(image, label, drawable) {
    const [width, height] = image.size;
    if (this.image.getAttribute("src") !== image.url) {
      this.canvas.classList.add("loading"); // the image before would be seen in the shape of the new one
      this.image.src = image.url;
    }
    this.image.alt = label;
    this.canvas.style.setProperty("--ratio", width / height);
    this.shown = image;
    this.marks = image.marks;
    this.drawable = drawable && image.pad !== null;
    this.node.classList.toggle("drawable", this.drawable);
    this.sharpen();
    this.paint();
  }

  setBox(box) {
    this.box = box;
    this.paint();
  }

  paint() {
    const draft = this.box && this.shown.pad ? [{ box: this.placed(this.box), kind: "draft" }] : [];
    const marks = [...this.marks, ...draft];
    this.overlay.replaceChildren(...marks.map((mark) => this.mark(mark)));
    for (const label of this.canvas.querySelectorAll(".label")) label.remove();
    this.canvas.append(...marks.filter(({ call }) => call).map((mark) => this.label(mark)));
  }

  mark({ box, kind, call }) {
    const [x1, y1, x2, y2] = box;
    const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    const group = svg("g", { class: kind }, svg("rect", { class: "halo", ...place }), svg("rect", { class: "line", ...place }));
    if (call) group.style.setProperty("--colour", colourOf(call));
    return group;
  }

  label({ box, call }) {
    const [x, y] = box;
    const label = el("span", { class: `label ${y < 0.05 ? "inside" : ""}`, "aria-hidden": "true" }, String(call));
    label.style.setProperty("--colour", colourOf(call));
    label.style.left = `${100 * x}%`;
    label.style.top = `${100 * y}%`;
    label.hidden = x !== clip(x) || y !== clip(y); // a crop may lie inside the box
    return label;
  }

  /** Where a written box is on the image that is shown, from 0 to 1. */
  placed([x1, y1, x2, y2]) {
    const [left, top, right, bottom] = this.shown.pad.region;
    const [width, height] = [right - left, bottom - top];
    return [(x1 - left) / width, (y1 - top) / height, (x2 - left) / width, (y2 - top) / height];
  }

  /** The box, as it is written, between two points on the image that is shown. */
  between(from, to) {
    const [left, top, right, bottom] = this.shown.pad.region;
    const at = ([u, v]) => [left + u * (right - left), top + v * (bottom - top)];
    const [[ax, ay], [bx, by]] = [at(from), at(to)];
    const box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    return box.map((value) => Number(value.toFixed(this.shown.pad.decimals)));
  }

  press(event) {
    if (!this.drawable || event.button !== 0) return;
    event.preventDefault();
    const frame = this.canvas.getBoundingClientRect();
    const point = ({ clientX, clientY }) => [clip((clientX - frame.left) / frame.width), clip((clientY - frame.top) / frame.height)];
    const before = this.box;
    const start = point(event);
    let large = false;
    this.node.setPointerCapture(event.pointerId);
    const follow = (moved) => {
      large ||= Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) >= SMALLEST;
      if (large) this.become(this.between(start, point(moved)));
    };
    const end = (last) => {
      controller.abort();
      if (last.type === "pointerup") follow(last);
      else this.become(before);
    };
    const controller = new AbortController();
    const options = { signal: controller.signal };
    this.node.addEventListener("pointermove", follow, options);
    this.node.addEventListener("pointerup", end, options);
    this.node.addEventListener("pointercancel", end, options);
    window.addEventListener("keydown", (key) => key.key === "Escape" && end(key), options);
  }

  become(box) {
    this.setBox(box);
    this.drawn(box);
  }

  sharpen() {
    const [width] = this.shown ? this.shown.size : [1];
    this.canvas.classList.toggle("pixelated", this.canvas.clientWidth > 2.5 * width);
  }
}
