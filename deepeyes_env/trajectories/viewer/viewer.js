"use strict";
// Wires the parts together: controls, keyboard, and the address of the episode shown.

const byId = (id) => document.getElementById(id);

class Viewer {
  constructor(run) {
    this.run = run;
    this.filter = { search: "", verdict: "all", tools: "any", sort: "number", descending: false };
    this.current = null;
    this.view = new EpisodeView(byId("episode"), run, (delta) => this.move(delta));
    this.list = new EpisodeList(byId("list"), byId("rows"), (episode) => {
      this.show(episode);
      toggleMenu(false);
    });
    this.summary();
    this.listen();
    this.refilter();
    this.followHash();
  }

  summary() {
    const { header } = this.run;
    document.title = header.name;
    byId("run").textContent = header.name;
    const failed = header.failed.reduce((sum, { count }) => sum + count, 0);
    const listing = (items) => items.map(({ name, count }) => `${words(name) || "not ended"} ${count}`).join(", ");
    const entries = [
      ["episodes", header.episodes.toLocaleString("en"), `ended: ${listing(header.stops)}`],
      ["accuracy", percent(header.accuracy), "mean of the judge's verdicts"],
      ["reward", fixed(header.reward), header.terms.map(({ name, weighted }) => `${words(name)} ${fixed(weighted)}`).join(", ")],
      ["calls per episode", fixed(header.calls), "failed ones included"],
      ["failed calls", failed.toLocaleString("en"), listing(header.failed)],
      ["best IoU", fixed(header.iou), "mean over episodes with a ground-truth box and a box that was used"],
      ["turns", fixed(header.turns), "mean per episode"],
    ];
    byId("summary").append(...entries.map(([name, value, title]) =>
      el("div", { title: title || null }, el("dt", {}, name), el("dd", {}, value))));
    const counts = { all: this.run.episodes.length, right: 0, wrong: 0 };
    for (const { right } of this.run.episodes) if (right !== null) counts[right ? "right" : "wrong"] += 1;
    for (const button of byId("verdicts").children) {
      button.querySelector("b").textContent = counts[button.dataset.verdict].toLocaleString("en");
      button.disabled = button.dataset.verdict !== "all" && counts.right + counts.wrong === 0;
    }
    const played = this.run.episodes.some(({ turns }) => turns.some(({ calls }) => calls.some(({ effect }) => effect)));
    if (!played) for (const value of EFFECT_FILTERS) byId("tools").querySelector(`[value=${value}]`).remove();
  }

  listen() {
    const change = (part) => {
      Object.assign(this.filter, part);
      this.refilter();
    };
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("search").addEventListener("input", (event) => change({ search: event.target.value }));
    byId("tools").addEventListener("change", (event) => change({ tools: event.target.value }));
    byId("sort").addEventListener("change", (event) => change({ sort: event.target.value }));
    byId("direction").addEventListener("click", (event) => {
      const descending = !this.filter.descending;
      event.target.textContent = descending ? "↓" : "↑";
      event.target.setAttribute("aria-label", `${descending ? "Descending" : "Ascending"}; reverse`);
      change({ descending });
    });
    byId("verdicts").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      for (const other of byId("verdicts").children) other.setAttribute("aria-pressed", String(other === button));
      change({ verdict: button.dataset.verdict });
    });
    byId("menu").addEventListener("click", () => toggleMenu());
    window.addEventListener("hashchange", () => this.followHash());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  refilter() {
    const shown = filtered(this.run.episodes, this.filter);
    this.list.setShown(shown);
    byId("shown").textContent = shown.length === this.run.episodes.length
      ? plural(shown.length, "episode") : `${shown.length.toLocaleString("en")} of ${plural(this.run.episodes.length, "episode")}`;
    if (this.current && shown.includes(this.current)) this.list.setCurrent(this.current);
    else if (this.current && shown.length) this.show(shown[0]);
  }

  /** Shows the episode of the address (#12), or the first one. */
  followHash() {
    const number = Number(location.hash.slice(1));
    const episode = this.run.episodes[number - 1] || this.list.shown[0];
    if (!episode) this.view.empty("This run has no episodes yet.");
    else if (episode !== this.current) this.show(episode);
  }

  show(episode) {
    this.current = episode;
    this.list.setCurrent(episode);
    this.view.show(episode);
    document.title = `#${episode.number} · ${this.run.header.name}`;
    history.replaceState(null, "", `#${episode.number}`);
    const next = this.list.shown[this.list.shown.indexOf(episode) + 1];
    if (next) new Image().src = preferred(imagesOf(next.shown[0])).url;
  }

  move(delta) {
    const { shown } = this.list;
    const at = shown.indexOf(this.current);
    const next = shown[at < 0 ? 0 : at + delta];
    if (next) this.show(next);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
    const typing = event.target.closest("input[type=search]");
    if (typing && event.key === "Escape") typing.blur();
    if (typing && !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const { stage } = this.view;
    const action = {
      j: () => this.move(1), ArrowDown: () => this.move(1), ArrowRight: () => this.move(1),
      k: () => this.move(-1), ArrowUp: () => this.move(-1), ArrowLeft: () => this.move(-1),
      "/": () => byId("search").select(),
      v: () => stage?.toggleImage(),
      g: () => showTruth(document.body.classList.contains("no-truth")),
      "+": () => stage?.zoomBy(2), "=": () => stage?.zoomBy(2), "-": () => stage?.zoomBy(0.5), 0: () => stage?.setZoom(1),
      Escape: () => this.view.unpin(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

function toggleMenu(open = !document.body.classList.contains("menu-open")) {
  document.body.classList.toggle("menu-open", open);
  byId("menu").setAttribute("aria-expanded", String(open));
}

if (typeof deepeyesRun === "undefined") byId("episode").textContent = "data.js is missing or damaged; write the page again.";
else new Viewer(deepeyesRun);
