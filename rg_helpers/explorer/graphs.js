/* The reasoning-graph explorer, first part: weights, the edges that a threshold keeps, and ways
 * along them. Nothing here touches the page.
 *
 * Weights are lower triangles of 16 bits: entry target * (target - 1) / 2 + source. This file and
 * words.js, drawing.js and controls.js only declare; `rg_helpers.explorer.page` joins them with
 * explorer.js to the one module without imports that reaches the browser.
 */

const LEVELS = 65535; // a weight of 1
const GOLD = "gold";

function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Uint16Array(bytes.buffer);
}

const at = (target, source) => (target * (target - 1)) / 2 + source;
const wrongAt = (data, node) => data.steps[node] && data.steps[node].verdict !== "right";
const writtenAt = (data, node) => ["step", "answer"].includes(data.kinds[node]);

/* Which graph is shown, against which other one: the weights of each, whole or of a layer or head. */
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

/* A graph cut at a threshold; `least` is in LEVELS, and a weight of 0 is never an edge. */
function cutAt(weights, least) {
  return { weights, least, has: (place) => weights[place] >= least && weights[place] > 0 };
}

/* The edges of a view, and how two graphs agree. Gold has no threshold: all its edges are true. */
function edgesOf(nodes, graph, other) {
  const edges = [];
  const counts = { plain: 0, both: 0, extra: 0, missed: 0, known: 0 };
  for (let target = 1; target < nodes; target++) {
    let drawn = 0, has = 0;
    for (let source = 0; source < target; source++) {
      const place = at(target, source);
      const mine = graph.has(place);
      const theirs = other !== null && other.has(place);
      if (!mine && !theirs) continue;
      const set = other === null ? "plain" : mine && theirs ? "both" : mine ? "extra" : "missed";
      const weight = (mine ? graph : other).weights[place] / LEVELS;
      counts[set] += 1;
      drawn += mine;
      has += theirs;
      edges.push({ target, source, weight, set });
    }
    if (has) counts.known += drawn; // as in edge recovery: of other targets nothing is known
  }
  return { edges, counts };
}

/* What a line follows from, what the other graph has beside that, and which lines use it. */
function neighboursOf(node, nodes, graph, other) {
  const sources = [], missing = [], users = [];
  for (let source = 0; source < node; source++) {
    const place = at(node, source);
    const agreed = other !== null && other.has(place);
    if (graph.has(place)) sources.push({ source, weight: graph.weights[place] / LEVELS, agreed });
    else if (agreed) missing.push(source);
  }
  for (let target = node + 1; target < nodes; target++) {
    if (graph.has(at(target, node))) users.push(target);
  }
  return { sources, missing, users };
}

/* Where a key leads from a line: to a line, -1 for nowhere, null for a key without a meaning. */
function lineAfter(key, node, nodes, graph) {
  if (key === "ArrowDown") return Math.min(node + 1, nodes - 1);
  if (key === "ArrowUp") return Math.max(node - 1, 0);
  if (key === "Home") return 0;
  if (key === "End") return nodes - 1;
  let next = -1;
  if (key === "ArrowLeft") {
    for (let source = 0, most = 0; source < node; source++) {
      const place = at(node, source);
      if (graph.has(place) && graph.weights[place] > most) [next, most] = [source, graph.weights[place]];
    }
    return next;
  }
  if (key === "ArrowRight") {
    for (let target = nodes - 1; target > node; target--) if (graph.has(at(target, node))) next = target;
    return next;
  }
  return null;
}
