"""The stamp follows all that outputs depend on; the runner keeps its promises."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools import notebooks
from tools.bookfiles import ROOT, claims, read_notebook, toc_files
from tools.library import bare, library_files, reached_from
from tools.notebooks import RunError, run, run_all
from tools.render import missing_pages
from tools.stamps import computing_pins, named_records, stale_reason, stamp, wanted_size


def make(path: Path, *sources: str) -> Path:
    """A notebook with these code cells, behind a title."""
    cells: list[dict] = [
        {"cell_type": "markdown", "id": "head", "metadata": {}, "source": "# 1 · Title"}
    ]
    for number, source in enumerate(sources):
        cells.append(
            {
                "cell_type": "code",
                "id": f"code-{number}",
                "metadata": {"tags": [], "collapsed": True},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    path.write_text(json.dumps(text))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository."""
    for folder in ("lpl_lib/lpl", "results", "book"):
        (tmp_path / folder).mkdir(parents=True)
    library = tmp_path / "lpl_lib"
    (library / "__init__.py").write_text("from lpl_lib.lpl import B as C\nA = 1\n")
    (library / "lpl" / "__init__.py").write_text("from lpl_lib.lpl.solvers import B\n")
    (library / "lpl" / "solvers.py").write_text("from lpl_lib import checks\nB = 1\n")
    (library / "checks.py").write_text("D = 1\n")
    (library / "plots.py").write_text("from lpl_lib import A\n")
    (tmp_path / "requirements.txt").write_text("numpy==1\n")
    (tmp_path / "results" / "cifar-runs.jsonl").write_text("{}\n")
    (tmp_path / "results" / "other.jsonl").write_text("{}\n")
    (tmp_path / "results" / "README.md").write_text("about\n")
    code = "from lpl_lib import C\nx = 1"
    make(tmp_path / "book" / "01-a.ipynb", code, 'load("cifar-runs")')
    return tmp_path


def stamp_of(root: Path, size: str = "default") -> str:
    return stamp(read_notebook(root / "book" / "01-a.ipynb"), size, root)


def edit(root: Path, change: str) -> None:
    """Change the notebook as an editor would."""
    path = root / "book" / "01-a.ipynb"
    notebook = read_notebook(path)
    first, code = notebook["cells"][0], notebook["cells"][1]
    if change == "code":
        code["source"] = "x = 2"
    elif change == "tag":
        code["metadata"]["tags"] = ["nbval-check-output"]
    elif change == "markdown":
        first["source"] = "# 1 · Another title"
    elif change == "outputs":
        code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
        code["execution_count"] = 1
    elif change == "lines":
        code["source"] = ["from lpl_lib import C\n", "x = 1"]
    path.write_text(json.dumps(notebook))


@pytest.mark.parametrize("change", ["code", "tag"])
def test_stamp_changes_with_the_code(root: Path, change: str) -> None:
    before = stamp_of(root)
    edit(root, change)
    assert stamp_of(root) != before


@pytest.mark.parametrize(
    "name", ["lpl_lib/lpl/solvers.py", "lpl_lib/checks.py", "results/cifar-runs.jsonl"]
)
def test_stamp_changes_with_what_the_code_uses(root: Path, name: str) -> None:
    before = stamp_of(root)
    with open(root / name, "a") as file:
        file.write("B = 2\n")
    assert stamp_of(root) != before


@pytest.mark.parametrize("name", ["lpl_lib/lpl/solvers.py", "lpl_lib/checks.py"])
def test_stamp_is_blind_to_docstrings_comments_and_layout(root: Path, name: str) -> None:
    before = stamp_of(root)
    text = (root / name).read_text().replace(" = 1", " = (  # why\n    1\n)")
    (root / name).write_text(f'"""What it is."""\n\n{text}"""What B is."""\n')
    assert stamp_of(root) == before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f():\n    'Text.'\n    return 1", "def f():\n  return (1)", True),
        ("class A:\n    'Text.'\n    x = 1", "class A:\n    x = 1", True),
        ("x = f(1)", "x = f( 1, )", True),
        ("x = 'a'", "x = 'b'", False),
        ("x = None", "x = ''", False),
        ("x = 0", "x = False", False),
        ("return_ = f()", "return_ = f", False),
        ("if a:\n    b\nelse:\n    c", "if a:\n    b\nc", False),
        ("def f(a, *, b): 1", "def f(a, b): 1", False),
    ],
)
def test_code_is_what_a_module_does(one: str, other: str, same: bool) -> None:
    assert (bare(one) == bare(other)) is same


PINS = "numpy==1  # arrays\n\n# frames\npandas==3\n\n# --- what only builds\npytest==9\n"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("pytest==9", "pytest==10", True),
        ("pytest==9", "pytest==9\nruff==1", True),
        ("  # arrays", "", True),
        ("numpy==1", "numpy==2", False),
        ("# frames", "torch==2", False),
    ],
)
def test_stamp_follows_the_pins_above_the_builders(
    root: Path, old: str, new: str, same: bool
) -> None:
    (root / "requirements.txt").write_text(PINS)
    before = stamp_of(root)
    (root / "requirements.txt").write_text(PINS.replace(old, new))
    assert (stamp_of(root) == before) is same


def test_what_computes_is_pinned_above_the_builders_and_no_test_tool_is() -> None:
    pins = computing_pins((ROOT / "requirements.txt").read_text())
    names = {pin.partition("==")[0] for pin in pins}
    assert {"torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas"} <= names
    assert {"matplotlib", "seaborn", "lightning", "transformers", "timm"} <= names
    builders = "pytest ruff mypy nbval hypothesis playwright sphinx jupyter-book nbclient"
    assert not names & set(builders.split())


TRAINER = ROOT / "lpl_lib" / "lab" / "training.py"


@pytest.mark.parametrize("name", ["lpl_lib.lab.records", "lpl_lib.lab.tables"])
def test_reading_records_reaches_no_trainer(name: str) -> None:
    assert find_spec(name)
    assert TRAINER not in reached_from(name, ROOT)


def test_stamp_changes_with_the_size(root: Path) -> None:
    assert len({stamp_of(root, size) for size in ("smoke", "default", "full")}) == 3


@pytest.mark.parametrize("change", ["markdown", "outputs", "lines"])
def test_stamp_is_blind_to_the_rest_of_the_notebook(root: Path, change: str) -> None:
    before = stamp_of(root)
    edit(root, change)
    assert stamp_of(root) == before


@pytest.mark.parametrize(
    "name",
    [
        "results/other.jsonl",
        "results/README.md",
        "lpl_lib/x.txt",
        "lpl_lib/new.py",
        "lpl_lib/plots.py",
    ],
)
def test_stamp_is_blind_to_unnamed_files(root: Path, name: str) -> None:
    before = stamp_of(root)
    with open(root / name, "a") as file:
        file.write("more\n")
    assert stamp_of(root) == before


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("x = 1", ""),
        ("from lpl_lib import A", "__init__ checks lpl/solvers"),
        ("from lpl_lib import C", "checks lpl/solvers"),
        ("from lpl_lib.lpl import B", "checks lpl/solvers"),
        ("from lpl_lib.checks import D", "checks"),
        ("from lpl_lib import plots", "__init__ checks lpl/solvers plots"),
        ("run('-m', 'lpl_lib.checks')", "checks"),
        ("%run -m lpl_lib.checks", "checks"),
        ("import lpl_lib.lpl", "checks lpl/__init__ lpl/solvers"),
        ("import lpl_lib as lib", "__init__ checks lpl/__init__ lpl/solvers plots"),
        ("import lpl_lib\nf(lpl_lib)", "__init__ checks lpl/__init__ lpl/solvers plots"),
        ("import lpl_lib\nlpl_lib.C(1).x", "checks lpl/solvers"),
        ("import lpl_lib\nlpl_lib.lpl.B", "checks lpl/solvers"),
        ("if TYPE_CHECKING:\n    import lpl_lib.checks\nelse:\n    x = 1", ""),
        ("def f():\n    import lpl_lib.checks", "checks"),
        ("import lpl_lib_of_others, numpy as np\nnp.lpl_lib", ""),
        ("this is no Python", "__init__ checks lpl/__init__ lpl/solvers plots"),
    ],
)
def test_a_chapter_depends_on_what_it_imports(
    root: Path, source: str, reached: str
) -> None:
    notebook = read_notebook(make(root / "book" / "02-b.ipynb", source))
    files = library_files(notebook, root)
    names = [path.relative_to(root / "lpl_lib").with_suffix("") for path in files]
    assert " ".join(name.as_posix() for name in names) == reached


def test_a_name_that_a_package_imports_late_is_followed(root: Path) -> None:
    late = (
        "if TYPE_CHECKING:\n    from lpl_lib.checks import D\ndef __getattr__(name): ...\n"
    )
    (root / "lpl_lib" / "lpl" / "__init__.py").write_text(late)
    path = make(root / "book" / "02-b.ipynb", "from lpl_lib.lpl import D")
    notebook = read_notebook(path)
    assert library_files(notebook, root) == [root / "lpl_lib" / "checks.py"]


def test_stamp_is_blind_to_line_endings(root: Path) -> None:
    before = stamp_of(root)
    named = ("requirements.txt", "lpl_lib/checks.py", "results/cifar-runs.jsonl")
    for path in (root / name for name in named):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert stamp_of(root) == before


def test_code_moved_between_cells_changes_the_stamp(root: Path) -> None:
    one = make(root / "book" / "02-b.ipynb", "x = 1\ny = 2")
    two = make(root / "book" / "03-c.ipynb", "x = 1\n", "y = 2")
    assert stamp(read_notebook(one), "full", root) != stamp(
        read_notebook(two), "full", root
    )


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('load("other")', True),
        ("other = 1", True),
        ('load("another")', False),
        ('load("other-one")', False),
        ('load("others")', False),
    ],
)
def test_records_are_named_by_whole_words(root: Path, source: str, named: bool) -> None:
    notebook = read_notebook(make(root / "book" / "02-b.ipynb", source))
    names = [path.name for path in named_records(notebook, root / "results")]
    assert names == (["other.jsonl"] if named else [])


def test_unknown_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPL_SIZE", "huge")
    with pytest.raises(ValueError, match=r"LPL_SIZE is 'huge'.*smoke, default, full"):
        wanted_size()
    monkeypatch.setenv("LPL_SIZE", "")
    assert wanted_size() == "default"


# --- the runner -----------------------------------------------------------------


def test_run_stores_outputs_and_where_they_come_from(root: Path) -> None:
    path = make(
        root / "book" / "02-b.ipynb", "import os", 'print(6 * 7, os.environ["LPL_SIZE"])'
    )
    assert stale_reason(path, "smoke", root) == "it has cells that were not run"
    run(path, "smoke", root)
    notebook = read_notebook(path)
    cell = notebook["cells"][2]
    assert cell["execution_count"] == 2
    assert cell["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": ["42 smoke\n"]}
    ]
    assert cell["metadata"] == {}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    made = notebook["metadata"]["lpl"]
    assert made["size"] == "smoke"
    assert made["device"] == "cpu"
    assert made["seconds"] >= 1
    assert {"python", "torch", "numpy"} <= set(made["versions"])
    assert stale_reason(path, "smoke", root) is None
    assert "of size smoke, not default" in str(stale_reason(path, "default", root))
    (root / "requirements.txt").write_text("numpy==2\n")
    assert "changed" in str(stale_reason(path, "smoke", root))


def test_second_run_gives_the_same_bytes(root: Path) -> None:
    path = make(
        root / "book" / "02-b.ipynb",
        "import matplotlib.pyplot as plt\n"
        "from matplotlib_inline.backend_inline import set_matplotlib_formats\n"
        "%matplotlib inline\n"
        'set_matplotlib_formats("svg")',
        'plt.plot([1, 2], [2, 1])\nplt.legend(["a"])\nplt.show()',
        'print({"a", "b", "c", "d"})',
        "1 + 1",
    )
    run(path, "smoke", root)
    text = [re.sub(r'"seconds": \d+', "", path.read_text())]
    assert "image/svg+xml" in text[0]
    assert "<dc:date>" not in text[0]
    run(path, "smoke", root)
    text.append(re.sub(r'"seconds": \d+', "", path.read_text()))
    assert text[0] == text[1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nx / 0", "ZeroDivisionError"),
        ('import warnings\nwarnings.warn("mind the gap")', "wrote to stderr"),
        ("import os\nos._exit(3)", "ended Python"),
    ],
)
def test_failing_cell_leaves_the_file_as_it_was(
    root: Path, source: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(root / "book" / "02-b.ipynb", "print(1)", source)
    before = path.read_bytes()
    with pytest.raises(RunError, match=message) as caught:
        run(path, "smoke", root)
    assert "cell 2 " in str(caught.value)
    assert source.splitlines()[0] in str(caught.value)
    assert "\x1b[" not in str(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".ipynb"] == []


def test_command_reports_a_failure(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(root / "book" / "02-b.ipynb", "1 / 0")
    assert run_all([path], "smoke", fresh=False, root=root) == 1
    printed = capsys.readouterr()
    assert "FAILED" in printed.out
    assert "ZeroDivisionError" in printed.err
    assert "cell 1 " in printed.err


def test_command_runs_what_is_stale(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def pretend(path: Path, size: str, root: Path) -> float:
        ran.append(path.name)
        return 1.0

    monkeypatch.setattr(notebooks, "run", pretend)
    path = make(root / "book" / "02-b.ipynb")
    notebook = read_notebook(path)
    notebook["metadata"]["lpl"] = {"size": "smoke", "stamp": stamp(notebook, "smoke", root)}
    path.write_text(json.dumps(notebook))
    old = root / "book" / "01-a.ipynb"
    assert run_all([old, path], "smoke", fresh=False, root=root) == 0
    assert ran == ["01-a.ipynb"]
    assert run_all([old, path], "smoke", fresh=True, root=root) == 0
    assert ran == ["01-a.ipynb", "01-a.ipynb", "02-b.ipynb"]
    assert "up to date" in capsys.readouterr().out


# --- the book's files -----------------------------------------------------------


def test_claims_are_read_from_code_and_output(root: Path) -> None:
    source = 'claim("C1.1", "it is so", True, status="proved", source="Eq. 7")'
    path = make(root / "book" / "02-b.ipynb", source, source.replace("C1.1", "C1.2"))
    notebook = read_notebook(path)
    notebook["cells"][1]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "C1.1 holds: it\n  is so\n"}
    ]
    first, second = claims(notebook)
    assert (first.number, first.status, first.source) == ("C1.1", "proved", "Eq. 7")
    assert (first.label, first.cell, first.holds) == ("claim-c1-1", 1, True)
    assert not second.holds
    notebook["cells"][1]["source"] = source.replace('"it is so"', "words")
    with pytest.raises(ValueError, match=r"cell 1.*literal"):
        claims(notebook)


def test_missing_chapters_and_pages_are_seen(root: Path) -> None:
    toc = root / "_toc.yml"
    toc.write_text(
        "root: book/index\nparts: [{caption: A, chapters: [{file: book/01-a}]}]\n"
    )
    with pytest.raises(FileNotFoundError, match="book/index"):
        toc_files(root)
    (root / "book" / "index.md").write_text("# Hi\n")
    assert [path.name for path in toc_files(root)] == ["index.md", "01-a.ipynb"]
    html = root / "html"
    (html / "book").mkdir(parents=True)
    (html / "book" / "index.html").write_text("")
    assert missing_pages(root, html) == ["book/01-a.ipynb"]
