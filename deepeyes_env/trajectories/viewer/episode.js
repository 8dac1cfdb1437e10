"use strict";
// One episode: what was asked, what was said and done, and what it was worth.

class EpisodeView {
  /** `run`: the page's data; `show(delta)` moves to a neighbour. */
  constructor(root, run, show) {
    this.root = root;
    this.run = run;
    this.move = show;
    this.pinned = null;
    // One scale for all bars of the run, so that episodes can be compared.
    const values = run.episodes.flatMap((episode) => episode.terms.flatMap((term) => [term.raw, term.weighted]));
    this.top = values.reduce((top, value) => Math.max(top, value), 1e-9);
    this.bottom = values.reduce((bottom, value) => Math.min(bottom, value), 0);
  }

  show(episode) {
    let number = 0;
    const turns = episode.turns.map((turn) => ({
      ...turn, calls: turn.calls.map((call) => ({ ...call, number: ++number })),
    }));
    const activate = (call, pin, goTo) => this.activate(call, pin, goTo);
    this.calls = turns.flatMap((turn) => turn.calls);
    this.shown = episode.shown;
    this.stage = new Stage(this.shown[0], this.calls, activate);
    this.lineage = lineageOf(this.shown, (number) => this.look(number));
    this.pin(null);
    this.root.replaceChildren(
      this.title(episode),
      el("div", { class: "columns" },
        el("div", { class: "left" },
          this.stage.node,
          this.lineage,
          el("div", { class: "cards" }, this.answer(episode), this.reward(episode)),
          this.facts(episode)),
        el("section", { class: "conversation", "aria-label": "Conversation" },
          this.opening(episode),
          turns.map((turn, i) => this.turn(turn, i + 1, activate)),
          this.ending(episode))));
    this.root.scrollTo(0, 0);
  }

  /** Puts another of the images on the stage. */
  look(number) {
    if (this.stage.number === number) return;
    const stage = new Stage(this.shown[number], this.calls, (call, pin, goTo) => this.activate(call, pin, goTo));
    this.stage.node.replaceWith(stage.node);
    this.stage = stage;
    this.stage.focus = this.focusOf(this.pinned);
    markLooked(this.lineage, number);
    this.activate(null, false);
  }

  empty(text) {
    this.stage = null;
    this.root.replaceChildren(el("p", { class: "empty" }, text));
  }

  title(episode) {
    const verdict = VERDICTS.get(episode.right);
    return el("div", { class: "title" },
      el("span", { class: "number" }, `#${episode.number}`),
      el("span", { class: `verdict ${verdict.name}` }, verdict.mark, " ", verdict.name === "unknown" ? "not judged" : verdict.name),
      el("h2", {}, episode.question.replaceAll("<image>", "").trim()),
      el("span", { class: "arrows" },
        el("button", { type: "button", title: "Previous (k)", "aria-label": "Previous", onclick: () => this.move(-1) }, "‹"),
        el("button", { type: "button", title: "Next (j)", "aria-label": "Next", onclick: () => this.move(1) }, "›")));
  }

  answer(episode) {
    const verdict = VERDICTS.get(episode.right).name;
    const chosen = chosenOption(episode);
    const given = episode.answer === null ? el("span", { class: "muted" }, "none") : episode.answer.trim() || "empty";
    const options = episode.options.map((option, i) => {
      const marks = [option === episode.truth ? "truth" : "", i === chosen ? `chosen ${verdict}` : ""].join(" ");
      return el("li", { class: marks }, el("b", {}, letter(i)), el("span", {}, option),
        i === chosen ? el("small", {}, "chosen") : null, option === episode.truth ? el("small", {}, "truth") : null);
    });
    return el("section", { class: "card" }, el("h3", {}, "Answer"),
      el("dl", { class: "answers" },
        el("dt", {}, "given"), el("dd", { class: `given ${verdict}` }, given),
        el("dt", {}, "truth"), el("dd", {}, episode.truth)),
      options.length ? el("ol", { class: "options" }, options) : null);
  }

  reward(episode) {
    const cells = (value, kind) => [el("td", { class: kind }, fixed(value)), el("td", { class: `${kind} bar` }, this.bar(value))];
    const rows = episode.terms.map((term) => el("tr", {}, el("th", { scope: "row" }, words(term.name)),
      cells(term.raw, "raw"), el("td", { class: "weight" }, `× ${fixed(term.weight)}`), cells(term.weighted, "weighted")));
    const heads = ["", "raw", "", "weight", "weighted", ""];
    return el("section", { class: "card" }, el("h3", {}, "Reward"),
      el("table", { class: "reward" },
        rows.length ? el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))) : null,
        el("tbody", {}, rows),
        el("tfoot", {}, el("tr", {}, el("th", { scope: "row", colspan: 4 }, "total"),
          el("td", {}, fixed(episode.reward)), el("td", { class: "bar" })))));
  }

  bar(value) {
    const width = (100 * Math.abs(value || 0)) / (this.top - this.bottom);
    const left = (100 * (Math.min(0, value || 0) - this.bottom)) / (this.top - this.bottom);
    const zero = (-100 * this.bottom) / (this.top - this.bottom);
    return el("span", { style: `--zero: ${zero}%` },
      el("i", { class: value < 0 ? "minus" : "plus", style: `left: ${left}%; width: ${width}%` }));
  }

  facts(episode) {
    const rows = episode.facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
    return el("details", { class: "facts" }, el("summary", {}, "Details"), el("dl", {}, rows));
  }

  opening(episode) {
    const system = this.run.header.systemPrompts[episode.system];
    return [
      system ? el("details", { class: "turn system" }, el("summary", {}, "System prompt"), el("div", { class: "message" }, system)) : null,
      el("article", { class: "turn user" }, el("h3", {}, "User"), said(episode.prompt.text),
        el("div", { class: "thumbnails" }, episode.prompt.images.map((url, i) => thumbnail(url, `image ${i + 1} as the policy saw it`)))),
    ];
  }

  turn(turn, index, activate) {
    const shown = new Set(turn.calls.flatMap((call) => call.images));
    const further = turn.observation ? turn.observation.images.filter((url) => !shown.has(url)) : [];
    return [
      el("article", { class: "turn policy" }, el("h3", {}, `Policy, turn ${index}`),
        turn.action.trim() ? written(turn.action) : el("p", { class: "muted" }, "an empty message")),
      turn.calls.length || turn.skipped || turn.observation
        ? el("article", { class: "turn environment" }, el("h3", {}, "Environment"),
          turn.calls.map((call) => this.call(call, activate)),
          turn.skipped ? el("p", { class: "muted" }, `${plural(turn.skipped, "further call")} of this message not looked at`) : null,
          turn.observation ? said(turn.observation.text) : null,
          further.length ? el("div", { class: "thumbnails" }, further.map((url) => thumbnail(url, "image"))) : null)
        : null,
    ];
  }

  call(call, activate) {
    const ok = call.status === "ok";
    const details = [
      call.box ? `${call.source ? `image ${call.source + 1}: ` : ""}${call.box.map((v) => +v.toFixed(1)).join(", ")}` : "",
      call.box ? `${Math.round(call.box[2] - call.box[0])} × ${Math.round(call.box[3] - call.box[1])} px` : "",
      call.iou !== null ? `IoU ${fixed(call.iou)}` : "",
      call.effect ? `${call.effect.verdict}: ${change(call.effect.value)} (${change(call.effect.low)} to ${change(call.effect.high)})` : "",
      call.seconds ? `${(1000 * call.seconds).toFixed(1)} ms` : "",
    ].filter(Boolean);
    return el("div", {
      class: `call ${ok ? "ok" : "failed"}`, "data-call": call.number, style: `--colour: ${colourOf(call.number)}`,
      onmouseenter: () => activate(call.number, false), onmouseleave: () => activate(null, false),
    },
      el("div", { class: "call-head" },
        el(call.box && ok ? "button" : "span", { class: "badge", type: call.box && ok ? "button" : null, title: "Show the box on the image",
          onclick: () => call.box && ok && activate(call.number, true, "box") }, String(call.number)),
        el("code", {}, call.tool || "no tool"),
        ok ? null : el("span", { class: "status" }, words(call.status)),
        el("span", { class: "muted" }, details.join(" · "))),
      call.arguments !== "{}" ? el("code", { class: "arguments", title: call.arguments }, call.arguments) : null,
      call.error ? el("p", { class: "error" }, call.error) : null,
      call.text ? clamped(el("div", { class: "body" }, call.text), call.text.length) : null,
      call.images.length ? el("div", { class: "crops" }, call.images.map((url) => thumbnail(url, `result of call ${call.number}`))) : null);
  }

  ending(episode) {
    const stop = episode.stop ? `ended: ${words(episode.stop)}` : "not ended";
    return el("p", { class: `ending ${episode.stop === "answer" ? "" : "early"}` }, stop);
  }

  pin(number) {
    this.pinned = number;
    this.stage.focus = this.focusOf(number);
  }

  focusOf(number) {
    return this.stage.boxes[number] ?? null;
  }

  unpin() {
    if (!this.stage) return;
    this.pin(null);
    this.activate(null, false);
  }

  /** Marks a call on the image and in the conversation; `goTo` ("card" or "box") scrolls its other half into view. */
  activate(number, pin, goTo) {
    if (goTo === "box" && !this.stage.boxes[number]) this.look(this.calls[number - 1].about);
    if (pin) this.pin(this.pinned === number ? null : number);
    const active = number === null || (pin && this.pinned === null) ? this.pinned : number;
    this.root.classList.toggle("has-active", active !== null);
    for (const node of this.root.querySelectorAll("[data-call]")) {
      node.classList.toggle("active", Number(node.dataset.call) === active);
    }
    if (goTo && this.pinned !== null) {
      const target = this.root.querySelector(`${goTo === "card" ? ".call" : ".label"}[data-call="${number}"]`);
      target?.scrollIntoView({ block: goTo === "card" ? "center" : "nearest", behavior: "smooth" });
    }
  }
}

/** Index of the option that an answer names by letter or by text, or -1; for display only, the judge has decided. */
function chosenOption({ answer, options }) {
  if (answer === null) return -1;
  const plain = (text) => text.trim().replace(/[.\s]+$/, "").toLowerCase();
  const byText = options.findIndex((option) => plain(option) === plain(answer));
  const named = /^\(?([A-Z]{1,2})(?:$|[).:\s])/.exec(answer.trim());
  return byText >= 0 || !named ? byText : options.findIndex((_, i) => letter(i) === named[1]);
}
