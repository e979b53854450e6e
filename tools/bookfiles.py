"""The book as files: its configuration, its chapters in order, and their claims."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

STATUSES = (
    "proved",
    "verified numerically",
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "refuted as stated",
    "conjecture",
)

Notebook = dict[str, Any]
Cell = dict[str, Any]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a mapping was expected")
    return data


@dataclass(frozen=True)
class Address:
    """Where the repository and the rendered book are published, and which release."""

    repository: str
    branch: str
    pages: str
    version: str
    released: bool

    @property
    def slug(self) -> str:
        """``owner/name`` of the repository."""
        return "/".join(self.repository.rstrip("/").split("/")[-2:])

    @property
    def ref(self) -> str:
        """What the badges open and the set-up cells install: the release, as a tag.

        The branch, as long as this version is not released.
        """
        return f"v{self.version}" if self.released else self.branch

    def badge(self, path: str) -> str:
        """The line that opens the chapter at `path` (from the root) on Colab."""
        depth = len(Path(path).parts) - 2  # folders between book/ and the file
        image = "../" * depth + "_static/colab-badge.svg"
        target = (
            f"https://colab.research.google.com/github/{self.slug}/blob/{self.ref}/{path}"
        )
        return f"[![Open in Colab]({image})]({target})"

    def setup(self) -> str:
        """Source of a chapter's set-up cell."""
        return SETUP.format(
            version=self.version, wanted=f"{SETUP_MARK}{self.repository}@{self.ref}"
        )


# What a reader on Colab runs first. Torch and NumPy are named to pip as they are, so it
# must leave them; whatever else is there and new enough it leaves by itself. A library
# of another version was imported to see that, and stays in memory until a restart.
SETUP_MARK = "lpl-lib[book] @ git+"
SETUP = """\
import os
from importlib.metadata import version
from importlib.util import find_spec

try:
    from lpl_lib import __version__ as found
except ImportError:
    found = None
if found != "{version}":  # on Colab
    keep = [f"{{p}}=={{version(p)}}" for p in ("torch", "numpy") if find_spec(p)]
    keep = " ".join(keep)
    %pip install -q {{keep}} "{wanted}"
    if found:
        raise RuntimeError("lpl_lib was renewed: restart the session, run again")

import torch

gpu = torch.cuda.is_available()
size = os.environ.setdefault("LPL_SIZE", "full" if gpu else "default")
device = torch.cuda.get_device_name() if gpu else "CPU"
print(f"lpl_lib {version} · {{device}} · size {{size}}")"""


def is_setup(cell: Cell) -> bool:
    """Is this a set-up cell, of whatever address and release?"""
    return cell["cell_type"] == "code" and SETUP_MARK in cell["source"]


def address(root: Path = ROOT) -> Address:
    """The public address from ``_config.yml``, the release from the list of changes.

    The first heading of ``CHANGELOG.md`` says ``## 0.2.0, 2027-03-01``, or ``## 0.2.0, not
    released yet``.
    """
    config = read_yaml(root / "_config.yml")
    repository = config["repository"]
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d\S*), (.+)$", changes, re.MULTILINE)
    if newest is None:
        raise ValueError("CHANGELOG.md: a heading such as '## 0.1.0, 2027-03-01' is needed")
    return Address(
        repository=str(repository["url"]).rstrip("/"),
        branch=str(repository["branch"]),
        pages=str(config["html"]["baseurl"]),
        version=newest[1],
        released=newest[2] != "not released yet",
    )


def toc_files(root: Path = ROOT) -> list[Path]:
    """Files of the table of contents in reading order, the front page first.

    A file that ``_toc.yml`` names but that is not there is an error.
    """
    toc = read_yaml(root / "_toc.yml")
    names: list[str] = [toc["root"]]

    def walk(entry: dict[str, Any]) -> None:
        for item in entry.get("chapters", []) + entry.get("sections", []):
            names.append(item["file"])
            walk(item)

    for part in toc.get("parts", [toc]):
        walk(part)
    return [_with_suffix(root / name) for name in names]


def _with_suffix(path: Path) -> Path:
    for candidate in (path, *(Path(f"{path}{end}") for end in (".ipynb", ".md"))):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"_toc.yml names {path}, which is no .ipynb and no .md file")


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the table of contents, in reading order."""
    return [path for path in toc_files(root) if path.suffix == ".ipynb"]


def read_notebook(path: Path) -> Notebook:
    """A notebook as plain data, every cell's source joined to one string."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = joined(cell["source"])
    return notebook


def joined(text: str | list[str]) -> str:
    """Notebook text is a string or a list of lines; this is the string."""
    return text if isinstance(text, str) else "".join(text)


def tags(cell: Cell) -> list[str]:
    """The tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def code_cells(notebook: Notebook) -> list[tuple[int, Cell]]:
    """(position, cell) of all code cells that hold something."""
    return [
        (index, cell)
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and cell["source"].strip()
    ]


def stdout(cell: Cell) -> str:
    """What the cell printed, as stored."""
    return "".join(
        joined(output["text"])
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )


def title(notebook: Notebook) -> str:
    """The notebook's first heading, without its marks."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            match = re.search(r"^# +(.+)$", cell["source"], re.MULTILINE)
            if match:
                return match.group(1).strip()
    return ""


@dataclass(frozen=True)
class Claim:
    """One numbered claim of a chapter, as its code cell states it."""

    number: str
    statement: str
    status: str
    source: str
    cell: int
    holds: bool

    @property
    def label(self) -> str:
        """Name to link to: ``claim-c1-2``."""
        return "claim-" + self.number.lower().replace(".", "-")

    @property
    def grade(self) -> str:
        """What its evidence is made of: the best that its status and source name."""
        if self.status == "proved":
            return "theory"
        if "CIFAR" in self.source:
            return "CIFAR"
        told = f"{self.statement} {self.source}"
        trained = re.search("digit|fusing|recorded|drawn folder", told, re.IGNORECASE)
        return "digits" if trained else "numerical"


def python_tree(source: str) -> ast.Module | None:
    """Syntax tree of a cell's source, without magics; None if it does not parse."""
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)
    try:
        return ast.parse(plain)
    except SyntaxError:
        return None


def claim_calls(source: str) -> list[ast.Call]:
    """All calls of ``claim(...)`` in a cell, in order."""
    tree = python_tree(source)
    calls = [
        node
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "claim"
    ]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def claims(notebook: Notebook) -> list[Claim]:
    """The chapter's claims; `holds` says that the stored output shows it.

    Number, statement, status and source must be literal strings: a ValueError
    names the cell where one is not.
    """
    found = []
    for index, cell in code_cells(notebook):
        printed = " ".join(stdout(cell).split())  # long statements are wrapped
        for call in claim_calls(cell["source"]):
            keywords = {word.arg: word.value for word in call.keywords}
            slots = [*call.args[:2], keywords.get("status"), keywords.get("source")]
            texts = [
                slot.value
                for slot in slots
                if isinstance(slot, ast.Constant) and isinstance(slot.value, str)
            ]
            if len(texts) != 4:
                raise ValueError(
                    f"cell {index}: claim(number, statement, holds, status=..., "
                    "source=...) needs number, statement, status and source as "
                    "literal strings"
                )
            number, statement, status, source = texts
            holds = " ".join(f"{number} holds: {statement}".split()) in printed
            found.append(Claim(number, statement, status, source, index, holds))
    return found
