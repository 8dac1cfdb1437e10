"use strict";
// The list at the left: filter, sort, and rows for what is in view only, so that its length does not matter.

const ROW_HEIGHT = 54;

class EpisodeList {
  /** `select(episode)` is told when a row is clicked. */
  constructor(list, rows, select) {
    this.list = list;
    this.rows = rows;
    this.select = select;
    this.shown = [];
    this.current = null;
    list.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(list);
  }

  setShown(episodes) {
    this.shown = episodes;
    this.rows.style.height = `${episodes.length * ROW_HEIGHT}px`;
    this.list.scrollTop = 0;
    this.draw();
  }

  setCurrent(episode) {
    this.current = episode;
    const top = this.shown.indexOf(episode) * ROW_HEIGHT;
    if (top >= 0 && (top < this.list.scrollTop || top + ROW_HEIGHT > this.list.scrollTop + this.list.clientHeight)) {
      this.list.scrollTop = top - (this.list.clientHeight - ROW_HEIGHT) / 2;
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW_HEIGHT) - 4);
    const last = Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW_HEIGHT) + 4;
    this.rows.replaceChildren(...this.shown.slice(first, last).map((episode, i) => this.row(episode, first + i)));
    const id = this.current && this.shown.includes(this.current) ? `row-${this.current.number}` : null;
    if (id) this.list.setAttribute("aria-activedescendant", id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row(episode, index) {
    const verdict = VERDICTS.get(episode.right);
    const calls = episode.turns.reduce((sum, turn) => sum + turn.calls.length, 0);
    const answer = (episode.answer ?? "no answer").trim().slice(0, 40) || "empty answer";
    const notes = [answer, plural(episode.turns.length, "turn"), plural(calls, "call")];
    if (episode.stop !== "answer") notes.push(words(episode.stop) || "not ended");
    return el("div", {
      class: "row", role: "option", id: `row-${episode.number}`, "data-number": episode.number,
      "aria-selected": String(episode === this.current), "aria-setsize": this.shown.length, "aria-posinset": index + 1,
      style: `top: ${index * ROW_HEIGHT}px`, onclick: () => this.select(episode),
    },
      el("span", { class: `mark ${verdict.name}`, title: verdict.name }, verdict.mark),
      el("span", { class: "question" }, episode.question.replaceAll("<image>", "").trim().slice(0, 200)),
      el("span", { class: "reward", title: "reward" }, fixed(episode.reward)),
      el("span", { class: "notes" }, `#${episode.number} · ${notes.join(" · ")}`));
  }
}

/** Everything in an episode that a search can find, in lower case; made once. */
function haystack(episode) {
  episode.haystack ??= [
    episode.id, episode.question, episode.truth, episode.stop, words(episode.stop), ...episode.options, ...episode.facts.flat(),
    episode.prompt.text,
    ...episode.turns.flatMap((turn) => [
      turn.action, turn.observation ? turn.observation.text : "",
      ...turn.calls.flatMap((call) => [call.tool, call.status, words(call.status), call.error, call.text]),
    ]),
  ].join("\n").toLowerCase();
  return episode.haystack;
}

/** Filters by what a call was worth, for runs whose calls were played on from. */
const EFFECT_FILTERS = ["mattered", "decorative", "harmful"];

const TOOL_FILTERS = {
  any: () => true,
  used: (calls) => calls.length > 0,
  unused: (calls) => calls.length === 0,
  failed: (calls) => calls.some((call) => call.status !== "ok"),
  ...Object.fromEntries(EFFECT_FILTERS.map((verdict) => [verdict, (calls) => calls.some(({ effect }) => effect?.verdict === verdict)])),
};

const SORT_KEYS = {
  number: (episode) => episode.number,
  reward: (episode) => episode.reward,
  turns: (episode) => episode.turns.length,
};

/** The episodes that match, in order; ties and missing rewards keep the recorded order. */
function filtered(episodes, { search, verdict, tools, sort, descending }) {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  const key = SORT_KEYS[sort];
  const missing = descending ? -Infinity : Infinity;
  return episodes
    .filter((episode) => verdict === "all" || episode.right === (verdict === "right"))
    .filter((episode) => TOOL_FILTERS[tools](episode.turns.flatMap((turn) => turn.calls)))
    .filter((episode) => wanted.every((word) => haystack(episode).includes(word)))
    .map((episode) => ({ episode, key: key(episode) ?? missing }))
    .sort((a, b) => (a.key === b.key ? 0 : (a.key < b.key) === descending ? 1 : -1))
    .map(({ episode }) => episode);
}
