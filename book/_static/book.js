// Small repairs of the theme's pages for readers who use a screen reader or the
// keyboard: names that match what is written, and scroll boxes that take focus.
// And the filter of the ledger of claims, and code that is folded on a phone.
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
    // where a row is a card on a phone (book.css): the names of its columns
    var plain = ":not(.claims-ledger, .chapter-claims, .statements, .paper-claims, .run-status)";
    document.querySelectorAll("table.table" + plain).forEach(function (table) {
      var heads = table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
      if (heads.length < 4) { return; }
      table.querySelectorAll("tbody td").forEach(function (cell) {
        var text = heads[cell.cellIndex].textContent.trim();
        if (cell.textContent.trim()) { cell.dataset.label = text; }
      });
    });
    document.querySelectorAll(".cell_output pre").forEach(function (box) {
      box.classList.toggle("words", !/\S {2,}\S/.test(box.textContent)); // not a table
    });
    document.querySelectorAll("div.highlight > pre, div.math").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth) { box.tabIndex = 0; }
    });
  }
  // The ledger of claims: a choice for each of chapter, status and evidence.
  function filterClaims() {
    var table = document.querySelector("table.claims-ledger");
    if (!table) { return; }
    var rows = Array.from(table.tBodies[0].rows);
    var kinds = {
      Chapter: function (row) { return row.cells[0].textContent.trim().slice(1).split(".")[0]; },
      Status: function (row) { return row.querySelector(".claim-status").textContent; },
      Evidence: function (row) { return row.querySelector(".claim-grade").textContent; }
    };
    var bar = document.createElement("form");
    var count = document.createElement("output");
    var chosen = {};
    bar.className = "claims-filter";
    function show() {
      var shown = rows.filter(function (row) {
        row.hidden = Object.keys(kinds).some(function (name) {
          return chosen[name].value && kinds[name](row) !== chosen[name].value;
        });
        return !row.hidden;
      });
      count.textContent = shown.length + " of " + rows.length + " claims";
    }
    Object.keys(kinds).forEach(function (name) {
      var label = document.createElement("label");
      var select = document.createElement("select");
      select.add(new Option("all", ""));
      new Set(rows.map(kinds[name])).forEach(function (value) { select.add(new Option(value)); });
      select.addEventListener("change", show);
      chosen[name] = select;
      label.append(name + " ", select);
      bar.append(label);
    });
    bar.append(count);
    table.before(bar);
    show();
  }
  // On a phone code, claims and exercises are folded: a chapter is read there, not run.
  function fold(parts, label) {
    var box = document.createElement("details");
    var head = document.createElement("summary");
    head.textContent = label;
    box.className = "on-phone";
    parts[0].before(box);
    box.append(head, ...parts);
    var target = document.getElementById(location.hash.slice(1));
    box.open = target !== null && box.contains(target);
  }
  function foldOnPhone() {
    if (!window.matchMedia("(max-width: 600px)").matches) { return; }
    document.querySelectorAll("div.cell > div.cell_input").forEach(function (code) {
      fold([code], "Code");
    });
    ["claims-of-this-chapter", "exercises"].forEach(function (name) {
      var section = document.getElementById(name);
      if (section) { fold(Array.from(section.children).slice(1), "Show them"); }
    });
  }
  // For figures on dark pages: greys are turned round, colours stay. Of a pixel c let w be
  // the least of red, green and blue, m the largest, s = m - w. It becomes c - w +
  // (1 - m) (0.43 (1 - s) + 0.5) + 2 s w, a step of which is a primitive of this SVG filter:
  // black turns nearly white, and blue and purple get light enough for small labels.
  function turnGreys() {
    function matrix(from, rows, name) {
      return '<feColorMatrix in="' + from + '" values="' + rows + ' 0 0 0 1 0" result="' +
        name + '"/>';
    }
    function only(row, name) {
      return matrix("SourceGraphic", [row, row, row].join(" "), name);
    }
    function inverse(from, name) {
      return matrix(from, "-1 0 0 0 1 0 -1 0 0 1 0 0 -1 0 1", name);
    }
    function join(one, other, product, sum, constant, name) {
      return '<feComposite operator="arithmetic" in="' + one + '" in2="' + other + '" k1="' +
        product + '" k2="' + sum + '" k3="' + sum + '" k4="' + constant + '" result="' +
        name + '"/>';
    }
    function blend(mode, name) {
      return '<feBlend mode="' + mode + '" in="r" in2="g"/>' +
        '<feBlend mode="' + mode + '" in2="b" result="' + name + '"/>';
    }
    var parts = [
      only("1 0 0 0 0", "r"), only("0 1 0 0 0", "g"), only("0 0 1 0 0", "b"),
      blend("darken", "w"), blend("lighten", "m"), inverse("w", "1-w"), inverse("m", "1-m"),
      join("SourceGraphic", "1-w", 0, 1, -1, "c-w"), join("m", "1-w", 0, 1, -1, "s"),
      inverse("s", "1-s"), join("1-m", "1-s", 0.43, 0, 0, "grey"),
      matrix("1-m", "0.5 0 0 0 0 0 0.5 0 0 0 0 0 0.5 0 0", "black"),
      join("s", "w", 2, 0, 0, "white"), join("c-w", "grey", 0, 1, 0, "sum"),
      join("sum", "black", 0, 1, 0, "more"), join("more", "white", 0, 1, 0, "all")
    ];
    var holder = document.createElement("div");
    holder.innerHTML = '<svg width="0" height="0" aria-hidden="true" style="position:absolute">' +
      '<filter id="turn-greys" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">' +
      parts.join("") + "</filter></svg>";
    document.body.append(holder.firstChild);
    document.documentElement.classList.add("turns-greys");
  }
  function start() {
    repair();
    turnGreys();
    filterClaims();
    foldOnPhone();
  }
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", start);
  } else {
    start();
  }
})();
