"""The glossary: in order, each term once, and used in the chapter that it leads to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.bookfiles import ROOT, chapters, read_notebook, title

PAGE = ROOT / "book" / "back" / "glossary.md"
BLOCK = re.compile(r"^```\{glossary\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[Chapter (\w+)\]\((\.\./[\w./-]+)\)\.$")


def entries(text: str) -> dict[str, str]:
    """Term and definition, in the order of the page; a term that recurs is an error."""
    found: dict[str, str] = {}
    (block,) = BLOCK.findall(text)
    for part in block.strip().split("\n\n"):
        term, *lines = part.splitlines()
        assert term not in found, f"{term} is explained twice"
        found[term] = " ".join(line.strip() for line in lines)
    return found


ENTRIES = entries(PAGE.read_text(encoding="utf-8"))


def prose(path: Path) -> str:
    """A chapter's text in lower case."""
    cells = read_notebook(path)["cells"]
    return " ".join(
        cell["source"].lower() for cell in cells if cell["cell_type"] == "markdown"
    )


def test_there_are_about_forty_terms_in_alphabetical_order() -> None:
    assert len(ENTRIES) >= 40
    assert list(ENTRIES) == sorted(ENTRIES, key=str.lower)


def complaint(term: str, text: str) -> str | None:
    """What is wrong with an entry."""
    link = LINK.search(text)
    if link is None:
        return "it does not end with a link to a chapter"
    path = (PAGE.parent / link[2]).resolve()
    if path not in chapters():
        return f"{link[2]} is no chapter"
    if not title(read_notebook(path)).startswith(f"{link[1]} ·"):
        return f"{link[2]} is not chapter {link[1]}"
    used = [word.strip().lower() for word in term.split(",")]
    if not any(word in prose(path) for word in used):
        return f"chapter {link[1]} does not use the word"
    sentences = len(re.findall(r"[.:?](?: |$)", text[: link.start()]))
    return None if 1 <= sentences <= 4 else f"it has {sentences} sentences"


@pytest.mark.parametrize("term", ENTRIES)
def test_term_leads_to_a_chapter_that_uses_it(term: str) -> None:
    assert complaint(term, ENTRIES[term]) is None


GOOD = "A score. [Chapter 1](../method/01-features-logits-labels.ipynb)."


@pytest.mark.parametrize(
    ("term", "text", "wrong"),
    [
        ("Logit", GOOD, None),
        ("Logit", "A score.", "does not end with a link"),
        ("Logit", GOOD.replace("Chapter 1", "Chapter 2"), "is not chapter 2"),
        ("Logit", GOOD.replace("01-", "00-"), "is no chapter"),
        ("Mitochondrion", GOOD, "does not use the word"),
        ("Logit", GOOD.replace("A score.", "A score. " * 5), "5 sentences"),
    ],
)
def test_a_broken_entry_is_found(term: str, text: str, wrong: str | None) -> None:
    found = complaint(term, text)
    assert found is None if wrong is None else wrong in str(found)


def test_a_term_that_recurs_is_found() -> None:
    with pytest.raises(AssertionError, match="Logit is explained twice"):
        entries("```{glossary}\nLogit\n  A.\n\nLogit\n  B.\n```")
