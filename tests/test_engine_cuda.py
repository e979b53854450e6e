"""The engine on an NVIDIA GPU: the same bits, exact resume, no wait in a step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lpl_lib import LabelledImages, digits, long_tail_indices
from lpl_lib.lab.checkpoint import Checkpoint
from lpl_lib.lab.engine import (
    PausedError,
    Precision,
    Recipe,
    Trained,
    _Run,
    deterministic,
    fresh_accelerator,
    train,
)
from lpl_lib.lab.methods import Classes, build_method
from lpl_lib.lab.models import WithFeatures, build_model
from lpl_lib.lab.records import read
from lpl_lib.lab.run.__main__ import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

POOL, _ = digits()
CHOSEN = POOL.subset(long_tail_indices(POOL.targets, 10))
TRAIN = LabelledImages((CHOSEN.images * 255).round().to(torch.uint8), CHOSEN.targets)
COUNTS = TRAIN.class_counts(10)
RECIPE = Recipe(epochs=3, batch_size=64, padding=1, flip=True, precision="bf16")
NAMES = ["ce", "la+lpl", "ldam-drw", "isda+lpl", "lpl-varied-linf"]


def parts(name: str) -> tuple[WithFeatures, object]:
    bound = {"extra": 1.0} if "lpl" in name else {}
    method = build_method(name, Classes(COUNTS, 32), **bound)
    torch.manual_seed(0)
    scale = method.cosine_scale
    return WithFeatures(build_model("small-conv", 10, 1, cosine_scale=scale)), method


def run(
    name: str, recipe: Recipe = RECIPE, **options: object
) -> tuple[dict[str, torch.Tensor], Trained]:
    net, method = parts(name)
    trained = train(net, method, TRAIN, recipe, **options)
    assert net.head.weight.is_cuda
    return net.state_dict(), trained


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    (first, one), (second, two) = run(name), run(name)
    assert same(first, second)
    assert one.loss == two.loss
    assert one.loss[-1] < one.loss[0]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_paused_training_ends_as_one_that_was_not(
    tmp_path: Path, precision: Precision
) -> None:
    recipe = dataclasses.replace(RECIPE, precision=precision)
    whole, expected = run("isda+lpl", recipe)
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    for _ in range(recipe.epochs - 1):
        with pytest.raises(PausedError):
            run("isda+lpl", recipe, checkpoint=checkpoint, until=0.0)
    resumed, trained = run("isda+lpl", recipe, checkpoint=checkpoint)
    assert trained.start_epoch == recipe.epochs - 1
    assert same(whole, resumed)
    assert trained.loss == expected.loss


def test_each_training_has_its_own_device() -> None:
    for cpu in (False, True, True, False):
        net, method = parts("ce")
        recipe = dataclasses.replace(RECIPE, epochs=1)
        train(net, method, TRAIN, recipe, cpu=cpu)
        assert net.head.weight.is_cuda != cpu


# but for ISDA, which asks the device which classes a batch holds
@pytest.mark.parametrize("name", [name for name in NAMES if "isda" not in name])
def test_no_step_waits_for_the_device(name: str) -> None:
    net, method = parts(name)
    accelerator = fresh_accelerator("bf16", cpu=False)
    training = _Run(net, method, TRAIN, RECIPE, 0, accelerator)
    training.model.train()
    order, draws = training._draw()
    losses: list[torch.Tensor] = []
    hits: list[torch.Tensor] = []
    first, *others = training.batches
    with deterministic():  # as in training: other kernels may wait
        training._step(order[first], draws, losses, hits)  # buffers are made
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in others[:3]:
                training._step(order[batch], draws, losses, hits)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(loss.isfinite() for loss in losses)


def test_runs_at_once_are_recorded_with_the_gpus_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["digits-lt50", "--methods", "ce", "ldam-drw", "--seeds", "0-1", "--jobs", "2"]
    settings = ["--set", "recipe.epochs=1", "recipe.precision=bf16", "search.grid={}"]
    assert main([*words, *settings]) == 0
    records = read("results/digits-lt50.jsonl")
    assert len(records) == 4
    assert {r["device"] for r in records} == {torch.cuda.get_device_name()}
    assert all(sum(r["hits"]) > 0 for r in records)
