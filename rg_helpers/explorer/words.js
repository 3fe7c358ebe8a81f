/* The explorer in words: what the status says of a graph, and what is announced of a line. */

const list = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const called = (data, node) => `${data.kinds[node]} ${node}`;

/* The graph that is drawn: the method, and its choice or the layer and head that are looked at. */
function placeInWords(state, method) {
  if (state.layer < 0) return method.choice ? `${state.method} (${method.choice})` : state.method;
  const where = state.head < 0 ? (method.heads ? ", mean of its heads" : "") : `, head ${state.head}`;
  return `${state.method}, layer ${state.layer}${where}`;
}

/* How many edges are drawn, and how they agree; `otherLeast` is the compared graph's threshold. */
function statusInWords(place, state, counts, otherLeast) {
  const { both, extra, missed, plain } = counts;
  const mine = plain + both + extra;
  const words = `${place}: ${mine} edge${mine === 1 ? "" : "s"} of at least ${state.threshold.toFixed(3)}.`;
  if (state.compare === GOLD) {
    const share = (part, whole) => (whole ? (part / whole).toFixed(2) : "–");
    return (
      `${words} Against gold: precision ${share(both, counts.known)}, ` +
      `recall ${share(both, both + missed)}, F1 ${share(2 * both, counts.known + both + missed)}.`
    );
  }
  if (!state.compare) return words;
  return `${words} ${both} of them also in ${state.compare} (from ${otherLeast.toFixed(3)}), which has ${missed} more.`;
}

/* What each set of edges is, with its size, for the legend. */
function setsInWords(place, state, counts) {
  const here = state.method === state.compare ? place : state.method;
  return {
    plain: `source to target (${counts.plain})`,
    both: `${here} and ${state.compare} (${counts.both})`,
    extra: `${here}, not ${state.compare} (${counts.extra})`,
    missed: `${state.compare}, not ${here} (${counts.missed})`,
  };
}

/* What a line follows from and is used by (`neighboursOf`), and what is wrong with it. */
function lineInWords(data, node, compare, { sources, missing, users }) {
  const names = (nodes) => list(nodes.map((one) => called(data, one)));
  let words = capital(called(data, node));
  if (!writtenAt(data, node)) {
    return `${words} is ${users.length ? `used by ${names(users)}` : "used by nothing here"}.`;
  }
  const found = [...sources].sort((a, b) => b.weight - a.weight);
  const from = list(found.map((one) => `${called(data, one.source)} (${one.weight.toFixed(2)})`));
  words += found.length ? ` follows from ${from}.` : " follows from nothing at this threshold.";
  if (compare) {
    const agreed = found.filter((one) => one.agreed).map((one) => one.source);
    if (found.length) words += ` ${capital(compare)} agrees on ${agreed.length ? names(agreed) : "none"}.`;
    if (missing.length) words += ` Only ${compare} has ${names(missing)}.`;
  }
  if (users.length) words += ` It is used by ${names(users)}.`;
  if (wrongAt(data, node)) {
    const judged = data.steps[node];
    words += ` Wrong: ${judged.verdict}${judged.detail ? `; ${judged.detail}` : ""}.`;
    if (judged.ignored !== null) words += ` It ignores ${called(data, judged.ignored)}.`;
    if (judged.used !== null) words += ` It uses ${called(data, judged.used)} instead.`;
  }
  return words;
}
