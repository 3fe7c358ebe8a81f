/* The reasoning-graph explorer, last part: the text and the graph of what follows from what,
 * beside it, and how they answer a reader.
 *
 * anywidget calls `render`; a page without a kernel calls `mount` with the same data
 * (`rg_helpers.explorer.explorer_data`). A change redraws all edges, and what the reader points at
 * is drawn on top, so that the work of a hover grows with a line's own edges only.
 */

const MOST_EDGES = 1500; // drawn at once; the status says when there are more
const MOST_NODES_IN_LAYERS = 45; // beyond, arcs beside the text are legible and layers are not
const NARROW = 640; // pixels; as in the style
const KEYS = "Keys on a line: ↑ ↓ next line · ← its strongest source · → next line that uses it · Esc clear";

let mounted = 0;

/* The lines of problem and solution: [the text, its lines as { row, badge }]. */
function drawText(data, prefix, keys) {
  const told = { "aria-label": "problem and solution", "aria-describedby": keys.id };
  const text = make("div", { class: "rgx-text", role: "listbox", ...told });
  let block;
  const lines = data.kinds.map((_, node) => {
    const written = writtenAt(data, node);
    if (node === 0 || (written && !block.written)) {
      const name = written ? "solution" : "problem";
      const group = make("div", { role: "group", "aria-label": name });
      group.append(make("div", { class: "rgx-heading", "aria-hidden": "true" }, name));
      text.append(group);
      block = { group, written };
    }
    const line = drawLine(data, node, `${prefix}-${node}`);
    block.group.append(line.row);
    return line;
  });
  return [text, lines];
}

/* Build the explorer in `root`; returns { set(changes), destroy() }. `report` hears of choices. */
export function mount(root, data, start = {}, report = () => {}) {
  const nodes = data.kinds.length;
  const graphs = readGraphs(data);
  const least = new Map(data.methods.map((method) => [method.name, method.threshold]));
  const state = firstChoices(graphs, least);
  const prefix = `rgx-${++mounted}`;
  let hovered = -1, graph, other, points, lit = [], width = 200;

  const choose = (changes) => report(set(changes));
  const slide = (threshold) => set({ threshold });
  const settle = () => report({ threshold: state.threshold });
  const controls = makeControls(data, graphs, { choose, slide, settle });
  const says = make("p", { class: "rgx-says", role: "status", "aria-live": "polite" });
  const status = make("p", { class: "rgx-status" });
  const legend = make("ul", { class: "rgx-legend", "aria-label": "legend" });
  const keys = make("p", { class: "rgx-keys", id: `${prefix}-keys` }, KEYS);
  const [text, lines] = drawText(data, prefix, keys);
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
  root.replaceChildren(title, controls.element, status, says, body, legend, keys);

  /* Layers stand beside a short text; a long one, or one on a phone, gets arcs. */
  function viewNow() {
    if (state.view !== "auto") return state.view;
    return nodes > MOST_NODES_IN_LAYERS || root.clientWidth < NARROW ? "arcs" : "graph";
  }

  /* Choose the weights and edges that the state asks for, and draw them all. */
  function redraw() {
    graph = cutAt(graphs.part(state.method, state.layer, state.head), Math.round(state.threshold * LEVELS));
    const otherLeast = state.compare === GOLD ? 1 : Math.round(least.get(state.compare) * LEVELS);
    other = state.compare ? cutAt(graphs.part(state.compare, -1, -1), otherLeast) : null;
    const { edges, counts } = edgesOf(nodes, graph, other);
    const all = edges.length;
    if (all > MOST_EDGES) edges.sort((a, b) => b.weight - a.weight).length = MOST_EDGES;
    drawEdges(base, edges, points, viewNow(), width);
    describe(counts, all);
    paint();
  }

  function describe(counts, all) {
    const place = placeInWords(state, graphs.methods.get(state.method));
    let words = statusInWords(place, state, counts, least.get(state.compare));
    if (all > MOST_EDGES) words += ` Only the ${MOST_EDGES} heaviest of ${all} are drawn.`;
    status.textContent = words;
    picture.setAttribute("aria-label", `graph of ${nodes} nodes. ${words}`);
    legend.replaceChildren(...legendItems(data, setsInWords(place, state, counts), state.compare !== ""));
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
    const found = neighboursOf(node, nodes, graph, other);
    const edges = [];
    const mark = (place, kind, words) => {
      lines[place].row.classList.add(kind);
      lines[place].badge.textContent = words;
      lit.push(lines[place]);
      marks.children[place]?.classList.add("rgx-lit", ...(kind === "rgx-here" ? ["rgx-at"] : []));
    };
    for (const target of found.users) {
      mark(target, "rgx-user", "uses it");
      edges.push({ target, source: node, weight: 0, set: "plain" });
    }
    for (const { source, weight, agreed } of found.sources) {
      mark(source, "rgx-source", `◂ ${weight.toFixed(2)}${agreed ? " ✓" : ""}`);
      edges.push({ target: node, source, weight, set: other === null ? "plain" : agreed ? "both" : "extra" });
    }
    for (const source of found.missing) {
      mark(source, "rgx-missing", `◂ ${state.compare} only`);
      edges.push({ target: node, source, weight: 0.3, set: "missed" });
    }
    mark(node, "rgx-here", "");
    drawEdges(over, edges, points, viewNow(), width);
    says.textContent = lineInWords(data, node, state.compare, found);
  }

  /* Find out where the nodes stand, in the view that is chosen, and draw them. */
  function arrange() {
    const view = viewNow();
    root.dataset.view = view;
    let height;
    if (view === "arcs") {
      const top = text.getBoundingClientRect().top;
      [width, height] = [Math.max(60, picture.parentNode.clientWidth), Math.max(1, text.offsetHeight)];
      points = lines.map(({ row }) => {
        const box = row.getBoundingClientRect();
        return [10, box.top - top + box.height / 2];
      });
    } else [points, width, height] = layeredPlaces(data.positions);
    picture.setAttribute("viewBox", `0 0 ${round(width)} ${round(height)}`);
    picture.style.width = `${round(width)}px`;
    picture.style.height = view === "arcs" ? `${height}px` : "";
    marks.replaceChildren(...points.map((point, node) => drawNode(data, node, point, view)));
    redraw();
  }

  function showSelected() {
    lines.forEach(({ row }, node) => {
      const here = node === state.selected;
      if ((row.getAttribute("aria-selected") === "true") !== here) row.setAttribute("aria-selected", here);
      if (state.selected >= 0 && (row.tabIndex === 0) !== here) row.tabIndex = here ? 0 : -1;
    });
  }

  /* Change the state and what is seen of it; return the entries that changed. */
  function set(changes) {
    const changed = takeChoices(state, changes, graphs, least, nodes);
    const redrawn = changed.some((name) => name !== "selected");
    if (changed.includes("selected")) showSelected();
    if (redrawn) controls.fill(state);
    if (changed.includes("view")) arrange();
    else if (redrawn) redraw();
    else if (changed.length) paint();
    return Object.fromEntries(changed.map((name) => [name, state[name]]));
  }

  const nodeOf = (event) => Number(event.target.closest?.("[data-node]")?.dataset.node ?? -1);
  const pointAt = (node) => {
    if (node === hovered) return;
    hovered = node;
    paint();
  };
  const goTo = (node) => {
    hovered = -1;
    lines[node].row.focus({ preventScroll: true });
    lines[node].row.scrollIntoView({ block: "nearest" });
  };
  for (const part of [text, picture]) {
    part.addEventListener("pointerover", (event) => pointAt(nodeOf(event)));
    part.addEventListener("pointerleave", () => pointAt(-1));
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
    const next = lineAfter(event.key, node, nodes, graph);
    if (next === null) return;
    event.preventDefault();
    event.stopPropagation();
    if (next >= 0) goTo(next);
  });

  const watch = new ResizeObserver(() => {
    if (viewNow() === "arcs" || root.dataset.view === "arcs") arrange();
  });
  takeChoices(state, start, graphs, least, nodes);
  showSelected();
  controls.fill(state);
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
