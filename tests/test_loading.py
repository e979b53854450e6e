"""What pages are given so that nothing on them jumps (book/_ext/lpl_loading.py)."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from tools.bookfiles import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from lpl_loading import WIDE, ems, settle, size

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480)


def svg(path: Path, **lengths: str) -> Path:
    said = " ".join(f'{name}="{length}"' for name, length in lengths.items())
    path.write_text(f'<?xml version="1.0"?>\n<svg {said} viewBox="0 0 1 1"></svg>')
    return path


def settled(folder: Path, body: str) -> str:
    page = folder / "page.html"
    page.write_text(body)
    settle(page)
    once = page.read_text()
    settle(page)
    assert page.read_text() == once, "a second time changes the page again"
    return once


def test_the_size_of_a_picture_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    assert size(tmp_path / "a.png") == (640, 480)
    assert size(svg(tmp_path / "a.svg", width="300pt", height="90pt")) == (400, 120)
    assert size(svg(tmp_path / "b.svg", width="64", height="32px")) == (64, 32)
    assert size(svg(tmp_path / "c.svg", width="100%", height="50%")) is None
    assert size(svg(tmp_path / "d.svg")) is None
    assert size(tmp_path / "none.svg") is None
    assert size(tmp_path / "a.jpeg") is None


def test_a_wide_figure_gets_a_box_and_a_narrow_one_none(tmp_path: Path) -> None:
    (tmp_path / "_images").mkdir()
    svg(tmp_path / "_images" / "wide.svg", width=str(WIDE), height="90")
    svg(tmp_path / "_images" / "narrow.svg", width=str(WIDE - 1), height="90")
    wide = settled(tmp_path, '<img alt="a > b" src="_images/wide.svg" />')
    assert wide.startswith(f'<div class="wide"><img width="{WIDE}" height="90" alt="a')
    narrow = settled(tmp_path, '<img alt="a" src="_images/narrow.svg" />')
    assert narrow.startswith(f'<img width="{WIDE - 1}" height="90" alt="a"')


@pytest.mark.parametrize(
    ("latex", "width"),  # as a browser sets it
    [
        (r"u_i", 1.1),
        (r"a = 0", 3.0),
        (r"H(-(m + b)/(K\sigma))", 10.8),
        (r"\mathrm{softmax}(u + \delta_y)", 8.9),
    ],
)
def test_the_width_of_a_formula_is_about_right(latex: str, width: float) -> None:
    assert ems(latex) == pytest.approx(width, rel=0.25)


def test_a_short_formula_keeps_the_comma_after_it(tmp_path: Path) -> None:
    formula = r'<span class="math notranslate nohighlight">\(u_i\)</span>'
    assert settled(tmp_path, formula + ", so").endswith("</span>,</span> so")
    assert "kept" not in settled(tmp_path, formula + " and")
    long = formula.replace("u_i", " + ".join("abcdefgh"))
    assert "kept" not in settled(tmp_path, long + ", so")


def test_the_search_index_waits_for_the_page(tmp_path: Path) -> None:
    page = settled(tmp_path, '<script src="../searchindex.js"></script>')
    assert page == '<script defer src="../searchindex.js"></script>'
