"use strict";
// The form of a tool, made from its JSON schema.

/** A parameter's schema without the "or null" of an optional one. */
function plain(schema) {
  const kinds = (schema.anyOf || []).filter((one) => one.type !== "null");
  return kinds.length === 1 ? { ...kinds[0], description: schema.description } : schema;
}

/** Whether a tool takes a box. */
const takesBox = (tool) => tool.boxes.length > 0;

/** "image_zoom_in_tool" as a person would say it. */
function toolLabel(name) {
  const said = words(name.replace(/^image_|_tool$/g, "")) || name;
  return said[0].toUpperCase() + said.slice(1);
}

class ToolForm {
  /** The call is about the image of `pad`; `edited(box)` is told of a box that is typed, `send(call)` of a form that is sent. */
  constructor(tool, pad, edited, send) {
    const required = new Set(tool.parameters.required || []);
    this.tool = tool;
    this.pad = pad;
    this.edited = edited;
    const given = Object.entries(tool.parameters.properties || {});
    this.named = given.some(([name]) => name === tool.address) ? pad.address : {};
    this.fields = given.filter(([name]) => name !== tool.address).map(([name, schema]) =>
      this.field(name, plain(schema), required.has(name), schema.default, pad));
    this.button = el("button", { type: "submit", class: "primary" }, toolLabel(tool.name));
    this.node = el("form", { class: "tool-form", autocomplete: "off", onsubmit: (event) => {
      event.preventDefault();
      const found = this.read();
      if (found) send({ name: tool.name, arguments: found });
    } },
    el("p", { class: "muted" }, tool.description), this.fields.map(({ node }) => node), this.button);
  }

  /** The arguments; null if one is not right, which the browser then shows. */
  read() {
    const found = { ...this.named };
    for (const { name, read } of this.fields) {
      const value = read();
      if (value !== undefined) found[name] = value;
    }
    return this.node.reportValidity() ? found : null;
  }

  setBox(box) {
    const field = this.fields.find(({ setBox }) => setBox);
    if (field) field.setBox(box);
  }

  field(name, schema, required, fallback, grid) {
    if (this.tool.boxes.includes(name)) return this.boxField(name, schema, required, grid);
    const input = inputFor(schema, required);
    input.id = `field-${name}`;
    if (fallback !== undefined && fallback !== null) input.placeholder = `${fallback}`;
    return { name, read: () => valueOf(input, schema), node: labelled(name, required, schema.description, input) };
  }

  boxField(name, schema, required, { decimals, extent }) {
    const step = 10 ** -decimals;
    const corners = ["x1", "y1", "x2", "y2"];
    const inputs = corners.map((corner, i) => el("input", {
      type: "number", id: `field-${name}-${corner}`, min: 0, max: extent[i % 2], step: "any", required, "aria-label": `${name} ${corner}`,
      placeholder: corner, oninput: () => this.edited(box()), onkeydown: (event) => {
        const steps = { ArrowUp: 1, ArrowDown: -1 }[event.key];
        if (!steps || event.target.value === "") return;
        event.preventDefault();
        const moved = Number(event.target.value) + steps * step * (event.shiftKey ? 10 : 1);
        event.target.value = Math.min(extent[i % 2], Math.max(0, moved)).toFixed(decimals);
        this.edited(box());
      },
    }));
    const typed = () => inputs.map((input) => input.value);
    const box = () => (typed().every((value) => value !== "") ? typed().map(Number) : null);
    const read = () => {
      const [x1, y1, x2, y2] = typed().map(Number);
      inputs[2].setCustomValidity(box() && x1 >= x2 ? "x2 must be more than x1" : "");
      inputs[3].setCustomValidity(box() && y1 >= y2 ? "y2 must be more than y1" : "");
      return box() ?? undefined;
    };
    const node = el("fieldset", { class: "box-field" },
      el("legend", {}, caption(name, required)), el("div", { class: "corners" }, inputs),
      el("small", {}, "Drawn on the image, or typed; arrow keys move an edge."));
    const setBox = (drawn) => inputs.forEach((input, i) => {
      input.value = drawn ? String(drawn[i]) : "";
      input.setCustomValidity("");
    });
    return { name, read, setBox, node };
  }
}

function caption(name, required) {
  return [el("code", {}, name), required ? null : el("small", {}, " optional")];
}

function labelled(name, required, description, input) {
  return el("div", { class: "field" },
    el("label", { for: input.id }, caption(name, required)), input, description ? el("small", {}, description) : null);
}

function inputFor(schema, required) {
  const choices = schema.enum || (schema.type === "boolean" ? [true, false] : null);
  if (choices) {
    return el("select", { required }, required ? null : el("option", { value: "" }, "–"),
      choices.map((choice) => el("option", { value: JSON.stringify(choice) }, String(choice))));
  }
  if (schema.type === "integer") return el("input", { type: "number", step: "1", required });
  if (schema.type === "number") return el("input", { type: "number", step: "any", required });
  if (schema.type === "string") return el("input", { type: "text", required });
  return el("textarea", { rows: 2, required, spellcheck: "false", class: "json" });
}

/** What stands in an input, as JSON; undefined if nothing does. */
function valueOf(input, schema) {
  if (input.value === "") return undefined;
  if (input.tagName === "SELECT") return JSON.parse(input.value);
  if (input.type === "number") return Number(input.value);
  if (schema.type === "string") return input.value;
  input.setCustomValidity("");
  try {
    return JSON.parse(input.value);
  } catch (error) {
    input.setCustomValidity(`not JSON: ${error.message}`);
    input.addEventListener("input", () => input.setCustomValidity(""), { once: true });
    return undefined;
  }
}
