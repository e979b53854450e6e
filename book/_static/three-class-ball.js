// Chapter 4: the loss of one sample over the ball of perturbations, three classes. The
// maximum norm has the closed form of lpl_lib's LInf; on the circle the angle is searched,
// so that a second maximum is found as well. A test moves everything and compares with
// the library's solvers.
(function () {
  "use strict";
  const { element, shape, slider, choice, button, replace } = window.bookFigures;
  const START = { u: [1.5, 1, 0], label: 0, norm: "l2", epsilon: 1.5 };
  const EXAMPLES = {
    "Two maxima": { u: [0, 0, 0], label: 0, norm: "l2", epsilon: 3 },
    "Well learnt": { u: [4, 0, -1], label: 0, norm: "l2", epsilon: 1.5 },
    "Badly learnt": { u: [-2, 2, 0], label: 0, norm: "linf", epsilon: 1 },
  };
  const CLASSES = [0, 1, 2];

  // --- the mathematics ---

  // An orthonormal basis of the perturbations that sum to zero. Class 0 lies to the left,
  // class 1 above and class 2 below on the right, as in the still figures of the chapter.
  const RIGHT = [-2, 1, 1].map((x) => x / Math.sqrt(6));
  const UP = [0, 1, -1].map((x) => x / Math.sqrt(2));
  const dot = (a, b) => CLASSES.reduce((sum, k) => sum + a[k] * b[k], 0);
  const lift = (x, y) => CLASSES.map((k) => x * RIGHT[k] + y * UP[k]);
  const flat = (delta) => [dot(delta, RIGHT), dot(delta, UP)];

  function loss(u, delta, label) {
    const moved = CLASSES.map((k) => u[k] + delta[k]);
    const top = Math.max(...moved);
    return top + Math.log(moved.reduce((sum, v) => sum + Math.exp(v - top), 0)) - moved[label];
  }

  /** The highest points of `height` over the circle; several if they are equally high. */
  function peaks(height) {
    const COUNT = 360, step = (2 * Math.PI) / COUNT;
    const rough = Array.from({ length: COUNT }, (_, i) => height(i * step));
    const found = [];
    for (let i = 0; i < COUNT; i += 1) {
      if (rough[i] < rough[(i + 1) % COUNT] || rough[i] <= rough[(i + COUNT - 1) % COUNT]) {
        continue;
      }
      let low = (i - 1) * step, high = (i + 1) * step;
      while (high - low > 1e-7) {
        const third = (high - low) / 3;
        if (height(low + third) < height(high - third)) { low += third; } else { high -= third; }
      }
      const angle = (low + high) / 2;
      found.push({ angle, value: height(angle) });
    }
    const best = Math.max(...found.map(({ value }) => value));
    return found.filter(({ value }) => value > best - 1e-7).map(({ angle }) => angle);
  }

  /** The perturbations of the ball with the largest (sign 1) or smallest (-1) loss. */
  function extremes({ u, label, norm, epsilon }, sign) {
    if (epsilon === 0) { return [[0, 0, 0]]; }
    if (norm === "linf") {
      return [CLASSES.map((k) => sign * epsilon * (k === label ? -1 : 1))];
    }
    const at = (angle) => lift(epsilon * Math.cos(angle), epsilon * Math.sin(angle));
    return peaks((angle) => sign * loss(u, at(angle), label)).map(at);
  }

  // --- the words ---

  const signed = (x, digits) => {
    const text = Math.abs(x).toFixed(digits);
    return (x < 0 && Number(text) !== 0 ? "−" : "") + text;
  };

  function story({ norm, epsilon }, before, after, largest) {
    if (epsilon === 0) { return "The ball is a point: nothing is perturbed."; }
    const words = [
      `Within the ball the loss of ${before.toFixed(3)} becomes at most`,
      `${after.largest.toFixed(3)} and at least ${after.smallest.toFixed(3)}.`,
    ];
    if (norm === "linf") {
      words.push("The odds of the label change by the factor e to the ±2ε, whatever the",
        "logits. The hexagon is the cube of the maximum norm, seen along (1, 1, 1).");
    } else if (largest.length > 1) {
      words.push("There are two maxima: between even rivals it pays to bet on either.");
    } else {
      words.push("Both lie on the border. The maximum leans towards the stronger rival, if one is.");
    }
    return words.join(" ");
  }

  // --- the picture ---

  const WIDTH = 720, SIZE = 400, HALF = 5.2; // the map shows perturbations up to HALF
  const PIXELS = 100, BANDS = 14;
  const STOPS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [253, 231, 55]];
  const X = (x) => (SIZE * (x + HALF)) / (2 * HALF);
  const Y = (y) => (SIZE * (HALF - y)) / (2 * HALF);
  const COLUMN = 90, FIRST = 455, ZERO = 200, UNIT = 38; // bars: pixels a nat
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = PIXELS;

  function colour(share) {
    const place = Math.min(share, 0.9999) * (STOPS.length - 1);
    const i = Math.floor(place), part = place - i;
    return STOPS[i].map((v, k) => v + part * (STOPS[i + 1][k] - v));
  }

  /** The landscape as an image: bands of equal loss, so that their borders are contours. */
  function landscape({ u, label }) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(PIXELS, PIXELS);
    const values = [];
    for (let row = 0; row < PIXELS; row += 1) {
      for (let column = 0; column < PIXELS; column += 1) {
        const x = HALF * ((2 * (column + 0.5)) / PIXELS - 1);
        const y = HALF * (1 - (2 * (row + 0.5)) / PIXELS);
        values.push(loss(u, lift(x, y), label));
      }
    }
    const top = Math.max(...values);
    values.forEach((value, i) => {
      const rgb = colour(Math.floor(BANDS * Math.sqrt(value / top)) / (BANDS - 1));
      image.data.set([...rgb, 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  }

  function triangle(x, y, sign, kind) {
    const tip = y - sign * 11, foot = y + sign * 7;
    return shape("polygon", {
      class: `mark ${kind}`, points: `${x},${tip} ${x - 10},${foot} ${x + 10},${foot}`,
    });
  }

  function draw(picture, state, found) {
    const { u, label, norm, epsilon } = state;
    const corners = [[-1, 1, 1], [-1, 1, -1], [1, 1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]]
      .map((c) => flat(c.map((v) => v * epsilon)));
    const ball = (kind) => norm === "l2"
      ? shape("circle", { class: kind, cx: X(0), cy: Y(0), r: X(epsilon) - X(0) })
      : shape("polygon", { class: kind, points: corners.map(([x, y]) => `${X(x)},${Y(y)}`).join(" ") });
    const say = (text, x, y, kind, anchor) =>
      shape("text", { x, y, class: kind, "text-anchor": anchor }, text);
    const parts = [
      shape("image", { x: 0, y: 0, width: SIZE, height: SIZE, href: landscape(state) }),
    ];
    for (const k of CLASSES) {
      const [x, y] = flat(CLASSES.map((c) => (c === k ? 5.4 : 0)));
      const long = HALF - 0.25;
      const scale = Math.min(1, long / Math.hypot(x, y));
      parts.push(shape("line", { class: "ray", x1: X(0), y1: Y(0), x2: X(x * scale), y2: Y(y * scale) }),
        say(`class ${k}`, k === 0 ? 8 : SIZE - 8, k === 0 ? Y(0) - 10 : k === 1 ? 30 : SIZE - 14,
          "onmap", k === 0 ? "start" : "end"));
    }
    parts.push(ball("edge under"), ball("edge"),
      shape("circle", { class: "mark centre", cx: X(0), cy: Y(0), r: 5 }));
    for (const [kind, sign] of [["smallest", -1], ["largest", 1]]) {
      for (const delta of found[kind]) {
        const [x, y] = flat(delta);
        parts.push(triangle(X(x), Y(y), sign, kind));
      }
    }
    parts.push(shape("line", { class: "axis", x1: FIRST - 20, x2: WIDTH, y1: ZERO, y2: ZERO }));
    parts.push(say("logits; bold: the label", (FIRST - 20 + WIDTH) / 2, 20, "", "middle"));
    for (const k of CLASSES) {
      const x = FIRST + COLUMN * k + COLUMN / 2 - 15;
      const level = (value) => ZERO - UNIT * value;
      const clamp = (value) => Math.min(SIZE - 12, Math.max(12, level(value)));
      parts.push(
        shape("rect", { class: k === label ? "bar own" : "bar", x: x - 16, width: 32,
          y: Math.min(ZERO, level(u[k])), height: Math.abs(UNIT * u[k]) }),
        shape("line", { class: "level", x1: x - 22, x2: x + 22, y1: level(u[k]), y2: level(u[k]) }),
        triangle(x - 8, clamp(u[k] + found.smallest[0][k]), -1, "smallest"),
        triangle(x + 8, clamp(u[k] + found.largest[0][k]), 1, "largest"),
        shape("circle", { class: "handle", cx: x + 30, cy: level(u[k]), r: 9 }),
        say(`u${"₀₁₂"[k]}`, x, SIZE - 2, k === label ? "own" : "", "middle"));
    }
    picture.replaceChildren(...parts);
  }

  // --- all together ---

  function build(box) {
    const ROWS = { before: "before", largest: "▲ max", smallest: "▼ min" };
    const COLUMNS = { loss: "loss", p: "p", 0: "δ₀", 1: "δ₁", 2: "δ₂" };
    const picture = shape("g", {});
    const grips = shape("g", {});
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${SIZE + 6}`, role: "img" },
      picture, grips); // the grips lie above, or the bars would catch the pointer
    const words = element("p", { class: "words", "aria-live": "polite" });
    const cells = {};
    const table = element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "ball"),
        ...["loss", "p", 0, 1, 2].map((c) => element("th", { scope: "col" }, COLUMNS[c])))),
      element("tbody", {}, ...Object.entries(ROWS).map(([row, name]) => element("tr", {},
        element("th", { scope: "row" }, name),
        ...["loss", "p", 0, 1, 2].map((column) => {
          cells[`${row}-${column}`] = element("td", { "data-value": `${row}-${column}` });
          return cells[`${row}-${column}`];
        })))));

    const logit = (k) => slider({ name: `u${k}`, label: `u${"₀₁₂"[k]}, logit of class ${k}`,
      min: -4, max: 4, step: 0.1, start: START.u[k], say: (x) => signed(x, 1), changed: update });
    const logits = CLASSES.map(logit);
    const epsilon = slider({ name: "epsilon", label: "ε, radius of the ball", min: 0, max: 3,
      step: 0.1, start: START.epsilon, say: (x) => x.toFixed(1), changed: update });
    const label = choice({ name: "label", label: "Label", start: START.label, changed: update,
      options: { 0: "class 0", 1: "class 1", 2: "class 2" } });
    const norm = choice({ name: "norm", label: "Ball", start: START.norm, changed: update,
      options: { l2: "Euclidean", linf: "maximum norm" } });

    function set(state) {
      logits.forEach((control, k) => control.set(state.u[k]));
      epsilon.set(state.epsilon);
      label.set(state.label);
      norm.set(state.norm);
      update();
    }

    function update() {
      const state = { u: logits.map((control) => control.value()), norm: norm.value(),
        label: Number(label.value()), epsilon: epsilon.value() };
      const found = { largest: extremes(state, 1), smallest: extremes(state, -1) };
      const after = {};
      for (const row of Object.keys(ROWS)) {
        const delta = row === "before" ? [0, 0, 0] : found[row][0];
        after[row] = loss(state.u, delta, state.label);
        cells[`${row}-loss`].textContent = after[row].toFixed(3);
        cells[`${row}-p`].textContent = Math.exp(-after[row]).toFixed(3);
        CLASSES.forEach((k) => { cells[`${row}-${k}`].textContent = signed(delta[k], 3); });
      }
      words.textContent = story(state, after.before, after, found.largest);
      draw(picture, state, found);
      svg.setAttribute("aria-label", "Left: a map of the loss over the perturbations that sum "
        + `to zero, with the ${state.norm === "l2" ? "circle" : "hexagon"} of radius `
        + `${state.epsilon.toFixed(1)} and its points of largest and smallest loss. Right: the `
        + `three logits as bars, ${state.u.map((x) => signed(x, 1)).join(", ")}; the label is `
        + `class ${state.label}. ${words.textContent}`);
    }

    // The bars can be drawn up and down; the sliders below do the same by keyboard.
    CLASSES.forEach((k) => {
      const grip = shape("rect", { class: "grip", "data-class": k, y: 0, height: SIZE,
        x: FIRST + COLUMN * k - 15, width: COLUMN });
      const pull = (event) => {
        const frame = svg.getBoundingClientRect();
        const y = ((event.clientY - frame.top) * WIDTH) / frame.width;
        logits[k].set(Math.max(-4, Math.min(4, (ZERO - y) / UNIT)));
        update();
      };
      grip.addEventListener("pointerdown", (event) => {
        grip.setPointerCapture(event.pointerId);
        pull(event);
      });
      grip.addEventListener("pointermove", (event) => {
        if (grip.hasPointerCapture(event.pointerId)) { pull(event); }
      });
      grips.append(grip);
    });

    box.append(svg, table, words,
      element("div", { class: "choices" }, label.box, norm.box),
      element("div", { class: "sliders" }, ...logits.map((c) => c.box), epsilon.box),
      element("div", { class: "buttons" },
        ...Object.entries(EXAMPLES).map(([name, state]) => button(name, () => set(state))),
        button("Start again", () => set(START))));
    update();
  }

  replace("fig-4-try", build);
})();
