"""What chapters ask of the library: claims, sizes, and one look for all figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import seaborn as sns

from lpl_lib import book
from tools import bookfiles


def test_a_claim_that_holds_is_printed(capsys):
    book.claim("C2.1", "LDAM raises the loss.", True, status="proved", source="Eq. 1")
    assert (
        capsys.readouterr().out
        == "C2.1 holds: LDAM raises the loss.\n     [proved; Eq. 1]\n"
    )


def test_a_long_claim_is_wrapped_and_loses_no_word(capsys):
    statement = " ".join(f"word{i}" for i in range(40)) + "."
    book.claim("C2.1", statement, True, status="proved", source="Eq. 1")
    *lines, last = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 72
    assert " ".join(line.strip() for line in lines) == f"C2.1 holds: {statement}"
    assert last == "     [proved; Eq. 1]"


def test_a_claim_that_does_not_hold_stops_the_chapter(capsys):
    with pytest.raises(
        AssertionError, match=r"C2\.1 does not hold: LDAM lowers the loss\."
    ):
        book.claim("C2.1", "LDAM lowers the loss.", False, status="proved", source="Eq. 1")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("status", book.STATUSES)
def test_every_status_can_be_claimed(status, capsys):
    book.claim("C1.1", "It is so.", True, status=status, source="this book")
    assert status in capsys.readouterr().out


def test_library_and_ledgers_know_the_same_statuses():
    """Written twice: what reads notebooks shall not import the library for it."""
    assert book.STATUSES == bookfiles.STATUSES


@pytest.mark.parametrize("size", ["smoke", "default", "full"])
def test_the_environment_chooses_the_size(size, monkeypatch):
    monkeypatch.setenv("LPL_SIZE", size)
    assert book.size() == size
    assert book.by_size(smoke="smoke", default="default", full="full") == size


def test_the_size_is_default_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv("LPL_SIZE", raising=False)
    assert book.size() == "default"


def test_the_style_gives_figures_the_books_colours():
    with plt.rc_context():
        book.use_book_style()
        assert sns.color_palette() == sns.color_palette(book.COLOURS)
        assert plt.rcParams["svg.hashsalt"]
    assert len(set(book.COLOURS)) == len(book.COLOURS)
