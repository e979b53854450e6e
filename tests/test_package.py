"""The package: wheel and sdist, what they ask for, what importing them costs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_string
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lpl_lib
from tools.bookfiles import ROOT, read_yaml

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "lpl_lib")
NEEDED = {"torch", "numpy"}
TOOLS = {
    "jupyter-book",
    "sphinx",
    "pytest",
    "nbval",
    "notebook",
    "ipykernel",
    "ruff",
    "mypy",
}
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # the backend changes argv
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with wheel and sdist, built from a copy of the sources, offline."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = run("git", "ls-files", "-co", "--exclude-standard", *SOURCES, cwd=ROOT)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-c", BUILD, out, cwd=source)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def empty(wheel, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel, torch, numpy and what those need."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", wheel, cwd=place)
    packages = place / "packages"
    packages.mkdir()
    for name in closure(NEEDED):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if top != "__pycache__" and not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))
    home = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=place)
    (Path(home.strip()) / "torch.pth").write_text(f"{packages}\n")
    return python


def closure(names: set[str]) -> set[str]:
    """The distributions that these need, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return found


def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_wheel_asks_for_torch_and_numpy_and_leaves_the_tools_to_extras(wheel):
    needs = [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist")]
    plain = {need.name for need in needs if need.marker is None}
    assert plain == NEEDED
    assert not {need.name for need in needs} & TOOLS
    for need in needs:  # lower bounds only: nobody's torch is moved down
        assert all(spec.operator == ">=" for spec in need.specifier), need
    extras = {"train", "book", "folder", "frameworks"}
    assert set(metadata(wheel).get_all("Provides-Extra")) == extras


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    listed = run("git", "ls-files", "-co", "--exclude-standard", "lpl_lib", cwd=ROOT)
    assert inside == {name for name in listed.splitlines() if (ROOT / name).is_file()}
    assert "lpl_lib/py.typed" in inside


def test_the_sdist_builds_the_same(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "lpl_lib/py.typed"} <= names
    assert "lpl_lib/losses.py" in names


LEARN = """
import torch
from lpl_lib import LPL, LogitAdjustment, PerturbedLoss
n = [9, 3, 1]
logits = torch.zeros(3, 3, requires_grad=True)
criterion = PerturbedLoss(LogitAdjustment(n) + LPL(n))
criterion(logits, torch.arange(3)).backward()
criterion(logits, torch.eye(3)).backward()
assert logits.grad.isfinite().all()
"""


def test_it_learns_in_an_environment_with_torch_alone(empty, tmp_path):
    run(empty, "-c", LEARN, cwd=tmp_path)


IMPORT = """
import json, sys, time, torch, numpy
before, began = set(sys.modules), time.process_time()
import lpl_lib
seconds = time.process_time() - began
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def test_importing_it_costs_little_beside_torch_and_loads_no_other_package(empty, tmp_path):
    """The processor's seconds, not the clock's, so that a busy machine does not matter:
    what ``python -X importtime -c "import torch, numpy, lpl_lib"`` says of ``lpl_lib``."""
    costs = [json.loads(run(empty, "-c", IMPORT, cwd=tmp_path)) for _ in range(2)]
    loaded = {name.split(".")[0] for name in costs[0][1]} - set(sys.stdlib_module_names)
    assert loaded - {"torch", "numpy"} == {"lpl_lib"}
    assert min(seconds for seconds, _ in costs) < 0.15


# --- what the package says of itself ----------------------------------------------------


def test_the_version_is_the_same_everywhere(wheel):
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert about["version"] == lpl_lib.__version__ == metadata(wheel)["Version"]
    citation = read_yaml(ROOT / "CITATION.cff")
    assert str(citation.get("version", lpl_lib.__version__)) == lpl_lib.__version__
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest.group(1).rstrip(",") == lpl_lib.__version__


def test_all_is_what_the_package_imports_and_no_more():
    tree = ast.parse((ROOT / "lpl_lib" / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(lpl_lib.__all__) == imported
    assert len(lpl_lib.__all__) == len(imported) <= 60


@pytest.mark.parametrize("name", lpl_lib.__all__)
def test_every_public_name_is_documented(name):
    """What it does, and an example that the tests run, its own or its module's."""
    thing = getattr(lpl_lib, name)
    assert thing.__module__.startswith("lpl_lib.")
    text = thing.__doc__ or ""
    assert len(text.split()) > 5, f"{name} has no docstring"
    if name not in {"Bound", "Split", "LabelledImages"}:  # their subclasses, makers have
        assert ">>>" in text, f"{name} has no example"
