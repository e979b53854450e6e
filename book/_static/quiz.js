// Make the questions of a quiz answerable: a form with a radio button for each option,
// and the explanation of the chosen one, taken from the folded answer. Nothing is
// fetched or kept. Without this script the question, its options and the folded answer
// stand on the page as they are.
(function () {
  "use strict";
  function element(tag, className) {
    var made = document.createElement(tag);
    if (className) { made.className = className; }
    return made;
  }
  function item(list, index) {
    return list.querySelectorAll(":scope > li")[index];
  }
  // What a paragraph holds, formulas and all, moves to another place.
  function move(from, to) {
    var inner = from.querySelector(":scope > p") || from;
    while (inner.firstChild) { to.append(inner.firstChild); }
    if (inner !== from) { inner.remove(); }
  }
  function enliven(quiz, number) {
    var options = quiz.querySelector("ol.quiz-options");
    var answers = quiz.querySelector(".quiz-answers ol");
    var form = element("form");
    var fieldset = element("fieldset");
    var legend = element("legend");
    var button = element("button");
    var said = element("div", "quiz-said");
    move(quiz.querySelector(".quiz-question"), legend);
    options.querySelectorAll(":scope > li").forEach(function (option, index) {
      var label = element("label");
      var words = element("span");
      var radio = element("input");
      radio.type = "radio";
      radio.name = "quiz-" + number;
      radio.value = index;
      move(option, words);
      label.append(radio, words);
      option.append(label);
    });
    button.type = "submit";
    button.textContent = "Check";
    said.setAttribute("role", "status");
    said.setAttribute("aria-live", "polite");
    fieldset.append(legend, options, button);
    form.append(fieldset, said);
    quiz.querySelector(".quiz-question").replaceWith(form);
    quiz.classList.add("quiz-live");
    function say(nodes, mark) {
      said.className = "quiz-said" + mark;
      said.replaceChildren.apply(said, nodes);
    }
    form.addEventListener("change", function () { say([], ""); });
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      var chosen = form.querySelector("input:checked");
      if (!chosen) { say(["Choose an answer first."], ""); return; }
      var answer = item(answers, Number(chosen.value));
      var right = answer.classList.contains("quiz-right");
      say(Array.from(answer.cloneNode(true).childNodes),
        right ? " quiz-said-right" : " quiz-said-wrong");
    });
  }
  function start() {
    document.querySelectorAll("div.quiz").forEach(enliven);
  }
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", start);
  } else {
    start();
  }
})();
