"""The tests that reach what changed since the last commit, without the long ones.

    python -m tools.quick [pytest's options]

A test is chosen if a file that it imports, or that such a file imports, has changed; a
changed file of the library brings its own examples. Slow tests, chapters, browsers and
other processes are left to ``make test``, and so is what does not show in imports: pages,
records, the files of experiments.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.bookfiles import ROOT
from tools.library import files_of, reached_by

LONG = ("slow", "browser", "process", "chapter")
WORKERS = ("-n", "2", "-p", "no:benchmark")  # shared as conftest.py says


def changed(root: Path = ROOT) -> set[Path]:
    """Files that differ from the last commit, or are not yet in it."""
    found: list[str] = []
    for words in ("diff --name-only HEAD", "ls-files --others --exclude-standard"):
        command = ["git", *words.split()]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        found += done.stdout.splitlines()
    return {root / name for name in found}


def chosen(changes: set[Path], root: Path = ROOT) -> list[Path]:
    """The test files that reach a change, and the changed files of the library."""
    everyones = {root / "conftest.py", root / "tests" / "conftest.py"}
    tests = sorted((root / "tests").glob("test_*.py"))
    reaching = [
        path for path in tests if changes & (everyones | set(reached_by([path], root)))
    ]
    examples = [path for path in files_of(["lpl_lib"], root) if path in changes]
    return [*examples, *reaching]


def main(options: list[str]) -> int:
    """Run them; the exit status."""
    files = chosen(changed())
    print(f"{len(files)} files reach what changed since the last commit", flush=True)
    if not files:
        return 0
    names = [path.relative_to(ROOT).as_posix() for path in files]
    mark = f"not ({' or '.join(LONG)})"
    command = [sys.executable, "-m", "pytest", "-q", *WORKERS, "-m", mark, *options, *names]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return 0 if status == 5 else status  # 5: all of them are long


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
