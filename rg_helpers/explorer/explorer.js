/* The reasoning-graph explorer: a text, and the graph of what follows from what, beside it.
 *
 * One module without imports. anywidget calls `render`; a page without a kernel calls `mount`
 * with the same data (`rg_helpers.explorer.explorer_data`). Weights are lower triangles: entry
 * target * (target - 1) / 2 + source. A change redraws all edges as a few long paths, and what the
 * reader points at is drawn on top, so that the work of a hover grows with a line's own edges only.
 */

const LEVELS = 65535; // a weight of 1
const MOST_EDGES = 1500; // drawn at once; the status says when there are more
const MOST_NODES_IN_LAYERS = 45; // beyond, arcs beside the text are legible and layers are not
const MOST_NODES_TO_BEND_ROUND = 60;
const NARROW = 640; // pixels; as in the style
const GOLD = "gold";
const WIDTHS = [1, 1.6, 2.3, 3.1]; // strokes, by weight
const UNIT = [84, 66]; // pixels of a unit of the layered positions
const RADIUS = 11;
const BENDS = [0.05, -0.05, 0.18, -0.18, 0.3, -0.3, 0.42, -0.42, 0.55, -0.55];
const CLEARANCE = 30; // pixels
const SVG = "http://www.w3.org/2000/svg";
const STATE = ["method", "layer", "head", "compare", "threshold", "view", "selected"];
const SHAPES = {
  premise: "M-.88-.88H.88V.88H-.88Z",
  question: "M0-1.2L1.2 0L0 1.2L-1.2 0Z",
  step: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  answer: "M0-1.15L1.1-.36L.68.93H-.68L-1.1-.36Z",
};
const SETS = ["plain", "both", "extra", "missed"];

function make(tag, attributes = {}, ...children) {
  const inSvg = ["svg", "g", "path", "text"].includes(tag);
  const made = inSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Uint16Array(bytes.buffer);
}

const at = (target, source) => (target * (target - 1)) / 2 + source;
const list = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const round = (number) => Math.round(number * 10) / 10;

/* Which graph is shown, against which other one: the weights, and the edges that a threshold keeps. */
function readGraphs(data) {
  const size = at(data.kinds.length, 0);
  const gold = data.gold === null ? null : unpack(data.gold);
  const methods = new Map();
  for (const method of data.methods) {
    const parts = method.parts ? unpack(method.parts) : null;
    methods.set(method.name, { ...method, weights: unpack(method.weights), parts });
  }
  function part(name, layer, head) {
    if (name === GOLD) return gold;
    const method = methods.get(name);
    if (layer < 0) return method.weights;
    const place = layer * (method.heads + 1) + (head < 0 ? method.heads : head);
    return method.parts.subarray(place * size, (place + 1) * size);
  }
  return { methods, gold, part };
}

/* The edges of a view, and how two graphs agree. Gold has no threshold: all its edges are true. */
function edgesOf(data, weights, least, other, otherLeast) {
  const nodes = data.kinds.length;
  const edges = [];
  const counts = { plain: 0, both: 0, extra: 0, missed: 0, known: 0 };
  for (let target = 1; target < nodes; target++) {
    let drawn = 0, has = 0;
    for (let source = 0; source < target; source++) {
      const place = at(target, source);
      const mine = weights[place] >= least && weights[place] > 0;
      const theirs = other !== null && other[place] >= otherLeast && other[place] > 0;
      if (!mine && !theirs) continue;
      const set = other === null ? "plain" : mine && theirs ? "both" : mine ? "extra" : "missed";
      const weight = (mine ? weights[place] : other[place]) / LEVELS;
      counts[set] += 1;
      drawn += mine;
      has += theirs;
      edges.push({ target, source, weight, set });
    }
    if (has) counts.known += drawn; // as in edge recovery: of other targets nothing is known
  }
  return { edges, counts };
}

/* Keep an edge clear of other nodes: the straightest of a few bends (plots/layers.py). */
function chooseBend(start, end, others) {
  if (others.length > MOST_NODES_TO_BEND_ROUND) return BENDS[0];
  const [dx, dy] = [end[0] - start[0], end[1] - start[1]];
  const length = Math.hypot(dx, dy) || 1;
  let best = BENDS[0], bestGap = -1;
  for (const bend of BENDS) {
    const limited = Math.sign(bend) * Math.min(Math.abs(bend), 210 / length);
    const cx = (start[0] + end[0]) / 2 - limited * dy;
    const cy = (start[1] + end[1]) / 2 + limited * dx;
    let gap = Infinity;
    for (let part = 1; part < 12; part++) {
      const t = part / 12, u = 1 - t;
      const px = u * u * start[0] + 2 * u * t * cx + t * t * end[0];
      const py = u * u * start[1] + 2 * u * t * cy + t * t * end[1];
      for (const point of others) {
        if (point !== start && point !== end) {
          gap = Math.min(gap, Math.hypot(px - point[0], py - point[1]));
        }
      }
    }
    if (gap >= CLEARANCE) return limited;
    if (gap > bestGap) [best, bestGap] = [limited, gap];
  }
  return best;
}

function arrowhead(x, y, dx, dy) {
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [(7 * dx) / length, (7 * dy) / length];
  const left = `${round(x - ux - uy / 2)} ${round(y - uy + ux / 2)}`;
  return `M${round(x)} ${round(y)}L${left}L${round(x - ux + uy / 2)} ${round(y - uy - ux / 2)}Z`;
}

/* One edge as [curve, arrowhead]: an arc beside the text, or a bend between layers. */
function shapeOf(edge, points, view, width) {
  const [start, end] = [points[edge.source], points[edge.target]];
  if (view === "arcs") {
    const span = Math.max(1, points.at(-1)[1] - points[0][1]);
    const out = start[0] + 12 + ((width - start[0] - 18) / 0.75) * ((end[1] - start[1]) / span) ** 0.6;
    const [x, y0, y1] = [start[0] + 8, start[1] + 2, end[1] - 2].map(round);
    const curve = `M${x} ${y0}C${round(out)} ${y0} ${round(out)} ${y1} ${x} ${y1}`;
    return [curve, arrowhead(x - 1, y1, -1, 0)];
  }
  const key = edge.target * points.length + edge.source;
  points.bends ??= new Map();
  if (!points.bends.has(key)) points.bends.set(key, chooseBend(start, end, points));
  const bend = points.bends.get(key);
  const [dx, dy] = [end[0] - start[0], end[1] - start[1]];
  const control = [(start[0] + end[0]) / 2 - bend * dy, (start[1] + end[1]) / 2 + bend * dx];
  const cut = (from) => {
    const [x, y] = [control[0] - from[0], control[1] - from[1]];
    const length = Math.hypot(x, y) || 1;
    return [from[0] + (x / length) * (RADIUS + 4), from[1] + (y / length) * (RADIUS + 4)];
  };
  const [from, to] = [cut(start), cut(end)];
  const curve = `M${from.map(round).join(" ")}Q${control.map(round).join(" ")} ${to.map(round).join(" ")}`;
  return [curve, arrowhead(...to, to[0] - control[0], to[1] - control[1])];
}

function drawEdges(group, edges, points, view, width) {
  const curves = new Map(), heads = new Map();
  for (const edge of edges) {
    const [curve, head] = shapeOf(edge, points, view, width);
    const key = `${edge.set} ${Math.min(3, Math.floor(edge.weight * 4))}`;
    curves.set(key, (curves.get(key) ?? "") + curve);
    heads.set(edge.set, (heads.get(edge.set) ?? "") + head);
  }
  const drawn = [...curves].map(([key, d]) => {
    const [set, bin] = key.split(" ");
    return make("path", { d, class: `rgx-edge rgx-${set}`, "stroke-width": WIDTHS[bin] });
  });
  const tips = [...heads].map(([set, d]) => make("path", { d, class: `rgx-head rgx-${set}` }));
  group.replaceChildren(...drawn, ...tips);
}

function glyph(kind, size, x = 0, y = 0) {
  const transform = `translate(${x} ${y}) scale(${size})`;
  const stroke = 1.3 / size;
  return make("path", { d: SHAPES[kind], transform, class: `rgx-glyph rgx-${kind}`, "stroke-width": stroke });
}

/* A labelled control; `options` are [value, words]. */
function chooser(label, name, options) {
  const select = make("select", { name });
  for (const [value, words] of options) select.append(make("option", { value }, words));
  return { field: make("label", { class: "rgx-field" }, make("span", {}, label), select), select };
}

function setOptions(select, options) {
  select.replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
}

let mounted = 0;

/* Build the explorer in `root`; returns { set(changes), destroy() }. `report` hears of choices. */
export function mount(root, data, start = {}, report = () => {}) {
  const nodes = data.kinds.length;
  const graphs = readGraphs(data);
  const names = [...graphs.methods.keys()];
  const least = new Map(data.methods.map((method) => [method.name, method.threshold]));
  const prefix = `rgx-${++mounted}`;
  const called = (node) => `${data.kinds[node]} ${node}`;
  const state = { method: names[0], compare: graphs.gold ? GOLD : "", layer: -1, head: -1 };
  Object.assign(state, { threshold: least.get(names[0]), view: "auto", selected: -1 });
  let hovered = -1, weights, other, otherLeast, points, shown, lit = [], width = 200;

  const method = chooser("graph", "method", names.map((name) => [name, name]));
  const layer = chooser("layer", "layer", []);
  const head = chooser("head", "head", []);
  const compare = chooser("compare with", "compare", []);
  const view = chooser("view", "view", [["auto", "automatic"], ["graph", "layers"], ["arcs", "arcs beside the text"]]);
  const slider = make("input", { type: "range", name: "threshold", min: 0.005, max: 1, step: 0.005 });
  const value = make("span", { class: "rgx-value" });
  const threshold = make("label", { class: "rgx-field" }, make("span", {}, "least weight ", value), slider);
  const controls = make("div", { class: "rgx-controls" });
  controls.append(...[method, layer, head, compare].map((one) => one.field), threshold, view.field);
  for (const one of [layer, head]) one.field.hidden = !data.methods.some((m) => m.layers);

  const says = make("p", { class: "rgx-says", role: "status", "aria-live": "polite" });
  const status = make("p", { class: "rgx-status" });
  const legend = make("ul", { class: "rgx-legend", "aria-label": "legend" });
  const keys = make("p", { class: "rgx-keys", id: `${prefix}-keys` });
  keys.append("Keys on a line: ↑ ↓ next line · ← its strongest source · → next line that uses it · Esc clear");
  const rows = [];
  const text = make("div", { class: "rgx-text", role: "listbox", "aria-label": "problem and solution", "aria-describedby": keys.id });
  let block;
  for (let node = 0; node < nodes; node++) {
    const written = ["step", "answer"].includes(data.kinds[node]);
    if (node === 0 || (written && !block.written)) {
      const name = written ? "solution" : "problem";
      const group = make("div", { role: "group", "aria-label": name });
      group.append(make("div", { class: "rgx-heading", "aria-hidden": "true" }, name));
      text.append(group);
      block = { group, written };
    }
    rows.push(makeRow(node));
    block.group.append(rows[node].row);
  }
  const base = make("g", { class: "rgx-base" });
  const over = make("g", { class: "rgx-over" });
  const marks = make("g", {});
  const picture = make("svg", { class: "rgx-picture", role: "img" }, base, over, marks);
  const body = make("div", { class: "rgx-body" }, text, make("div", { class: "rgx-side" }, picture));
  root.classList.add("rgx");
  root.dataset.lmSuppressShortcuts = "true"; // arrow keys belong to the text, not to JupyterLab
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `reasoning-graph explorer${data.title ? `: ${data.title}` : ""}`);
  const title = data.title ? make("p", { class: "rgx-title" }, data.title) : "";
  root.replaceChildren(title, controls, status, says, body, legend, keys);

  function makeRow(node) {
    const judged = data.steps[node];
    const wrong = judged && judged.verdict !== "right";
    const words = wrong ? `wrong: ${judged.verdict}` : judged ? "right" : "";
    const row = make("div", {
      class: `rgx-row${wrong ? " rgx-wrong" : ""}`, role: "option", id: `${prefix}-${node}`,
      tabindex: node ? -1 : 0, "data-node": node, "aria-selected": "false",
      "aria-label": `${called(node)}: ${data.texts[node]} ${words}`.trim(),
    });
    const shape = make("svg", { viewBox: "-9 -9 18 18", class: "rgx-small" }, glyph(data.kinds[node], 6.5));
    const badge = make("span", { class: "rgx-badge" });
    const mark = judged && make("span", { class: `rgx-mark rgx-${wrong ? "bad" : "good"}` }, wrong ? `✗ ${judged.verdict}` : "✓");
    row.append(make("span", { class: "rgx-number" }, String(node)), shape);
    row.append(make("span", { class: "rgx-words" }, data.texts[node], judged && " ", mark), badge);
    return { row, badge };
  }

  /* Layers stand beside a short text; a long one, or one on a phone, gets arcs. */
  function viewNow() {
    if (state.view !== "auto") return state.view;
    return nodes > MOST_NODES_IN_LAYERS || root.clientWidth < NARROW ? "arcs" : "graph";
  }

  /* Choose the weights and edges that the state asks for, and draw them all. */
  function redraw() {
    weights = graphs.part(state.method, state.layer, state.head);
    other = state.compare ? graphs.part(state.compare, -1, -1) : null;
    otherLeast = state.compare && state.compare !== GOLD ? Math.round(least.get(state.compare) * LEVELS) : 1;
    const found = edgesOf(data, weights, Math.round(state.threshold * LEVELS), other, otherLeast);
    const all = found.edges.length;
    if (all > MOST_EDGES) found.edges.sort((a, b) => b.weight - a.weight).length = MOST_EDGES;
    shown = found.edges;
    drawEdges(base, shown, points, viewNow(), width);
    value.textContent = state.threshold.toFixed(3);
    describe(found.counts, all);
    paint();
  }

  function placeName() {
    const chosen = graphs.methods.get(state.method);
    if (state.layer < 0) return chosen.choice ? `${state.method} (${chosen.choice})` : state.method;
    const where = state.head < 0 ? (chosen.heads ? ", mean of its heads" : "") : `, head ${state.head}`;
    return `${state.method}, layer ${state.layer}${where}`;
  }

  function describe(counts, all) {
    const { both, extra, missed, plain } = counts;
    const mine = plain + both + extra;
    let words = `${placeName()}: ${mine} edge${mine === 1 ? "" : "s"} of at least ${state.threshold.toFixed(3)}.`;
    if (state.compare === GOLD) {
      const share = (part, whole) => (whole ? (part / whole).toFixed(2) : "–");
      words += ` Against gold: precision ${share(both, counts.known)}, recall ${share(both, both + missed)},`;
      words += ` F1 ${share(2 * both, counts.known + both + missed)}.`;
    } else if (state.compare) {
      words += ` ${both} of them also in ${state.compare} (from ${least.get(state.compare).toFixed(3)}), which has ${missed} more.`;
    }
    if (all > MOST_EDGES) words += ` Only the ${MOST_EDGES} heaviest of ${all} are drawn.`;
    status.textContent = words;
    picture.setAttribute("aria-label", `graph of ${nodes} nodes. ${words}`);
    const here = state.method === state.compare ? placeName() : state.method;
    const titles = {
      plain: `source to target (${plain})`,
      both: `${here} and ${state.compare} (${both})`,
      extra: `${here}, not ${state.compare} (${extra})`,
      missed: `${state.compare}, not ${here} (${missed})`,
    };
    const item = (drawing, words) => make("li", {}, make("svg", { viewBox: "0 0 34 16" }, drawing), words);
    const items = SETS.filter((set) => (set === "plain") === !state.compare).map((set) =>
      item(make("path", { d: "M1 8H33", class: `rgx-edge rgx-${set}`, "stroke-width": 2.2 }), titles[set]));
    for (const kind of Object.keys(SHAPES)) {
      if (data.kinds.includes(kind)) items.push(item(glyph(kind, 6, 17, 8), kind));
    }
    if (data.steps.some((step) => step)) items.push(make("li", {}, "✓ right step · ✗ wrong step"));
    legend.replaceChildren(...items);
  }

  /* Light up what the reader points at: its sources and users, in the text and in the graph. */
  function paint() {
    for (const { row, badge } of lit) {
      row.classList.remove("rgx-here", "rgx-source", "rgx-missing", "rgx-user");
      badge.textContent = "";
    }
    for (const node of marks.querySelectorAll(".rgx-lit")) node.classList.remove("rgx-lit", "rgx-at");
    lit = [];
    const node = hovered >= 0 ? hovered : state.selected;
    root.toggleAttribute("data-lit", node >= 0);
    if (node < 0) {
      over.replaceChildren();
      says.textContent = "Point at a line, or walk through the lines with the arrow keys.";
      return;
    }
    const bound = Math.round(state.threshold * LEVELS);
    const inMine = (place) => weights[place] >= bound && weights[place] > 0;
    const inOther = (place) => other !== null && other[place] >= otherLeast && other[place] > 0;
    const sources = [], missing = [], users = [], edges = [];
    for (let source = 0; source < node; source++) {
      const place = at(node, source);
      if (inMine(place)) sources.push({ source, weight: weights[place] / LEVELS, agreed: inOther(place) });
      else if (inOther(place)) missing.push(source);
    }
    for (let target = node + 1; target < nodes; target++) if (inMine(at(target, node))) users.push(target);
    const mark = (place, kind, words) => {
      rows[place].row.classList.add(kind);
      rows[place].badge.textContent = words;
      lit.push(rows[place]);
      marks.children[place]?.classList.add("rgx-lit", ...(kind === "rgx-here" ? ["rgx-at"] : []));
    };
    for (const target of users) {
      mark(target, "rgx-user", "uses it");
      edges.push({ target, source: node, weight: 0, set: "plain" });
    }
    for (const { source, weight, agreed } of sources) {
      mark(source, "rgx-source", `◂ ${weight.toFixed(2)}${agreed ? " ✓" : ""}`);
      edges.push({ target: node, source, weight, set: other === null ? "plain" : agreed ? "both" : "extra" });
    }
    for (const source of missing) {
      mark(source, "rgx-missing", `◂ ${state.compare} only`);
      edges.push({ target: node, source, weight: 0.3, set: "missed" });
    }
    mark(node, "rgx-here", "");
    drawEdges(over, edges, points, viewNow(), width);
    says.textContent = sentence(node, sources, missing, users);
  }

  function sentence(node, sources, missing, users) {
    const found = [...sources].sort((a, b) => b.weight - a.weight);
    const from = list(found.map((one) => `${called(one.source)} (${one.weight.toFixed(2)})`));
    const judged = data.steps[node];
    let words = capital(called(node));
    if (!["step", "answer"].includes(data.kinds[node])) {
      return `${words} is ${users.length ? `used by ${list(users.map(called))}` : "used by nothing here"}.`;
    }
    words += found.length ? ` follows from ${from}.` : " follows from nothing at this threshold.";
    if (state.compare) {
      const agreed = found.filter((one) => one.agreed).map((one) => called(one.source));
      if (found.length) words += ` ${capital(state.compare)} agrees on ${agreed.length ? list(agreed) : "none"}.`;
      if (missing.length) words += ` Only ${state.compare} has ${list(missing.map(called))}.`;
    }
    if (users.length) words += ` It is used by ${list(users.map(called))}.`;
    if (judged && judged.verdict !== "right") {
      words += ` Wrong: ${judged.verdict}${judged.detail ? `; ${judged.detail}` : ""}.`;
      if (judged.ignored !== null) words += ` It ignores ${called(judged.ignored)}.`;
      if (judged.used !== null) words += ` It uses ${called(judged.used)} instead.`;
    }
    return words;
  }

  /* Find out where the nodes stand, in the view that is chosen, and draw them. */
  function arrange() {
    const kind = viewNow();
    root.dataset.view = kind;
    if (kind === "arcs") {
      const top = text.getBoundingClientRect().top;
      width = Math.max(60, picture.parentNode.clientWidth);
      points = rows.map(({ row }) => {
        const box = row.getBoundingClientRect();
        return [10, box.top - top + box.height / 2];
      });
      const height = Math.max(1, text.offsetHeight);
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.style.width = `${width}px`;
      picture.style.height = `${height}px`;
    } else {
      const [xs, ys] = [0, 1].map((axis) => data.positions.map((point) => point[axis]));
      const [left, high] = [Math.min(...xs), Math.max(...ys)];
      points = data.positions.map(([x, y]) => [(x - left + 0.6) * UNIT[0], (high - y + 0.45) * UNIT[1]]);
      width = (Math.max(...xs) - left + 1.2) * UNIT[0];
      picture.setAttribute("viewBox", `0 0 ${round(width)} ${round((high - Math.min(...ys) + 0.9) * UNIT[1])}`);
      picture.style.width = `${round(width)}px`;
      picture.style.height = "";
    }
    marks.replaceChildren(...points.map(([x, y], node) => {
      const wrong = data.steps[node] && data.steps[node].verdict !== "right";
      const drawn = make("g", { class: `rgx-node${wrong ? " rgx-wrong" : ""}`, "data-node": node });
      drawn.append(glyph(data.kinds[node], kind === "arcs" ? 4.5 : RADIUS, round(x), round(y)));
      if (kind === "graph") drawn.append(make("text", { x: round(x), y: round(y + 4) }, String(node)));
      if (wrong && kind === "graph") drawn.append(make("text", { x: round(x + 15), y: round(y - 8), class: "rgx-cross" }, "✗"));
      return drawn;
    }));
    redraw();
  }

  function fillChoices() {
    const chosen = graphs.methods.get(state.method);
    const count = (number) => Array.from({ length: number }, (_, i) => [i, String(i)]);
    setOptions(layer.select, [[-1, "as drawn"], ...count(chosen.layers)]);
    setOptions(head.select, [[-1, chosen.heads ? "mean" : "–"], ...count(chosen.heads)]);
    const others = names.filter((name) => name !== state.method || state.layer >= 0);
    setOptions(compare.select, [["", "nothing"], ...(graphs.gold ? [[GOLD, GOLD]] : []), ...others.map((name) => [name, name])]);
    layer.select.disabled = !chosen.layers;
    head.select.disabled = !chosen.heads || state.layer < 0;
    for (const [one, name] of [[method, "method"], [layer, "layer"], [head, "head"], [compare, "compare"], [view, "view"]]) {
      one.select.value = state[name];
    }
    slider.value = state.threshold;
    slider.setAttribute("aria-valuetext", `least weight ${state.threshold.toFixed(3)}`);
  }

  /* Take over what is possible of `changes` (an unknown name is not); return what changed. */
  function take(changes) {
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
    const others = ["", ...names, ...(graphs.gold ? [GOLD] : [])];
    if (others.includes(changes.compare)) state.compare = changes.compare;
    if (state.compare === state.method && state.layer < 0) state.compare = graphs.gold ? GOLD : "";
    if (["auto", "graph", "arcs"].includes(changes.view)) state.view = changes.view;
    if (within(changes.selected, nodes)) state.selected = changes.selected;
    return STATE.filter((name) => state[name] !== before[name]);
  }

  function showSelected() {
    rows.forEach(({ row }, node) => {
      const here = node === state.selected;
      if ((row.getAttribute("aria-selected") === "true") !== here) row.setAttribute("aria-selected", here);
      if (state.selected >= 0 && (row.tabIndex === 0) !== here) row.tabIndex = here ? 0 : -1;
    });
  }

  /* Change the state and what is seen of it; return the entries that changed. */
  function set(changes) {
    const changed = take(changes);
    const redrawn = changed.some((name) => name !== "selected");
    if (changed.includes("selected")) showSelected();
    if (redrawn) fillChoices();
    if (changed.includes("view")) arrange();
    else if (redrawn) redraw();
    else if (changed.length) paint();
    return Object.fromEntries(changed.map((name) => [name, state[name]]));
  }

  const choose = (changes) => report(set(changes));
  method.select.addEventListener("change", () => choose({ method: method.select.value }));
  compare.select.addEventListener("change", () => choose({ compare: compare.select.value }));
  view.select.addEventListener("change", () => choose({ view: view.select.value }));
  layer.select.addEventListener("change", () => choose({ layer: Number(layer.select.value) }));
  head.select.addEventListener("change", () => choose({ head: Number(head.select.value) }));
  slider.addEventListener("input", () => set({ threshold: Number(slider.value) }));
  slider.addEventListener("change", () => report({ threshold: state.threshold }));

  const nodeOf = (event) => Number(event.target.closest?.("[data-node]")?.dataset.node ?? -1);
  const point = (event) => {
    const node = nodeOf(event);
    if (node === hovered) return;
    hovered = node;
    paint();
  };
  const goTo = (node) => {
    hovered = -1;
    rows[node].row.focus({ preventScroll: true });
    rows[node].row.scrollIntoView({ block: "nearest" });
  };
  for (const part of [text, picture]) {
    part.addEventListener("pointerover", point);
    part.addEventListener("pointerleave", () => {
      hovered = -1;
      paint();
    });
    part.addEventListener("click", (event) => nodeOf(event) >= 0 && goTo(nodeOf(event)));
  }
  text.addEventListener("focusin", (event) => nodeOf(event) >= 0 && choose({ selected: nodeOf(event) }));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      hovered = -1;
      choose({ selected: -1 });
      paint();
      event.stopPropagation();
      return;
    }
    const node = nodeOf(event);
    if (node < 0 || !text.contains(event.target)) return;
    const bound = Math.max(1, Math.round(state.threshold * LEVELS));
    let next = -1;
    if (event.key === "ArrowDown") next = Math.min(node + 1, nodes - 1);
    else if (event.key === "ArrowUp") next = Math.max(node - 1, 0);
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = nodes - 1;
    else if (event.key === "ArrowLeft") {
      for (let source = 0, most = bound - 1; source < node; source++) {
        if (weights[at(node, source)] > most) [next, most] = [source, weights[at(node, source)]];
      }
    } else if (event.key === "ArrowRight") {
      for (let target = nodes - 1; target > node; target--) if (weights[at(target, node)] >= bound) next = target;
    } else return;
    event.preventDefault();
    event.stopPropagation();
    if (next >= 0) goTo(next);
  });

  const watch = new ResizeObserver(() => {
    if (viewNow() === "arcs" || root.dataset.view === "arcs") arrange();
  });
  take(start);
  showSelected();
  fillChoices();
  arrange();
  watch.observe(text);
  watch.observe(root);
  return {
    set,
    destroy() {
      watch.disconnect();
      root.replaceChildren();
    },
  };
}

function render({ model, el }) {
  const root = document.createElement("div");
  el.append(root);
  let telling = false;
  const chosen = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const report = (changes) => {
    telling = true;
    for (const [name, now] of Object.entries(changes)) model.set(name, now);
    telling = false;
    model.save_changes();
  };
  let explorer = mount(root, model.get("data"), chosen(), report);
  const follow = () => telling || explorer.set(chosen());
  const rebuild = () => {
    explorer.destroy();
    explorer = mount(root, model.get("data"), chosen(), report);
  };
  for (const name of STATE) model.on(`change:${name}`, follow);
  model.on("change:data", rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, follow);
    model.off("change:data", rebuild);
    explorer.destroy();
  };
}

export default { render };
