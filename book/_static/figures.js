// Figures that move: what all of them share.
//
// A chapter draws a still figure with a name, as all figures have. On the site a script
// may offer a moving one under the same name:
//
//     bookFigures.replace("fig-12-try", build);
//
// build(parts) makes the elements that take the drawing's place; the caption stays. Where
// no script runs (Colab, print, e-readers) the still figure is what the reader sees.
// Nothing is fetched; style is in figures.css.
(function () {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  let counter = 0;

  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes || {})) {
      node.setAttribute(key, value);
    }
    node.append(...(children || []));
    return node;
  }

  /** An HTML element. */
  function element(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** An SVG element. */
  function shape(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  /**
   * A labelled slider. `say` turns its number into the text beside it; `value` and `set`
   * read and move it; `changed` is called after each move of the reader.
   */
  function slider({ name, label, min, max, step, start, say, changed }) {
    const id = `slider-${(counter += 1)}`;
    const input = element("input", { type: "range", id, name, min, max, step });
    const shown = element("output", { for: id });
    const show = () => {
      shown.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    const set = (value) => { input.value = value; show(); };
    input.addEventListener("input", () => { show(); changed(); });
    set(start);
    const box = element("div", { class: "slider" },
      element("label", { for: id }, label), shown, input);
    return { box, set, value: () => Number(input.value) };
  }

  /**
   * One of a few: radio buttons in a row. `options` maps values to what the reader sees;
   * `changed` is called after each choice of the reader.
   */
  function choice({ name, label, options, start, changed }) {
    const group = `choice-${(counter += 1)}`;
    const inputs = Object.entries(options).map(([value, text]) => {
      const input = element("input", { type: "radio", name: group, value });
      input.addEventListener("change", changed);
      return { input, box: element("label", {}, input, text) };
    });
    const set = (value) => inputs.forEach(({ input }) => {
      input.checked = input.value === String(value);
    });
    set(start);
    const box = element("fieldset", { class: "choice", "data-name": name },
      element("legend", {}, label), ...inputs.map((one) => one.box));
    return { box, set, value: () => inputs.find(({ input }) => input.checked).input.value };
  }

  /** A button that does one thing. */
  function button(label, act) {
    const made = element("button", { type: "button" }, label);
    made.addEventListener("click", act);
    return made;
  }

  /** Put what `build` makes where the drawing of the figure `name` is. */
  function replace(name, build) {
    function act() {
      const figure = document.getElementById(name);
      const drawing = figure && figure.querySelector("img, svg");
      if (!drawing) { return; }
      const box = element("div", { class: "moving", role: "group" });
      box.setAttribute("aria-label", "Interactive figure");
      build(box);
      (drawing.closest(".wide") || drawing).replaceWith(box);
    }
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", act);
    } else {
      act();
    }
  }

  window.bookFigures = { element, shape, slider, choice, button, replace };
})();
