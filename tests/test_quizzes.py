"""Quizzes: their form as Markdown, as pages without scripts, and in a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.parsers.docutils_ import Parser

from tools.bookfiles import ROOT, chapters, read_notebook
from tools.render import HTML, page_of

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from lpl_quiz import Question, questions

GOOD = """\
# A chapter

## Quiz

**Question 1.** Is $1 < 2$?

1. Yes.
2. No.
3. Sometimes.

<details><summary>Answer</summary>

1. **Right.** It is.
2. No: it is.
3. No: it always is.

</details>

**Question 2.** And $2 < 1$?

1. Yes.
2. No.
3. Sometimes.

<details><summary>Answer</summary>

1. No: count.
2. **Right.** It is not.
3. No: it never is.

</details>
"""


def parsed(markdown: str) -> list[Question]:
    """The questions of the section "Quiz" of a text."""
    settings = {"myst_enable_extensions": ["dollarmath"], "report_level": 5}
    tree = publish_doctree(markdown, parser=Parser(), settings_overrides=settings)
    found = [s for s in tree.findall(nodes.section) if s[0].astext() == "Quiz"]
    # a text with one section below its title has that as its subtitle
    return list(questions(found[0] if found else tree))


def quiz_of(path: Path) -> str:
    """The cell of a chapter's quiz."""
    cells = [c for c in read_notebook(path)["cells"] if c["source"].startswith("## Quiz")]
    assert len(cells) == 1, f"{path.name} has {len(cells)} cells that begin with ## Quiz"
    return str(cells[0]["source"])


# --- as Markdown ------------------------------------------------------------------


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_has_a_quiz(path: Path) -> None:
    found = parsed("# A chapter\n\n## What\n\nA text.\n\n" + quiz_of(path))
    assert 3 <= len(found) <= 4
    for number, question in enumerate(found, 1):
        assert question.asked.astext().startswith(f"Question {number}. ")
        for answer in question.answers.children:
            assert answer.astext().startswith(("Right. ", "No: "))


def test_right_answers_stand_in_all_places() -> None:
    """Who always ticks the same place should not pass."""
    places = [
        [answer.astext().startswith("Right.") for answer in question.answers].index(True)
        for path in chapters()
        for question in parsed("# A\n\n## B\n\nC.\n\n" + quiz_of(path))
    ]
    for place in range(3):
        assert places.count(place) > len(places) / 5


def test_the_form_is_understood() -> None:
    found = parsed(GOOD.replace("## Quiz", "## What\n\nA text.\n\n## Quiz"))
    assert [question.asked.astext()[:11] for question in found] == [
        "Question 1.",
        "Question 2.",
    ]
    assert [len(question.options) for question in found] == [3, 3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3. No: it always is.\n", "", "has 3 options, 2 answers"),
        ("3. Sometimes.\n", "", "has 2 options, 3 answers"),
        ("**Right.** It is.", "No: it is.", "exactly one answer"),
        ("2. No: it is.", "2. **Right.** It is.", "exactly one answer"),
        ("<details><summary>Answer</summary>\n", "", "were expected"),
        ("\n</details>\n\n**Question 2", "\n**Question 2", "were expected"),
        ("**Question 1.** Is $1 < 2$?\n", "", "were expected"),
    ],
)
def test_another_form_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    text = GOOD.replace("## Quiz", "## What\n\nA text.\n\n## Quiz")
    with pytest.raises(ValueError, match=message):
        parsed(text.replace(old, new, 1))


# --- in a browser -----------------------------------------------------------------


def address_of(server: str, path: Path) -> str:
    return server + page_of(path).relative_to(HTML).as_posix()


def test_every_page_has_its_quiz_as_forms(browser, server: str) -> None:
    page = browser.new_page()
    page.route("**/mathjax/**", lambda route: route.abort())
    for path in chapters():
        page.goto(address_of(server, path), wait_until="load")
        wanted = len(parsed("# A\n\n## B\n\nC.\n\n" + quiz_of(path)))
        assert page.locator("#quiz form fieldset > legend").count() == wanted, path.stem
        assert page.locator("#quiz form button[type=submit]").count() == wanted
        names = page.locator("#quiz form").evaluate_all(
            "forms => forms.map(form => form.querySelector('input').name)"
        )
        assert len(set(names)) == wanted
        assert page.locator("#quiz .quiz-answers:visible").count() == 0
    page.close()


@pytest.mark.parametrize("width", [1300, 390])
def test_a_quiz_is_answered_by_mouse(browser, server: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(address_of(server, chapters()[0]), wait_until="load")
    quiz = page.locator(".quiz").first
    said = quiz.get_by_role("status")
    check = quiz.get_by_role("button", name="Check")
    check.click()
    assert said.inner_text() == "Choose an answer first."
    quiz.get_by_role("radio", name="It falls.").click()
    assert said.inner_text() == ""
    check.click()
    assert said.inner_text().startswith("No: ")
    quiz.get_by_text("It stays the same.").click()  # the words, not the button
    assert said.inner_text() == "", "the old verdict stands beside another answer"
    check.click()
    assert said.inner_text().startswith("Right. ")
    assert page.locator(".quiz").nth(1).get_by_role("status").inner_text() == ""
    page.close()


def test_a_quiz_is_answered_by_keyboard(browser, server: str) -> None:
    page = browser.new_page()
    page.goto(address_of(server, chapters()[0]), wait_until="load")
    quiz = page.locator(".quiz").first
    said = quiz.get_by_role("status")
    assert said.get_attribute("aria-live") == "polite"
    group = quiz.get_by_role("group")
    assert "All logits of a sample" in group.locator("legend").inner_text()
    quiz.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")  # in a form: check
    assert said.inner_text().startswith("No: ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Check"
    page.keyboard.press("Space")
    assert said.inner_text().startswith("Right. ")
    assert said.locator("mjx-container, strong").count() > 0
    assert page.url.endswith(".html"), "the form was sent"
    page.close()


def test_a_solution_opens_by_keyboard(browser, server: str) -> None:
    page = browser.new_page()
    page.goto(address_of(server, chapters()[0]), wait_until="load")
    solutions = page.locator("details.solution")
    for place in (0, solutions.count() - 1):  # of words alone, and with code cells
        box = solutions.nth(place)
        box.locator("summary").first.focus()
        page.keyboard.press("Enter")
        assert box.locator(".folded-content").is_visible()
        page.keyboard.press("Enter")
        assert not box.locator(".folded-content").is_visible()
    page.close()


def test_without_scripts_question_options_and_answer_can_be_read(
    browser, server: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address_of(server, chapters()[0]), wait_until="load")
    quiz = page.locator(".quiz").first
    assert quiz.locator("input, button").count() == 0
    assert quiz.get_by_text("All logits of a sample").is_visible()
    assert quiz.get_by_text("It stays the same.").is_visible()
    answer = quiz.locator(".quiz-answers li.quiz-right")
    assert not answer.is_visible()
    quiz.locator("summary").focus()
    page.keyboard.press("Enter")
    assert answer.is_visible()
    context.close()


def test_on_paper_the_options_are_numbered_and_the_answers_there(
    browser, server: str
) -> None:
    page = browser.new_page()
    page.goto(address_of(server, chapters()[0]), wait_until="load")
    page.emulate_media(media="print")
    quiz = page.locator(".quiz").first
    assert quiz.locator("button:visible, input:visible").count() == 0
    assert quiz.get_by_text("It stays the same.").is_visible()
    page.evaluate("document.querySelector('.quiz-answers').open = true")  # as tools.pdf
    assert quiz.locator("li.quiz-right").is_visible()
    style = "list => getComputedStyle(list).listStyleType"
    assert quiz.locator("ol.quiz-options").evaluate(style) == "decimal"
    page.close()
