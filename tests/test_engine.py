"""The engine: exact resume, determinism, precision, several processes, augmentation."""

from __future__ import annotations

import dataclasses
import socket
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from lpl_lib import LabelledImages, SmallConvNet, digits, fit, long_tail_indices
from lpl_lib.lab.checkpoint import Checkpoint
from lpl_lib.lab.engine import (
    DivergedError,
    Normaliser,
    PausedError,
    Recipe,
    Trained,
    predict_bytes,
    train,
)
from lpl_lib.lab.methods import METHODS, Classes, build_method
from lpl_lib.lab.models import WithFeatures, build_model

POOL, TEST = digits()


def as_bytes(data: LabelledImages) -> LabelledImages:
    return LabelledImages((data.images * 255).round().to(torch.uint8), data.targets)


TRAIN = as_bytes(POOL.subset(long_tail_indices(POOL.targets, 10)))
TRAIN = TRAIN.subset(torch.arange(0, len(TRAIN.targets), 3))
COUNTS = TRAIN.class_counts(10)
RECIPE = Recipe(epochs=4, batch_size=32, padding=1, flip=True)


class InterruptedTrainingError(Exception):
    """Stands for whatever stops a training."""


def run(
    name: str = "la+lpl",
    recipe: Recipe = RECIPE,
    *,
    seed: int = 0,
    stop: int | None = None,
    data: LabelledImages = TRAIN,
    **options,
) -> tuple[dict[str, torch.Tensor], Trained | None, WithFeatures]:
    """Train a small net; ``stop`` is the epoch before which something interrupts."""
    parameters = {"extra": 1.0} if name.endswith("lpl") else {}
    method = build_method(name, Classes(COUNTS, 8), **parameters)
    if stop is not None:
        plain = method.at_epoch

        def at_epoch(share: float) -> None:
            if share >= stop / recipe.epochs:
                raise InterruptedTrainingError
            plain(share)

        method = dataclasses.replace(method, at_epoch=at_epoch)
    torch.manual_seed(seed)
    scale = method.cosine_scale
    net = WithFeatures(build_model("small-conv", 10, 1, cosine_scale=scale, width=4))
    trained = None
    try:
        trained = train(net, method, data, recipe, seed=seed, cpu=True, **options)
    except InterruptedTrainingError:
        assert stop is not None
    return net.state_dict(), trained, net


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("name", ["ce", "isda+lpl", "ldam-drw"])
def test_the_same_seed_gives_the_same_net_bit_for_bit(name):
    first, second, other = (run(name, seed=seed) for seed in (0, 0, 1))
    assert same(first[0], second[0])
    assert first[1].loss == second[1].loss
    assert first[1].loss != other[1].loss


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize(("name", "stop"), [("isda+lpl", 1), ("ldam-drw", 3), ("ce", 2)])
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, name, stop, precision):
    recipe = dataclasses.replace(RECIPE, precision=precision)
    whole, expected, _ = run(name, recipe)
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    options = {"checkpoint": checkpoint, "checkpoint_every": 0}
    run(name, recipe, stop=stop, **options)
    torch.rand(7)  # whatever else was drawn meanwhile
    resumed, trained, _ = run(name, recipe, **options)
    assert trained.start_epoch == stop
    assert same(whole, resumed)
    assert trained.loss == expected.loss
    assert trained.class_accuracy == expected.class_accuracy
    assert trained.images == expected.images


def test_a_finished_training_is_not_repeated(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    first, _, _ = run(checkpoint=checkpoint, checkpoint_every=1e9)
    again, trained, _ = run(checkpoint=checkpoint)
    assert trained.start_epoch == RECIPE.epochs
    assert same(first, again)


def test_states_are_kept_as_often_as_asked(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, state: saved.append(state["epoch"])
    )
    run(checkpoint=Checkpoint(tmp_path / "a", "k"), checkpoint_every=0)
    run(checkpoint=Checkpoint(tmp_path / "b", "k"), checkpoint_every=1e9)
    assert saved == [1, 2, 3, 4, 4]


def test_a_training_pauses_when_time_is_up_and_goes_on(tmp_path):
    whole, _, _ = run()
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    for epoch in (1, 2, 3):
        with pytest.raises(PausedError, match=f"la: paused after epoch {epoch}"):
            run(checkpoint=checkpoint, until=time.monotonic(), title="la")
    resumed, trained, _ = run(checkpoint=checkpoint, until=time.monotonic())
    assert trained.start_epoch == 3
    assert same(whole, resumed)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    Checkpoint(tmp_path / "a.pt", "other").save({"epoch": 1})
    with pytest.raises(ValueError, match="another configuration"):
        run(checkpoint=Checkpoint(tmp_path / "a.pt", "mine"))


def test_the_generators_of_the_caller_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    method = build_method("ce", Classes(COUNTS, 8))
    with torch.random.fork_rng():
        net = WithFeatures(build_model("small-conv", 10, 1, width=4))
    train(net, method, TRAIN, RECIPE, cpu=True)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("stop", [None, 2])
def test_a_net_trained_in_half_precision_is_an_ordinary_net_again(stop):
    """Accelerate's autocast is off: what comes out is what its weights say in float32."""
    recipe = dataclasses.replace(RECIPE, precision="bf16")
    weights, _, net = run("ce", recipe, stop=stop)
    plain = WithFeatures(build_model("small-conv", 10, 1, width=4))
    plain.load_state_dict(weights)
    images = POOL.images[:8]
    with torch.no_grad():
        logits, expected = net.eval()(images)[0], plain.eval()(images)[0]
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_a_net_is_trained_in_half_precision_the_second_time_too():
    dtypes = []
    net = WithFeatures(build_model("small-conv", 10, 1, width=4))
    net.net.body[0].register_forward_hook(lambda *seen: dtypes.append(seen[2].dtype))
    recipe = dataclasses.replace(RECIPE, epochs=1, precision="bf16")
    for _ in range(2):
        train(net, build_method("ce", Classes(COUNTS, 8)), TRAIN, recipe, cpu=True)
    assert set(dtypes) == {torch.bfloat16}


def test_it_is_the_teaching_loop_where_they_do_the_same():
    """Without augmentation, the engine's steps are those of ``fit`` but for the order."""
    data = as_bytes(POOL.subset(torch.arange(48)))
    recipe = Recipe(3, batch_size=48, nesterov=True, weight_decay=5e-4)
    torch.manual_seed(0)
    net = WithFeatures(SmallConvNet(10, width=4))
    engine = train(net, build_method("ce", Classes(COUNTS, 8)), data, recipe, cpu=True)
    torch.manual_seed(0)
    plain = SmallConvNet(10, width=4)
    normal = LabelledImages(Normaliser(data.images)(data.images), data.targets)
    loop = fit(
        plain, torch.nn.CrossEntropyLoss(), normal, epochs=3, batch_size=48, progress=False
    )
    assert engine.loss == pytest.approx(loop, rel=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    _, trained, _ = run(name, recipe)
    assert all(torch.isfinite(torch.tensor(trained.loss)))


def test_digits_are_learnt():
    recipe = Recipe(epochs=8, batch_size=64, nesterov=True)
    data = as_bytes(POOL)
    _, trained, net = run("ce", recipe, data=data)
    logits, features = predict_bytes(net, as_bytes(TEST).images, Normaliser(data.images))
    assert (logits.argmax(1) == TEST.targets).float().mean() > 0.85
    assert features.shape == (599, 8)
    assert torch.tensor(trained.class_accuracy[-1]).mean() > 0.85
    assert trained.images == 8 * 1198
    assert not net.training


def test_micro_batches_add_up_to_the_batch():
    """Exactly so where no part of the net looks at the whole batch."""
    classes = Classes(COUNTS, 6)
    weights = []
    for parts in (1, 2, 5):
        torch.manual_seed(0)
        layers = (torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.Linear(6, 10))
        net = WithFeatures(torch.nn.Sequential(*layers))
        recipe = Recipe(2, batch_size=33, micro_batches=parts, lr=0.05)
        train(net, build_method("la", classes), TRAIN, recipe, cpu=True)
        weights.append(net.head.weight.detach())
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights[2], weights[0], rtol=1e-4, atol=1e-5)


def test_half_precision_stays_close_to_single():
    """Digits do not ask for more than bfloat16; and the precision is really used."""
    losses = [
        run("ce", dataclasses.replace(RECIPE, precision=precision))[1].loss
        for precision in ("no", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_a_training_that_diverges_says_so():
    with pytest.raises(DivergedError, match=r"the training loss is (nan|inf) after epoch"):
        run("ce", dataclasses.replace(RECIPE, lr=1e12))


def test_the_progress_bar_shows_loss_and_groups(capsys):
    run(groups={"head": [0, 1], "tail": [8, 9]}, progress=True, title="digits la+lpl")
    shown = capsys.readouterr().err
    assert "digits la+lpl" in shown
    assert "loss " in shown
    for name in ("all", "head", "tail"):
        assert f"{name} " in shown.rsplit("\r", 1)[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (POOL, "data must hold at least one image, as uint8, got 1198 of torch.float32"),
        (
            TRAIN.subset(torch.tensor([], dtype=torch.int64)),
            "at least one image.* got 0 of",
        ),
    ],
)
def test_images_that_cannot_be_used(data, message):
    with pytest.raises(ValueError, match=message):
        run(data=data)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"lr": 0}, "lr must be a finite number > 0, got 0"),
        ({"weight_decay": -1}, "weight_decay must be a finite number >= 0, got -1"),
        ({"schedule": "steps"}, "schedule must be one of .* got 'steps'"),
        ({"precision": "fp8"}, "precision must be 'no', 'bf16' or 'fp16', got 'fp8'"),
        ({"padding": -1}, "padding must be an integer >= 0"),
        ({"micro_batches": 0}, "micro_batches must be an integer >= 1"),
    ],
)
def test_a_recipe_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RECIPE, **setting)


def test_the_normaliser_is_exact_and_takes_a_constant_channel():
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=draw, dtype=torch.uint8)
    images[:, 2] = 7
    out = Normaliser(images)(images)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    deviation = out.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.tensor([1.0, 1, 0]), rtol=0, atol=1e-5)


def worker(rank: int, world: int, port: int, folder: str) -> None:
    """One process of a distributed training, on the CPU."""
    import os

    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    net, trained = flat_training()
    torch.save(
        {"net": net, "loss": trained.loss, "images": trained.images}, f"{folder}/{rank}"
    )
    torch.distributed.destroy_process_group()


def flat_training() -> tuple[dict[str, torch.Tensor], Trained]:
    """A training without batch normalisation, which each process has for itself."""
    torch.manual_seed(0)
    layers = (torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.Linear(6, 10))
    net = WithFeatures(torch.nn.Sequential(*layers))
    method = build_method("la+lpl", Classes(COUNTS, 6), extra=1.0)
    data = TRAIN.subset(torch.arange(96))
    recipe = Recipe(2, batch_size=32, lr=0.05, padding=1)
    trained = train(net, method, data, recipe, cpu=True)
    return net.state_dict(), trained


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (2, port, str(tmp_path)), nprocs=2)
    alone, trained = flat_training()
    for rank in range(2):
        part = torch.load(Path(tmp_path) / str(rank))
        assert part["loss"] == pytest.approx(trained.loss, rel=1e-4)
        assert part["images"] == trained.images
        for name, value in alone.items():
            torch.testing.assert_close(part["net"][name], value, rtol=1e-3, atol=1e-5)
