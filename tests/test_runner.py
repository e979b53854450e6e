"""Runs: recorded once, whoever runs, dies or runs at once; and the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image

from lpl_lib.lab.__main__ import main
from lpl_lib.lab.plan import Run
from lpl_lib.lab.records import read
from lpl_lib.lab.runner import execute, run_all, trained
from lpl_lib.lab.specification import load

ROOT = Path(__file__).parents[1]
SHORT = ["recipe.epochs=2", "model.width=4", "seeds=2", "search={}"]
SPEC = load("digits-lt50", SHORT)
RUNS = [Run(SPEC, m, seed=s) for m in ("cross-entropy", "post-hoc LA") for s in (0, 1)]
OUTCOME = ("key", "hits", "train_accuracy", "train_loss", "counts", "checksum")


def quiet(runs, folder, **options):
    return run_all(
        runs,
        folder,
        folder / "runs",
        cpu=True,
        progress=False,
        say=lambda _: None,
        **options,
    )


def test_what_is_recorded_is_not_run_again(tmp_path):
    assert quiet(RUNS, tmp_path) == 4
    assert quiet(RUNS, tmp_path) == 0
    records = read(tmp_path / "digits-lt50.jsonl")
    assert [r["key"] for r in records] == [run.key for run in RUNS]
    again = execute(RUNS[1], cpu=True, progress=False)
    assert {k: again[k] for k in OUTCOME} == {k: records[1][k] for k in OUTCOME}


def test_a_record_says_what_was_done_and_what_came_out(tmp_path):
    record = execute(Run(SPEC, "LA + LPL", {"tau": 1.0}), cpu=True, progress=False)
    assert record["config"]["method"] == "LA + LPL"
    assert record["params"] == {"tau": 1.0}
    assert sum(record["tested"]) == 599
    assert len(record["hits"]) == len(record["train_accuracy"]) == 10
    assert record["counts"] == [116, 75, 48, 31, 20, 13, 8, 5, 3, 2]
    assert set(record["groups"]) == {"head", "medium", "tail"}
    assert len(record["measures"]["variation"]) == 10
    assert {"device", "versions", "commit", "date", "wall_seconds"} <= set(record)


def test_methods_that_share_a_training_train_once(tmp_path, monkeypatch):
    quiet(RUNS[:1], tmp_path)
    import lpl_lib.lab.training as training

    def refuse(*args):
        raise AssertionError("it was trained before")

    monkeypatch.setattr(training, "_one_epoch", refuse)
    assert quiet([RUNS[2]], tmp_path) == 1


def test_a_pause_keeps_what_was_trained(tmp_path):
    told = []
    spec = load("digits-lt50", [*SHORT, "recipe.epochs=3"])
    run = Run(spec, "cross-entropy")
    options = {"cpu": True, "progress": False, "say": told.append}
    until = time.monotonic() + 1e-4  # past it after the first epoch
    assert run_all([run], tmp_path, tmp_path, until=until, **options) == 0
    assert "paused after epoch" in told[0] or "time is up" in told[0]
    assert quiet([run], tmp_path) == 1
    whole = execute(run, cpu=True, progress=False)
    record = read(tmp_path / "digits-lt50.jsonl")[0]
    assert {k: record[k] for k in OUTCOME} == {k: whole[k] for k in OUTCOME}


def test_a_loss_that_diverges_is_an_outcome(tmp_path):
    spec = load("digits-lt50", [*SHORT, "recipe.lr=1e9"])
    record = execute(Run(spec, "cross-entropy"), cpu=True, progress=False)
    assert record["diverged"]
    assert record["hits"] == [0] * 10


@pytest.mark.parametrize(
    ("name", "method", "params", "measures"),
    [
        ("ablations", "LPL", {"epsilon": 2.0}, {"validation", "confidence"}),
        ("canvases", "LA + LPL", {"recipe.lr": 0.3}, {"F1", "F1 tuned"}),
        ("fusing", "mix-up + LPL", {}, set()),
        ("fusing", "balanced sampling + ISDA", {}, set()),
        ("meta-split", "LA + LPL, learned", {"data.with_meta": False}, {"signs"}),
        ("stress", "post-hoc LA", {"data.noise": 0.2}, {"temperature", "ece", "known"}),
        ("released-walks", "released walk, columns, through", {"extra": 3.0}, set()),
    ],
)
def test_each_kind_of_experiment_runs(name, method, params, measures):
    overrides = ["recipe.epochs=1"]
    record = execute(Run(load(name, overrides), method, params), cpu=True, progress=False)
    assert not record["diverged"]
    assert measures <= set(record["measures"])
    assert ("ap" in record) == (name == "canvases")


def test_a_learned_split_that_was_interrupted_ends_the_same(tmp_path):
    spec = load("meta-split", ["recipe.epochs=2"])
    run = Run(spec, "LPL, learned", {"epsilon": 1.0})
    whole = execute(run, cpu=True, progress=False)
    options = {"cpu": True, "progress": False, "say": lambda _: None}
    run_all([run], tmp_path, tmp_path, until=time.monotonic() + 0.01, **options)
    quiet([run], tmp_path)
    record = read(tmp_path / "meta-split.jsonl")[0]
    assert record["measures"]["signs"] == whole["measures"]["signs"]


def test_pictures_are_normalised_by_the_training_set():
    run = Run(
        load(
            "cifar10",
            [
                "data.name=random",
                "recipe.epochs=1",
                "model.name=resnet-8",
                "recipe.milestones=[]",
            ],
        ),
        "LDAM",
    )
    outcome = trained(run, progress=False)
    assert outcome.problem.train.images.dtype == torch.uint8
    assert outcome.logits(outcome.problem.scored.images).abs().max() <= 30.001


@pytest.mark.slow
def test_runners_at_once_do_each_run_once(tmp_path):
    command = [sys.executable, "-m", "lpl_lib.lab", "digits-lt50", "--quiet", "--cpu"]
    command += ["--methods", "cross-entropy", "--seeds", "0-3", "--set", *SHORT]
    command += ["--results", str(tmp_path), "--checkpoints", str(tmp_path / "runs")]
    started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    records = read(tmp_path / "digits-lt50.jsonl")
    assert sorted(r["seed"] for r in records) == [0, 1, 2, 3]


def line(tmp_path: Path, *arguments: str) -> int:
    places = ["--results", str(tmp_path), "--checkpoints", str(tmp_path / "runs")]
    return main([*arguments, "--cpu", "--quiet", *places])


def test_the_command_line_searches_runs_and_prints(tmp_path, capsys):
    few = ["--methods", "cross-entropy", "LA", "--set", *SHORT, "search.seeds=[100]"]
    few += ["search.grid={LA = {tau = [0.5, 1.0]}}"]
    assert line(tmp_path, "digits-lt50", "--missing", "--search", *few) == 0
    assert "2 of 2 runs are missing" in capsys.readouterr().out
    assert line(tmp_path, "digits-lt50", *few) == 2  # before the search
    assert "2 of 2 trial runs are missing" in capsys.readouterr().err
    assert line(tmp_path, "digits-lt50", "--all", *few) == 0
    assert "recipe of digits-lt50: NOT FIT" in capsys.readouterr().err
    assert len(read(tmp_path / "digits-lt50.jsonl")) == 2 + 4 + 2  # and the check
    assert line(tmp_path, "digits-lt50", "--check", "--missing", *few) == 0
    assert "0 of 4 runs are missing" in capsys.readouterr().out
    assert line(tmp_path, "digits-lt50", "--table", *few) == 0
    shown = capsys.readouterr().out
    assert "Digits, long tail 50:1" in shown
    assert "over cross-entropy" in shown
    assert "recipe NOT FIT for comparing losses" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "experiment must be one of"),
        (["digits", "--methods", "LAA"], "--methods must be among"),
        (["digits", "--table"], "no test run of digits is recorded yet"),
        (["digits", "--set", "recipe.epoch=1"], "unknown field `epoch`"),
    ],
)
def test_what_the_command_line_refuses(tmp_path, capsys, arguments, message):
    assert line(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("value", ["one", "0-1000000000", "1-2-3", "3-1", "-1"])
def test_seeds_of_the_command_line_are_numbers_or_ranges(tmp_path, capsys, value):
    with pytest.raises(SystemExit):
        line(tmp_path, "digits", f"--seeds={value}")
    assert "--seeds: must be a number or a range" in (said := capsys.readouterr().err)
    assert f"got {value!r}" in said


@pytest.mark.parametrize("option", ["--jobs", "--threads", "--minutes"])
@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_numbers_of_the_command_line_are_positive(tmp_path, capsys, option, value):
    """Fault 21: ``--jobs 0`` and ``--minutes -1`` were accepted."""
    with pytest.raises(SystemExit):
        line(tmp_path, "digits", f"{option}={value}")
    assert f"{option}: must be a whole number" in capsys.readouterr().err


def command(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, busy for longer than any test waits."""
    words = [sys.executable, "-m", "lpl_lib.lab", "digits", "--methods", "cross-entropy"]
    words += ["--set", "recipe.epochs=100000", "model.width=4", "search={}"]
    words += ["--cpu", "--quiet"]
    words += ["--results", str(tmp_path), "--checkpoints", str(tmp_path / "runs"), *more]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def begun(process: subprocess.Popen[str], tmp_path: Path, runs: int) -> list[Path]:
    """Wait for the runs to begin; return their locks."""
    end = time.monotonic() + 120
    while len(locks := list((tmp_path / "runs").glob("*.lock"))) < runs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    return locks


def test_ctrl_c_is_one_line_that_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    """Fault 21: it was a traceback."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lpl_lib.lab.runner.execute", interrupted)
    assert line(tmp_path, "stress", "--methods", "cross-entropy") == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on\n"


@pytest.mark.process
def test_a_worker_that_is_interrupted_alone_does_not_pass_for_one_that_is_done():
    """Fault 21, a sibling."""
    said = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import lpl_lib.lab.jobs as jobs\n"
            "def interrupted(*_): raise KeyboardInterrupt\n"
            "jobs._work = interrupted\n"
            "jobs._worker([], None)",
        ],
        cwd=ROOT,
        check=False,
    )
    assert said.returncode == 1


@pytest.mark.process
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_the_command_that_started_them(tmp_path, ending):
    """Fault 21: they trained on."""
    process = command(tmp_path, "--jobs", "2")
    locks = begun(process, tmp_path, 2)
    process.send_signal(ending)
    process.communicate(timeout=60)  # its pipe closes when the last child has ended
    for lock in locks:
        FileLock(lock).acquire(timeout=0).lock.release()
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_folder_of_images_is_a_source(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LPL_DATA", str(tmp_path))
    draw = torch.Generator().manual_seed(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(5):
                pixels = torch.randint(256, (8, 8, 3), generator=draw, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    place = tmp_path / "mine.toml"
    place.write_text(
        'title = "t"\nseeds = 1\n[data]\nname = "folder"\npath = "photos"\nlabel = "p"\n'
        '[model]\nname = "small-conv"\nwidth = 2\n[recipe]\nepochs = 1\n'
        "[methods]\nLA = {}\n"
    )
    assert line(tmp_path, str(place)) == 0
    (first,) = read(tmp_path / "mine.jsonl")
    (tmp_path / "photos/train/cat/0.png").unlink()  # other images: another run
    assert line(tmp_path, str(place)) == 0
    assert [r["counts"] for r in read(tmp_path / "mine.jsonl")] == [[5, 5], [4, 5]]
    assert first["tested"] == [5, 5]
    monkeypatch.setenv("LPL_DATA", str(tmp_path / "nowhere"))
    assert line(tmp_path, str(place)) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_fixed_long_tail_is_published(tmp_path):
    overrides = [*SHORT, "data.draw=3", "seeds=1"]
    quiet([Run(load("digits-lt50", overrides), "cross-entropy")], tmp_path)
    lines = (tmp_path / "indices" / "digits-lt50.txt").read_text().splitlines()
    assert lines[0] == "# digits-LT 50:1, seed 3: training images of each class"
    assert [len(row.split()) for row in lines[1:]] == [116, 75, 48, 31, 20, 13, 8, 5, 3, 2]


def test_a_plan_can_be_tried_on_noise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["cifar10-lt100", "--tiny", "--quiet", "--methods", "cross-entropy"]
    assert main([*command, "--set", "model.name=resnet-8"]) == 0
    (record,) = read(Path("runs/tiny/cifar10-lt100.jsonl"))
    assert record["config"]["data"]["name"] == "random"
