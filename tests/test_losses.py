"""PerturbedLoss: base losses, reductions, precision, gradients, when values are read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import linear, random_batch
from reference import cross_entropy
from torch import Tensor, nn

from lpl_lib import (
    ISDA,
    LDAM,
    LPL,
    VS,
    ConfidenceBound,
    FixedBound,
    FocalLoss,
    FrequencyBound,
    LogitAdjustment,
    PerturbedLoss,
)

COUNTS = [50, 20, 7, 3]
TARGETS = [0, 1, 1, 2, 3, 0]


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """A loss of the user's own: focal loss with exponent 2."""
    log_p = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


BASE_LOSSES = {
    "default": None,
    "label smoothing": nn.CrossEntropyLoss(label_smoothing=0.1),
    "class weights": nn.CrossEntropyLoss(torch.tensor([0.5, 1.0, 2.0, 3.0]).double()),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "focal": focal,
}
# Perturbations whose delta is constant, or differentiable, in logits and head weight.
SMOOTH = {
    "none": lambda head: None,
    "LA": lambda head: LogitAdjustment(COUNTS),
    "LDAM": lambda head: LDAM(COUNTS, scale=3),
    "VS": lambda head: VS(COUNTS),
    "ISDA full": lambda head: ISDA(head).eval(),
    "ISDA diagonal": lambda head: ISDA(head, covariance="diagonal").eval(),
    "LPL linf": lambda head: LPL(COUNTS, FixedBound(0.7), solver="linf"),
    "LA + VS + ISDA": lambda head: LogitAdjustment(COUNTS) + VS(COUNTS) + ISDA(head).eval(),
}


@pytest.mark.parametrize("base", BASE_LOSSES)
@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_against_finite_differences(name, base):
    logits, targets, features, weight = random_batch(TARGETS, 4)
    if name == "LPL linf" and base in ("label smoothing", "focal"):
        pytest.skip("linf is the closed form for cross-entropy")
    head = linear(weight)
    perturbation = SMOOTH[name](head)
    for part in perturbation.modules() if perturbation is not None else []:
        if isinstance(part, ISDA):
            part.update(3 * features.float(), targets)
    criterion = PerturbedLoss(perturbation, BASE_LOSSES[base])

    def loss(u: Tensor, w: Tensor) -> Tensor:
        del head.weight
        head.weight = w  # a tensor of the check's in the place of the parameter
        head(features)
        return criterion(u, targets)

    inputs = (logits.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, atol=1e-7)


@pytest.mark.parametrize("base", BASE_LOSSES)
def test_the_base_loss_sees_the_perturbed_logits(base):
    u, y = random_batch(TARGETS, 4)[:2]
    vs = VS(COUNTS)
    function = BASE_LOSSES[base] or F.cross_entropy
    loss = PerturbedLoss(vs, BASE_LOSSES[base])(u, y)
    torch.testing.assert_close(loss, function(u + vs(u, y), y), rtol=1e-12, atol=0)


def test_the_default_is_the_mean_cross_entropy_in_nats():
    u, y = random_batch(TARGETS, 4)[:2]
    expected = cross_entropy(u.numpy(), y.numpy())
    assert PerturbedLoss()(u, y).item() == pytest.approx(expected, rel=1e-12)


def test_the_reduction_is_the_base_losss_own():
    u, y = random_batch(TARGETS, 4)[:2]
    loss = PerturbedLoss(LDAM(COUNTS), nn.CrossEntropyLoss(reduction="none"))(u, y)
    assert loss.shape == (len(y),)
    torch.testing.assert_close(loss.mean(), PerturbedLoss(LDAM(COUNTS))(u, y))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_gives_a_float32_loss_and_a_gradient_in_kind(half):
    u, y = random_batch(TARGETS, 4, dtype=half)[:2]
    loss = PerturbedLoss(LogitAdjustment(COUNTS) + LPL(4))(u.requires_grad_(), y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert u.grad.dtype == half
    assert loss.item() == pytest.approx(
        PerturbedLoss(LogitAdjustment(COUNTS) + LPL(4))(u.detach().float(), y).item()
    )


def test_values_are_read_on_the_cpu_unless_told_otherwise():
    u, y = torch.tensor([[0.0, torch.nan]]), torch.tensor([0])
    la = LogitAdjustment([2, 1])
    for check_values in (None, True):
        with pytest.raises(ValueError, match="logits must be finite"):
            PerturbedLoss(la, check_values=check_values)(u, y)
    assert PerturbedLoss(la, check_values=False)(u, y).isnan()


@pytest.mark.parametrize("check_values", [None, True, False])
def test_the_meta_device_has_no_values_to_read(check_values):
    u, y = (
        torch.zeros(2, 3, device="meta"),
        torch.zeros(2, device="meta", dtype=torch.int64),
    )
    assert PerturbedLoss(LPL(3), check_values=check_values)(u, y).device.type == "meta"


def test_the_perturbation_is_a_part_of_the_criterion():
    batch = random_batch(TARGETS, 4)
    head = batch.head()
    criterion = PerturbedLoss(ISDA(head) + LPL(4, decay=0.9))
    head(batch.features)
    loss = criterion(*batch[:2])
    assert set(criterion.state_dict()) == {
        "perturbation.parts.ISDA.count",
        "perturbation.parts.ISDA.mean",
        "perturbation.parts.ISDA.spread",
        "perturbation.parts.LPL.confidence.confidence",
        "perturbation.parts.LPL.confidence.seen",
    }
    assert not list(criterion.parameters())  # the head stays the model's
    criterion.eval()
    criterion(*batch[:2])
    assert int(criterion.perturbation.parts["ISDA"].count.sum()) == len(TARGETS)
    assert loss.ndim == 0


@pytest.mark.parametrize("base", [None, nn.CrossEntropyLoss()])
def test_without_gradients_nothing_is_perturbed_or_learnt(base):
    """Fault 4: a validation loop that calls ``model.eval()`` and forgets the criterion."""
    u, y = random_batch(TARGETS, 4)[:2]
    criterion = PerturbedLoss(LogitAdjustment(COUNTS) + LPL(4, decay=0.9), base)
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(criterion(u, y), F.cross_entropy(u, y))
    for name, value in criterion.state_dict().items():
        assert torch.equal(value, before[name])
    assert not torch.equal(criterion(u, y), F.cross_entropy(u, y))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_what_is_known_of_the_data_survives_a_cast(half):
    """Of a model that holds the criterion; the base loss's own weights follow it."""
    u, y = random_batch(TARGETS, 4, dtype=torch.float32)[:2]
    model = nn.Module()
    model.net = nn.Linear(2, 4)
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0])
    model.loss = PerturbedLoss(
        LogitAdjustment(COUNTS) + LPL(COUNTS, ConfidenceBound(0.1, 1.0), decay=0.9),
        FocalLoss(1.0, weight),
    )
    expected = PerturbedLoss(
        LogitAdjustment(COUNTS) + LPL(COUNTS, ConfidenceBound(0.1, 1.0), decay=0.9),
        FocalLoss(1.0, weight),
    )
    model.to(half)
    assert model.net.weight.dtype == half
    for _ in range(3):
        assert torch.equal(model.loss(u, y), expected(u, y))
    for value in model.loss.state_dict().values():
        assert value.dtype in (torch.float32, torch.bool)


def test_what_is_known_of_the_data_survives_construction_on_the_meta_device():
    u, y = random_batch(TARGETS, 4)[:2]

    def make() -> PerturbedLoss:
        lpl = LPL(COUNTS, FrequencyBound(COUNTS, 0.1, 1.0), decay=0.9)
        return PerturbedLoss(LogitAdjustment(COUNTS) + VS(COUNTS) + LDAM(COUNTS) + lpl)

    first = make()
    with torch.device("meta"):
        second = make()
    second.to_empty(device="cpu").load_state_dict(first.state_dict())
    assert torch.equal(first(u, y), second(u, y))


def test_the_gradient_of_la_is_that_of_the_adjusted_softmax():
    u, y = random_batch(TARGETS, 4)[:2]
    u.requires_grad_()
    PerturbedLoss(LogitAdjustment(COUNTS))(u, y).backward()
    p = torch.softmax(u.detach() + torch.tensor(COUNTS).double().log(), 1)
    expected = (p - F.one_hot(y, 4)) / len(y)
    torch.testing.assert_close(u.grad, expected, rtol=1e-6, atol=1e-7)
