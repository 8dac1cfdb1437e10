"use strict";
// The column beside the image: the question, what was said so far, and how the episode ended.

const STOPS = {
  format_error: "The message held neither a call nor an answer.",
  max_turns: "There are no more messages left.",
  image_budget: "No more images may be shown.",
  tool_timeout: "A tool did not return in time.",
  token_budget: "The conversation has become too long.",
};

function questionPanel({ number, question, system, prompt }, total) {
  return [
    el("p", { class: "muted" }, `Question ${number + 1} of ${total.toLocaleString("en")}`),
    el("h2", {}, withImages(question.trim())),
    el("details", {}, el("summary", {}, "What the policy is told"),
      system ? el("pre", {}, system) : null, el("pre", {}, prompt)),
  ];
}

/** The messages so far; `look(call)` shows the image of a call. */
function historyPanel(turns, look) {
  let call = 0;
  return turns.map(({ thought, answer, calls }) => el("li", {},
    thought ? el("p", { class: "thought" }, thought) : null,
    calls.map((one) => callCard(one, (call += 1), look)),
    answer === null ? null : el("p", { class: "said" }, "Answer: ", el("b", {}, answer))));
}

function callCard({ tool, arguments: given, status, error, text }, number, look) {
  const badge = el("button", { type: "button", class: "badge", title: `Show the image of call ${number}`, onclick: () => look(number) }, String(number));
  const written = Object.entries(given).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  const card = el("div", { class: `call ${status === "ok" ? "" : "failed"}` },
    badge, el("b", {}, toolLabel(tool || "call")), el("span", { class: "arguments" }, written.join(", ")),
    status === "ok" ? null : el("p", { class: "error" }, el("b", {}, words(status)), `: ${error}`),
    text ? el("p", { class: "returned" }, text) : null);
  card.style.setProperty("--colour", colourOf(number));
  return card;
}

/** The options as radio buttons, or a text field; `answer(text)` is told what is given. */
function answerForm(options, last, answer) {
  const field = options.length
    ? el("div", { class: `options ${options.every(([, text]) => text.length < 18) ? "short" : ""}`, role: "radiogroup", "aria-label": "Options" }, options.map(([key, text]) =>
      el("label", { class: "option" }, el("input", { type: "radio", name: "answer", value: key, required: true }),
        el("b", {}, key), el("span", {}, text))))
    : el("input", { type: "text", name: "answer", id: "answer", required: true, maxlength: 999, "aria-label": "Your answer", autocomplete: "off" });
  return el("form", { class: "answer-form", onsubmit: (event) => {
    event.preventDefault();
    answer(new FormData(event.target).get("answer").trim());
  } }, el("h3", {}, "Answer"), field, el("button", { type: "submit", class: last ? "primary" : "" }, "Give this answer"));
}

function outcomePanel(outcome, options, isLast, onward) {
  const { right, answer, truth, terms, reward, bestIou, stop, id } = outcome;
  const verdict = right === null ? ["unknown", "Not judged"] : right ? ["right", "Right"] : ["wrong", "Wrong"];
  const named = (text) => {
    const match = options.find(([key, option]) => key === text || option === text);
    return match ? `${match[0]} · ${match[1]}` : text;
  };
  return el("div", { class: `outcome ${verdict[0]}` },
    el("h2", {}, el("span", { "aria-hidden": "true" }, { right: "✓ ", wrong: "✗ " }[verdict[0]] || ""), verdict[1]),
    STOPS[stop] ? el("p", { class: "error" }, STOPS[stop]) : null,
    el("dl", { class: "answers" },
      el("dt", {}, "your answer"), el("dd", {}, answer === null ? "none" : named(answer)),
      el("dt", {}, "right answer"), el("dd", {}, named(truth)),
      bestIou === null ? null : [el("dt", {}, "best overlap"), el("dd", {}, `IoU ${fixed(bestIou)}`)],
      el("dt", {}, "sample"), el("dd", { class: "id" }, id)),
    terms.length ? rewardTable(terms, reward) : el("p", { class: "muted" }, "This run has no reward."),
    nextButton(isLast, onward));
}

function rewardTable(terms, reward) {
  const amount = (value) => el("td", { class: value > 0 ? "plus" : value < 0 ? "minus" : null }, fixed(value));
  return el("table", { class: "reward" },
    el("caption", {}, "Reward"),
    el("thead", {}, el("tr", {}, ["term", "raw", "weight", "reward"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, terms.map(({ name, raw, weight, weighted }) => el("tr", {},
      el("th", { scope: "row" }, words(name)), el("td", {}, fixed(raw)), el("td", {}, fixed(weight)), amount(weighted)))),
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row", colspan: 3 }, "total"), amount(reward))));
}

function nextButton(isLast, onward) {
  return el("button", { type: "button", id: "next", class: "primary", onclick: onward }, isLast ? "Finish" : "Next episode");
}
