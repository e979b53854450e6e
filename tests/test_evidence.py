"""Tables and verdicts of ledgers, against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from lpl_lib.lab.run import evidence
from lpl_lib.lab.run.experiment import load_experiment
from lpl_lib.lab.run.plan import Run


def frame(**scores: list[float]) -> pd.DataFrame:
    """Accuracies by method, a seed each."""
    rows = [
        {"seed": seed, "method": method, "all": value}
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_verdict_by_interval_and_by_half_a_point() -> None:
    runs = frame(la=[78.0, 78.2, 77.8], ce=[70.0], wide=[60.0, 70.0, 80.0])
    said = {
        error: evidence.verdict(error, runs, "la")[1] for error in (22.0, 22.4, 25.0, 20.0)
    }
    assert said == {
        22.0: "reproduced",
        22.4: "reproduced",
        25.0: "ours is lower",
        20.0: "ours is higher",
    }
    assert evidence.verdict(40.0, runs, "wide")[1] == "reproduced"
    assert evidence.verdict(30.0, runs, "ce")[1] == "one seed: no verdict"
    assert evidence.verdict(30.0, pd.DataFrame(), "ce") == (None, "not run: needs a GPU")


def test_order_needs_two_common_seeds() -> None:
    runs = frame(a=[3.0, 3.1, 2.9], b=[1.0, 1.2, 0.9], c=[3.2, 2.8, 3.0], one=[0.0])
    assert evidence.order(runs, "a", "b")[1] == "agrees"
    assert evidence.order(runs, "b", "a")[1] == "contradicts"
    assert evidence.order(runs, "a", "c")[1] == "cannot be told"
    assert evidence.order(runs, "a", "one")[1] == "cannot be told"
    assert evidence.order(runs, "a", "none") == (None, "not recorded")
    assert evidence.order(pd.DataFrame(), "a", "b") == (None, "not recorded")


def test_records_of_a_folder_are_found_without_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cifar10-lt100-small"
    run = Run(load_experiment(name), "ce", {}, 0, "test")
    config = run.config
    config["data"]["identity"] = "of another machine"
    line = {"key": "there", "config": config, "method": "ce", "seed": 0, "part": "test"}
    line |= {"counts": [2000, 500, 9], "groups": {"head": [0], "medium": [1], "tail": [2]}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "README.md").touch()
    (tmp_path / "results" / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    assert evidence.records(name) == [line]
    assert evidence.records("digits") == []


RUN = {
    "key": "a",
    "experiment": "here",
    "seed": 0,
    "commit": "0123456789abcdef",
    "device": "CPU: fast",
    "date": "2026-11-23T10:00:00+00:00",
    "wall_seconds": 1800,
}


def stamp(monkeypatch: pytest.MonkeyPatch, *repeats: dict, **more: object) -> str:
    """The stamp under two runs, on one line."""
    known = {"repeats": list(repeats)}
    monkeypatch.setattr(evidence, "lines", lambda name: known[name])
    second = {**RUN, "key": "b", "seed": 2, "date": "2026-11-24T09:00:00+00:00", **more}
    text = evidence.origin([RUN, second])
    assert max(map(len, text.splitlines())) <= 78
    return " ".join(text.split())


def test_a_stamp_says_where_runs_are_from(monkeypatch: pytest.MonkeyPatch) -> None:
    text = stamp(monkeypatch)
    assert text.startswith("here: 2 runs, seeds 0 to 2; last epoch; configurations ")
    assert text.endswith("commit 0123456; CPU: fast; 2026-11-23 to 2026-11-24; 1.0 hours")
    other = stamp(monkeypatch, key="c", commit=None)
    assert "commit 0123456, unknown;" in other
    assert text.split("configurations ")[1][:12] != other.split("configurations ")[1][:12]


def test_a_stamp_says_whether_the_code_is_still_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = {"experiment": "here", "repeated": 0, "same": 0}
    all_same = {"experiment": "here", "repeated": 9, "same": 9, "date": "2026-11-24T09:00"}
    elsewhere = {**none, "experiment": "there"}
    assert "repeated" not in stamp(monkeypatch, elsewhere)
    assert "has changed since; no run was repeated" in stamp(monkeypatch, none, elsewhere)
    said = stamp(monkeypatch, elsewhere, all_same)
    assert "9 runs repeated with the library of 2026-11-24: all came out the same" in said
    said = stamp(monkeypatch, {**all_same, "same": 8, "off": 0.3})
    assert said.endswith("8 came out the same, all within 0.3 points")
