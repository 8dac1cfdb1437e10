"use strict";
// The image with its boxes. Boxes are drawn in native pixels in an SVG that is stretched over the image, so they are
// right at any size; strokes and labels keep their size on screen.

const COLOURS = ["#ff9f1c", "#2ec4ff", "#ff6fb5", "#ffe14d", "#b794ff", "#ff7a59"];
const colourOf = (call) => COLOURS[(call - 1) % COLOURS.length];

const MAX_ZOOM = 32;

class Stage {
  /** `calls`: the episode's calls with their numbers; `activate(number, pin)` is told what is pointed at. */
  constructor(episode, calls, activate) {
    const [width, height] = episode.size;
    this.size = episode.size;
    this.zoom = 1;
    this.focus = null; // the box that zooming without a pointer goes to
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
    // Small boxes last: they lie on top and can be pointed at.
    const boxed = calls.filter((call) => call.box && call.status === "ok").sort((a, b) => area(b.box) - area(a.box));
    const image = el("img", { src: episode.image, alt: "the image of the question", decoding: "async", draggable: "false",
      onerror: () => image.replaceWith(el("p", { class: "missing" }, `image not found: ${episode.image}`)) });
    this.canvas = el("div", { class: "canvas", style: `aspect-ratio: ${width} / ${height}` },
      image,
      svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        episode.truths.map((box) => this.box(box, "truth", {})),
        boxed.map((call) => this.box(call.box, "used", {
          "data-call": call.number,
          style: `--colour: ${colourOf(call.number)}`,
          onmouseenter: () => activate(call.number, false),
          onmouseleave: () => activate(null, false),
          onclick: () => this.dragged || activate(call.number, true, "card"),
        }))),
      boxed.map((call) => this.label(call, boxed, activate)));
    this.viewport = el("div", { class: "viewport", style: `--ratio: ${Math.max(0.3, width / height)}` },
      this.canvas);
    this.level = el("output");
    new ResizeObserver(() => this.showScale()).observe(this.canvas);
    this.node = el("figure", { class: "stage" }, this.viewport, this.toolbar(episode));
    this.listen();
  }

  toolbar(episode) {
    const truth = el("input", { type: "checkbox", id: "truth", onchange: () => showTruth(truth.checked) });
    truth.checked = !document.body.classList.contains("no-truth");
    const button = (label, title, action) => el("button", { type: "button", title, "aria-label": title, onclick: action }, label);
    return el("figcaption", { class: "toolbar" },
      el("label", { class: "truth-toggle", hidden: episode.truths.length === 0 }, truth, "ground truth"),
      el("span", { class: "muted" }, `${episode.size[0]} × ${episode.size[1]} px`),
      el("span", { class: "zoom" },
        button("−", "Zoom out (−)", () => this.zoomBy(0.5)),
        this.level,
        button("+", "Zoom in (+)", () => this.zoomBy(2)),
        button("1:1", "One image pixel to one screen pixel", () => this.setZoom(this.size[0] / this.viewport.clientWidth)),
        button("fit", "Fit (0)", () => this.setZoom(1))));
  }

  box([x1, y1, x2, y2], kind, attributes) {
    const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    return svg("g", { class: kind, ...attributes },
      svg("rect", { class: "halo", ...place }), svg("rect", { class: "line", ...place }));
  }

  /** The number at a box's upper left corner; beside those of earlier calls there, inside at the image's upper edge. */
  label(call, boxed, activate) {
    const corner = ({ box }) => [box[0] / this.size[0], box[1] / this.size[1]];
    const [left, top] = corner(call);
    const near = (other) => Math.abs(corner(other)[0] - left) < 0.03 && Math.abs(corner(other)[1] - top) < 0.04;
    const place = boxed.filter((other) => other.number < call.number && near(other)).length;
    return el("button", {
      type: "button", class: `used label ${top < 0.05 ? "inside" : ""}`, "data-call": call.number, title: `call ${call.number}`,
      style: `left: ${100 * left}%; top: ${100 * top}%; margin-left: ${22 * place}px; --colour: ${colourOf(call.number)}`,
      onmouseenter: () => activate(call.number, false),
      onmouseleave: () => activate(null, false),
      onclick: () => activate(call.number, true, "card"),
    }, String(call.number));
  }

  listen() {
    const { viewport } = this;
    viewport.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 200), event);
    }, { passive: false });
    viewport.addEventListener("dblclick", (event) => this.zoomBy(this.zoom > 1 ? 1 / this.zoom : 4, event));
    viewport.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (event.button !== 0 || event.pointerType === "touch") return;
      const move = (moved) => {
        this.dragged ||= Math.abs(moved.clientX - event.clientX) + Math.abs(moved.clientY - event.clientY) > 4;
        viewport.scrollLeft -= moved.movementX;
        viewport.scrollTop -= moved.movementY;
      };
      window.addEventListener("pointermove", move);
      window.addEventListener("pointerup", () => window.removeEventListener("pointermove", move), { once: true });
    });
  }

  zoomBy(factor, at) {
    this.setZoom(this.zoom * factor, at);
  }

  /** Zooms: the point at a mouse event stays where it is; without one, the pinned box or the middle is centred. */
  setZoom(zoom, at) {
    const { viewport, canvas } = this;
    const frame = viewport.getBoundingClientRect();
    const before = canvas.getBoundingClientRect();
    const x = at ? at.clientX : frame.left + frame.width / 2;
    const y = at ? at.clientY : frame.top + frame.height / 2;
    // Where in the image, from 0 to 1, is the point to keep?
    const [u, v] = !at && this.focus
      ? [(this.focus[0] + this.focus[2]) / 2 / this.size[0], (this.focus[1] + this.focus[3]) / 2 / this.size[1]]
      : [(x - before.left) / before.width, (y - before.top) / before.height];
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, zoom));
    canvas.style.width = `${100 * this.zoom}%`;
    const after = canvas.getBoundingClientRect();
    viewport.scrollTo(u * after.width - (x - frame.left), v * after.height - (y - frame.top));
    viewport.classList.toggle("zoomed", this.zoom > 1);
  }

  showScale() {
    const scale = this.canvas.clientWidth / this.size[0];
    this.viewport.classList.toggle("pixelated", scale > 2);
    this.level.textContent = `${Math.round(100 * scale)} %`;
  }
}

function showTruth(shown) {
  document.body.classList.toggle("no-truth", !shown);
  const box = document.getElementById("truth");
  if (box) box.checked = shown;
}
