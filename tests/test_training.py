"""The training loop: reproducible, learns, and takes any criterion and model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lpl_lib import ISDA, LPL, LogitAdjustment, PerturbedLoss, balanced_accuracy
from lpl_lib.lab import LabelledImages, SmallConvNet, best_device, digits, fit, predict
from lpl_lib.lab.files import Checkpoint
from lpl_lib.lab.models import Normalise
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import DivergedError, PausedError, train

TRAIN, TEST = digits()
FEW = TRAIN.subset(torch.arange(65))


def linear_net(seed: int = 0) -> nn.Module:
    """A small net with batch normalisation, and without ``features``."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)
    )


def test_digits_are_learnt():
    torch.manual_seed(0)
    net = SmallConvNet(10, width=8)
    history = fit(net, nn.CrossEntropyLoss(), TRAIN, epochs=4, progress=False)
    assert len(history) == 4
    assert history[-1] < history[0] / 2
    assert balanced_accuracy(predict(net, TEST.images), TEST.targets) > 0.8


@pytest.mark.parametrize(
    "perturbation",
    [
        lambda head: None,
        lambda head: ISDA(head) + LPL(10, decay=0.9),
        lambda head: LogitAdjustment(TRAIN.class_counts(10)) + LPL(10, solver="linf"),
    ],
    ids=["none", "ISDA + LPL", "LA + LPL"],
)
def test_the_same_seed_gives_the_same_net_bit_for_bit(perturbation):
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        net = SmallConvNet(10, width=8)
        criterion = PerturbedLoss(perturbation(net.head))
        history = fit(
            net, criterion, FEW, epochs=2, seed=seed, batch_size=16, progress=False
        )
        runs.append((history, net.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())
    assert runs[0][0] != runs[2][0]


def test_without_a_perturbation_the_criterion_may_be_torchs_own():
    nets = [linear_net(), linear_net()]
    criteria = [nn.CrossEntropyLoss(), PerturbedLoss()]
    histories = [
        fit(net, criterion, FEW, epochs=2, progress=False)
        for net, criterion in zip(nets, criteria, strict=True)
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("size", "batch_size", "expected"),
    [
        pytest.param(65, 64, [64], id="one image left over"),
        pytest.param(65, 63, [63, 2], id="two images left over"),
        pytest.param(65, 16, [16] * 4, id="one image left over of many batches"),
        pytest.param(20, 64, [20], id="one small batch"),
    ],
)
def test_a_last_batch_of_one_image_is_left_out(size, batch_size, expected):
    """It would stop batch normalisation with an error."""
    sizes = []

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(targets))
        return nn.functional.cross_entropy(logits, targets)

    data = TRAIN.subset(torch.arange(size))
    fit(linear_net(), criterion, data, epochs=1, batch_size=batch_size, progress=False)
    assert sizes == expected


def test_a_single_image_and_a_single_step():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    history = fit(net, PerturbedLoss(LPL(10)), TRAIN.subset(torch.tensor([0])), epochs=1)
    assert len(history) == 1


def test_each_epoch_sees_each_image_once_in_a_new_order():
    seen = []

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        return nn.functional.cross_entropy(logits, targets)

    fit(linear_net(), criterion, FEW, epochs=2, batch_size=65, progress=False)
    assert all(
        torch.equal(order.sort().values, FEW.targets.sort().values) for order in seen
    )
    assert not torch.equal(seen[0], seen[1])


def test_the_history_is_the_mean_loss_of_the_images():
    values = iter([3.0, 1.0, 6.0, 2.0])  # of 33 and 32 images

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return logits.sum() * 0 + next(values)

    history = fit(linear_net(), criterion, FEW, epochs=2, batch_size=33, progress=False)
    assert history == pytest.approx([131 / 65, 262 / 65])


def test_weights_decay_by_as_much_as_asked():
    """Where the loss does not depend on the weights, decay alone moves them."""

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return 0 * logits.sum()

    start = linear_net().state_dict()["1.weight"]
    norms = {}
    for decay in (0.0, 0.01, 0.1):
        net = linear_net()
        fit(net, criterion, FEW, epochs=2, weight_decay=decay, progress=False)
        norms[decay] = net.state_dict()["1.weight"].norm() / start.norm()
    assert norms[0.0] == 1 > norms[0.01] > norms[0.1]


def test_the_model_is_left_in_evaluation_mode():
    net = linear_net()
    fit(net, nn.CrossEntropyLoss(), FEW, epochs=1, progress=False)
    assert not net.training
    logits = predict(net, FEW.images, batch_size=7)
    torch.testing.assert_close(logits, net.eval()(FEW.images))
    assert not logits.requires_grad


def test_the_best_device_holds_tensors():
    assert torch.zeros(1, device=best_device()).device.type == best_device().type


def test_images_of_any_channels():
    images = torch.rand(9, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    data = LabelledImages(images, torch.arange(9) % 3)
    net = SmallConvNet(3, channels=3, width=2)
    assert (
        len(fit(net, PerturbedLoss(LPL(3)), data, epochs=2, batch_size=4, progress=False))
        == 2
    )


def test_a_criterion_in_evaluation_mode_is_trained_with_all_the_same():
    criterion = PerturbedLoss(LogitAdjustment(TRAIN.class_counts(10)))
    fresh = fit(linear_net(), criterion, FEW, epochs=1, progress=False)
    again = fit(linear_net(), criterion.eval(), FEW, epochs=1, progress=False)
    assert again == fresh


BYTES = LabelledImages((FEW.images * 255).byte(), FEW.targets)
RECIPE = Recipe(epochs=4, batch_size=16, padding=1, flip=True, warmup_epochs=1)


def picture_net() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Dropout(0.1), SmallConvNet(10, width=4))
    return nn.Sequential(Normalise(BYTES.images), body)


def killed_after(epochs: int):
    """A hook of the epoch that stops the training there."""

    def at_epoch(share: float) -> None:
        if share * RECIPE.epochs >= epochs:
            raise KeyboardInterrupt

    return at_epoch


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_was_killed_ends_with_the_same_bits(tmp_path, epochs, precision):
    recipe = Recipe(epochs=4, batch_size=16, padding=1, flip=True, precision=precision)

    def run(**options):
        net = picture_net()
        head = net[1][1].head
        criterion = PerturbedLoss(ISDA(head) + LPL(10, decay=0.9))
        done = train(net, criterion, BYTES, recipe, progress=False, **options)
        return net.state_dict(), done

    whole, history = run()
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    keep = {"checkpoint": checkpoint, "checkpoint_every": 0}
    with pytest.raises(KeyboardInterrupt):
        run(at_epoch=[killed_after(epochs)], **keep)
    torch.manual_seed(99)  # whatever happened in between
    resumed, again = run(**keep)
    assert again.start_epoch == epochs
    assert again.loss == history.loss
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_time_that_is_up_pauses_after_an_epoch(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    net = picture_net()
    with pytest.raises(PausedError, match="training: paused after epoch 1"):
        train(net, PerturbedLoss(), BYTES, RECIPE, checkpoint=checkpoint, until=0.0)
    assert len(checkpoint.load()["loss"]) == 1


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    fit(MADE, PerturbedLoss(), FEW, epochs=1, progress=False)
    assert (torch.rand(1), np.random.rand()) == expected


MADE = linear_net()


def test_a_loss_that_is_no_number_stops_the_training():
    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return logits.sum() * float("nan")

    with pytest.raises(DivergedError, match="loss is nan after epoch 1"):
        fit(linear_net(), criterion, FEW, epochs=2, progress=False)


def test_a_sampler_draws_the_order_and_a_mixer_the_batch():
    seen = []

    def sampler(targets: Tensor, draw: torch.Generator) -> Tensor:
        return torch.zeros(len(targets), dtype=torch.int64)

    def mixer(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(labels)
        return images, nn.functional.one_hot(labels, 10).float()

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        assert targets.shape == logits.shape
        return nn.functional.cross_entropy(logits, targets)

    options = {"sampler": sampler, "mixer": mixer, "progress": False}
    train(linear_net(), criterion, FEW, Recipe(epochs=1, batch_size=33), **options)
    assert [len(labels) for labels in seen] == [32, 32]  # an odd last image is left out
    assert all((labels == FEW.targets[0]).all() for labels in seen)


def test_a_hook_sees_the_gradient_of_each_step():
    norms = []

    class Hook:
        def __call__(self, net, criterion, batch, lr):
            norms.append((float(net[1].weight.grad.norm()), lr, len(batch.targets)))

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    train(linear_net(), PerturbedLoss(), FEW, Recipe(epochs=1), hook=Hook(), progress=False)
    assert [size for _, _, size in norms] == [64]
    assert norms[0][0] > 0
