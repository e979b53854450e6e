"""The quiz of a chapter: plain Markdown, turned into boxes that a script makes answerable.

A section with the title "Quiz" holds questions of this form:

    **Question 1.** All logits of a sample grow by 5. What happens to its loss?

    1. It grows.
    2. It falls.
    3. It stays as it is.

    <details><summary>Answer</summary>

    1. No: only differences of logits matter.
    2. No: only differences of logits matter.
    3. **Right.** Each term of the softmax grows by the same factor.

    </details>

So it reads well on Colab and on GitHub. On the pages each question becomes a box with a
folded answer; `quiz.js` makes a form of it, and without scripts it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from lpl_pages import folded, folded_title
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
TITLE = "Quiz"
OPENING, CLOSING = "<details><summary>Answer</summary>", "</details>"
FEWEST, MOST = 3, 4  # options of a question


@dataclass
class Question:
    """The pieces of one question, as they stand in the document."""

    asked: nodes.paragraph
    options: nodes.enumerated_list
    answers: nodes.enumerated_list


def questions(section: nodes.section) -> Iterator[Question]:
    """The questions of a quiz; a ValueError says what does not have the form."""
    parts = iter(section.children[1:])  # the title is the first
    for asked in parts:
        name = repr(asked.astext()[:40])
        options, opening, answers, closing = (next(parts, None) for _ in range(4))
        if not (
            isinstance(asked, nodes.paragraph)
            and isinstance(options, nodes.enumerated_list)
            and isinstance(opening, nodes.raw)
            and opening.astext().strip() == OPENING
            and isinstance(answers, nodes.enumerated_list)
            and isinstance(closing, nodes.raw)
            and closing.astext().strip() == CLOSING
        ):
            raise ValueError(
                f"at {name}: a paragraph that asks, a numbered list, {OPENING}, "
                f"a numbered list and {CLOSING} were expected"
            )
        if not FEWEST <= len(options) <= MOST or len(options) != len(answers):
            raise ValueError(f"{name} has {len(options)} options, {len(answers)} answers")
        if sum(map(is_right, answers.children)) != 1:
            raise ValueError(f"{name}: exactly one answer must have **Right.** in front")
        yield Question(asked, options, answers)


def is_right(answer: nodes.Node) -> bool:
    """Whether an answer is that of the right option."""
    first = next(iter(answer.findall(nodes.strong)), None)
    return first is not None and first.astext() == "Right."


class BoxQuizzes(SphinxPostTransform):
    """Turn each question into a box with a folded answer."""

    default_priority = 790
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for section in list(self.document.findall(nodes.section)):
            if section.children and section[0].astext() == TITLE:
                try:
                    found = list(questions(section))
                except ValueError as error:
                    LOGGER.warning("quiz: %s", error, location=section)
                    continue
                section.children = section.children[:1]
                section += [box(question) for question in found]


def box(question: Question) -> nodes.container:
    """The box of one question."""
    for answer in question.answers.children:
        if isinstance(answer, nodes.Element) and is_right(answer):
            answer["classes"].append("quiz-right")
    question.options["classes"].append("quiz-options")
    answers = folded("", classes=["quiz-answers"])
    answers += folded_title("", "Answer")
    answers += nodes.container("", question.answers, classes=["folded-content"])
    question.asked["classes"].append("quiz-question")
    return nodes.container("", question.asked, question.options, answers, classes=["quiz"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it with Sphinx."""
    app.add_post_transform(BoxQuizzes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
