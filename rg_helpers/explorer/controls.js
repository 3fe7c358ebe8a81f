/* The explorer's controls, and the choices that they stand for. */

const STATE = ["method", "layer", "head", "compare", "threshold", "view", "selected"];
const VIEWS = [["auto", "automatic"], ["graph", "layers"], ["arcs", "arcs beside the text"]];

/* The choices to begin with; the threshold of each method is remembered in `least`. */
function firstChoices(graphs, least) {
  const [method] = graphs.methods.keys();
  const compare = graphs.gold ? GOLD : "";
  return { method, compare, layer: -1, head: -1, threshold: least.get(method), view: "auto", selected: -1 };
}

/* Take over what is possible of `changes` (an unknown name is not) into `state`; return what
 * changed. Another method comes whole and with its own threshold. */
function takeChoices(state, changes, graphs, least, nodes) {
  const before = { ...state };
  if (graphs.methods.has(changes.method) && changes.method !== state.method) {
    Object.assign(state, { method: changes.method, layer: -1, head: -1, threshold: least.get(changes.method) });
  }
  const chosen = graphs.methods.get(state.method);
  const within = (number, end) => Number.isInteger(number) && number >= -1 && number < end;
  if (within(changes.layer, chosen.layers)) state.layer = changes.layer;
  if (within(changes.head, chosen.heads)) state.head = changes.head;
  if (state.layer < 0) state.head = -1;
  if (changes.threshold > 0 && changes.threshold <= 1) state.threshold = Number(changes.threshold);
  least.set(state.method, state.threshold);
  const others = ["", ...graphs.methods.keys(), ...(graphs.gold ? [GOLD] : [])];
  if (others.includes(changes.compare)) state.compare = changes.compare;
  if (state.compare === state.method && state.layer < 0) state.compare = graphs.gold ? GOLD : "";
  if (VIEWS.some(([view]) => view === changes.view)) state.view = changes.view;
  if (within(changes.selected, nodes)) state.selected = changes.selected;
  return STATE.filter((name) => state[name] !== before[name]);
}

/* A labelled control; `options` are [value, words]. */
function chooser(label, name, options) {
  const select = make("select", { name });
  setOptions(select, options);
  return { field: make("label", { class: "rgx-field" }, make("span", {}, label), select), select };
}

function setOptions(select, options) {
  select.replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
}

/* All controls: `element` holds them, `fill(state)` shows the choices and what can be chosen,
 * `choose(changes)` hears of a choice, `slide(threshold)` of a slider on its way, `settle()` of its
 * end, when `slide` has taken the choice over already. */
function makeControls(data, graphs, { choose, slide, settle }) {
  const names = [...graphs.methods.keys()];
  const method = chooser("graph", "method", names.map((name) => [name, name]));
  const layer = chooser("layer", "layer", []);
  const head = chooser("head", "head", []);
  const compare = chooser("compare with", "compare", []);
  const view = chooser("view", "view", VIEWS);
  const slider = make("input", { type: "range", name: "threshold", min: 0.005, max: 1, step: 0.005 });
  const value = make("span", { class: "rgx-value" });
  const threshold = make("label", { class: "rgx-field" }, make("span", {}, "least weight ", value), slider);
  const element = make("div", { class: "rgx-controls" });
  element.append(...[method, layer, head, compare].map((one) => one.field), threshold, view.field);
  for (const one of [layer, head]) one.field.hidden = !data.methods.some((m) => m.layers);

  for (const { select } of [method, compare, view]) {
    select.addEventListener("change", () => choose({ [select.name]: select.value }));
  }
  for (const { select } of [layer, head]) {
    select.addEventListener("change", () => choose({ [select.name]: Number(select.value) }));
  }
  slider.addEventListener("input", () => slide(Number(slider.value)));
  slider.addEventListener("change", settle);

  function fill(state) {
    const chosen = graphs.methods.get(state.method);
    const count = (number) => Array.from({ length: number }, (_, i) => [i, String(i)]);
    setOptions(layer.select, [[-1, "as drawn"], ...count(chosen.layers)]);
    setOptions(head.select, [[-1, chosen.heads ? "mean" : "–"], ...count(chosen.heads)]);
    const others = names.filter((name) => name !== state.method || state.layer >= 0);
    const known = graphs.gold ? [GOLD, ...others] : others;
    setOptions(compare.select, [["", "nothing"], ...known.map((name) => [name, name])]);
    layer.select.disabled = !chosen.layers;
    head.select.disabled = !chosen.heads || state.layer < 0;
    for (const { select } of [method, layer, head, compare, view]) select.value = state[select.name];
    slider.value = state.threshold;
    slider.setAttribute("aria-valuetext", `least weight ${state.threshold.toFixed(3)}`);
    value.textContent = state.threshold.toFixed(3);
  }
  return { element, fill };
}
