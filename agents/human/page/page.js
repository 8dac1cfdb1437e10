"use strict";
// Shows the state of the game and sends what is done. The game itself is on the server: a page that is closed, loaded
// again or opened twice shows where it is.

const byId = (id) => document.getElementById(id);

class Game {
  constructor() {
    this.state = null;
    this.busy = false;
    this.selected = 0; // index of the image that is looked at
    this.form = null; // the form of the tool that is chosen
    this.stage = new Stage((box) => this.chooseBoxTool(box));
    byId("stage").append(this.stage.node);
    byId("stop").addEventListener("click", () => this.stop());
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    window.addEventListener("focus", () => this.refresh());
    this.refresh();
  }

  // --- talking to the server

  refresh() {
    if (!this.busy && this.state?.phase !== "finished") this.request("state");
  }

  async send(path, body = {}) {
    if (this.busy) return;
    this.setBusy(true);
    const { version } = this.state;
    await this.request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ version, ...body }) });
    this.setBusy(false);
  }

  async request(path, options = {}) {
    try {
      const response = await fetch(path, { cache: "no-store", ...options });
      const found = await response.json();
      if (options.method || !response.ok) this.notice(response.ok ? "" : found.error);
      this.take(response.ok ? found : found.state);
    } catch {
      this.notice("The game does not answer. Is deepeyes play still running?");
    }
  }

  setBusy(busy) {
    this.busy = busy;
    document.body.classList.toggle("busy", busy);
    byId("panel").setAttribute("aria-busy", String(busy));
  }

  notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
    if (!this.state && text) this.curtain(text);
  }

  take(state) {
    if (!state || state.version <= this.state?.version) return; // answers may overtake each other
    const before = this.state;
    this.state = state;
    if (state.phase === "working") setTimeout(() => this.refresh(), 400);
    this.show(before);
  }

  stop() {
    const open = this.state?.phase === "turn";
    if (!open || window.confirm("Stop here? This episode is not at its end and will not be recorded.")) this.send("stop");
  }

  // --- showing

  show(before) {
    const { phase, score, episode, outcome, error } = this.state;
    this.showScore(score);
    const none = !episode;
    byId("main").hidden = none || phase === "finished";
    byId("curtain").hidden = !byId("main").hidden;
    byId("stop").hidden = phase === "finished";
    if (phase === "finished") this.showEnd(score);
    else if (phase === "ended" && none) this.showFailure(error);
    else if (none) this.curtain("Loading …");
    else if (phase !== "working") this.showEpisode(before, episode, outcome);
  }

  showScore({ total, played, failed, accuracy, reward }) {
    const done = played + failed;
    byId("count").textContent = `${done.toLocaleString("en")} of ${plural(total, "episode")} played`;
    byId("bar").max = total;
    byId("bar").value = done;
    const entries = [["accuracy", accuracy === null ? null : percent(accuracy)], ["mean reward", reward === null ? null : fixed(reward)],
      ["failed", failed || null]];
    byId("score").replaceChildren(...entries.filter(([, value]) => value !== null).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
  }

  showEnd({ played, total }) {
    const rest = total - played;
    this.curtain(rest > 0 ? "Stopped." : "That was the last one. Thank you!",
      el("small", {}, `${plural(played, "episode")} recorded${rest > 0 ? `; the same command plays the other ${rest}` : ""}. This page can be closed.`));
    document.title = "Play: finished";
  }

  showFailure(error) {
    this.curtain("This episode could not be played.", el("small", {}, error), nextButton(this.isLast(), () => this.send("next")));
    byId("next").focus();
  }

  curtain(...content) {
    byId("curtain").replaceChildren(...content);
  }

  isLast() {
    const { played, failed, total } = this.state.score;
    return played + failed >= total;
  }

  showEpisode(before, episode, outcome) {
    const isNew = before?.episode?.number !== episode.number;
    document.title = `Play: question ${episode.number + 1}`;
    if (isNew) byId("question").replaceChildren(...questionPanel(episode, this.state.score.total));
    byId("history").replaceChildren(...historyPanel(episode.turns, (call) => this.look(call)));
    byId("film").replaceChildren(...episode.images.map((image, i) => this.thumbnail(image, i)));
    this.stage.box = null;
    this.form = null;
    if (outcome) this.showOutcome(episode, outcome);
    else this.showReply(episode);
    const newest = episode.images.length - 1;
    const fresh = newest >= (isNew ? 0 : before.episode.images.length);
    this.select(outcome ? 0 : fresh ? newest : Math.min(this.selected, newest));
    byId("film").scrollLeft = outcome ? 0 : byId("film").scrollWidth;
    byId("panel").scrollTop = 0;
    window.scrollTo(0, 0); // a narrow window scrolls as a whole
    if (outcome) byId("reply").scrollIntoView({ block: "nearest" });
    else this.tell(episode, isNew);
  }

  tell({ question, turns }, isNew) {
    const failed = turns.at(-1)?.calls.find(({ status }) => status !== "ok");
    byId("status").textContent = isNew ? question : failed ? `The call failed: ${failed.error}` : "The tool returned.";
    if (failed && !isNew) this.notice(failed.error);
  }

  showReply(episode) {
    const { tools, turns, maxTurns, options } = episode;
    const left = maxTurns - turns.length;
    this.thought = el("textarea", { id: "thought", rows: 2, maxlength: 20000, placeholder: "What do you see, and why this next step?" });
    this.choices = el("div", { class: "tools", role: "group", "aria-label": "Tools" }, tools.map((tool) =>
      el("button", { type: "button", "data-tool": tool.name, "aria-pressed": "false", title: tool.name, onclick: () => this.choose(tool) }, toolLabel(tool.name))));
    this.slot = el("div");
    byId("reply").replaceChildren(
      el("label", { class: "thought-field", for: "thought" }, el("h3", {}, "Thought", el("small", {}, " optional")), this.thought),
      tools.length ? el("section", { class: "tools-section" },
        el("h3", {}, "Look closer", el("small", {}, left > 1 ? ` ${left} messages left, the answer included` : " the last message")), this.choices, this.slot) : "",
      answerForm(options, left === 1 || !tools.length, (answer) => this.say({ answer })));
    const first = tools.find(takesBox) || tools[0];
    if (first) this.choose(first);
  }

  showOutcome(episode, outcome) {
    byId("reply").replaceChildren(outcomePanel(outcome, episode.options, this.isLast(), () => this.send("next")));
    byId("status").textContent = byId("reply").querySelector("h2").textContent;
    byId("next").focus({ preventScroll: true });
  }

  // --- doing

  say(message) {
    this.send("say", { thought: this.thought.value, ...message });
  }

  choose(tool) {
    const pad = this.pad();
    if (this.form?.tool === tool && this.form.pad === pad) return;
    for (const button of this.choices.children) button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
    this.form = new ToolForm(tool, pad, (box) => this.stage.setBox(box), (call) => this.say({ call }));
    this.form.setBox(this.stage.box);
    this.slot.replaceChildren(this.form.node);
  }

  /** How a call is about the image that is looked at, or about the first one if none can be. */
  pad() {
    const { images } = this.state.episode;
    return images[this.selected]?.pad ?? images[0].pad ?? { extent: images[0].size, decimals: 0, address: {} };
  }

  /** A box is being drawn: the tool that takes one is meant. */
  chooseBoxTool(box) {
    if (!takesBox(this.form.tool)) this.choose(this.state.episode.tools.find(takesBox));
    this.form.setBox(box);
  }

  look(call) {
    const index = this.state.episode.images.findIndex((image) => image.call === call);
    if (index >= 0) this.select(index);
  }

  select(index) {
    const { episode, outcome } = this.state;
    const image = episode.images[index];
    const before = this.form?.pad;
    this.selected = index;
    const drawable = !outcome && episode.tools.some(takesBox);
    const same = before && JSON.stringify([before.address, before.extent]) === JSON.stringify([this.pad().address, this.pad().extent]);
    if (!same) this.stage.box = null; // what was drawn is a box on another image
    this.stage.show(image, this.nameOf(image), drawable);
    if (this.form && !same) this.choose(this.form.tool);
    byId("hint").replaceChildren(...this.hint(image, drawable, outcome));
    [...byId("film").children].forEach((thumb, i) => thumb.setAttribute("aria-pressed", String(i === index)));
  }

  nameOf({ call, url }) {
    if (call) return `Image of call ${call}`;
    const questions = this.state.episode.images.filter((image) => !image.call);
    const number = questions.findIndex((image) => image.url === url) + 1;
    return questions.length > 1 ? `Image ${number} of the question` : "The image of the question";
  }

  hint({ size, pad }, drawable, outcome) {
    const shown = el("span", { class: "muted" }, `${size[0]} × ${size[1]} px, as the policy sees it`);
    if (outcome) return outcome.truths.length ? [el("span", { class: "truth-key" }, "ground truth"), shown] : [shown];
    if (!drawable) return [shown];
    return [el("span", {}, pad ? "Drag on the image to draw a box." : "No box goes on this image; take one that it was made of and draw there."), shown];
  }

  thumbnail(image, index) {
    const button = el("button", { type: "button", class: "thumb", title: this.nameOf(image),
      onclick: () => this.select(index) },
    el("img", { src: image.url, alt: this.nameOf(image) }), image.call ? el("span", { class: "badge" }, String(image.call)) : null);
    if (image.call) button.style.setProperty("--colour", colourOf(image.call));
    return button;
  }
}

new Game();
