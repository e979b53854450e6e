"""What stands for Colab on this machine: its versions, the mirror, the redirection."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools import colab
from tools.bookfiles import ROOT, address, chapters


def test_colabs_versions_are_exact_and_new_enough_for_the_library() -> None:
    lines = colab.REQUIREMENTS.read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = about["optional-dependencies"]
    for line in (*about["dependencies"], *extras["train"], *extras["book"]):
        requirement = Requirement(line)
        if requirement.name in pins:
            assert requirement.specifier.contains(pins[requirement.name]), requirement
    assert {"torch", "numpy", "pandas", "matplotlib", "scikit-learn"} <= set(pins)
    older = {"pandas": "3", "matplotlib": "3.11", "plotly": "6", "numpy": "2.2"}
    assert all(Version(pins[name]) < Version(limit) for name, limit in older.items())


@pytest.mark.parametrize("released", [False, True])
def test_pip_is_led_to_a_copy_of_the_repository(tmp_path: Path, released: bool) -> None:
    home = dataclasses.replace(address(), released=released)
    variables = colab.mirror(home, tmp_path / "copy")
    command = ["git", "ls-remote", home.repository]
    seen = subprocess.run(
        command, env=os.environ | variables, check=True, capture_output=True, text=True
    ).stdout.split()
    assert seen[1] == f"refs/{'tags' if released else 'heads'}/{home.ref}"
    assert colab.git("cat-file", "-t", seen[0]) == "commit"
    assert colab.git("diff", "--stat", seen[0]) == ""  # with what is not committed


def test_records_are_fetched_from_this_machine(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    packages.mkdir(parents=True)
    home = address()
    fetch = (
        "from lpl_lib.lab.records import lines\n"
        "print(len(lines('digits')), len(lines('nothing-of-this-name')))"
    )
    with colab.served(ROOT) as local:
        colab.redirect(tmp_path, home, local)
        done = subprocess.run(
            [sys.executable, "-c", fetch],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    known = len((ROOT / "results" / "digits.jsonl").read_text().splitlines())
    assert done.stdout.split() == [str(known), "0"], done.stderr


def script(tmp_path: Path, *words: str, python: str) -> subprocess.CompletedProcess[str]:
    """`.ci/colab` with a script in the place of Colab's Python."""
    (tmp_path / "python3").write_text(python)
    (tmp_path / "python3").chmod(0o755)
    return subprocess.run(
        [ROOT / ".ci" / "colab", *words],
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


FAILS = '#!/bin/sh\n[ "$1" = -c ] && echo versions || ls\ntest "$1" = -c\n'
CHANGES = '#!/bin/sh\n[ "$1" = -m ] || echo "$$"\n'  # another version at each call


def test_each_chapter_is_run_by_itself_and_a_failure_is_named(tmp_path: Path) -> None:
    done = script(tmp_path, python=FAILS)
    wanted = {chapter.relative_to(ROOT / "book").as_posix() for chapter in chapters()}
    assert done.returncode == 1
    failed = set(re.findall(r"^failed: (.+)$", done.stderr, re.MULTILINE))
    assert failed == wanted | {"the set-up cell"}
    assert done.stdout.count("\nchapter.ipynb\n") == len(wanted)  # and nothing beside it


def test_chapters_can_be_named(tmp_path: Path) -> None:
    done = script(tmp_path, str(chapters()[0]), python=FAILS)
    assert done.stdout.count("\nchapter.ipynb\n") == 1


def test_a_change_of_torch_or_numpy_is_a_failure(tmp_path: Path) -> None:
    done = script(tmp_path, str(chapters()[0]), python=CHANGES)
    assert done.returncode == 1
    assert re.search(r"^failed: the versions: \d+ became \d+$", done.stderr, re.MULTILINE)


def test_a_python_that_is_missing_or_a_dead_shim_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shim = tmp_path / "python3.13"
    for _ in range(2):  # at first it is not there
        assert colab.check([], str(shim)) == 2
        assert f"{shim} is not here or does not start" in capsys.readouterr().err
        shim.write_text("#!/bin/sh\nexit 127\n")
        shim.chmod(0o755)
