// Chapter 13: a table of perturbations of three classes, and where the decision flips. The
// posterior that makes given scores best is the stationary distribution of a chain of three
// states, which has a formula (lpl_lib.book.theory.tables solves equations instead). A test
// moves the sliders and compares.
(function () {
  "use strict";
  const { element, shape, slider, button, replace } = window.bookFigures;
  const PRIOR = [0.5, 0.3, 0.2];
  const CLASSES = [0, 1, 2];
  const BORDERS = [[0, 1, 2], [0, 2, 1], [1, 2, 0]]; // two that tie, and the third
  const START = { s: 0, d: [1, 1, -1], e: 0 };
  const EXAMPLES = {
    "LA": { s: 0, d: [0, 0, 0], e: 0 },
    "LA, margin": { s: -0.15, d: [0, 0, 0], e: 0 },
    "LA + LPL": { s: 0, d: [1, 1, -1], e: 0 },
    "All own logits up": { s: 0, d: [1, 1, 1], e: 0 },
    "One entry": { s: 0, d: [0, 0, 0], e: 1.5 },
  };

  // --- the mathematics ---

  /** LA with the own logits at log(prior + s) + d, and e more for class 1 in row 0. */
  const tableOf = ({ s, d, e }) => CLASSES.map((y) => CLASSES.map((k) =>
    Math.log(PRIOR[k] + (k === y ? s : 0)) + (k === y ? d[y] : 0) + (y === 0 && k === 1 ? e : 0)));

  /** The posterior for which the scores log x are best. */
  function posterior(table, x) {
    const P = table.map((row) => {
      const parts = row.map((value, k) => Math.exp(value) * x[k]);
      const sum = parts[0] + parts[1] + parts[2];
      return parts.map((part) => part / sum);
    });
    const eta = CLASSES.map((a) => {
      const [b, c] = CLASSES.filter((k) => k !== a);
      return P[b][a] * P[c][a] + P[b][a] * P[c][b] + P[b][c] * P[c][a];
    });
    const sum = eta[0] + eta[1] + eta[2];
    return eta.map((part) => part / sum);
  }

  /** The posterior on the border of a and b, where the third class has the share t. */
  function onBorder(table, [a, b, c], t) {
    const x = [0, 0, 0];
    x[a] = x[b] = 1;
    x[c] = t;
    return posterior(table, x);
  }

  const oddsAt = (table, border, t) => {
    const eta = onBorder(table, border, t);
    return eta[border[0]] / eta[border[1]];
  };

  // --- the words ---

  const EDGE = 1e-6; // t where the third class is all but gone
  const signed = (x, digits) => {
    const text = Math.abs(x).toFixed(digits);
    return (x < 0 && Number(text) !== 0 ? "−" : "") + text;
  };

  function story(odds) {
    const bends = odds.map(([low, high]) => Math.abs(Math.log(low / high)));
    const wanted = BORDERS.map(([a, b]) => PRIOR[a] / PRIOR[b]);
    if (Math.max(...bends) < 1e-4) {
      const right = odds.every(([low], i) => Math.abs(Math.log(low / wanted[i])) < 1e-4);
      return "The odds are the same all along each border, so the borders are straight: the table "
        + `is consistent, ${right ? "and for the balanced error" : "but for another error"}.`;
    }
    const most = BORDERS[bends.indexOf(Math.max(...bends))];
    return `The border of the classes ${most[0]} and ${most[1]} bends most: along it the odds `
      + `change by the factor ${Math.exp(Math.max(...bends)).toFixed(2)}. No weighted error has `
      + "such a border, so the table is consistent for none.";
  }

  // --- the picture ---

  const WIDTH = 720, HEIGHT = 430, LEFT = 150, SIDE = 420, FOOT = 400;
  const place = (eta) => [LEFT + SIDE * (eta[1] + eta[2] / 2), FOOT - SIDE * Math.sqrt(0.75) * eta[2]];
  const path = (points) => points.map((eta) => place(eta).map((v) => v.toFixed(2)).join(",")).join(" ");
  const STEPS = Array.from({ length: 61 }, (_, i) => Math.max(EDGE, i / 60));

  function draw(picture, table) {
    const best = tableOf({ s: 0, d: [0, 0, 0], e: 0 });
    const line = (points, kind) => shape("polyline", { class: kind, points: path(points) });
    const parts = [shape("polygon", { class: "frame", points: path([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) })];
    for (const border of BORDERS) {
      parts.push(line([EDGE, 1].map((t) => onBorder(best, border, t)), "before"));
    }
    for (const border of BORDERS) {
      parts.push(line(STEPS.map((t) => onBorder(table, border, t)), "curve minus"));
    }
    const corner = (k, x, y, anchor) =>
      shape("text", { x, y, "text-anchor": anchor }, `class ${k} certain`);
    parts.push(corner(0, LEFT - 8, FOOT + 22, "middle"), corner(1, LEFT + SIDE + 8, FOOT + 22, "middle"),
      corner(2, LEFT + SIDE / 2, FOOT - SIDE * Math.sqrt(0.75) - 8, "middle"));
    picture.replaceChildren(...parts);
  }

  // --- all together ---

  function build(box) {
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const words = element("p", { class: "words", "aria-live": "polite" });
    const cells = {};
    const cell = (name) => {
      cells[name] = element("td", { "data-value": name });
      return cells[name];
    };
    const head = (texts) => element("thead", {}, element("tr", {},
      ...texts.map((text) => element("th", { scope: "col" }, text))));
    const row = (title, names) => element("tr", {}, element("th", { scope: "row" }, title),
      ...names.map(cell));
    const entries = element("table", {}, head(["table δ", "logit 0", "logit 1", "logit 2"]),
      element("tbody", {}, ...CLASSES.map((y) => row(`class ${y}`, CLASSES.map((k) => `delta-${y}-${k}`)))));
    const ends = element("table", {},
      head(["odds on the border", ...BORDERS.map(([a, b]) => `${a} : ${b}`)]),
      element("tbody", {},
        row("third class far", CLASSES.map((i) => `far-${i}`)),
        row("third class near", CLASSES.map((i) => `near-${i}`))));

    const made = (name, label, min, max, step, start, digits) => slider({
      name, label, min, max, step, start, say: (x) => signed(x, digits), changed: update });
    const s = made("s", "s: own logit at log(π + s)", -0.19, 1, 0.01, START.s, 2);
    const d = CLASSES.map((k) =>
      made(`d${k}`, `own logit of class ${k}, moved by`, -2, 2, 0.1, START.d[k], 1));
    const e = made("e", "logit 1 of class 0, moved by", -2, 2, 0.1, START.e, 1);

    function set(state) {
      s.set(state.s);
      d.forEach((control, k) => control.set(state.d[k]));
      e.set(state.e);
      update();
    }

    function update() {
      const table = tableOf({ s: s.value(), d: d.map((control) => control.value()), e: e.value() });
      const odds = BORDERS.map((border) => [oddsAt(table, border, EDGE), oddsAt(table, border, 1)]);
      CLASSES.forEach((y) => CLASSES.forEach((k) => {
        cells[`delta-${y}-${k}`].textContent = signed(table[y][k], 2);
      }));
      odds.forEach(([far, near], i) => {
        cells[`far-${i}`].textContent = far.toFixed(3);
        cells[`near-${i}`].textContent = near.toFixed(3);
      });
      words.textContent = story(odds);
      draw(svg, table);
      svg.setAttribute("aria-label", "The triangle of the posteriors of three classes, cut into three "
        + "regions by the borders of the decision; dashed, the straight borders of the balanced "
        + `error. ${words.textContent}`);
    }

    box.append(svg, words, entries, ends,
      element("div", { class: "sliders" }, s.box, ...d.map((control) => control.box), e.box),
      element("div", { class: "buttons" },
        ...Object.entries(EXAMPLES).map(([name, state]) => button(name, () => set(state))),
        button("Start again", () => set(START))));
    update();
  }

  replace("fig-13-try", build);
})();
