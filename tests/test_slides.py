"""Decks of slides: what stands on them, and that they run without network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import slides
from tools.bookfiles import chapters, claims, read_notebook
from tools.myst import plain


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            ":::{prf:theorem} Exact\n:label: thm-a\nLet $a$ be.\n:::",
            "> **Theorem (Exact).**\n>\n> Let $a$ be.",
        ),
        (
            "::::{admonition} Learn\n:class: tip\n- one\n:::{note}\nTwo.\n:::\n::::",
            "> **Learn.**\n>\n> - one\n> > **Note.**\n> >\n> > Two.",
        ),
        (":::{solution} ex-a\n:class: dropdown\nNo.\n:::\n\nYes.", "Yes."),
        (":::{prf:proof}\nLong.\n:::\nShort.", "Short."),
        (
            ":::{figure} a.svg\n:name: f\n:alt: A line.\n\nA.\n:::",
            "![A line.](a.svg)\n\nA.",
        ),
        ("$$\na\n$$ (eq-1)", "$$\na\n$$"),
        ("So {cite:p}`li2022logit`, see {ref}`C1.2 <claim-c1-2>`.", "So, see C1.2."),
        ("As {cite:t}`cao2019ldam` say", "As cao (2019) say"),
        ("By {prf:ref}`thm-a` and {eq}`eq-1`", "By the theorem and the equation"),
    ],
)
def test_myst_becomes_plain_markdown(text: str, wanted: str) -> None:
    assert plain(text) == wanted


def kinds(notebook: dict) -> list[tuple[str, str]]:
    return [
        (cell["metadata"]["slideshow"]["slide_type"], cell["source"].split("\n")[0])
        for cell in slides.deck(notebook)["cells"]
    ]


def markdown(source: str, **metadata: object) -> dict:
    return {"cell_type": "markdown", "metadata": metadata, "source": source}


def test_form_of_a_chapter_makes_the_slides() -> None:
    drawing = {"output_type": "display_data", "data": {"image/svg+xml": ["<svg", "/>"]}}
    about = {"image": {"alt": 'A "line".'}, "figure": {"caption": "One line."}}
    code = {"cell_type": "code", "source": "plot()", "execution_count": 1}
    notebook = {
        "metadata": {},
        "cells": [
            markdown("# 1 · Title\n\nLead.\n\n:::{note}\nBox.\n:::\n\nMore."),
            {**code, "metadata": {}, "outputs": []},
            {**code, "metadata": {"mystnb": about}, "outputs": [drawing]},
            markdown("Goes on.\n\n### Below\n\nText.\n\n$$\na\n$$"),
            markdown("## Exercises\n\nDo."),
            {**code, "metadata": {}, "outputs": [drawing]},
            markdown("Shown.", slideshow={"slide_type": "slide"}),
        ],
    }
    image = '<img class="drawing" alt="A &quot;line&quot;." '
    assert kinds(notebook) == [
        ("slide", "# 1 · Title"),
        ("notes", "More."),
        ("subslide", "> **Note.**"),
        ("subslide", image + 'src="data:image/svg+xml;base64,PHN2Zy8+" />'),
        ("notes", "Goes on."),
        ("subslide", "### Below"),
        ("slide", "Shown."),
    ]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_every_chapter_makes_a_deck(path: Path) -> None:
    notebook = read_notebook(path)
    made = kinds(notebook)
    assert made[0][0] == "slide"
    assert made[0][1].startswith("# ")
    assert sum(kind in ("slide", "subslide") for kind, _ in made) >= 10
    text = "\n".join(c["source"] for c in slides.deck(notebook)["cells"])
    solved = [c.number for c in claims(notebook) if f"**{c.number}**" not in text]
    assert len(solved) <= 2, solved  # those that an exercise's solution states
    for mark in (":::", "{ref}`", "{cite", "{prf", "{eq}`", "Open in Colab", "../_static"):
        assert mark not in text, mark


@pytest.fixture(scope="module")
def deck(tmp_path_factory) -> Path:
    pytest.importorskip("nbconvert")
    pytest.importorskip("sphinx_revealjs")
    target = tmp_path_factory.mktemp("slides")
    path = next(path for path in chapters() if path.stem.startswith("05-"))
    slides.make([path], target)
    return target / f"{path.stem}.html"


READY = "() => window.Reveal && Reveal.isReady() && window.MathJax && MathJax.startup"
LAYOUT = """() => Reveal.getSlides().map(slide => {
  const place = Reveal.getIndices(slide);
  Reveal.slide(place.h, place.v);
  const tall = slide.scrollHeight > 721;
  return {
    hidden: tall && getComputedStyle(slide).overflowY !== "auto",
    wide: slide.scrollWidth > slide.clientWidth + 1,
    errors: slide.querySelectorAll("mjx-merror").length,
    formulas: slide.querySelectorAll("mjx-container").length,
    pictures: [...slide.querySelectorAll("img")].every(e => e.naturalWidth && e.alt),
  };
})"""


def test_a_deck_runs_without_network(browser, deck: Path) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 720})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(deck.as_uri(), wait_until="load")
    page.wait_for_function(READY)
    page.evaluate("MathJax.startup.promise.then(() => null)")
    for key, place in (("ArrowRight", "1"), ("ArrowLeft", "0")):
        page.keyboard.press(key)
        assert str(page.evaluate("Reveal.getIndices().h")) == place
    seen = page.evaluate(LAYOUT)
    assert len(seen) >= 10
    assert sum(one["formulas"] for one in seen) > 5
    assert all(one["pictures"] for one in seen)
    assert not any(one["hidden"] or one["wide"] or one["errors"] for one in seen)
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
    assert complaints == []
    page.close()
