"""The training loop: reproducible, learns, and takes any criterion and model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lpl_lib import (
    ISDA,
    LPL,
    LabelledImages,
    LogitAdjustment,
    PerturbedLoss,
    SmallConvNet,
    balanced_accuracy,
    best_device,
    digits,
    fit,
    predict,
)

TRAIN, TEST = digits()
FEW = TRAIN.subset(torch.arange(65))


def linear_net(seed: int = 0) -> nn.Module:
    """A small net with batch normalisation, and without ``features``."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)
    )


class WithFeatures(nn.Module):
    """``linear_net`` in two halves, the second under a name of choice."""

    def __init__(self, second: str = "head") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        self.second = second
        setattr(self, second, nn.Linear(8, 10))

    def forward(self, images: Tensor) -> Tensor:
        return getattr(self, self.second)(self.features(images))


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
        lambda: None,
        lambda: ISDA(10, 16) + LPL(10, decay=0.9),
        lambda: LogitAdjustment(TRAIN.class_counts(10)) + LPL(10, solver="linf"),
    ],
    ids=["none", "ISDA + LPL", "LA + LPL"],
)
def test_the_same_seed_gives_the_same_net_bit_for_bit(perturbation):
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        net, criterion = SmallConvNet(10, width=8), PerturbedLoss(perturbation())
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


def test_isda_is_given_features_and_head_weight():
    criterion = PerturbedLoss(ISDA(10, 8))
    fit(WithFeatures(), criterion, FEW, epochs=3, batch_size=13, progress=False)
    assert int(criterion.perturbation.count.sum()) == 3 * 65


def test_a_model_with_features_but_no_head_is_used_whole():
    """As torchvision's VGG, whose last layers are called ``classifier``."""
    criterion = PerturbedLoss(LPL(10))
    history = fit(WithFeatures("classifier"), criterion, FEW, epochs=1, progress=False)
    assert history == fit(
        WithFeatures(), PerturbedLoss(LPL(10)), FEW, epochs=1, progress=False
    )


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
    net = WithFeatures()
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


def test_the_history_is_the_mean_loss_of_the_batches():
    values = iter([3.0, 1.0, 6.0, 2.0])

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return logits.sum() * 0 + next(values)

    history = fit(linear_net(), criterion, FEW, epochs=2, batch_size=33, progress=False)
    assert history == [2.0, 4.0]


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


def test_the_model_is_left_in_training_mode_and_predicts_in_evaluation_mode():
    net = linear_net()
    fit(net, nn.CrossEntropyLoss(), FEW, epochs=1, progress=False)
    assert net.training
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
