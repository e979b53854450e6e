"""Programs that only npm has, each installed once into _build/npm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.bookfiles import ROOT
from tools.render import BUILD


def have_npm() -> bool:
    """Whether packages of npm can be installed and run here."""
    return shutil.which("npm") is not None and shutil.which("node") is not None


def installed(package: str, version: str) -> Path:
    """The folder ``node_modules`` that holds this version of a package.

    Raises:
        subprocess.CalledProcessError: if npm does not get it.
    """
    folder = BUILD / "npm" / f"{package}-{version}"
    modules = folder / "node_modules"
    if not (modules / package / "package.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"Installing {package} into {folder.relative_to(ROOT)} ...", flush=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
        subprocess.run([*command, f"{package}@{version}"], check=True)
    return modules
