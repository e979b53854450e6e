"""LPL for labels: closed form, four groups, absent labels, processes, bad input."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from lpl_lib import (
    ConfidenceBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    PerturbedLoss,
)
from lpl_lib.lab.rebalancing import NegativeScale
from lpl_lib.lab.variants import QuadrantSplit
from lpl_lib.multilabel import (
    AsymmetricLoss,
    BCELoss,
    GroupConfidence,
    MajoritySplit,
    MultilabelFocalLoss,
    MultilabelLogitAdjustment,
    MultilabelLPL,
    PriorBound,
    group_counts,
    log_odds,
)

K, N = 4, 100
COUNTS = [80, 30, 10, 2]  # the first label has more positives than negatives
LOSSES = {
    "BCE": BCELoss(),
    "focal": MultilabelFocalLoss(),
    "ASL": AsymmetricLoss(),
    "negative scale": NegativeScale(MultilabelFocalLoss(2.0, 2.0), 5.0),
}
FORMS = {
    "default": lambda: MultilabelLPL(COUNTS, N),
    "both sides": lambda: MultilabelLPL(COUNTS, N, bound=PriorBound(COUNTS, N, 1.0, 0.5)),
    "fixed": lambda: MultilabelLPL(COUNTS, N, bound=0.7),
    "frequency": lambda: MultilabelLPL(
        COUNTS, N, bound=FrequencyBound(group_counts(COUNTS, N), 0.1, 1.0)
    ),
    "confidence": lambda: MultilabelLPL(
        COUNTS, N, ConfidenceBound(0.1, 1.0), split=ConfidenceSplit()
    ),
    "running": lambda: MultilabelLPL(COUNTS, N, 0.5, split=ConfidenceSplit(), decay=0.9),
    "quadrants": lambda: MultilabelLPL(
        COUNTS, N, 0.5, split=QuadrantSplit(COUNTS, 2, (0, -1), (1, -1))
    ),
}


def batch(
    size: int = 12, seed: int = 0, scale: float = 3.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels; label 3 has no positive."""
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(size, K, generator=draw, dtype=torch.float64)
    targets = (
        torch.rand(size, K, generator=draw) < torch.tensor([0.7, 0.5, 0.3, -1])
    ).double()
    return logits, targets


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", FORMS)
def test_closed_form_against_a_search_over_the_interval(name, loss):
    """Each group's one number, found by brute force, to 1e-6 in the loss."""
    logits, targets = batch()
    lpl, base = FORMS[name](), LOSSES[loss]
    delta = lpl(logits, targets)
    statistics = lpl.confidence.eval()(logits, targets)
    signs = lpl.split(statistics)
    bounds = lpl.bound(statistics, signs)
    for group in range(2 * K):
        k, positive = group % K, group >= K
        rows = (targets[:, k] > 0) == positive
        if not rows.any():
            continue
        u, own = logits[rows, k], delta[rows, k]
        assert (own == own[0]).all()
        curve = base.positive if positive else base.negative
        sign, bound = float(signs[group]), float(bounds[group])
        if sign == 0:
            assert own[0] == 0
            continue
        tried = torch.linspace(-bound, bound, 2001, dtype=torch.float64)
        values = curve(u[:, None] + tried).mean(0)
        best = values.max() if sign > 0 else values.min()
        polished = minimize_scalar(
            lambda d, c=curve, u=u, s=sign: -s * c(u + d).mean().item(),
            bounds=(-bound, bound),
            method="bounded",
        )
        best = max(sign * best.item(), -polished.fun) * sign
        assert curve(u + own).mean().item() == pytest.approx(best, abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from(sorted(FORMS)))
def test_groups_are_raised_or_lowered_as_the_split_says(seed, name):
    logits, targets = batch(seed=seed)
    lpl = FORMS[name]()
    loss, moved = BCELoss().elementwise, logits + lpl(logits, targets)
    change = loss(moved, targets) - loss(logits, targets)
    signs = lpl.split(lpl.confidence.eval()(logits, targets))
    negatives, positives = signs.view(2, -1)
    assert (change * torch.where(targets > 0, positives, negatives) >= 0).all()


PERMUTE = {
    "default": MultilabelLPL,
    "fixed": lambda counts, size: MultilabelLPL(counts, size, bound=0.7),
    "both sides": lambda counts, size: MultilabelLPL(
        counts, size, bound=PriorBound(counts, size, 1.0, 0.5)
    ),
    "quadrants": lambda counts, size: MultilabelLPL(
        counts, size, 0.5, split=QuadrantSplit(counts, 2, (0, -1), (1, -1))
    ),
    "confidence": lambda counts, size: MultilabelLPL(
        counts, size, ConfidenceBound(0.1, 1.0), split=ConfidenceSplit()
    ),
}


@given(st.integers(0, 1000), st.permutations(range(K)), st.sampled_from(sorted(PERMUTE)))
def test_labels_permute(seed, order, name):
    logits, targets = batch(seed=seed)
    expected = PERMUTE[name](COUNTS, N)(logits, targets)[:, order]
    moved = PERMUTE[name]([COUNTS[k] for k in order], N)
    found = moved(logits[:, order], targets[:, order])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORMS)
def test_images_permute_and_other_labels_do_not_matter(name):
    logits, targets = batch()
    flipped = FORMS[name]()(logits.flip(0), targets.flip(0)).flip(0)
    torch.testing.assert_close(flipped, FORMS[name]()(logits, targets))
    if name in ("confidence", "running"):
        return  # the threshold is a mean over all groups
    other = logits.clone()
    other[:, 0] += 5
    torch.testing.assert_close(
        FORMS[name]()(other, targets)[:, 1:], FORMS[name]()(logits, targets)[:, 1:]
    )


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["no positive", "no negative", "one image"])
def test_absent_groups_are_normal(name, kind):
    logits, targets = batch()
    if kind == "one image":
        logits, targets = logits[:1], targets[:1]
    else:
        targets = torch.full_like(targets, float(kind == "no negative"))
    logits.requires_grad_()
    loss = PerturbedLoss(FORMS[name]())(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_statistics_of_absent_groups_do_not_move():
    memory = GroupConfidence(K, decay=0.9)
    logits, targets = batch()
    memory(logits, targets)
    assert memory.seen.tolist() == [True] * K + [True, True, True, False]
    before = memory.confidence.clone()
    memory(logits, torch.zeros_like(targets))
    torch.testing.assert_close(memory.confidence[K:], before[K:])
    assert not torch.allclose(memory.confidence[:K], before[:K])


def test_group_confidence_by_hand():
    logits, targets = batch()
    found = GroupConfidence(K)(logits, targets)
    p = logits.sigmoid().numpy()
    t = targets.numpy()
    for k in range(K):
        assert found.confidence[k].item() == pytest.approx(
            np.mean(1 - p[t[:, k] == 0, k]), abs=1e-6
        )
    assert found.confidence[K].item() == pytest.approx(
        np.mean(p[t[:, 0] == 1, 0]), abs=1e-6
    )


def test_state_is_kept():
    memory, other = FORMS["running"](), FORMS["running"]()
    memory(*batch())
    other.load_state_dict(memory.state_dict())
    torch.testing.assert_close(memory(*batch(seed=1)), other(*batch(seed=1)))


def test_zero_bound_is_the_base_loss():
    logits, targets = batch()
    lpl = MultilabelLPL(COUNTS, N, bound=0.0)
    torch.testing.assert_close(
        PerturbedLoss(lpl)(logits, targets), BCELoss()(logits, targets)
    )


def test_equal_sides_are_the_adjustment():
    """a = b: a shift of the bias, whichever side of one half the label's prior is on."""
    logits, targets = batch()
    lpl = MultilabelLPL(COUNTS, N, bound=PriorBound(COUNTS, N, 0.4, 0.4))
    expected = MultilabelLogitAdjustment(COUNTS, N, 0.4)(logits, targets)
    torch.testing.assert_close(lpl(logits, targets), expected)


def test_default_lowers_the_larger_group_alone():
    logits, targets = batch()
    delta = MultilabelLPL(COUNTS, N)(logits, targets)
    odds = log_odds(COUNTS, N)
    expected = torch.where(targets > 0, odds.clamp(min=0), odds.clamp(max=0))
    torch.testing.assert_close(delta, expected, rtol=1e-5, atol=1e-6)


def test_majority_split_is_by_the_sizes_of_a_labels_groups():
    generator = np.random.default_rng(0)
    for _ in range(20):
        counts = generator.integers(1, N, 7)
        counts[counts == N // 2] += 1
        negatives, positives = MajoritySplit(counts, N)(None).view(2, -1)
        larger = torch.from_numpy(counts > N / 2)
        assert torch.equal(positives < 0, larger)
        assert torch.equal(negatives < 0, ~larger)


def test_composition_with_ntr():
    """LPL last: it sees the adjusted logits, and adds its own shift."""
    logits, targets = batch()
    ntr = MultilabelLogitAdjustment(COUNTS, N, 0.3)
    moved = logits + ntr(logits, targets)
    lpl = FORMS["confidence"]()
    torch.testing.assert_close(
        (ntr + lpl)(logits, targets), moved - logits + lpl(moved, targets)
    )
    summed = PerturbedLoss(ntr + lpl, LOSSES["negative scale"])(logits, targets)
    by_hand = LOSSES["negative scale"](moved + lpl(moved, targets), targets).mean()
    torch.testing.assert_close(summed, by_hand)


def test_no_gradient_through_delta():
    logits, targets = batch()
    logits.requires_grad_()
    lpl = FORMS["confidence"]()
    loss = PerturbedLoss(lpl)(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    delta = lpl(logits, targets)
    assert not delta.requires_grad
    expected = ((logits + delta).sigmoid() - targets) / logits.numel()
    torch.testing.assert_close(gradient, expected.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", FORMS)
def test_precision_and_extreme_logits(name, dtype):
    _, targets = batch()
    delta = FORMS[name]()((1e4 * (2 * targets - 1)).to(dtype), targets)
    assert delta.dtype == torch.float32
    assert torch.isfinite(delta).all()


# ----- several processes: the positive of label 2 is on the first one only


def steps(name: str, logits: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of three steps on growing logits."""
    criterion = PerturbedLoss(FORMS[name]())
    found = []
    for scale in (0.5, 1.0, 2.0):
        moved = (scale * logits).requires_grad_()
        found += torch.autograd.grad(criterion(moved, targets), moved)
    return found


def parts() -> tuple[torch.Tensor, torch.Tensor]:
    """Two halves of a batch, ``(2, 6, K)``."""
    logits, targets = batch()
    targets[6:, 2] = 0
    return logits.view(2, 6, K), targets.view(2, 6, K)


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    logits, targets = parts()
    found = {name: steps(name, logits[rank], targets[rank]) for name in FORMS}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    logits, targets = parts()
    alone = steps("confidence", logits[1], targets[1])
    for name in FORMS:
        together = steps(name, logits.flatten(0, 1), targets.flatten(0, 1))
        for step, expected in enumerate(together):
            joined = torch.cat([part[name][step] for part in found]) / 2
            torch.testing.assert_close(joined, expected, rtol=0, atol=1e-6)
    # otherwise the test could not fail
    assert not torch.allclose(alone[0], found[1]["confidence"][0], atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultilabelLPL([0, 1], N), "label_counts must be positive"),
        (lambda: MultilabelLPL([N, 1], N), "label_counts must be below num_samples"),
        (lambda: MultilabelLPL(COUNTS, N, bound=-1), "bound must be"),
        (lambda: MultilabelLPL(COUNTS, N, split="head"), "split must be a Split"),
        (
            lambda: MultilabelLPL(COUNTS, N, split=MajoritySplit([1], N)),
            "split was made for 2 groups, but 4 labels have 8",
        ),
        (
            lambda: MultilabelLPL(COUNTS, N, bound=PriorBound([1], N)),
            "bound was made for 2 groups",
        ),
        (lambda: PriorBound(COUNTS, N, -1), "majority must be"),
        (lambda: PriorBound(COUNTS, N, 1, -1), "minority must be"),
        (lambda: QuadrantSplit(COUNTS, 2, (2, 0), (0, 0)), "head must be two signs"),
        (lambda: QuadrantSplit(COUNTS, 2, (0, 0), (0,)), "tail must be two signs"),
        (lambda: QuadrantSplit(COUNTS, 5, (0, 0), (0, 0)), "num_head must lie in"),
        (lambda: GroupConfidence(0), "num_labels must be"),
        (lambda: GroupConfidence(3, decay=1.0), "decay must be"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fixed_bound_works_as_it_is():
    logits, targets = batch()
    lpl = MultilabelLPL(COUNTS, N, bound=FixedBound(0.5))
    assert (lpl(logits, targets).abs() == 0.5).all()
