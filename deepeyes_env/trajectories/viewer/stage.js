"use strict";
// An image with its boxes. Boxes are drawn in native pixels in an SVG that is stretched over the image, so they are
// right at any size; strokes and labels keep their size on screen.

const COLOURS = ["#ff9f1c", "#2ec4ff", "#ff6fb5", "#ffe14d", "#b794ff", "#ff7a59"];
const colourOf = (call) => COLOURS[(call - 1) % COLOURS.length];

const MAX_ZOOM = 32;

const IMAGE_KINDS = { view: "what the policy saw", stored: "stored image" };

/** An image as the policy saw it, then as stored; once, where the two are one or none is stored. */
function imagesOf({ view, stored }) {
  const seen = { kind: "view", url: view };
  return stored === null || stored === view ? [seen] : [seen, { kind: "stored", url: stored }];
}

/** The view, or the stored image once that was chosen. */
function preferred(images) {
  const stored = document.body.classList.contains("stored-image");
  return images.find(({ kind }) => stored && kind === "stored") ?? images[0];
}

/** An image to show, with its size: the stored image's, until a view has loaded and tells its own. */
class StageImage {
  constructor({ kind, url }, size, title, loaded) {
    this.title = title;
    this.kind = kind;
    this.url = url;
    this.size = size;
    this.note = el("small");
    this.loaded = loaded;
    if (kind === "stored") this.tell();
    else this.node();
  }

  node() {
    this.made ??= el("img", { src: this.url, alt: `${this.title}: ${IMAGE_KINDS[this.kind]}`, draggable: "false",
      onload: () => {
        if (this.kind === "view") this.size = [this.made.naturalWidth, this.made.naturalHeight];
        this.tell();
        this.loaded();
      },
      onerror: () => {
        const missing = el("p", { class: "missing" }, `image not found: ${this.url}`);
        this.made.replaceWith(missing);
        this.made = missing;
      } });
    return this.made;
  }

  tell() {
    this.note.textContent = `${this.size[0]} × ${this.size[1]} px`;
  }
}

class Stage {
  /** `image`: one that was shown; `calls`: the episode's, with their numbers; `activate(number, pin)` is told what is pointed at. */
  constructor(image, calls, activate) {
    const [width, height] = image.size;
    this.number = image.number;
    this.boxes = image.boxes;
    this.size = image.size;
    this.images = imagesOf(image).map((one) => new StageImage(one, image.size, titleOf(image), () => this.fit()));
    this.zoom = 1;
    this.focus = null; // the box that zooming without a pointer goes to
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
    // Small boxes last: they lie on top and can be pointed at.
    const boxed = calls.filter(({ number }) => image.boxes[number]).map(({ number }) => ({ number, box: image.boxes[number] }))
      .sort((a, b) => area(b.box) - area(a.box));
    this.canvas = el("div", { class: "canvas" },
      svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        image.truths.map((box) => this.box(box, "truth", {})),
        boxed.map((call) => this.box(call.box, "used", {
          "data-call": call.number,
          style: `--colour: ${colourOf(call.number)}`,
          onmouseenter: () => activate(call.number, false),
          onmouseleave: () => activate(null, false),
          onclick: () => this.dragged || activate(call.number, true, "card"),
        }))),
      boxed.map((call) => this.label(call, boxed, activate)));
    this.viewport = el("div", { class: "viewport" }, this.canvas);
    this.level = el("output");
    new ResizeObserver(() => this.showScale()).observe(this.canvas);
    this.node = el("figure", { class: "stage" }, this.viewport, this.toolbar(image));
    this.showImage(preferred(this.images));
    this.listen();
  }

  toolbar({ truths }) {
    const truth = el("input", { type: "checkbox", id: "truth", onchange: () => showTruth(truth.checked) });
    truth.checked = !document.body.classList.contains("no-truth");
    const button = (label, title, action) => el("button", { type: "button", title, "aria-label": title, onclick: action }, label);
    return el("figcaption", { class: "toolbar" },
      el("label", { class: "truth-toggle", hidden: truths.length === 0 }, truth, "ground truth"),
      this.choice(),
      el("span", { class: "zoom" },
        button("−", "Zoom out (−)", () => this.zoomBy(0.5)),
        this.level,
        button("+", "Zoom in (+)", () => this.zoomBy(2)),
        button("1:1", "One image pixel to one screen pixel", () => this.setZoom(this.shown.size[0] / this.viewport.clientWidth)),
        button("fit", "Fit (0)", () => this.setZoom(1))));
  }

  /** Buttons for what the policy saw and the stored image; a plain note where the two are one. */
  choice() {
    const notes = this.images.map(({ kind, note }) => [IMAGE_KINDS[kind], " ", note]);
    if (notes.length < 2) return el("span", { class: "muted" }, notes);
    this.buttons = notes.map((note, i) => el("button", {
      type: "button", "data-image": this.images[i].kind, title: "Switch (v)", onclick: () => this.prefer(this.images[i]),
    }, note));
    return el("span", { class: "segmented", role: "group", "aria-label": "Image" }, this.buttons);
  }

  /** Shows one of the images, here and in the episodes that are shown next. */
  prefer(image) {
    document.body.classList.toggle("stored-image", image.kind === "stored");
    this.showImage(image);
  }

  /** Shows the other image. */
  toggleImage() {
    this.prefer(this.images.find((image) => image !== this.shown) ?? this.shown);
  }

  /** Shows an image with square pixels; the boxes lie in an SVG that is stretched over it. */
  showImage(image) {
    this.shown = image;
    this.canvas.querySelector(":scope > :is(img, .missing)")?.remove();
    this.canvas.prepend(image.node());
    for (const button of this.buttons ?? []) {
      button.setAttribute("aria-pressed", String(button.dataset.image === image.kind));
    }
    this.fit();
  }

  fit() {
    const [width, height] = this.shown.size;
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.viewport.style.setProperty("--ratio", Math.max(0.3, width / height));
    this.showScale();
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
    const scale = this.canvas.clientWidth / this.shown.size[0];
    this.viewport.classList.toggle("pixelated", scale > 2);
    this.level.textContent = `${Math.round(100 * scale)} %`;
  }
}

function showTruth(shown) {
  document.body.classList.toggle("no-truth", !shown);
  const box = document.getElementById("truth");
  if (box) box.checked = shown;
}
