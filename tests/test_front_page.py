"""The front page and the cheat sheet say what the records say."""

from __future__ import annotations

import re

import matplotlib as mpl
import pytest

from lpl_lib.book import use_book_style
from lpl_lib.lab.records import records
from lpl_lib.lab.tables import paired, table
from tools.bookfiles import ROOT, address
from tools.drawings import STATIC, result

NAMES = ["book/index.md", "book/cheat-sheet.md", "README.md"]
PAIRS = [
    ("LA", "cross-entropy", "all"),
    ("LA", "cross-entropy", "tail"),
    ("LA", "cross-entropy", "head"),
    ("post-hoc LA", "cross-entropy", "all"),
    ("LPL", "LA", "all"),
    ("LA + LPL", "LA", "all"),
]


@pytest.mark.parametrize("name", NAMES)
def test_differences_are_those_of_the_records(name: str) -> None:
    frame = table(records("digits-lt50"))
    known = {str(paired(frame, *pair)).lstrip("-") for pair in PAIRS}
    text = (ROOT / name).read_text(encoding="utf-8")
    found = set(re.findall(r"\d+\.\d ± \d+\.\d", text))
    assert found <= known, found - known
    assert found


def test_the_picture_is_drawn_from_the_records(tmp_path) -> None:
    with mpl.rc_context():
        use_book_style()
        mpl.rcParams["svg.hashsalt"] = "lpl-book"
        result(tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (STATIC / "result.svg").read_text(), "python -m tools.drawings"


def test_its_caption_has_the_strengths_that_the_search_chose() -> None:
    frame = table(records("digits-lt50"))
    chosen = frame.groupby("method")["params"].first()
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    said = re.search(
        r"tau = (.*)\$ for LA, a bound\s+of (.*) for LPL, "
        r"\$\\tau = (.*)\$ and a bound of (.*) for",
        text,
    )
    assert said
    alone, bound, tau, extra = said.groups()
    assert chosen["LA"] == f"tau={alone}"
    assert chosen["LPL"] == f"extra={bound}"
    assert chosen["LA + LPL"] == f"tau={tau} extra={extra}"


def test_its_description_has_the_numbers_that_it_shows() -> None:
    frame = table(records("digits-lt50"))
    means = frame.groupby("method")["all"].mean()
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    names = "|".join(re.escape(name) for name in sorted(means.index, key=len, reverse=True))
    said = re.findall(rf"({names}) (\d\d\.\d)", text)
    assert len(said) >= 6
    for method, value in said:
        assert f"{means[method]:.1f}" == value


def test_its_colab_button_and_its_citation_are_of_the_release() -> None:
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    badge = address().badge("book/practice/08-ten-minutes.ipynb")
    assert badge.rpartition("(")[2].rstrip(")") in text
    assert f"version = {{{address().version}}}" in text
