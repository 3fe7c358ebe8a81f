/* The explorer's drawing: nodes as shapes, edges as arcs beside the text or bends between layers.
 *
 * All edges of a view become a few long paths, one for each set and stroke, so that the work of a
 * change grows little with their number.
 */

const MOST_NODES_TO_BEND_ROUND = 60;
const WIDTHS = [1, 1.6, 2.3, 3.1]; // strokes, by weight
const UNIT = [84, 66]; // pixels of a unit of the layered positions
const RADIUS = 11;
const BENDS = [0.05, -0.05, 0.18, -0.18, 0.3, -0.3, 0.42, -0.42, 0.55, -0.55];
const CLEARANCE = 30; // pixels
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  premise: "M-.88-.88H.88V.88H-.88Z",
  question: "M0-1.2L1.2 0L0 1.2L-1.2 0Z",
  step: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  answer: "M0-1.15L1.1-.36L.68.93H-.68L-1.1-.36Z",
};

function make(tag, attributes = {}, ...children) {
  const inSvg = ["svg", "g", "path", "text"].includes(tag);
  const made = inSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

const round = (number) => Math.round(number * 10) / 10;

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

/* Where the nodes of the layered view stand: [points, width, height] in pixels. */
function layeredPlaces(positions) {
  const [xs, ys] = [0, 1].map((axis) => positions.map((point) => point[axis]));
  const [left, high] = [Math.min(...xs), Math.max(...ys)];
  const points = positions.map(([x, y]) => [(x - left + 0.6) * UNIT[0], (high - y + 0.45) * UNIT[1]]);
  return [points, (Math.max(...xs) - left + 1.2) * UNIT[0], (high - Math.min(...ys) + 0.9) * UNIT[1]];
}

/* A node with its number and, if it is wrong, a cross; beside the text, where both stand, its shape. */
function drawNode(data, node, [x, y], view) {
  const wrong = wrongAt(data, node);
  const drawn = make("g", { class: `rgx-node${wrong ? " rgx-wrong" : ""}`, "data-node": node });
  drawn.append(glyph(data.kinds[node], view === "arcs" ? 4.5 : RADIUS, round(x), round(y)));
  if (view === "arcs") return drawn;
  drawn.append(make("text", { x: round(x), y: round(y + 4) }, String(node)));
  if (wrong) drawn.append(make("text", { x: round(x + 15), y: round(y - 8), class: "rgx-cross" }, "✗"));
  return drawn;
}

/* The entries of the legend: the sets of edges in `words` that a view can have, and the kinds. */
function legendItems(data, words, compared) {
  const item = (drawing, told) => make("li", {}, make("svg", { viewBox: "0 0 34 16" }, drawing), told);
  const sets = Object.keys(words).filter((set) => (set === "plain") === !compared);
  const items = sets.map((set) =>
    item(make("path", { d: "M1 8H33", class: `rgx-edge rgx-${set}`, "stroke-width": 2.2 }), words[set]));
  for (const kind of Object.keys(SHAPES)) {
    if (data.kinds.includes(kind)) items.push(item(glyph(kind, 6, 17, 8), kind));
  }
  if (data.steps.some((step) => step)) items.push(make("li", {}, "✓ right step · ✗ wrong step"));
  return items;
}

/* One line of the text as { row, badge }: number, shape, words and verdict; `id` is the row's. */
function drawLine(data, node, id) {
  const judged = data.steps[node];
  const wrong = wrongAt(data, node);
  const words = wrong ? `wrong: ${judged.verdict}` : judged ? "right" : "";
  const row = make("div", {
    class: `rgx-row${wrong ? " rgx-wrong" : ""}`, role: "option", id,
    tabindex: node ? -1 : 0, "data-node": node, "aria-selected": "false",
    "aria-label": `${called(data, node)}: ${data.texts[node]} ${words}`.trim(),
  });
  const shape = make("svg", { viewBox: "-9 -9 18 18", class: "rgx-small" }, glyph(data.kinds[node], 6.5));
  const badge = make("span", { class: "rgx-badge" });
  const verdict = wrong ? `✗ ${judged.verdict}` : "✓";
  const mark = judged && make("span", { class: `rgx-mark rgx-${wrong ? "bad" : "good"}` }, verdict);
  row.append(make("span", { class: "rgx-number" }, String(node)), shape);
  row.append(make("span", { class: "rgx-words" }, data.texts[node], judged && " ", mark), badge);
  return { row, badge };
}
