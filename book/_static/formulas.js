// Set the formulas a few at a time, those in sight first, so that the page answers to the
// reader meanwhile: a chapter has hundreds, and MathJax would take them in one go.
// MathJax.startup.promise is kept once all of them are set.
(function () {
  "use strict";
  const BATCH = 12;
  const inSight = (formula) => {
    const box = formula.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  };
  async function pageReady() {
    const formulas = [...document.querySelectorAll(".math")];
    const seen = new Set(formulas.filter(inSight));
    const queue = [...seen, ...formulas.filter((formula) => !seen.has(formula))];
    for (let at = 0; at < queue.length; at += BATCH) {
      await window.MathJax.typesetPromise(queue.slice(at, at + BATCH));
      await new Promise((resume) => setTimeout(resume));
    }
  }
  // where MathJax does not come, the formulas are shown as they are written
  window.addEventListener("load", () => {
    if (!window.MathJax.version) { document.documentElement.classList.add("no-mathjax"); }
  });
  window.MathJax = Object.assign(window.MathJax || {}, { startup: { pageReady } });
})();
