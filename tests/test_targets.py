"""Targets in every form: labels to leave out, pixels and tokens, integers of every size."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from cases import CASES, Batch, batches, few, linear, random_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import lpl_lib.targets as lpl_targets
from lpl_lib import (
    ISDA,
    LPL,
    ConfidenceSplit,
    FocalLoss,
    LogitAdjustment,
    MultilabelFocalLoss,
    MultilabelLogitAdjustment,
    MultilabelLPL,
    PerturbedLoss,
)
from lpl_lib.lab.rebalancing import Rebalanced
from lpl_lib.multilabel.base_losses import BCELoss

COUNTS = [50, 20, 7, 3]
TARGETS = [0, 1, 1, 2, 3, 0]
BASE_LOSSES = {
    "default": lambda i: None,
    "smoothing": lambda i: nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=i),
    "weights": lambda i: nn.CrossEntropyLoss(
        torch.tensor([0.5, 1, 2, 3]).double(), ignore_index=i
    ),
    "sum": lambda i: nn.CrossEntropyLoss(reduction="sum", ignore_index=i),
    "focal": lambda i: FocalLoss(2.0, torch.tensor([0.5, 1, 2, 3]), i),
    "a function": lambda i: lambda u, y: (u.logsumexp(1) - u[range(len(y)), y]).mean(),
}


def gradient(
    criterion: nn.Module, batch: Batch, rows: Tensor | None = None
) -> list[Tensor]:
    """Loss and gradient of a batch, whose head has seen the features."""
    logits = batch.logits.clone().requires_grad_()
    targets = batch.targets
    if rows is not None:
        logits, targets = logits[rows].detach().requires_grad_(), targets[rows]
    loss = criterion(logits, targets)
    return [loss.detach(), *torch.autograd.grad(loss.sum(), logits)]


# --- labels to leave out ----------------------------------------------------------------


@few
@given(batch=batches(2), seed=st.integers(0, 99))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ignored_labels_are_as_dropped(case, batch, seed):
    """Fault 5: items labelled -100 counted in means, and updated statistics."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.rand(len(batch.targets), generator=draw) < 0.6
    rows[0] = True
    marked = batch._replace(targets=batch.targets.where(rows, -100))
    whole, dropped = (
        case.for_batch(marked),
        case.for_batch(
            Batch(
                batch.logits[rows],
                batch.targets[rows],
                batch.features[rows],
                batch.head_weight,
            )
        ),
    )
    loss, slope = gradient(PerturbedLoss(whole), marked)
    expected, inner = gradient(PerturbedLoss(dropped), batch, rows)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(slope[rows], inner)
    assert not slope[~rows].any()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, dropped.state_dict()[name])


@pytest.mark.parametrize("ignored", [-100, 255, 1])
@pytest.mark.parametrize("base", BASE_LOSSES)
def test_ignored_labels_of_every_base_loss(base, ignored):
    """Fault 5, siblings: the label 255 of segmentation, one among the classes, weights."""
    batch = random_batch(TARGETS, 4)
    rows = batch.targets != 1
    marked = batch._replace(targets=batch.targets.where(rows, ignored))
    for perturbation in (None, LogitAdjustment(COUNTS), LPL(COUNTS, 0.7, decay=0.9)):
        make = BASE_LOSSES[base](ignored)
        criteria = [
            PerturbedLoss(copy.deepcopy(perturbation), make, ignore_index=ignored)
            for _ in range(2)
        ]
        loss, slope = gradient(criteria[0], marked)
        expected, inner = gradient(criteria[1], batch, rows)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(slope[rows], inner)
        assert not slope[~rows].any()


def test_the_base_losss_own_ignore_index_holds():
    batch = random_batch(TARGETS, 4)
    base = nn.CrossEntropyLoss(ignore_index=3)
    expected = gradient(PerturbedLoss(LPL(4)), batch, batch.targets != 3)[0]
    assert gradient(PerturbedLoss(LPL(4), base), batch)[0] == expected


def test_a_loss_of_every_item_is_zero_where_it_is_ignored():
    u, y = random_batch(TARGETS, 4)[:2]
    y = y.where(y != 2, -100)
    base = nn.CrossEntropyLoss(reduction="none")
    loss = PerturbedLoss(LPL(COUNTS), base)(u, y)
    assert loss.shape == y.shape
    assert (loss == 0).tolist() == (y == -100).tolist()


@pytest.mark.parametrize("base", [None, FocalLoss(2.0)])
@pytest.mark.parametrize("perturbation", [None, LogitAdjustment(COUNTS), LPL(4)])
def test_a_batch_of_which_nothing_counts(perturbation, base):
    u = random_batch(TARGETS, 4)[0].requires_grad_()
    loss = PerturbedLoss(perturbation, base)(u, torch.full((6,), -100))
    loss.backward()
    assert loss.item() == 0
    assert not u.grad.any()


@pytest.mark.parametrize("perturbation", [None, LogitAdjustment(COUNTS), LPL(4)])
def test_an_empty_batch_is_no_nan_where_values_are_not_read(perturbation):
    """As on a GPU: torch's mean of nothing is NaN, and nobody would look."""
    criterion = PerturbedLoss(perturbation, check_values=False)
    with pytest.raises(ValueError, match=r"at least one sample .* got \(0, 4\)"):
        criterion(torch.zeros(0, 4), torch.zeros(0).long())


@pytest.mark.parametrize("perturbation", [None, LogitAdjustment(COUNTS), LPL(4)])
def test_a_label_out_of_range_beside_ignored_ones(perturbation):
    u = random_batch(TARGETS, 4)[0]
    y = torch.tensor([0, 1, -100, 2, 4, 0])
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 3\], got .* 0 to 4"):
        PerturbedLoss(perturbation)(u, y)
    with pytest.raises(ValueError, match=r"got labels from -100 to 4; .*ignore_index"):
        PerturbedLoss(perturbation, ignore_index=255)(u, y)


LABELS = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
KNOWN = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]]).bool()
LABEL_LOSSES = {
    "BCE": lambda: BCELoss(),
    "focal": lambda: MultilabelFocalLoss(),
    "none": lambda: None,
}
LABEL_PERTURBATIONS = {
    "none": lambda: None,
    "LA": lambda: MultilabelLogitAdjustment([9, 5, 2], 20),
    "LPL": lambda: MultilabelLPL([9, 5, 2], 20),
    "LPL by confidence": lambda: MultilabelLPL([9, 5, 2], 20, 0.5, split=ConfidenceSplit()),
    "both": lambda: (
        MultilabelLogitAdjustment([9, 5, 2], 20)
        + MultilabelLPL([9, 5, 2], 20, 0.5, split=ConfidenceSplit(), decay=0.5)
    ),
}


@pytest.mark.parametrize("unknown", [-1, math.nan, 255])
@pytest.mark.parametrize("base", LABEL_LOSSES)
@pytest.mark.parametrize("name", LABEL_PERTURBATIONS)
def test_entries_that_are_not_known(name, base, unknown):
    """Fault 5, many labels: -1 and blanks gave negative losses and NaN. Each label on
    its own, with the unknown images dropped, gives what the masked batch gives."""
    u = random_batch([0] * 4, 3)[0].requires_grad_()
    y = LABELS.double().where(KNOWN, unknown)
    criterion = PerturbedLoss(
        LABEL_PERTURBATIONS[name](),
        LABEL_LOSSES[base](),
        task="multilabel",
        ignore_index=unknown,
    )
    loss = criterion(u, y)
    (slope,) = torch.autograd.grad(loss, u)
    assert slope.isfinite().all()
    assert not slope[~KNOWN].any()
    inner = LABEL_LOSSES[base]() or BCELoss()
    perturbation = LABEL_PERTURBATIONS[name]()
    moved = u
    if perturbation is not None:
        # the statistics of the known entries: unknown ones are in neither group
        nan = LABELS.double().where(KNOWN, math.nan)
        moved = u + perturbation.delta(u, nan)
    expected = inner.elementwise(moved, LABELS)[KNOWN].mean()
    torch.testing.assert_close(loss, expected)


def test_statistics_of_entries_that_are_known():
    """By hand: the positives' mean confidence of each label over known images alone."""
    u = random_batch([0] * 4, 3)[0]
    lpl = MultilabelLPL([9, 5, 2], 20, 0.5, split=ConfidenceSplit(), decay=0.0)
    criterion = PerturbedLoss(lpl, ignore_index=-1)
    criterion(u.requires_grad_(), LABELS.where(KNOWN, -1))
    p = u.detach().sigmoid()
    for k in range(3):
        for side, q, place in ((1, p, 3 + k), (0, 1 - p, k)):
            group = KNOWN[:, k] & (LABELS[:, k] == side)
            expected = q[group, k].mean() if group.any() else torch.tensor(0.0)
            torch.testing.assert_close(lpl.confidence.confidence[place], expected.float())


def test_rebalanced_weights_take_no_unknown_label_for_a_positive():
    u = random_batch([0] * 4, 3)[0]
    base = Rebalanced([9, 5, 2])
    loss = PerturbedLoss(None, base, ignore_index=-1)(u, LABELS.where(KNOWN, -1))
    expected = base.elementwise(u, LABELS * KNOWN)[KNOWN].mean()
    torch.testing.assert_close(loss, expected)


def test_entries_cannot_be_left_out_of_a_loss_without_entries():
    with pytest.raises(ValueError, match=r"base_loss must be .* such as BCELoss\(\)"):
        PerturbedLoss(None, nn.BCEWithLogitsLoss(), task="multilabel", ignore_index=-1)


@pytest.mark.parametrize("value", [-1.0, 2.0, math.nan, math.inf, 0.5])
def test_labels_that_are_none_are_refused_unless_left_out(value):
    y = LABELS.double()
    y[1, 2] = value
    criterion = PerturbedLoss(MultilabelLPL([9, 5, 2], 20))
    with pytest.raises(
        ValueError, match=r"targets must be 0 or 1, got .* sample 1, label 2"
    ):
        criterion(torch.zeros(4, 3), y)


# --- shapes and dtypes ------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pixels_and_tokens_as_in_torch(reduction):
    """Logits ``(B, C, d1, d2)`` were refused by their shape alone; a plain reshape mixes
    classes with places."""
    draw = torch.Generator().manual_seed(0)
    u = torch.randn(2, 4, 3, 5, generator=draw)
    y = torch.randint(4, (2, 3, 5), generator=draw)
    y[0, 1] = -100
    base = nn.CrossEntropyLoss(reduction=reduction)
    plain = PerturbedLoss(LogitAdjustment(COUNTS, tau=0.0), base)
    torch.testing.assert_close(plain(u, y), F.cross_entropy(u, y, reduction=reduction))
    for perturbation in (LogitAdjustment(COUNTS), LPL(COUNTS)):
        rows = PerturbedLoss(perturbation, base)(
            torch.stack(
                [u[b, :, i, j] for b in range(2) for i in range(3) for j in range(5)]
            ),
            y.flatten(),
        )
        places = PerturbedLoss(perturbation, base)(u, y)
        torch.testing.assert_close(places.flatten(), rows.flatten())
    q = F.one_hot(y.clamp(min=0), 4).movedim(-1, 1).float()
    torch.testing.assert_close(PerturbedLoss()(u, q), F.cross_entropy(u, q) * 3 * 5 / 15)


def test_isda_of_tokens():
    """The head sees ``(B, T, A)``; logits go to the loss as ``(B, C, T)``."""
    draw = torch.Generator().manual_seed(0)
    features, y = torch.randn(2, 5, 3, generator=draw), torch.arange(10).view(2, 5) % 4
    head = linear(torch.randn(4, 3, generator=draw))
    losses = []
    for logits, targets in (
        (lambda: head(features).movedim(-1, 1), y),
        (lambda: head(features.flatten(0, 1)), y.flatten()),
    ):
        criterion = PerturbedLoss(ISDA(head))
        losses.append(criterion(logits(), targets))
    torch.testing.assert_close(*losses)


def test_places_with_a_list_of_targets():
    with pytest.raises(ValueError, match="logits must have shape"):
        PerturbedLoss(LPL(4))(torch.zeros(2, 4, 3), [[0, 1, 2], [0, 1, 2]])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (3, 5), (30,)])
def test_places_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="must"):
        PerturbedLoss(LPL(4))(torch.zeros(2, 4, 3, 5), torch.zeros(shape).long())


INTEGERS = ("uint8", "int8", "int16", "int32", "uint16", "uint32", "uint64")


@pytest.mark.parametrize("dtype", [getattr(torch, name) for name in INTEGERS], ids=str)
def test_integers_of_every_size(dtype):
    u, y = random_batch(TARGETS, 4)[:2]
    for perturbation in (None, LogitAdjustment(COUNTS), LPL(COUNTS)):
        criterion = PerturbedLoss(perturbation)
        assert torch.equal(criterion(u, y.to(dtype)), criterion(u, y))
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 3\]"):
        PerturbedLoss(LPL(4))(u, (y + 2).to(dtype))


# --- transforms, in which nothing may be read -------------------------------------------

TRANSFORMED = {
    "LA": lambda: LogitAdjustment(COUNTS),
    "linf": lambda: LPL(COUNTS, 0.5, solver="linf"),
    "l2": lambda: LPL(COUNTS, 0.5),
    "LA + l2": lambda: LogitAdjustment(COUNTS) + LPL(4, 0.5),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_the_gradient_of_each_sample_by_vmap(name):
    u, y = random_batch(TARGETS, 4)[:2]
    criterion = PerturbedLoss(TRANSFORMED[name]())

    def one(logits: Tensor, target: Tensor) -> Tensor:
        return criterion(logits[None], target[None])

    slopes = torch.func.vmap(torch.func.grad(one))(u, y)
    for row in range(len(y)):
        moved = u[row : row + 1].clone().requires_grad_()
        criterion(moved, y[row : row + 1]).backward()
        torch.testing.assert_close(slopes[row : row + 1], moved.grad)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_fake_tensors_have_no_values_to_read(name):
    criterion = PerturbedLoss(TRANSFORMED[name]())
    with FakeTensorMode(allow_non_fake_inputs=True):
        loss = criterion(torch.zeros(6, 4, requires_grad=True), torch.zeros(6).long())
        assert loss.shape == ()


def test_masked_classes_are_as_in_cross_entropy():
    """A logit of -inf takes a class out; the loss is finite where its class is another."""
    u, y = random_batch(TARGETS, 4)[:2]
    u[0, 2] = -math.inf
    torch.testing.assert_close(PerturbedLoss()(u, y), F.cross_entropy(u, y))
    u[0, 0] = -math.inf
    with pytest.raises(ValueError, match="logits must be finite, got -inf for sample 0"):
        PerturbedLoss()(u, y)


@pytest.mark.parametrize("bad", [3, -1, 255])
@pytest.mark.parametrize("perturbation", [LPL([50, 10, 5]), None], ids=["LPL", "none"])
def test_what_a_gpu_checks_by_itself(bad, perturbation, monkeypatch):
    """Fault 5: the assertion that a GPU runs without the host's waiting, run here."""
    monkeypatch.setattr(lpl_targets, "checks_later", lambda tensor: True)
    criterion = PerturbedLoss(perturbation, FocalLoss(2.0), check_values=False)
    logits = torch.zeros(4, 3, requires_grad=True)
    assert torch.isfinite(criterion(logits, torch.tensor([0, 1, 2, 2])))
    with pytest.raises(RuntimeError, match=r"targets must lie in \[0, 2\], or name ignore"):
        criterion(logits, torch.tensor([0, 1, 2, bad]))
