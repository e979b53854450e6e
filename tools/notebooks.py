"""Run the chapters and keep their outputs true.

    python -m tools.notebooks run            re-run the chapters that are stale
    python -m tools.notebooks run --fresh    re-run all of them
    python -m tools.notebooks run PATH...    the same for these chapters only
    python -m tools.notebooks stale          say which chapters are stale, and why
    python -m tools.notebooks address        write badges and set-up cells anew, from
                                             the address in _config.yml and the
                                             release in CHANGELOG.md

Experiments are of the size that the environment variable LPL_SIZE asks for:
smoke, default or full. A chapter's file changes only when all its cells ran.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.bookfiles import (
    ROOT,
    Cell,
    Notebook,
    address,
    chapters,
    is_setup,
    joined,
    read_notebook,
)
from tools.stamps import stale_reason, stamp, wanted_size

CELL_TIMEOUT = 1800  # seconds; a cell that takes longer is taken to hang
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib")
CELL_METADATA = ("tags", "mystnb", "slideshow")
SETUP_TAGS = ["remove-cell", "nbval-skip"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")
SVG_DATE = re.compile(r"\s*<dc:date>.*?</dc:date>", re.DOTALL)

# What the kernel computed on: a graphics card counts only when it was used.
DEVICE_PROBE = """
import sys as _sys
_torch = _sys.modules.get("torch")
_cuda = _torch is not None and _torch.cuda.is_initialized()
print(_torch.cuda.get_device_name() if _cuda else "cpu")
"""


class RunError(Exception):
    """A chapter did not run through; the message says where and why."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def tidy_output(output: dict[str, Any], count: int | None) -> None:
    """Take out what differs between two runs of the same code."""
    if output["output_type"] == "execute_result":
        output["execution_count"] = count
    data = output.get("data", {})
    if "image/svg+xml" in data:
        data["image/svg+xml"] = SVG_DATE.sub("", joined(data["image/svg+xml"]))
    output.get("metadata", {}).clear()


def tidy(notebook: Notebook) -> None:
    """Keep of the notebook what the book needs; the rest is editors' noise."""
    stored = notebook["metadata"].get("lpl")
    notebook["metadata"].clear()
    notebook["metadata"]["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    if stored:
        notebook["metadata"]["lpl"] = stored
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    taken = {cell["id"] for cell in notebook["cells"] if cell.get("id")}
    for index, cell in enumerate(notebook["cells"]):
        cell["metadata"] = {
            key: value
            for key, value in sorted(cell.get("metadata", {}).items())
            if key in CELL_METADATA and value
        }
        if not cell.get("id"):
            number = index
            while f"cell-{number}" in taken:
                number += 1000
            cell["id"] = f"cell-{number}"
            taken.add(cell["id"])
        for output in cell.get("outputs", []):
            tidy_output(output, cell.get("execution_count"))


def written(notebook: Notebook) -> str:
    """The notebook as the text of its file."""
    node = nbformat.from_dict(notebook)
    nbformat.validate(node)
    return str(nbformat.writes(node)).rstrip("\n") + "\n"


def replace_file(path: Path, text: str) -> None:
    """Write all of the text or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def report(cell: Cell, index: int, what: str, detail: str) -> str:
    """A failed cell, for the one who has to repair it."""
    source = "\n".join(f"    {line}" for line in cell["source"].splitlines())
    text = ANSI.sub("", detail).strip()
    return f"cell {index} (the first cell is 0) {what}\n{source}\n\n{text}"


def check_streams(cell: Cell, index: int) -> None:
    """A warning printed by a cell must be seen to, not hidden."""
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            trace = "\n".join(output.get("traceback", []))
            raise RunError(report(cell, index, "raised an error:", trace))
    for output in cell["outputs"]:
        if output["output_type"] == "stream" and output["name"] == "stderr":
            text = joined(output["text"])
            if text.strip():
                raise RunError(report(cell, index, "wrote to stderr:", text))
    cell["outputs"] = [
        output
        for output in cell["outputs"]
        if not (output["output_type"] == "stream" and output["name"] == "stderr")
    ]


def execute(path: Path, size: str, root: Path = ROOT) -> Notebook:
    """Run a notebook in its own folder; the notebook with its new outputs."""
    before = read_notebook(path)
    made_from = stamp(before, size, root)  # now: the library may change meanwhile
    node = nbformat.from_dict(before)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # No kernel of the user's own: the one of this very interpreter.
    specs = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    client = NotebookClient(
        node,
        km=manager,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        allow_errors=False,
        coalesce_streams=True,  # how a stream is cut into pieces is chance
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    environment = {
        **os.environ,
        "LPL_SIZE": size,
        "MATPLOTLIBRC": str(Path(__file__).with_name("matplotlibrc")),
        "PYTHONHASHSEED": "0",
        # The nets are tiny: a second thread costs more than it brings, and much more
        # on a busy machine. One thread also adds up in the same order everywhere.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    began = time.perf_counter()
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(node.cells):
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                check_streams(cell, index)  # reports the error as the cell shows it
                what = "raised an error:"
                raise RunError(report(cell, index, what, error.traceback)) from None
            except CellTimeoutError:
                late = f"did not end within {CELL_TIMEOUT} s:"
                raise RunError(report(cell, index, late, "")) from None
            except DeadKernelError as error:
                raise RunError(report(cell, index, "ended Python:", str(error))) from None
            if cell.cell_type == "code":
                check_streams(cell, index)
        seconds = time.perf_counter() - began
        probe = nbformat.v4.new_code_cell(DEVICE_PROBE)
        node.cells.append(probe)
        client.execute_cell(probe, len(node.cells) - 1, store_history=False)
        node.cells.pop()
        device = "".join(output.get("text", "") for output in probe.outputs).strip()
    notebook: Notebook = json.loads(nbformat.writes(node))
    for plain_cell in notebook["cells"]:
        plain_cell["source"] = joined(plain_cell["source"])
    tidy(notebook)
    notebook["metadata"]["lpl"] = {
        "device": device,
        "seconds": max(1, round(seconds)),
        "size": size,
        "stamp": made_from,
        "versions": versions(),
    }
    return notebook


def run(path: Path, size: str, root: Path = ROOT) -> float:
    """Run a chapter and store its outputs; the seconds that it took."""
    began = time.perf_counter()
    notebook = execute(path, size, root)
    replace_file(path, written(notebook))
    return time.perf_counter() - began


def run_all(paths: list[Path], size: str, fresh: bool, root: Path = ROOT) -> int:
    """Run the stale (or all) chapters among `paths`; the exit status."""
    for path in paths:
        name = os.path.relpath(path, root)
        reason = "all are asked for" if fresh else stale_reason(path, size, root)
        if reason is None:
            print(f"{name}: up to date", flush=True)
            continue
        print(f"{name}: running ({reason}) ...", end=" ", flush=True)
        try:
            seconds = run(path, size, root)
        except RunError as error:
            print("FAILED\n", flush=True)
            print(f"{name}: {error}\n\nThe file is as it was.", file=sys.stderr)
            return 1
        print(f"{seconds:.0f} s", flush=True)
    return 0


def write_address(path: Path, root: Path = ROOT) -> bool:
    """Bring a chapter's badge and set-up cell in line with address and release.

    True if the file changed. A missing badge or set-up cell is put in place. The other
    cells' outputs do not depend on these two, so the chapter does not become stale.
    """
    home = address(root)
    notebook = read_notebook(path)
    before = json.dumps(notebook)
    cells = notebook["cells"]
    if not cells or cells[0]["cell_type"] != "markdown":
        raise ValueError(f"{path}: the first cell must be Markdown, with the title")
    badge = home.badge(path.relative_to(root).as_posix())
    lines = [
        line
        for line in cells[0]["source"].split("\n")
        if not line.startswith("[![Open in Colab]")
    ]
    heading, rest = lines[0], "\n".join(lines[1:]).strip("\n")
    cells[0]["source"] = "\n\n".join(part for part in (heading, badge, rest) if part)
    if len(cells) < 2 or not is_setup(cells[1]):
        cells.insert(1, nbformat.v4.new_code_cell(id="set-up"))
    source = home.setup()
    if cells[1]["source"] != source:
        cells[1].update(source=source, outputs=[])
    cells[1]["metadata"] = {"tags": list(SETUP_TAGS)}
    if json.dumps(notebook) == before:
        return False
    replace_file(path, written(notebook))
    return True


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="run stale chapters")
    runner.add_argument("--fresh", action="store_true", help="run all chapters")
    runner.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    commands.add_parser("stale", help="list stale chapters").set_defaults(paths=[])
    writer = commands.add_parser("address", help="write badges and set-up cells")
    writer.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    try:
        paths = [path.resolve() for path in options.paths] or chapters()
        if options.command == "address":
            for path in paths:
                changed = write_address(path)
                print(f"{os.path.relpath(path, ROOT)}: {'written' if changed else 'fine'}")
            return 0
        size = wanted_size()
        if options.command == "run":
            return run_all(paths, size, options.fresh)
        reasons = {path: stale_reason(path, size) for path in paths}
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, reason in reasons.items():
        if reason:
            print(f"{os.path.relpath(path, ROOT)}: {reason}")
    return 1 if any(reasons.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
