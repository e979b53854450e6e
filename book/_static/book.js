// Small repairs of the theme's pages for readers who use a screen reader or the
// keyboard: names that match what is written, and scroll boxes that take focus.
(function () {
  "use strict";
  function repair() {
    document.querySelectorAll(".wide").forEach(function (box) {
      if (box.scrollWidth <= box.clientWidth) { return; }
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Figure, wider than the page: scroll sideways");
    });
    document.querySelectorAll("button.search-button-field").forEach(function (button) {
      button.removeAttribute("aria-label"); // its text, "Search", is its name
    });
    document.querySelectorAll("details > summary[aria-label]").forEach(function (summary) {
      if (summary.textContent.trim()) { summary.removeAttribute("aria-label"); }
    });
    document.querySelectorAll(".citation-list, .citation-list > [role]").forEach(function (part) {
      part.removeAttribute("role"); // a list that holds other things than its items
    });
    document.querySelectorAll("div.highlight > pre, div.math").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth) { box.tabIndex = 0; }
    });
  }
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", repair);
  } else {
    repair();
  }
})();
