"""Recorded tables carry a stamp, and it says whether the code has changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from lpl_lib.lab.records import lines
from lpl_lib.lab.run.evidence import origin
from tools import recorded
from tools.bookfiles import ROOT, chapters, code_cells, read_notebook, stdout
from tools.provenance import ledgers_read

REPEATS = {line["experiment"]: line for line in lines("repeats")}
NAMED = [
    (path, name)
    for path in chapters()
    for name in ledgers_read(read_notebook(path), ROOT / "results")
    if name in set(recorded.experiments())
]


def test_the_ledger_of_repeats_knows_the_code_of_today() -> None:
    """If this fails: ``python -m tools.recorded`` (and repeat runs, if you can)."""
    assert set(REPEATS) == set(recorded.experiments())
    known = {name: line["code"] for name, line in REPEATS.items()}
    assert known == {name: recorded.code(name) for name in REPEATS}


def test_repeated_runs_came_out_the_same() -> None:
    """Or nearly so: where rounding has changed, an image or two may fall differently."""
    repeated = [line for line in REPEATS.values() if line["repeated"]]
    assert len(repeated) >= 5
    for line in repeated:
        assert line["same"] > line["repeated"] / 2, line
        assert line["off"] < 1, line


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: Path(part).stem)
def test_a_recorded_table_carries_its_stamp(path: Path, name: str) -> None:
    cells = code_cells(read_notebook(path))
    printed = " ".join("".join(stdout(cell) for _, cell in cells).split())
    stamps = [text for text in printed.split(f"{name}: ")[1:] if "last epoch" in text]
    assert stamps, f"no stamp of {name} is printed: print(origin(runs))"
    run = {"key": "", "experiment": name, "seed": 0, "commit": None, "device": ""}
    *_, status = origin([{**run, "date": "", "wall_seconds": 0}]).split("hours\n")
    assert all(" ".join(status.split()) in text for text in stamps)


def test_comments_and_docstrings_are_no_code() -> None:
    before = 'def f(x):\n    """Return it."""\n    return x\n\n\nA = 1\n"""One."""\n'
    assert recorded.bare(before) == recorded.bare(
        "def f(x):  # why\n    return (x)\nA = 1\n"
    )
    assert recorded.bare(before) != recorded.bare(before.replace("return x", "return -x"))


def test_the_digest_covers_what_a_run_calls(tmp_path: Path) -> None:
    package = tmp_path / "lpl_lib" / "run"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    (package / "execute.py").write_text("from lpl_lib.inner import step\n")
    inner, aside = (package.parent / f"{name}.py" for name in ("inner", "aside"))
    inner.write_text("step = 1\n")
    aside.write_text("x = 1\n")
    before = recorded.code("any", tmp_path)
    aside.write_text("x = 2\n")
    inner.write_text("step = 1  # one\n")
    assert recorded.code("any", tmp_path) == before
    inner.write_text("step = 2\n")
    assert recorded.code("any", tmp_path) != before
