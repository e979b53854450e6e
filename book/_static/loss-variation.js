// Chapter 6: by what factor LPL changes the loss of each class, from frequent to rare. The
// losses were computed by lpl_lib for every class, lowered and raised, under both bounds
// and all radii of the slider (loss-variation-data.js, written by tools/loss_variation.py);
// this script chooses and draws. A test compares what it shows with the library.
(function () {
  "use strict";
  const { element, shape, slider, choice, button, replace } = window.bookFigures;
  const { counts, before, step, lowered, raised } = window.bookLossVariation;
  const CLASSES = counts.map((_, c) => c);
  const START = { bound: "varied", radius: 2, head: 4 };
  const EXAMPLES = {
    "Same bound for all": { bound: "fixed", radius: 2, head: 4 },
    "Only raise": { bound: "fixed", radius: 1, head: 0 },
    "Only lower": { bound: "varied", radius: 2, head: 10 },
  };

  // --- the numbers ---

  /** Of each class: its bound, its loss, its loss under LPL and the ratio of the two. */
  function numbers({ bound, radius, head }) {
    const most = Math.max(...counts), fewest = Math.min(...counts);
    return CLASSES.map((c) => {
      const down = c < head; // the classes are sorted by frequency
      const share = down ? counts[c] / most : fewest / counts[c];
      const after = (down ? lowered : raised)[bound][c][Math.round(radius / step)];
      return { down, before: before[c], after, factor: after / before[c],
        epsilon: bound === "fixed" ? radius : radius * share };
    });
  }

  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const digits = (x) => (x < 0.0995 ? x.toPrecision(2) : x.toFixed(2));
  const times = (x) => (x >= 1 ? `×${digits(x)}` : `÷${digits(1 / x)}`);

  function story({ bound, radius, head }, rows) {
    if (radius === 0) { return "The ball has radius zero: nothing changes."; }
    const ends = (some) => some.reduce((best, c) =>
      (Math.abs(Math.log(rows[c].factor)) > Math.abs(Math.log(rows[best].factor)) ? c : best));
    const parts = [];
    for (const [name, some] of [["Lowered", CLASSES.slice(0, head)], ["Raised", CLASSES.slice(head)]]) {
      if (some.length) {
        const most = ends(some);
        parts.push(`${name}: ${some.length === 1 ? "one class" : `${some.length} classes`}, `
          + `class ${most} the most (${times(rows[most].factor)}).`);
      }
    }
    parts.push(`The mean over classes goes from ${digits(mean(rows.map((r) => r.before)))} `
      + `to ${digits(mean(rows.map((r) => r.after)))}.`);
    if (bound === "fixed") {
      parts.push("The bound is the same for all, and yet the factors are not: a small loss, of "
        + "a class that is learnt well, can be multiplied further than a large one.");
    }
    return parts.join(" ");
  }

  // --- the picture: a bar a class, upwards for a raised loss, on a logarithmic axis ---

  const WIDTH = 640, HEIGHT = 312, LEFT = 62, TOP = 16, BOTTOM = 250, LIMIT = 5;
  const COLUMN = (WIDTH - LEFT - 10) / CLASSES.length;
  const level = (factor) => {
    const power = Math.max(-LIMIT, Math.min(LIMIT, Math.log2(factor)));
    return (TOP + BOTTOM) / 2 - (power / LIMIT) * ((BOTTOM - TOP) / 2);
  };

  function say(text, x, y, kind, anchor) {
    return shape("text", { x, y, class: kind, "text-anchor": anchor }, text);
  }

  function draw(picture, rows) {
    const parts = [];
    for (const factor of [1 / 16, 1 / 4, 1, 4, 16]) {
      const y = level(factor);
      parts.push(shape("line", { class: "axis", x1: LEFT, x2: WIDTH - 10, y1: y, y2: y }),
        say(factor < 1 ? `÷${1 / factor}` : `×${factor}`, LEFT - 8, y + 6, "", "end"));
    }
    const zero = level(1);
    rows.forEach(({ factor, down }, c) => {
      const y = level(factor), x = LEFT + COLUMN * c;
      const kind = down ? "minus" : "plus";
      parts.push(
        shape("rect", { class: `${kind} change`, x: x + COLUMN * 0.18, width: COLUMN * 0.64,
          y: Math.min(y, zero), height: Math.abs(y - zero) }),
        say(String(c), x + COLUMN / 2, BOTTOM + 24, "", "middle"));
    });
    parts.push(shape("line", { class: "level", x1: LEFT, x2: WIDTH - 10, y1: zero, y2: zero }),
      say("class, from frequent to rare", (LEFT + WIDTH) / 2, HEIGHT - 4, "", "middle"));
    picture.replaceChildren(...parts);
  }

  // --- all together ---

  function build(box) {
    const HEADS = { images: "images", epsilon: "bound", before: "loss", after: "with LPL",
      factor: "factor" };
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const words = element("p", { class: "words", "aria-live": "polite" });
    const cells = {};
    const table = element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "class"),
        ...Object.values(HEADS).map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...CLASSES.map((c) => element("tr", {},
        element("th", { scope: "row" }, String(c)),
        ...Object.keys(HEADS).map((column) => {
          const key = `${c}-${column}`;
          cells[key] = element("td", { "data-value": key });
          return cells[key];
        })))));

    const bound = choice({ name: "bound", label: "Bound", start: START.bound, changed: update,
      options: { fixed: "the same, ε", varied: "varied, up to Δε" } });
    const radius = slider({ name: "radius", label: "ε or Δε, the largest bound", min: 0, max: 3,
      step, start: START.radius, say: (x) => x.toFixed(1), changed: update });
    const head = slider({ name: "head", label: "How many classes are lowered", min: 0,
      max: CLASSES.length, step: 1, start: START.head, say: String, changed: update });

    function set(state) {
      bound.set(state.bound);
      radius.set(state.radius);
      head.set(state.head);
      update();
    }

    function update() {
      const state = { bound: bound.value(), radius: radius.value(), head: head.value() };
      const rows = numbers(state);
      rows.forEach((row, c) => {
        cells[`${c}-images`].textContent = counts[c];
        cells[`${c}-epsilon`].textContent = row.epsilon.toFixed(2);
        cells[`${c}-before`].textContent = digits(row.before);
        cells[`${c}-after`].textContent = digits(row.after);
        cells[`${c}-factor`].textContent = times(row.factor);
      });
      words.textContent = story(state, rows);
      draw(svg, rows);
      svg.setAttribute("aria-label", "A bar for each of ten classes, from the most frequent to "
        + `the rarest: the factor by which LPL changes its loss, ${
          rows.map((row) => times(row.factor)).join(", ")}. ${words.textContent}`);
    }

    box.append(svg, words,
      element("div", { class: "choices" }, bound.box),
      element("div", { class: "sliders" }, radius.box, head.box),
      element("div", { class: "buttons" },
        ...Object.entries(EXAMPLES).map(([name, state]) => button(name, () => set(state))),
        button("Start again", () => set(START))),
      table);
    update();
  }

  replace("fig-6-try", build);
})();
