// Chapter 12: two normal classes, the best boundary, and class-level bounds. The formulas
// are those of lpl_lib.theory (gaussians.py, boundary.py), with sigma = 1; a test moves
// the sliders and compares.
(function () {
  "use strict";
  const { element, shape, slider, button, replace } = window.bookFigures;
  const PRIORS = [1 / 20, 1 / 10, 1 / 5, 1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4, 5, 10, 20, 50, 100];
  const EXAMPLES = {
    "Spread only": { K: 2, V: 1, m: 1.5, plus: 0, minus: 0 },
    "Prior only": { K: 1, V: 10, m: 1, plus: 0, minus: 0 },
    "They cancel": { K: 2, V: 1 / 2, m: 2, plus: 0, minus: 0 },
    "Both pushed alike": { K: 2, V: 1, m: 1.5, plus: 0.6, minus: 0.6 },
    "Given up": { K: 2, V: 5, m: 1.6, plus: 2, minus: 0 },
  };
  const START = { K: 2, V: 4, m: 1.5, plus: 0.5, minus: -0.5 };

  // --- the mathematics ---

  const density = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

  /** The normal distribution function, to rounding between -7 and 7. */
  function cdf(x) {
    if (x < -7) { return 0; }
    if (x > 7) { return 1; }
    let sum = x, term = x;
    for (let k = 3; Math.abs(term) > 1e-17; k += 2) {
      term *= (x * x) / k;
      sum += term;
    }
    return 0.5 + sum * density(x);
  }

  function risk({ K, V, m }, b, plus, minus) {
    return (cdf((plus - m - b) / K) + V * cdf(minus - m + b)) / (1 + V);
  }

  function optimalBias(model, plus, minus) {
    const { K, V, m } = model;
    const half = m - (plus + minus) / 2, logKV = Math.log(K * V), k2 = K * K;
    const root = Math.sqrt(half * half + ((k2 - 1) * logKV) / 2);
    const centred = half > 0
      ? (half * half * (k2 - 1) - 2 * k2 * logKV) / (half * (k2 + 1) + 2 * K * root)
      : (half * (k2 + 1) - 2 * K * root) / (k2 - 1);
    const b = (plus - minus) / 2 + centred;
    const trivial = Math.min(1, V) / (1 + V);
    if (Number.isFinite(b) && risk(model, b, plus, minus) <= trivial) { return b; }
    return V >= 1 ? -Infinity : Infinity;
  }

  function errors({ K, V, m }, b) {
    const plus = cdf(-(m + b) / K), minus = cdf(-(m - b));
    return {
      plus,
      minus,
      average: (plus + V * minus) / (1 + V),
      balanced: (plus + minus) / 2,
      worst: Math.max(plus, minus),
    };
  }

  // --- the words ---

  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(1);
  const ratio = (V) => (V >= 1 ? `${V} : 1` : `1 : ${Math.round(1 / V)}`);

  function side(change) {
    if (Math.abs(change) < 5e-4) { return "stays"; }
    return change < 0 ? "falls" : "rises";
  }

  function story({ K, V, m }, plus, minus, b0, b, before, after) {
    const KV = K * V;
    const words = [];
    if (!Number.isFinite(b0)) {
      words.push(`Without bounds it is best always to say ${b0 > 0 ? "+" : "−"}.`);
    } else if (Math.abs(KV - 1) < 1e-9) {
      words.push("K·V = 1: spread and prior cancel, both classes err alike.");
    } else {
      const hard = KV > 1 ? "+" : "−";
      words.push(`K·V = ${+KV.toFixed(2)}: without bounds, class ${hard} is the hard one.`);
    }
    if (plus === 0 && minus === 0) {
      words.push("No class is perturbed.");
      return words.join(" ");
    }
    if (!Number.isFinite(b)) {
      words.push(`With these bounds it is best always to say ${b > 0 ? "+" : "−"}.`);
    }
    const change = (key) => side(after[key] - before[key]);
    words.push(`The error of + ${change("plus")}, of − ${change("minus")};`,
      `balanced ${change("balanced")}, worst ${change("worst")}, average ${change("average")}.`);
    if (plus > 0 && m + b < plus && after.plus > 0.0005) {
      words.push("More than half of class + misses its margin: more of this bound gives + up.");
    }
    if (minus > 0 && m - b < minus && after.minus > 0.0005) {
      words.push("More than half of class − misses its margin: more of this bound gives − up.");
    }
    return words.join(" ");
  }

  // --- the picture ---

  const WIDTH = 720, HEIGHT = 330, BASE = 285, TOP = 45;

  function draw(svg, model, plus, minus, b0, b) {
    const { K, V, m } = model;
    const low = Math.min(-m - 3.4, m - 3 * K), high = Math.max(m + 3 * K, -m + 3.4);
    const heights = { plus: 1 / (1 + V), minus: V / (1 + V) };
    const curves = {
      plus: (z, shift) => (heights.plus * density((z - m + shift) / K)) / K,
      minus: (z, shift) => heights.minus * density(z + m - shift),
    };
    const peak = Math.max(curves.plus(m, 0), curves.minus(-m, 0));
    const X = (z) => (WIDTH * (z - low)) / (high - low);
    const Y = (value) => BASE - ((BASE - TOP) * value) / peak;
    const path = (curve, from, to) => {
      const points = [];
      for (let i = 0; i <= 160; i += 1) {
        const z = from + ((to - from) * i) / 160;
        points.push(`${X(z).toFixed(1)},${Y(curve(z)).toFixed(1)}`);
      }
      return points;
    };
    const line = (kind, points) =>
      shape("polyline", { class: kind, points: points.join(" ") });
    const area = (kind, curve, from, to) => shape("polygon", {
      class: kind,
      points: [`${X(from)},${BASE}`, ...path(curve, from, to), `${X(to)},${BASE}`].join(" "),
    });
    const clamp = (z) => Math.min(high, Math.max(low, z));
    const own = { plus: (z) => curves.plus(z, 0), minus: (z) => curves.minus(z, 0) };
    const parts = [
      area("plus error", own.plus, low, clamp(-b)),
      area("minus error", own.minus, clamp(-b), high),
      shape("line", { class: "axis", x1: 0, x2: WIDTH, y1: BASE, y2: BASE }),
    ];
    for (const [kind, bound] of [["minus", minus], ["plus", plus]]) {
      parts.push(line(`${kind} curve`, path(own[kind], low, high)));
      if (bound !== 0) {
        parts.push(line(`${kind} moved`, path((z) => curves[kind](z, bound), low, high)));
      }
    }
    for (const [kind, bias] of [["before", b0], ["boundary", b]]) {
      if (Number.isFinite(bias) && -bias > low && -bias < high) {
        parts.push(shape("line", { class: kind, x1: X(-bias), x2: X(-bias), y1: TOP - 12, y2: BASE }));
      }
    }
    const say = (text, x, y, kind, anchor) =>
      shape("text", { x, y, class: kind, "text-anchor": anchor }, text);
    parts.push(
      say("class −", X(-m) - 8, TOP - 16, "minus", "middle"),
      say("class +", Math.max(X(m), X(-m) + 130), TOP - 16, "plus", "middle"),
      say("score", WIDTH / 2, HEIGHT - 6, "", "middle"),
      say("← says −", 4, HEIGHT - 6, "", "start"),
      say("says + →", WIDTH - 4, HEIGHT - 6, "", "end"),
    );
    svg.replaceChildren(...parts);
  }

  // --- all together ---

  function build(box) {
    const ROWS = { before: "without", after: "with bounds" };
    const COLUMNS = {
      plus: "+", minus: "−", average: "average", balanced: "balanced", worst: "worst",
    };
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const words = element("p", { class: "words", "aria-live": "polite" });
    const cells = {};
    const head = element("tr", {}, element("th", { scope: "col" }, "error of"),
      ...Object.values(COLUMNS).map((name) => element("th", { scope: "col" }, name)));
    const rows = Object.entries(ROWS).map(([row, name]) => element("tr", {},
      element("th", { scope: "row" }, name),
      ...Object.keys(COLUMNS).map((column) => {
        cells[row + column] = element("td", { "data-error": `${row}-${column}` });
        return cells[row + column];
      })));
    const table = element("table", {},
      element("thead", {}, head), element("tbody", {}, ...rows));

    const common = { changed: update };
    const number = (x) => x.toFixed(1);
    const bound = { min: -2, max: 2, step: 0.1, say: signed, ...common };
    const controls = {
      K: slider({ name: "K", label: "K, spread of + over spread of −", min: 0.5, max: 4,
        step: 0.1, start: START.K, say: number, ...common }),
      V: slider({ name: "V", label: "V, frequency − : +", min: 0, max: PRIORS.length - 1,
        step: 1, start: PRIORS.indexOf(START.V), say: (i) => ratio(PRIORS[i]), ...common }),
      m: slider({ name: "m", label: "m, half the distance of the means", min: 0.2, max: 4,
        step: 0.1, start: START.m, say: number, ...common }),
      plus: slider({ name: "plus", label: "ε₊, bound of class +", start: START.plus,
        ...bound }),
      minus: slider({ name: "minus", label: "ε₋, bound of class −", start: START.minus,
        ...bound }),
    };

    function set(values) {
      for (const [name, control] of Object.entries(controls)) {
        control.set(name === "V" ? PRIORS.indexOf(values.V) : values[name]);
      }
      update();
    }

    function update() {
      const model = {
        K: controls.K.value(), V: PRIORS[controls.V.value()], m: controls.m.value(),
      };
      const plus = controls.plus.value(), minus = controls.minus.value();
      const b0 = optimalBias(model, 0, 0), b = optimalBias(model, plus, minus);
      const before = errors(model, b0), after = errors(model, b);
      for (const column of Object.keys(COLUMNS)) {
        cells["before" + column].textContent = percent(before[column]);
        cells["after" + column].textContent = percent(after[column]);
        const change = after[column] - before[column];
        cells["after" + column].className =
          Math.abs(change) < 5e-4 ? "" : change < 0 ? "better" : "worse";
      }
      draw(svg, model, plus, minus, b0, b);
      const where = Number.isFinite(b) ? `boundary at score ${(-b).toFixed(2)}` : "no boundary";
      svg.setAttribute("aria-label",
        `Densities of two classes, weighted by their frequency; ${where}.`);
      words.textContent = story(model, plus, minus, b0, b, before, after);
    }

    box.append(svg, table, words,
      element("div", { class: "sliders" }, ...Object.values(controls).map((c) => c.box)),
      element("div", { class: "buttons" },
        ...Object.entries(EXAMPLES).map(([name, values]) => button(name, () => set(values))),
        button("Start again", () => set(START))));
    update();
  }

  replace("fig-12-try", build);
})();
