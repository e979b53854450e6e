"""The runner: declared experiments, runs done once, killed and taken up again."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from lpl_lib.lab.data.folder import SkippedImagesWarning
from lpl_lib.lab.methods import METHODS
from lpl_lib.lab.records import as_text, digest, read
from lpl_lib.lab.run.__main__ import main
from lpl_lib.lab.run.evidence import records as recorded
from lpl_lib.lab.run.execute import execute
from lpl_lib.lab.run.experiment import DataSpec, available, load_experiment
from lpl_lib.lab.run.plan import Run, candidates, search_runs, shard
from lpl_lib.lab.run.problem import (
    group_members,
    identity,
    load_problem,
    load_source,
    look_anew,
)
from lpl_lib.lab.run.report import as_figure, as_markdown, current
from lpl_lib.lab.run.runner import run_all
from lpl_lib.lab.run.select import choose, planned

ROOT = Path(__file__).parents[1]
TINY = """
title = "Tiny"
split = "rank"
seeds = 2
[data]
name = "digits"
label = "digits-LT 20:1"
imbalance_ratio = 20
draw = "seed"
[groups]
head_above = 40
tail_below = 15
[model]
name = "small-conv"
width = 4
[recipe]
epochs = 2
batch_size = 64
[methods]
ce = {}
la-posthoc = {}
"la+lpl" = { tau = 1.0 }
[search]
seeds = [100]
[search.grid]
la-posthoc = { tau = [0.5, 1.0] }
"la+lpl" = { extra = [0.5, 1.0] }
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment of a second, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def command(*arguments: str) -> int:
    return main([*arguments, "--cpu", "--quiet"])


# --- experiments ---------------------------------------------------------------------


@pytest.mark.parametrize("name", available())
def test_every_experiment_of_the_library_is_sound(name):
    overrides = ["data.path=x"] if name == "folder" else []
    experiment = load_experiment(name, overrides)
    assert experiment.name == name
    for method in experiment.methods:
        assert len(candidates(experiment, method)) >= 1
    if name.startswith("digits"):
        walks = {method for method in METHODS if method.startswith("walk")}
        assert set(experiment.methods) == set(METHODS) - walks


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.epoch=3", "recipe has no setting 'epoch': it has .*'epochs'"),
        ("dataa.name=digits", "experiment has no setting 'dataa'"),
        ("data.ratio=3", "data has no setting 'ratio'"),
        ("search.grids={}", "search has no setting 'grids'"),
        ("groups.head=3", "groups has no setting 'head'"),
        ("methods.erm={}", "method must be one of .* got 'erm'"),
        ("methods.ce={tau=1}", "'ce' has no hyper-parameter 'tau'"),
        ("search.grid.ce={tau=[1]}", "'ce' has no hyper-parameter 'tau'"),
        ("search.grid.isda={strength=[1]}", "names 'isda', which methods does not"),
        ("methods.la-posthoc={tau=2}", "la-posthoc: tau is fixed and searched at once"),
        ("data.name=mnist", "data.name must be one of .* got 'mnist'"),
        ("data.name=folder", "data.path must be given for a folder"),
        ("data.draw=always", "data.draw must be a number or"),
        ("data.imbalance_ratio=0.5", "imbalance_ratio must be a finite number >= 1"),
        ("split=random", "split must be 'rank' or 'confidence', got 'random'"),
        ("seeds=0", "seeds must be an integer >= 1"),
        ("model={}", "model must have a name"),
        ("recipe={}", "recipe needs a setting 'epochs'"),
        ("recipe.lr=fast", "fast"),
        ("recipe", "--set must be section.setting=value, got 'recipe'"),
        ("recipe.flip=False", "recipe.flip must be true or false, got 'False'"),
        ("recipe.gamma=-1", "gamma must be a finite number >= 0, got -1"),
        ("recipe.milestones=[1.5]", "milestones must be an integer >= 0, got 1.5"),
        ("data.draw=true", "data.draw must be a number or .* got True"),
        ("data.size=0", "data.size must be an integer >= 1, got 0"),
        ("search.share=1.0", "search.share must be below 1, got 1.0"),
        ("search.seeds=[]", r"search.seeds must be a list of seeds, got \(\)"),
        ("search.seeds=1-2", "search.seeds must be a list of seeds, got '1-2'"),
        ("search.seeds=[0.5]", "search.seeds must be an integer >= 0, got 0.5"),
        ("search.epochs=0", "search.epochs must be an integer >= 1, got 0"),
        ("search.grid.la-posthoc={tau=1.0}", "tau of la-posthoc must be a list .* got 1.0"),
        ("search.grid.la-posthoc=[1.0]", "la-posthoc must say which hyper-parameter"),
        ("methods=ce", "methods must give the hyper-parameters of each by name"),
        ("recipe.lr=.1", "lr must be a number such as 0.1, got '.1'"),
        ("groups.head_above=few", "groups.head_above must be a number such as 0.1"),
        ("groups={head_above=5}", "head_above must be at least groups.tail_below, got 5"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_refused(tiny, override, message, capsys):
    assert command(str(tiny), "--set", override) == 2
    with pytest.raises(ValueError, match=f"tiny: .*{message}"):
        load_experiment(str(tiny), [override])
    assert "error: tiny" in capsys.readouterr().err
    assert not Path("results").exists()


def test_an_experiment_that_is_not_there_or_not_toml(tiny):
    with pytest.raises(
        ValueError, match=r"one of \[.*'digits'.*\] or a .toml file, got 'x'"
    ):
        load_experiment("x")
    tiny.write_text("title = ")
    with pytest.raises(ValueError, match="tiny: Invalid value"):
        load_experiment(str(tiny))


def test_an_experiment_is_like_another_but_for_what_it_says(tiny):
    own = 'title = "A"\nlike = "digits-lt50"\n[data]\nimbalance_ratio = 7\n[methods]\n'
    tiny.write_text(own + "ce = {}\n[search]\nseeds = [5]\n")
    experiment, other = load_experiment(str(tiny)), load_experiment("digits-lt50")
    assert experiment.name == "tiny"
    assert experiment.data == dataclasses.replace(other.data, imbalance_ratio=7)
    assert experiment.recipe == other.recipe
    assert experiment.methods == {"ce": {}}  # these are not added to the other's
    assert experiment.search.grid == {}
    tiny.write_text('title = "A"\nlike = "x"')
    with pytest.raises(ValueError, match=r"tiny: like must be one of \[.*got 'x'"):
        load_experiment(str(tiny))


@pytest.mark.parametrize("name", ["cifar10", "cifar10-lt10", "cifar10-lt100"])
def test_the_jpeg_copy_goes_through_the_same_protocol(name):
    experiment, copy = load_experiment(name), load_experiment(f"{name}-jpeg")
    assert copy.data.name == "folder"
    assert "JPEG" in copy.data.label
    same = {"name": name, "title": experiment.title, "data": experiment.data}
    assert dataclasses.replace(copy, **same) == experiment
    assert copy.data.imbalance_ratio == experiment.data.imbalance_ratio


def test_a_shorter_search_keeps_the_shape_of_the_schedule():
    experiment = load_experiment("cifar10-lt100")
    trial = search_runs(experiment, ["la"])[0].config["recipe"]
    test = Run(experiment, "la", {}, 0, "test").config["recipe"]
    changes = {"epochs": 40, "warmup_epochs": 1, "milestones": [32, 36]}
    assert trial == {**test, **changes}
    assert test["milestones"] == [160, 180]


def test_overrides_are_read_as_toml(tiny):
    experiment = load_experiment(
        str(tiny),
        ["recipe.epochs=7", "recipe.milestones=[1, 2]", "recipe.schedule=step", "seeds=3"],
    )
    assert experiment.recipe.epochs == 7
    assert experiment.recipe.milestones == (1, 2)
    assert experiment.recipe.schedule == "step"


# --- runs and keys -------------------------------------------------------------------


def test_a_key_stands_for_all_that_matters_and_nothing_else(tiny):
    def key(*overrides: str, **changes) -> str:
        run = Run(
            load_experiment(str(tiny), overrides), "la+lpl", {"extra": 1.0}, 0, "test"
        )
        return dataclasses.replace(run, **changes).key

    same = [
        key(),
        key("title=Other", "seeds=9", "data.label=x"),
        key("groups.head_above=70", "search.grid.la-posthoc={tau=[3.0]}"),
        key(chosen_by="a coin"),
    ]
    assert len(set(same)) == 1
    different = [
        *(
            key(f"recipe.{s}")
            for s in ("lr=0.2", "epochs=3", "padding=1", "precision=bf16")
        ),
        *(key(f"data.{s}") for s in ("imbalance_ratio=10", "draw=1")),
        key("model.width=8"),
        key("split=confidence"),
        key(seed=1),
        key(part="validation"),
        key(method="ldam+lpl"),
        key(params={"extra": 1.5}),
    ]
    assert len({*same, *different}) == 1 + len(different)


def test_methods_that_differ_at_test_time_share_a_training(tiny):
    experiment = load_experiment(str(tiny))
    runs = [
        Run(experiment, "ce", {}, 0, "test"),
        *(Run(experiment, "la-posthoc", {"tau": tau}, 0, "test") for tau in (0.5, 1.0)),
    ]
    assert len({run.key for run in runs}) == 3
    assert len({run.training_key for run in runs}) == 1
    assert Run(experiment, "ce", {}, 1, "test").training_key != runs[0].training_key


def test_the_search_covers_all_combinations_seed_by_seed(tiny):
    grid = 'search.grid={"la+lpl"={extra=[1, 2], epsilon=[0, 1, 2]}}'
    experiment = load_experiment(str(tiny), [grid, "search.seeds=[100, 101]"])
    runs = search_runs(experiment, experiment.methods)
    assert [run.seed for run in runs] == [100] * 6 + [101] * 6
    assert {run.method for run in runs} == {"la+lpl"}
    assert {run.part for run in runs} == {"validation"}
    assert all(run.params["tau"] == 1.0 for run in runs)
    assert len({digest(run.params) for run in runs}) == 6


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_shards_are_a_partition(of):
    parts = [shard(range(5), (number, of)) for number in range(1, of + 1)]
    assert sorted(run for part in parts for run in part) == list(range(5))


@pytest.mark.parametrize("part", [(0, 2), (3, 2)])
def test_a_shard_out_of_range(part):
    with pytest.raises(ValueError, match="shard must be i/n with 1 <= i <= n, got"):
        shard([], part)


# --- data ----------------------------------------------------------------------------


def test_validation_images_are_balanced_and_of_the_training_set(tiny):
    experiment = load_experiment(str(tiny))
    tests = load_problem(experiment.data, seed=3)
    trial = load_problem(experiment.data, seed=3, held_out=0.2)
    held = trial.scored.class_counts(10)
    assert held.max() - held.min() <= 1
    rows = {
        name: set(map(bytes, part.images.flatten(1).numpy()))
        for name, part in {
            "train": trial.train,
            "held": trial.scored,
            "test": tests.scored,
        }.items()
    }
    assert not rows["held"] & rows["train"]
    assert not rows["held"] & rows["test"]
    assert not rows["train"] & rows["test"]
    assert trial.counts[0] / trial.counts[-1] == pytest.approx(20, rel=0.2)


def test_a_draw_by_seed_moves_the_training_set_and_not_the_test_set(tiny):
    spec = load_experiment(str(tiny)).data
    first, second = load_problem(spec, 0), load_problem(spec, 1)
    assert first.checksum["scored"] == second.checksum["scored"]
    assert first.checksum["train"] != second.checksum["train"]
    fixed = dataclasses.replace(spec, draw=0)
    assert load_problem(fixed, 1).checksum == first.checksum


def test_a_fixed_long_tail_is_written_down(tiny):
    settings = ["--methods", "ce", "--seeds", "0", "--set", "data.draw=3"]
    assert command(str(tiny), *settings) == 0
    spec = load_experiment(str(tiny), ["data.draw=3"]).data
    train, problem = load_source(spec).train, load_problem(spec, 0)
    about, *classes = Path("results/indices/tiny.txt").read_text().splitlines()
    assert "digits-LT 20:1, seed 3" in about
    assert [len(line.split()) for line in classes] == problem.counts.tolist()
    chosen = torch.tensor([int(i) for line in classes for i in line.split()])
    assert torch.equal(chosen.sort().values, problem.indices)
    assert torch.equal(train.targets[chosen], problem.train.targets.sort().values)


def test_a_long_tail_of_each_seed_is_not_written_down(tiny):
    command(str(tiny), "--methods", "ce", "--seeds", "0")
    assert not Path("results/indices").exists()


def test_groups_of_a_balanced_set():
    assert group_members(torch.tensor([5, 5]), None) == {}


# --- running -------------------------------------------------------------------------


def test_search_then_runs_then_table(tiny, capsys):
    assert command(str(tiny)) == 2
    assert "la-posthoc: 2 of 2 trial runs are missing: run python -m lpl_lib.lab.run tiny " in (
        capsys.readouterr().err
    )
    assert command(str(tiny), "--search") == 0
    assert command(str(tiny)) == 0
    ledger = Path("results/tiny.jsonl")
    records = read(ledger)
    assert [r["part"] for r in records] == ["validation"] * 4 + ["test"] * 6
    assert len({r["key"] for r in records}) == 10
    before = ledger.read_bytes()
    assert command(str(tiny), "--search") == 0  # all recorded: nothing to do
    assert command(str(tiny)) == 0
    assert ledger.read_bytes() == before
    capsys.readouterr()
    assert command(str(tiny), "--table", "--figure", "figure.svg") == 0
    shown = capsys.readouterr().out
    assert "digits-LT 20:1" in shown
    for method in ("ce", "la-posthoc", "la+lpl"):
        assert f"| {method} |" in shown
    assert Path("figure.svg").read_text().startswith("<?xml")


def test_a_record_says_all(tiny):
    experiment = load_experiment(str(tiny))
    run = Run(experiment, "la+lpl", {"tau": 1.0, "extra": 0.5}, 0, "test", "by hand")
    record, checkpoint = execute(run, Path("runs"), cpu=True, progress=False)
    assert checkpoint.path.exists()
    assert record["key"] == run.key == digest(record["config"])
    assert record["chosen_by"] == "by hand"
    assert sum(record["tested"]) == 599
    assert all(0 <= h <= n for h, n in zip(record["hits"], record["tested"], strict=True))
    assert len(record["counts"]) == len(record["variation"]) == 10
    assert set(record["checksum"]) == {"train", "scored"}
    assert record["groups"]["head"] == [0, 1, 2, 3]
    for name in ("device", "date", "versions", "wall_seconds", "images_per_second"):
        assert record[name]
    assert record["parameters"] == 1030
    assert json.loads(json.dumps(record)) == record
    # LA lowers the losses of the head and raises those of the tail, and LPL the same
    assert record["variation"][0] < 0 < record["variation"][9]


def test_a_plain_method_has_no_variation(tiny):
    run = Run(load_experiment(str(tiny)), "ce", {}, 0, "test")
    assert execute(run, Path("runs"), cpu=True, progress=False)[0]["variation"] is None


def test_runs_are_deterministic(tiny):
    run = Run(load_experiment(str(tiny)), "la+lpl", {"extra": 0.5}, 0, "test")
    one, two = (
        execute(run, Path(folder), cpu=True, progress=False)[0] for folder in ("a", "b")
    )
    for name in ("hits", "train_loss", "train_accuracy", "variation", "checksum"):
        assert one[name] == two[name]


def test_a_training_that_diverges_is_an_outcome(tiny):
    assert (
        command(str(tiny), "--methods", "ce", "--seeds", "0", "--set", "recipe.lr=1e12")
        == 0
    )
    (record,) = read("results/tiny.jsonl")
    assert record["diverged"]
    assert record["hits"] == [0] * 10


def test_the_choice_is_the_best_on_validation_whatever_the_test_says(tiny):
    experiment = load_experiment(str(tiny), ["search.seeds=[100, 101]"])
    trials = search_runs(experiment, ["la+lpl"])
    # extra=0.5 has hits 3 and 5, extra=1.0 has 6 and 1: the mean decides
    hits = {(0.5, 100): 3, (0.5, 101): 5, (1.0, 100): 6, (1.0, 101): 1}
    records = [
        {"key": t.key, "hits": [hits[t.params["extra"], t.seed]], "tested": [10]}
        for t in trials
    ]
    for extra, score in ((0.5, 0), (1.0, 10)):
        test = Run(experiment, "la+lpl", {"tau": 1.0, "extra": extra}, 0, "test")
        records.append({"key": test.key, "hits": [score], "tested": [10]})
    params, how = choose(experiment, "la+lpl", records)
    assert params == {"tau": 1.0, "extra": 0.5}
    assert "best of 2 on images held out of the training set, 2 seed(s)" in how
    assert "40.0 %" in how
    assert "largest" not in how
    assert choose(experiment, "ce", []) == ({}, "fixed in the experiment's file")
    with pytest.raises(ValueError, match="1 of 4 trial runs are missing"):
        choose(experiment, "la+lpl", records[1:])


def test_of_equals_the_first_is_chosen(tiny):
    experiment = load_experiment(str(tiny))
    trials = search_runs(experiment, ["la+lpl"])
    records = [{"key": t.key, "hits": [4], "tested": [10]} for t in trials]
    assert choose(experiment, "la+lpl", records)[0]["extra"] == 0.5


def test_a_choice_at_the_end_of_what_was_tried_says_so(tiny):
    experiment = load_experiment(str(tiny))
    trials = search_runs(experiment, ["la+lpl"])
    records = [
        {"key": t.key, "hits": [number], "tested": [10]} for number, t in enumerate(trials)
    ]
    assert choose(experiment, "la+lpl", records)[1].endswith("; the largest extra tried")


def test_a_run_in_work_elsewhere_is_left_alone(tiny):
    run = Run(load_experiment(str(tiny)), "ce", {}, 0, "test")
    Path("runs").mkdir()
    with FileLock(f"runs/{run.training_key}.lock"):
        assert run_all([run], Path("results"), Path("runs"), cpu=True, progress=False) == 0
    assert run_all([run], Path("results"), Path("runs"), cpu=True, progress=False) == 1


def test_time_that_is_up_stops_before_the_next_run(tiny):
    assert command(str(tiny), "--methods", "ce", "--minutes", "0") == 0
    assert read("results/tiny.jsonl") == []


def test_missing_runs_are_listed(tiny, capsys):
    command(str(tiny), "--methods", "ce", "--seeds", "0")
    capsys.readouterr()
    assert command(str(tiny), "--methods", "ce", "--seeds", "0-2", "--missing") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["tiny ce seed 1", "tiny ce seed 2", "2 of 3 runs are missing"]


def test_records_of_another_version_of_the_file_stay_out_of_the_table(tiny):
    command(str(tiny), "--methods", "ce")
    records = read("results/tiny.jsonl")
    same = load_experiment(str(tiny))
    assert len(current(same, ["ce"], [0, 1], records)) == 2
    changed = load_experiment(str(tiny), ["recipe.epochs=3"])
    with pytest.raises(ValueError, match="no test run of tiny is recorded yet"):
        current(changed, ["ce"], [0, 1], records)
    assert len(planned(changed, ["ce"], [0, 1], records)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "la"], r"--methods must be among \['ce'.* got 'la'"),
        (["--seeds", "one"], "--seeds must be numbers or ranges, got 'one'"),
        (["--seeds", "4-0"], "--seeds must name at least one seed, got 4-0"),
        (["--methods", "ce", "--shard", "2"], "--shard must be I/N such as 1/4, got '2'"),
        (["--methods", "ce", "--shard", "5/4"], "shard must be i/n"),
        (["--table"], "no test run of tiny is recorded yet"),
    ],
)
def test_a_command_line_that_does_not_fit(tiny, capsys, arguments, message):
    assert command(str(tiny), *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error)


def test_a_run_that_is_asked_for_twice_is_counted_once(tiny, capsys):
    command(str(tiny), "--methods", "ce")
    capsys.readouterr()
    twice = ["--methods", "ce", "ce", "--seeds", "0-1", "1"]
    assert command(str(tiny), "--table", *twice) == 0
    assert "| ce | none | 2 |" in capsys.readouterr().out


def test_groups_are_those_of_the_file_as_it_is_now(tiny):
    command(str(tiny), "--methods", "ce", "--seeds", "0")
    records = read("results/tiny.jsonl")
    (before,) = current(load_experiment(str(tiny)), ["ce"], [0], records)
    assert before["groups"] == records[0]["groups"]
    wide = ["groups={head_above=1, tail_below=0}"]
    (after,) = current(load_experiment(str(tiny), wide), ["ce"], [0], records)
    assert after["groups"] == {"head": [*range(10)]}


@pytest.mark.parametrize("jobs", [["--jobs", "2"], ["--jo=2"]])
def test_several_jobs_share_the_runs(tiny, jobs):
    arguments = ["--methods", "ce", "--seeds", "0-3", *jobs, "--cpu", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "lpl_lib.lab.run", str(tiny), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    records = read("results/tiny.jsonl")
    assert sorted(record["seed"] for record in records) == [0, 1, 2, 3]
    assert done.stderr.count(" %, ") == 4  # each was done once


def test_a_job_that_a_signal_ends_is_no_success(tiny, monkeypatch):
    killed = tiny.with_name("killed")
    killed.write_text("#!/bin/sh\nkill -KILL $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    assert command(str(tiny), "--methods", "ce", "--jobs", "2") != 0


# --- killed and taken up again -------------------------------------------------------


def start(tiny: Path, folder: str) -> multiprocessing.Process:
    """A runner of two methods on one seed, which keeps its state after each epoch.

    A fork of this process: it need not import all that this one has.
    """
    options = ["--methods", "ce", "la+lpl", "--seeds", "0", "--checkpoint-every", "0"]
    places = ["--results", f"{folder}/results", "--checkpoints", f"{folder}/runs"]
    settings = ["--set", "recipe.epochs=12", "search.grid={}"]
    runner = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(command(str(tiny), *options, *places, *settings))
    )
    runner.start()
    return runner


def outcome(folder: str) -> Iterator[dict]:
    names = ("key", "hits", "train_loss", "train_accuracy", "variation", "checksum")
    for record in read(f"{folder}/results/tiny.jsonl"):
        yield {name: record[name] for name in names}


def test_a_run_killed_at_any_moment_ends_with_the_same_numbers(tiny):
    """SIGKILL, at various times after a state was written, until the list is done."""
    whole = start(tiny, "whole")
    whole.join()
    assert whole.exitcode == 0
    kills = 0
    for attempt in range(40):
        runner = start(tiny, "killed")
        if kills < 8:
            before = _state(Path("killed/runs"))
            while runner.is_alive() and _state(Path("killed/runs")) == before:
                time.sleep(0.001)
            time.sleep(0.004 * (attempt % 5))  # in an epoch, or in the writing of a state
            kills += runner.is_alive()
            runner.kill()
        runner.join()
        if runner.exitcode == 0:
            break
    assert kills >= 3
    assert list(outcome("killed")) == list(outcome("whole"))


def _state(folder: Path) -> list[tuple[str, int]]:
    files = sorted(folder.glob("*.pt")) if folder.exists() else []
    times = []
    for file in files:
        try:
            times.append((file.name, file.stat().st_mtime_ns))
        except FileNotFoundError:  # removed since: its run is recorded
            continue
    return times


@pytest.mark.parametrize("writes", ["append", "save_indices"])
def test_a_full_disk_loses_no_training(tiny, capsys, monkeypatch, writes):
    """The finished state stays; started again, the run is only scored and recorded."""
    import lpl_lib.lab.run.runner as runner

    def full(*what):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runner, writes, full)
        assert command(str(tiny), "--methods", "ce", "--seeds", "0") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert read("results/tiny.jsonl") == []
    assert command(str(tiny), "--methods", "ce", "--seeds", "0") == 0
    (record,) = read("results/tiny.jsonl")
    # the training's own time is of the first attempt
    assert record["wall_seconds"] < 60
    assert record["train_seconds"] > 0


# --- folders -------------------------------------------------------------------------


def picture(place: Path, name: str, shade: int, size: int = 8, mode: str = "RGB") -> None:
    place.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(shade).randint(0, 60, (size, size)) + shade
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(place / name)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A long-tailed folder of two classes that are easily told apart."""
    for c, (name, count) in enumerate({"cats": 30, "dogs": 12}.items()):
        for i in range(count):
            picture(tmp_path / "photographs" / name, f"{i}.png", 20 + 150 * c)
    return tmp_path / "photographs"


def test_a_folder_is_trained_on_and_reported_by_class(photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs.parent)
    tiny = ["--set", "recipe.epochs=2", "model.name=small-conv", "recipe.batch_size=16"]
    assert command("folder", "--data", "photographs", *tiny) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "class",
        "train",
        "test",
        "ce",
        "la",
        "lpl-varied",
        "la+lpl",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["cats", "dogs", "mean"]
    assert lines[1].split()[1:3] == ["24", "6"]
    # another content is another run, the same is not
    assert command("folder", "--data", "photographs", *tiny) == 0
    assert len(read("results/folder.jsonl")) == 4
    picture(photographs / "dogs", "new.png", 170)
    assert command("folder", "--data", "photographs", *tiny) == 0
    assert len(read("results/folder.jsonl")) == 8


def test_a_folder_is_what_its_images_are(photographs, monkeypatch):
    """Also where classes are links, and whatever else lies about."""
    monkeypatch.setenv("LPL_DATA", str(photographs.parent))

    def found(name: str) -> str:
        look_anew()
        return identity(DataSpec("folder", "photographs", name))

    plain = found("photographs")
    (photographs / ".DS_Store").write_text("of the finder")
    linked = photographs.with_name("linked")
    linked.mkdir()
    for place in (photographs / "cats", photographs / "dogs"):
        (linked / place.name).symlink_to(place, target_is_directory=True)
    assert found("photographs") == found("linked") == plain
    picture(photographs / "dogs", "new.png", 170)
    assert found("linked") != plain


def test_several_jobs_report_a_folder_once(photographs, monkeypatch, capfd):
    place = photographs.rename(photographs.with_name("o'brien's"))
    monkeypatch.chdir(place.parent)
    tiny = ["--methods", "ce", "la", "--jobs", "2", "--cpu", "--set", "recipe.epochs=1"]
    assert command("folder", "--data", place.name, *tiny, "model.name=small-conv") == 0
    assert capfd.readouterr().out.count("mean of classes") == 1


def test_a_folder_is_tabulated_without_its_images(photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs.parent)
    tiny = ["--data", "photographs", "--set", "recipe.epochs=1", "model.name=small-conv"]
    tiny += ["recipe.batch_size=16"]
    for number in range(2):
        assert command("folder", *tiny, "--methods", "ce", "la") == 0
        picture(photographs / "dogs", f"new-{number}.png", 170)
    # two states are recorded, and a third was here: the latest of the recorded holds
    whole = [sum(r["counts"] + r["tested"]) for r in read("results/folder.jsonl")]
    assert whole == [42, 42, 43, 43]
    photographs.rename(photographs.with_name("elsewhere"))
    capsys.readouterr()
    assert command("folder", *tiny, "--table") == 0
    shown = capsys.readouterr().out
    assert "| ce | none | 1 |" in shown
    assert "| la | none | 1 |" in shown


def test_a_folder_with_a_test_set_of_its_own(photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs.parent)
    place = photographs.parent / "both"
    place.mkdir()
    photographs.rename(place / "train")
    tiny = ["--data", "both", "--methods", "ce", "--set", "recipe.epochs=1"]
    assert command("folder", *tiny) == 2
    assert "must hold both train and test, or neither" in capsys.readouterr().err
    picture(place / "test" / "cats", "a.png", 20)
    picture(place / "test" / "birds", "a.png", 20)
    assert command("folder", *tiny) == 2
    assert "same classes, but 'birds'" in capsys.readouterr().err
    (place / "test" / "birds").rename(place / "test" / "dogs")
    assert command("folder", *tiny, "model.name=small-conv") == 0
    assert read("results/folder.jsonl")[0]["tested"] == [1, 1]


def test_corrupt_images_are_listed_and_not_trained_past(photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs.parent)
    (photographs / "dogs" / "cut.png").write_bytes(b"no image")
    tiny = ["folder", "--data", "photographs", "--methods", "ce", "--set"]
    tiny += ["recipe.epochs=1", "model.name=small-conv"]
    assert command(*tiny) == 2
    said = capsys.readouterr().err
    assert "1 of 43 cannot be used" in said
    assert "cut.png (cannot identify" in said
    assert "--set data.skip_corrupt=true" in said
    assert read("results/folder.jsonl") == []
    with pytest.warns(SkippedImagesWarning, match="1 of 43 .* left out: .*cut.png"):
        assert command(*tiny, "data.skip_corrupt=true") == 0
    (record,) = read("results/folder.jsonl")
    assert sum(record["counts"]) + sum(record["tested"]) == 42
    assert record["config"]["data"]["skip_corrupt"]


def test_a_folder_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command("folder", "--data", "nowhere") == 2
    assert "there is no" in capsys.readouterr().err
    assert command("folder") == 2
    assert "data.path must be given for a folder (--data DIR)" in capsys.readouterr().err


def test_records_of_an_experiment_of_the_library_by_its_name():
    """Of each method all seeds, under one choice of hyper-parameters."""
    records = recorded("digits-lt50")
    for method in {record["method"] for record in records}:
        own = [record for record in records if record["method"] == method]
        assert len({record["seed"] for record in own}) == len(own)
        assert len({as_text(record["params"]) for record in own}) == 1


# --- tables --------------------------------------------------------------------------


def test_figure_and_table_come_from_records_alone():
    base = {
        "experiment": "x",
        "part": "test",
        "params": {},
        "tested": [10, 10],
        "groups": {"head": [0], "tail": [1]},
        "data": "digits-LT",
        "config": {"model": {"name": "small-conv"}, "recipe": {"epochs": 2}},
        "device": "CPU",
        "date": "2026-01-01T00:00:00",
    }
    records = [
        {**base, "method": method, "seed": seed, "hits": [9 - seed, 3 + seed]}
        for method in ("ce", "la")
        for seed in range(3)
    ]
    figure = as_figure(records, "Title")
    assert [axis.get_title() for axis in figure.axes] == ["all", "head", "tail"]
    text = as_markdown(records, "Title")
    assert text.startswith("### Title")
    assert "| ce | none | 3 | 60.0 ± 0.0 |" in text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_net_is_scored_on_the_gpu_that_trained_it(tmp_path: Path) -> None:
    short = load_experiment("digits-lt50", ["recipe.epochs=1", "recipe.precision=bf16"])
    run = Run(short, "lpl-varied", {"extra": 1.0}, 0, "test")
    record, _ = execute(run, tmp_path)
    assert "CPU" not in record["device"]
    assert sum(record["hits"]) > 0
    assert len(record["variation"]) == 10
