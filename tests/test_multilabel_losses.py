"""Multi-label losses against plain references; identities; extreme logits; precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from multilabel_reference import asl, bce, distribution_balanced, focal, rebalancing

from lpl_lib import MultilabelLPL, PerturbedLoss
from lpl_lib.book.theory.label_variation import equivalent_shift
from lpl_lib.lab.rebalancing import NegativeScale, Rebalanced
from lpl_lib.multilabel import (
    AsymmetricLoss,
    BCELoss,
    MultilabelFocalLoss,
    MultilabelLogitAdjustment,
    log_odds,
)

K, N = 5, 100
COUNTS = [80, 40, 20, 6, 2]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
CURVES = {
    "BCE": BCELoss(),
    "focal 2": MultilabelFocalLoss(),
    "focal 0.5": MultilabelFocalLoss(0.5),
    "ASL": AsymmetricLoss(),
    "ASL no margin": AsymmetricLoss(2.0, 0.0, 0.0),
    "ASL root": AsymmetricLoss(0.5, 0.5, 0.2),
    "ASL plain": AsymmetricLoss(0.0, 0.0, 0.05),
    "negative scale": NegativeScale(scale=5.0),
    "focal negative scale": NegativeScale(MultilabelFocalLoss(2.0, 2.0), 2.0),
}


def batch(
    size: int = 8, seed: int = 0, scale: float = 3.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels; every image has a label, label 4 has no positive."""
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(size, K, generator=draw, dtype=torch.float64)
    targets = (torch.rand(size, K, generator=draw) < 0.4).double()
    targets[:, 4] = 0
    targets[targets.sum(1) == 0, 1] = 1
    return logits, targets


def bias(counts, kappa=0.05, scale=5.0):
    """The bias of NTR."""
    return MultilabelLogitAdjustment(counts, N, tau=kappa / scale)


def db(counts, inner):
    """The base loss of DB, around another."""
    return Rebalanced(counts, NegativeScale(inner, 5.0))


def lpl(counts):
    return MultilabelLPL(counts, N)


DB_FOCAL = MultilabelFocalLoss(2.0, balance=2.0)
# the losses of the field, with the settings that are published for VOC-MLT
LOSSES = {
    "BCE": lambda n: PerturbedLoss(task="multilabel"),
    "focal": lambda n: PerturbedLoss(base_loss=MultilabelFocalLoss()),
    "ASL": lambda n: PerturbedLoss(base_loss=AsymmetricLoss()),
    "R-BCE": lambda n: PerturbedLoss(base_loss=Rebalanced(n)),
    "LA": lambda n: PerturbedLoss(MultilabelLogitAdjustment(n, N)),
    "NTR": lambda n: PerturbedLoss(bias(n), NegativeScale(scale=5.0)),
    "DB": lambda n: PerturbedLoss(bias(n), db(n, BCELoss())),
    "DB-Focal": lambda n: PerturbedLoss(bias(n), db(n, DB_FOCAL)),
    "LPL": lambda n: PerturbedLoss(lpl(n)),
    "NTR+LPL": lambda n: PerturbedLoss(bias(n) + lpl(n), NegativeScale(scale=5.0)),
    "DB-Focal+LPL": lambda n: PerturbedLoss(bias(n) + lpl(n), db(n, DB_FOCAL)),
}


def by_hand(loss, logits, targets):
    """The mean of a scalar loss over all images and labels."""
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    return np.mean([loss(u, t) for u, t in pairs])


REFERENCES = {
    "BCE": lambda u, t: by_hand(bce, u, t),
    "focal": lambda u, t: by_hand(lambda a, b: focal(a, b, 2.0), u, t),
    "ASL": lambda u, t: by_hand(lambda a, b: asl(a, b, 4.0, 1.0, 0.05), u, t),
    "R-BCE": lambda u, t: np.mean(
        [
            w * bce(a, b)
            for row, labels in zip(u.tolist(), t.tolist(), strict=True)
            for w, a, b in zip(
                rebalancing(np.array(labels), np.array(COUNTS), 0.1, 10, 0.3),
                row,
                labels,
                strict=True,
            )
        ]
    ),
    "DB": lambda u, t: distribution_balanced(
        u.numpy(), t.numpy(), np.array(COUNTS), N, kappa=0.05, scale=5, mu=0.3, gamma=None
    ),
    "DB-Focal": lambda u, t: distribution_balanced(
        u.numpy(), t.numpy(), np.array(COUNTS), N, kappa=0.05, scale=5, mu=0.3, gamma=2.0
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_the_reference(name, seed):
    logits, targets = batch(seed=seed)
    loss = LOSSES[name](COUNTS)(logits, targets)
    assert loss.item() == pytest.approx(REFERENCES[name](logits, targets), rel=1e-6)


def test_ntr_is_a_logit_adjustment_with_a_negative_scale():
    """Fact: the bias is (kappa / scale) logit(pi); computed here with the scale inside."""
    logits, targets = batch()
    kappa, scale = 0.3, 5.0
    pi = torch.tensor(COUNTS).double() / N
    moved = logits - kappa * torch.log(1 / pi - 1) / scale
    bare = torch.nn.functional.binary_cross_entropy_with_logits
    positive = bare(moved, targets, reduction="none")
    negative = bare(scale * moved, targets, reduction="none") / scale
    expected = torch.where(targets > 0, positive, negative).mean()
    ntr = PerturbedLoss(bias(COUNTS, kappa, scale), NegativeScale(scale=scale))
    torch.testing.assert_close(ntr(logits, targets), expected, rtol=1e-6, atol=0)
    adjustment = MultilabelLogitAdjustment(COUNTS, N, tau=kappa / scale)(logits, targets)
    torch.testing.assert_close(moved, logits + adjustment, rtol=0, atol=1e-6)


def test_ntr_without_a_scale_is_the_adjustment_alone():
    logits, targets = batch()
    ntr = PerturbedLoss(bias(COUNTS, 0.7, 1.0), NegativeScale(scale=1.0))
    adjusted = PerturbedLoss(MultilabelLogitAdjustment(COUNTS, N, 0.7))
    torch.testing.assert_close(ntr(logits, targets), adjusted(logits, targets))


@pytest.mark.parametrize(
    "same",
    [MultilabelFocalLoss(0.0), AsymmetricLoss(0.0, 0.0, 0.0), NegativeScale(scale=1.0)],
)
def test_losses_at_zero_strength_are_bce(same):
    logits, targets = batch(scale=30)
    torch.testing.assert_close(same(logits, targets), BCELoss()(logits, targets))


def test_default_loss_is_torchs():
    logits, targets = batch()
    expected = torch.nn.BCEWithLogitsLoss()(logits, targets)
    torch.testing.assert_close(PerturbedLoss(task="multilabel")(logits, targets), expected)


def test_soft_targets_where_they_make_sense():
    logits = batch()[0]
    soft = torch.linspace(0, 1, logits.numel(), dtype=torch.float64).view_as(logits)
    expected = torch.nn.BCEWithLogitsLoss()(logits, soft)
    torch.testing.assert_close(PerturbedLoss(task="multilabel")(logits, soft), expected)
    PerturbedLoss(MultilabelLogitAdjustment(COUNTS, N))(logits, soft)
    for name in ("R-BCE", "LPL"):
        with pytest.raises(ValueError, match="targets must be 0 or 1"):
            LOSSES[name](COUNTS)(logits, soft)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.uint8, torch.float32])
def test_targets_of_any_type(name, kind):
    logits, targets = batch()
    loss = LOSSES[name](COUNTS)
    torch.testing.assert_close(loss(logits, targets.to(kind)), loss(logits, targets))


@pytest.mark.parametrize("name", LOSSES)
def test_the_models_output_is_not_written_to(name):
    logits, targets = batch()
    kept, labels = logits.clone(), targets.clone()
    LOSSES[name](COUNTS)(logits, targets)
    assert torch.equal(kept, logits)
    assert torch.equal(labels, targets)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_finite_loss_and_gradient(name, dtype, size):
    signs = torch.tensor([[1.0, -1.0, 1.0, -1.0, 0.0]] * 2, dtype=dtype)
    targets = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]])
    logits = (size * signs).requires_grad_()
    loss = LOSSES[name](COUNTS)(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert gradient.dtype == dtype
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("name", CURVES)
def test_gradients_of_the_curves(name):
    logits, targets = batch()
    logits = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: CURVES[name].elementwise(u, targets), logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0])
def test_labels_of_0_and_1_take_one_curve(gamma):
    """The quick way of a symmetric loss against both curves, with two derivatives."""
    draw = torch.Generator().manual_seed(0)
    u = (5 * torch.randn(6, K, generator=draw)).double().requires_grad_()
    t = (torch.rand(6, K, generator=draw) < 0.4).double()
    loss, found = MultilabelFocalLoss(gamma, balance=2.0), []
    for value in (loss.elementwise(u, t), torch.lerp(*loss.curves(u)[::-1], t)):
        (slope,) = torch.autograd.grad(value.sum(), u, create_graph=True)
        found.append((value, slope, torch.autograd.grad(slope.sum(), u)[0]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_monotone(name):
    """Which is what the closed form of LPL rests on."""
    line = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    assert (CURVES[name].positive(line).diff() <= 1e-12).all()
    assert (CURVES[name].negative(line).diff() >= -1e-12).all()


@pytest.mark.parametrize("name", CURVES)
def test_curves_at_extreme_logits(name):
    u = torch.tensor([-1e4, -100.0, -0.0, 100.0, 1e4], requires_grad=True)
    for curve in (CURVES[name].positive, CURVES[name].negative):
        losses = curve(u)
        (gradient,) = torch.autograd.grad(losses.sum(), u)
        assert torch.isfinite(losses).all()
        assert torch.isfinite(gradient).all()


@given(st.integers(0, 1000), st.permutations(range(K)))
def test_labels_permute(seed, order):
    logits, targets = batch(seed=seed)
    for name in ("NTR", "DB-Focal", "DB-Focal+LPL"):
        loss = LOSSES[name](COUNTS)
        moved = LOSSES[name]([COUNTS[k] for k in order])
        torch.testing.assert_close(
            moved(logits[:, order], targets[:, order]), loss(logits, targets)
        )


def test_an_image_without_labels_has_the_largest_weight():
    weights = Rebalanced(COUNTS).weights(torch.zeros(1, K))
    torch.testing.assert_close(weights, torch.full((1, K), 1.1))


def test_weights_are_for_the_rarest_label():
    weights = Rebalanced([90, 10]).weights(torch.tensor([[1.0, 1.0]]))
    assert weights[0, 0] < 0.3 < 1 < weights[0, 1]


def test_composition_is_from_left_to_right():
    logits, targets = batch()
    one, two = (
        MultilabelLogitAdjustment(COUNTS, N, 0.5),
        MultilabelLogitAdjustment(COUNTS, N, 0.25),
    )
    both = MultilabelLogitAdjustment(COUNTS, N, 0.75)(logits, targets)
    torch.testing.assert_close((one + two)(logits, targets), both)


@pytest.mark.parametrize("name", CURVES)
def test_equivalent_shift_gives_bce_the_same_values(name):
    u = torch.linspace(-12, 12, 49, dtype=torch.float64)
    curve = CURVES[name]
    shift = equivalent_shift(curve, u)
    moved = BCELoss().positive(u + shift.positives)
    torch.testing.assert_close(moved, curve.positive(u), rtol=1e-6, atol=1e-12)
    moved = BCELoss().negative(u + shift.negatives)
    torch.testing.assert_close(moved, curve.negative(u), rtol=1e-6, atol=1e-12)


def test_shift_of_ntr_has_the_limits_of_the_theory():
    """High logits: none; low logits: (scale - 1) u - log scale."""
    ends = torch.tensor([-12.0, 30.0], dtype=torch.float64)
    low, high = equivalent_shift(NegativeScale(scale=2.0), ends).negatives
    assert low.item() == pytest.approx(-12 - np.log(2), abs=1e-4)
    assert high.item() == pytest.approx(0, abs=1e-6)


def test_variation_by_the_formula():
    logits, targets = batch()
    delta = torch.linspace(-2, 2, K, dtype=torch.float64).expand_as(logits)
    p = logits.sigmoid()
    positive = torch.log1p((1 - p) * torch.expm1(-delta))
    negative = torch.log1p(p * torch.expm1(delta))
    expected = torch.where(targets > 0, positive, negative)
    loss = BCELoss().elementwise
    change = loss(logits + delta, targets) - loss(logits, targets)
    torch.testing.assert_close(change, expected, rtol=1e-9, atol=1e-12)


def test_log_odds():
    expected = np.log(np.array(COUNTS) / (N - np.array(COUNTS)))
    np.testing.assert_allclose(log_odds(COUNTS, N), expected, rtol=1e-12)


BATCHES = {
    "targets must have shape": lambda u, t: (u, t[:, 0]),
    "targets must be 0 or 1, got 2": lambda u, t: (u, 2 * t),
    "targets must be 0 or 1, got -1": lambda u, t: (u, -t),
    "targets must be 0 or 1, got nan": lambda u, t: (u, torch.where(t > 0, torch.nan, t)),
    "targets must be a tensor": lambda u, t: (u, t.tolist()),
    "logits must be a floating-point tensor": lambda u, t: (u.long(), t),
    "logits must have shape": lambda u, t: (u[0], t[0]),
    "logits have 4 classes": lambda u, t: (u[:, :4], t[:, :4]),
    "logits must be finite, got inf": lambda u, t: (u.abs() / 0.0, t),
    "logits must have shape .* at least one sample": lambda u, t: (u[:0], t[:0]),
}


@pytest.mark.parametrize("name", ["R-BCE", "DB", "LPL", "NTR+LPL"])
@pytest.mark.parametrize("message", BATCHES)
def test_bad_batches_are_refused(name, message):
    loss = LOSSES[name](COUNTS)
    with pytest.raises(ValueError, match=message):
        loss(*BATCHES[message](*batch()))


def test_perturbations_check_their_batch_too():
    with pytest.raises(ValueError, match=r"targets must have shape \(8, 5\)"):
        MultilabelLogitAdjustment(COUNTS, N)(batch()[0], torch.zeros(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultilabelLogitAdjustment([0, 5], 10), "label_counts must be positive"),
        (
            lambda: MultilabelLogitAdjustment([10, 5], 10),
            "label_counts must be below num_samples",
        ),
        (
            lambda: MultilabelLogitAdjustment([1, 5], 10, -1),
            "tau must be a finite number >= 0",
        ),
        (lambda: MultilabelLogitAdjustment([1], 0), "num_samples must be an integer >= 1"),
        (lambda: MultilabelFocalLoss(-1), "gamma must be"),
        (lambda: MultilabelFocalLoss(1, 0), "balance must be"),
        (lambda: AsymmetricLoss(margin=1.0), "margin must lie in"),
        (lambda: AsymmetricLoss(gamma_negative=-1), "gamma_negative must be"),
        (lambda: NegativeScale(scale=0), "scale must be"),
        (lambda: Rebalanced([1, 0]), "label_counts must be positive"),
        (lambda: Rebalanced([1], beta=-1), "beta must be"),
        (lambda: PerturbedLoss(BCELoss()), "perturbation must be a Perturbation"),
        (
            lambda: (
                MultilabelLogitAdjustment([1], 10) + MultilabelLogitAdjustment([1, 2], 10)
            ),
            "made for the same classes, got 1 and 2",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_only_perturbations_add():
    with pytest.raises(TypeError):
        MultilabelLogitAdjustment([1], 10) + 1.0


def test_evaluation_mode_gives_the_base_loss():
    logits, targets = torch.randn(4, 2), torch.tensor([[1, 0]] * 4)
    criterion = PerturbedLoss(MultilabelLogitAdjustment([1, 5], 100)).eval()
    assert torch.equal(
        criterion(logits, targets), PerturbedLoss(task="multilabel")(logits, targets)
    )


def test_the_task_is_that_of_perturbation_and_base_loss():
    from lpl_lib import LPL, LogitAdjustment

    with pytest.raises(ValueError, match="perturbation is multiclass, base_loss is multi"):
        PerturbedLoss(LPL(3), BCELoss())
    with pytest.raises(ValueError, match="task is multiclass, perturbation is multilabel"):
        PerturbedLoss(lpl(COUNTS), task="multiclass")
    with pytest.raises(
        ValueError, match=r"one task, got LogitAdjustment \(multiclass\) and"
    ):
        LogitAdjustment(COUNTS) + lpl(COUNTS)
    with pytest.raises(ValueError, match="task must be 'multiclass' or 'multilabel', got"):
        PerturbedLoss(task="binary")
