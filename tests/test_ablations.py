"""Ablations: settings against the library's own LPL, their runs, and the ledger."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cases import random_batch

from lpl_lib import LPL, FixedBound, LogitAdjustment, RankSplit, digits
from lpl_lib.lab.ablations import (
    BOUNDS,
    RATIOS,
    AttachedLPL,
    Setting,
    SidedBound,
    frame,
    grid,
    loss_of,
    problem,
    rows_of,
    train_setting,
)
from lpl_lib.lab.ablations import __main__ as program
from lpl_lib.lab.ablations.training import EPOCHS, config_of
from lpl_lib.lab.records import digest, read
from lpl_lib.lpl import L2, Algorithm1
from tools.bookfiles import ROOT

COUNTS = torch.tensor([60, 20, 6, 2])
LABELS = [0, 0, 0, 1, 1, 2, 3]
SOLVERS = [L2(), L2(steps=4, damping=0.25), Algorithm1(0.25)]


def gradient(criterion: torch.nn.Module, logits: torch.Tensor, targets: torch.Tensor):
    u = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(criterion(u, targets), u)
    return found


# --- a gradient through delta -----------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_attached_perturbation_is_that_of_lpl(solver):
    u, y = random_batch(LABELS, 4)[:2]
    split = RankSplit(COUNTS, 2)
    plain = LPL(4, split, 1.3, solver).delta(u, y)
    torch.testing.assert_close(AttachedLPL(4, split, 1.3, solver).delta(u, y), plain)


@pytest.mark.parametrize("solver", SOLVERS)
def test_attached_gradient_is_that_of_the_whole_map(solver):
    u, y = random_batch(LABELS, 4)[:2]
    attached = AttachedLPL(4, RankSplit(COUNTS, 2), 1.3, solver)

    def loss(logits):
        return F.cross_entropy(logits + attached.delta(logits, y), y)

    assert torch.autograd.gradcheck(loss, u.double().requires_grad_())


def test_at_a_solution_it_does_not_matter_whether_delta_is_attached():
    u, y = random_batch(LABELS, 4)[:2]

    def gap(solver):
        split = RankSplit(COUNTS, 2)
        parts = [kind(4, split, 1.0, solver) for kind in (LPL, AttachedLPL)]
        one, other = (
            gradient(lambda a, b, p=part: F.cross_entropy(a + p.delta(a, b), b), u, y)
            for part in parts
        )
        return float((one - other).norm() / one.norm())

    assert gap(L2(steps=200)) < 1e-4
    assert gap(Algorithm1(0.25)) > 0.01


@pytest.mark.parametrize(
    "wrong", [{"solver": "pgd"}, {"solver": "linf"}, {"base_loss": F.cross_entropy}]
)
def test_attached_refuses_what_it_cannot_differentiate(wrong):
    u, y = random_batch(LABELS, 4)[:2]
    with pytest.raises(ValueError, match="solver must be L2 or Algorithm1"):
        AttachedLPL(4, **wrong).delta(u, y)


# --- settings -----------------------------------------------------------------------


def test_sided_bound_has_a_factor_for_each_side():
    bound = SidedBound(FixedBound(2.0), raised=0.5, lowered=3.0)
    signs = torch.tensor([1.0, -1.0, -1.0])
    assert bound(None, signs).tolist() == [1.0, 6.0, 6.0]
    assert bound.largest == 6.0
    assert not bound.uses_confidence


def delta_of(setting: Setting, u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return loss_of(setting, COUNTS).perturbation.delta(u, y)


BASE = Setting(epsilon=1.0, num_head=2)


@pytest.mark.parametrize(
    ("setting", "same"),
    [
        (replace(BASE, raised=2.0, lowered=2.0), replace(BASE, epsilon=2.0)),
        (replace(BASE, threshold=0.5), BASE),  # a split by rank has no threshold
        # with no class in the head all are raised; reversed, the head alone is raised
        (replace(BASE, split="reversed", num_head=4), replace(BASE, num_head=0)),
    ],
)
def test_settings_that_are_the_same(setting, same):
    u, y = random_batch(LABELS, 4)[:2]
    torch.testing.assert_close(delta_of(setting, u, y), delta_of(same, u, y))


@pytest.mark.parametrize(("side", "classes"), [("raised", [2, 3]), ("lowered", [0, 1])])
def test_a_factor_of_zero_leaves_one_side_alone(side, classes):
    u, y = random_batch(LABELS, 4)[:2]
    delta = delta_of(replace(BASE, **{side: 0.0}), u, y)
    moved = {int(c) for c in y[delta.norm(dim=1) > 0]}
    assert moved == {0, 1, 2, 3} - set(classes)


def test_reversed_split_raises_the_head_and_lowers_the_rest():
    split = loss_of(replace(BASE, split="reversed"), COUNTS).perturbation.split
    assert split(None).tolist() == [1, 1, -1, -1]


def test_without_bounds_it_is_cross_entropy_or_la():
    u, y = random_batch(LABELS, 4)[:2]
    torch.testing.assert_close(loss_of(Setting(), COUNTS)(u, y), F.cross_entropy(u, y))
    adjusted = F.cross_entropy(u + LogitAdjustment(COUNTS).delta(u, y), y)
    torch.testing.assert_close(loss_of(Setting(adjusted=True), COUNTS)(u, y), adjusted)


def test_perturbation_is_learned_on_adjusted_logits():
    u, y = random_batch(LABELS, 4)[:2]
    shift = LogitAdjustment(COUNTS).delta(u, y)
    expected = shift + delta_of(BASE, u + shift, y)
    torch.testing.assert_close(delta_of(replace(BASE, adjusted=True), u, y), expected)


def test_grid_asks_every_question():
    settings = grid()
    assert len(set(settings)) == len(settings)
    for setting in settings:
        loss_of(setting, torch.arange(10, 0, -1))
    varied = {
        name: {asdict(setting)[name] for setting in settings} for name in asdict(Setting())
    }
    assert all(len(values) > 1 for values in varied.values())
    assert varied["ratio"] == set(RATIOS)
    assert set(BOUNDS) < varied["epsilon"] | varied["extra"]


# --- runs ---------------------------------------------------------------------------


def test_problem_has_three_parts_that_share_no_image():
    data = problem(100, seed=3)
    ids = [{image.numpy().tobytes() for image in part.images} for part in data]
    for one, other in combinations(ids, 2):
        assert not one & other
    assert set(data.validation.class_counts(10).tolist()) <= {14, 15, 16}
    counts = data.train.class_counts(10)
    assert counts[0] / counts[-1] >= 100
    assert len(data.test.targets) == len(digits()[1].targets)


def test_run_can_be_repeated_and_says_what_it_is():
    setting = Setting(epsilon=1.0, split="confidence", decay=0.5)
    one, other = (train_setting(setting, seed=1, epochs=1) for _ in range(2))
    for name in ("key", "hits", "images", "confidence", "loss", "config"):
        assert one[name] == other[name]
    assert one["config"]["setting"] == asdict(setting)
    assert one["data"] == "digits-LT 100:1"
    assert {"commit", "date", "device", "wall_seconds", "versions"} <= set(one)
    assert digest(config_of(setting, 2, 1)) != one["key"]
    assert digest(config_of(replace(setting, decay=None), 1, 1)) != one["key"]


def record(setting: Setting, seed: int, right: int) -> dict:
    images = {name: [2] * 10 for name in ("train", "validation", "test")}
    hits = {"train": [2] * 10, "validation": [1] * 10, "test": [right] * 4 + [0] * 6}
    return {
        "seed": seed,
        "config": {"setting": asdict(setting)},
        "hits": hits,
        "images": images,
        "confidence": [0.5] * 10,
    }


def test_frame_has_mean_class_accuracies_in_percent():
    runs = [record(Setting(), 1, 1), record(Setting(), 0, 2), record(BASE, 0, 0)]
    table = frame(runs)
    rows = rows_of(table, Setting())
    assert rows.index.tolist() == [0, 1]
    assert rows[["train", "validation", "test"]].values.tolist() == [
        [100, 50, 40],
        [100, 50, 20],
    ]
    assert rows[["head", "tail", "q"]].values.tolist() == [[100, 0, 0.5], [50, 0, 0.5]]
    with pytest.raises(ValueError, match=r"table must hold runs of Setting\(ratio=50"):
        rows_of(table, Setting(50))


def test_program_goes_on_where_it_stopped(monkeypatch, tmp_path: Path, capsys):
    monkeypatch.setattr(program, "grid", lambda: [Setting(), BASE])
    trained = []

    def train(setting, seed):
        trained.append((setting, seed))
        return {"key": digest(config_of(setting, seed, EPOCHS))}

    monkeypatch.setattr(program, "train_setting", train)
    path = tmp_path / "ablations.jsonl"
    for seeds in (1, 2, 2):
        program.main(["--seeds", str(seeds), "--results", str(path)])
    assert trained == [(s, seed) for seed in (0, 1) for s in (Setting(), BASE)]
    assert len(read(path)) == 4
    assert "seed 1: 2 settings done" in capsys.readouterr().out


# --- the ledger ---------------------------------------------------------------------


def test_ledger_holds_every_setting_with_ten_seeds():
    keys = {run["key"] for run in read(ROOT / "results" / "ablations.jsonl")}
    wanted = {
        digest(config_of(setting, seed, EPOCHS)) for setting in grid() for seed in range(10)
    }
    assert keys == wanted
