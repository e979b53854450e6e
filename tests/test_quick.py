"""``make quick`` chooses the tests that a change can reach."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import quick
from tools.bookfiles import ROOT
from tools.quick import changed, chosen

FILES = {
    "lpl_lib/__init__.py": "from lpl_lib.losses import Loss\n",
    "lpl_lib/losses.py": "class Loss: ...\n",
    "lpl_lib/other.py": "",
    "tools/__init__.py": "",
    "tools/stamps.py": "import tools.library\n",
    "tools/library.py": "",
    "tests/conftest.py": "",
    "tests/cases.py": "from lpl_lib import Loss\n",
    "tests/test_cases.py": "from cases import CASES\n",
    "tests/test_losses.py": "def test():\n    import lpl_lib\n    lpl_lib.Loss()\n",
    "tests/test_stamps.py": "from tools import stamps\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "tests"),
    [
        ("lpl_lib/losses.py", ["lpl_lib/losses.py", "test_cases.py", "test_losses.py"]),
        ("lpl_lib/other.py", ["lpl_lib/other.py"]),
        ("tools/library.py", ["test_stamps.py"]),
        ("tests/cases.py", ["test_cases.py"]),
        ("tests/test_stamps.py", ["test_stamps.py"]),
        ("tests/conftest.py", ["test_cases.py", "test_losses.py", "test_stamps.py"]),
        ("README.md", []),
    ],
)
def test_a_test_is_chosen_if_it_reaches_the_change(
    root: Path, change: str, tests: list[str]
) -> None:
    found = [path.relative_to(root).as_posix() for path in chosen({root / change}, root)]
    assert found == [name if "/" in name else f"tests/{name}" for name in tests]


def test_a_test_that_starts_a_process_is_marked(request: pytest.FixtureRequest) -> None:
    assert not request.node.get_closest_marker("process")
    items = {item.name: item for item in request.session.items if item.path == request.path}
    other = items.get("test_what_is_changed_or_new_counts_and_what_is_ignored_does_not")
    assert other is None or other.get_closest_marker("process")


def test_what_is_changed_or_new_counts_and_what_is_ignored_does_not(root: Path) -> None:
    (root / ".gitignore").write_text("*.log\n")
    for words in ("init -q", "add .", "-c user.name=A -c user.email=a@b.c commit -qm A"):
        subprocess.run(["git", *words.split()], cwd=root, check=True)
    assert changed(root) == set()
    (root / "lpl_lib" / "losses.py").write_text("")
    (root / "tests" / "test_new.py").write_text("")
    (root / "a.log").write_text("")
    assert changed(root) == {root / "lpl_lib/losses.py", root / "tests/test_new.py"}


def test_without_a_change_nothing_runs(monkeypatch, capsys) -> None:
    monkeypatch.setattr(quick, "changed", set)
    assert quick.main([]) == 0
    assert capsys.readouterr().out.startswith("0 files")


def test_every_mark_of_what_is_left_out_is_registered(request) -> None:
    marks = {line.partition(":")[0] for line in request.config.getini("markers")}
    assert set(quick.LONG) <= marks


def test_a_core_file_brings_the_laws_of_all_perturbations() -> None:
    found = chosen({ROOT / "lpl_lib" / "perturbations.py"})
    assert ROOT / "tests" / "test_perturbations.py" in found
    assert ROOT / "tests" / "test_stamps.py" not in found
