"""The learned split: its hypergradient against double backward, and what it learns."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, jvp

from lpl_lib import LPL, LogitAdjustment, PerturbedLoss
from lpl_lib.lab import LabelledImages, SmallConvNet, digits, fit
from lpl_lib.lab.meta_split import LookAhead, MetaSplit, learned_lpl, split_hypergradient
from lpl_lib.lab.models import last_linear
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import train

C, INPUTS, ETA = 4, 6, 0.7


def problem(seed: int = 0, normalised: bool = False):
    """A small float64 net, a batch of 12 with class 3 absent, and a meta set of 8."""
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(5)] if normalised else []
    net = nn.Sequential(nn.Linear(INPUTS, 5), *middle, nn.Tanh(), nn.Linear(5, C)).double()

    def images(targets):
        x = torch.randn(len(targets), INPUTS, generator=draw, dtype=torch.float64)
        return LabelledImages(x, targets)

    batch = images(torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0, 1]))
    return net, batch, images(torch.arange(8) % C)


def perturbation_at(signs: list[float], epsilon: float = 1.0) -> LPL:
    """LPL whose signed bounds are ``epsilon * signs``."""
    lpl = LPL(C, split=MetaSplit(C), bound=epsilon, solver="linf")
    lpl.split.raw.data.copy_(torch.tensor(signs).atanh())
    return lpl


SIGNS = [0.5, -0.3, 0.8, 0.1]


def look_ahead(net, batch, meta, signed, lr, offset=0.0):
    """The meta loss after one step, as a function of the signed bounds: autograd can
    differentiate it twice."""
    theta = dict(net.named_parameters())
    y = batch.targets
    away = 1 - 2 * F.one_hot(y, C).double()
    u = net(batch.images) + offset
    loss = F.cross_entropy(u + signed[y][:, None] * away, y)
    steps = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    ahead = {n: p - lr * g for (n, p), g in zip(theta.items(), steps, strict=True)}
    return F.cross_entropy(functional_call(net, ahead, (meta.images,)), meta.targets)


def by_double_backward(net, batch, meta, signed, lr, offset=0.0):
    signed = signed.double().requires_grad_()
    value = look_ahead(copy.deepcopy(net), batch, meta, signed, lr, offset)
    return torch.autograd.grad(value, signed)[0]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    signs=st.lists(st.floats(-0.9375, 0.9375, width=32), min_size=C, max_size=C),
    lr=st.floats(0.01, 2.0),
)
def test_two_forward_passes_equal_double_backward(seed, signs, lr):
    """The central difference's error is of order reach squared."""
    net, batch, meta = problem(seed)
    lpl = perturbation_at(signs)
    ours = split_hypergradient(net, lpl, batch, meta, lr=lr, reach=1e-4)
    exact = by_double_backward(net, batch, meta, lpl.split(None), lr)
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-8)
    assert exact[:3].abs().max() > 1e-6


def test_batch_normalisation_is_part_of_the_step():
    """The probabilities of a batch depend on each other; the formula holds all the same."""
    net, batch, meta = problem(normalised=True)
    lpl = perturbation_at(SIGNS)
    ours = split_hypergradient(net, lpl, batch, meta, lr=ETA, reach=1e-4)
    exact = by_double_backward(net, batch, meta, lpl.split(None), ETA)
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-8)


def test_a_fixed_perturbation_may_come_first():
    net, batch, meta = problem()
    prior, lpl = LogitAdjustment([50, 30, 15, 5]), perturbation_at(SIGNS)
    offset = prior(torch.zeros(1, C).double(), torch.tensor([0]))
    ours = split_hypergradient(net, prior + lpl, batch, meta, lr=ETA, reach=1e-4)
    exact = by_double_backward(net, batch, meta, lpl.split(None), ETA, offset)
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-8)
    plain = split_hypergradient(net, lpl, batch, meta, lr=ETA, reach=1e-4)
    assert not torch.allclose(ours, plain, atol=1e-4)


def test_against_the_formula_with_gradients_of_each_sample():
    """``-(2 eta / n) sum_i p'_i <grad l'_i, v>``, with torch.func, sample by sample."""
    net, batch, meta = problem()
    lpl = perturbation_at(SIGNS)
    theta = {n: p.detach() for n, p in net.named_parameters()}
    delta = lpl(torch.zeros(len(batch.targets), C).double(), batch.targets)

    def losses(weights):
        u = functional_call(net, weights, (batch.images,)) + delta
        return F.cross_entropy(u, batch.targets, reduction="none")

    def meta_loss(weights):
        return F.cross_entropy(functional_call(net, weights, (meta.images,)), meta.targets)

    step = grad(lambda w: losses(w).mean())(theta)
    v = grad(meta_loss)({n: p - ETA * step[n] for n, p in theta.items()})
    each, along = jvp(losses, (theta,), (v,))
    expected = torch.zeros(C).double().index_add(0, batch.targets, (-each).exp() * along)
    expected *= -2 * ETA / len(batch.targets)
    ours = split_hypergradient(net, lpl, batch, meta, lr=ETA, reach=1e-4)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-9)


def test_against_differences_of_the_meta_loss():
    net, batch, meta = problem()
    lpl = perturbation_at(SIGNS)
    signed, h = lpl.split(None).double(), 1e-5
    ours = split_hypergradient(net, lpl, batch, meta, lr=ETA, reach=1e-4)
    for c in range(C):
        move = h * F.one_hot(torch.tensor(c), C)
        up, down = (
            look_ahead(net, batch, meta, signed + side * move, ETA) for side in (1, -1)
        )
        assert ours[c].item() == pytest.approx((up - down).item() / (2 * h), abs=1e-8)


def test_default_reach_is_good_enough_in_float32():
    """Within 2% of the largest entry: far less than the noise of a batch."""
    net, batch, meta = problem()
    exact = by_double_backward(net, batch, meta, torch.tensor(SIGNS), ETA)
    single = net.float()
    batch, meta = (LabelledImages(d.images.float(), d.targets) for d in (batch, meta))
    ours = split_hypergradient(single, perturbation_at(SIGNS), batch, meta, lr=ETA)
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().max() < 0.02 * exact.abs().max()


def test_absent_classes_have_none():
    net, batch, meta = problem()
    slope = split_hypergradient(net, perturbation_at(SIGNS), batch, meta, lr=ETA)
    assert slope[3] == 0
    assert (slope[:3] != 0).all()


def test_gradients_that_are_known_are_used():
    net, batch, meta = problem()
    lpl = perturbation_at(SIGNS)
    loss = PerturbedLoss(lpl)(net(batch.images), batch.targets)
    known = dict(
        zip(
            dict(net.named_parameters()),
            torch.autograd.grad(loss, list(net.parameters())),
            strict=True,
        )
    )
    ours = split_hypergradient(net, lpl, batch, meta, lr=ETA, gradients=known)
    torch.testing.assert_close(
        ours, split_hypergradient(net, lpl, batch, meta, lr=ETA), rtol=0, atol=1e-12
    )
    zero = {name: torch.zeros_like(g) for name, g in known.items()}
    other = split_hypergradient(net, lpl, batch, meta, lr=ETA, gradients=zero)
    assert not torch.allclose(ours, other, atol=1e-6)


def test_the_net_is_left_as_it_is():
    """Parameters, gradients, running statistics."""
    net, batch, meta = problem(normalised=True)
    before = copy.deepcopy(net.state_dict())
    split_hypergradient(net, perturbation_at(SIGNS), batch, meta, lr=ETA)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())


def test_a_step_costs_two_gradients_and_two_forward_passes():
    net, batch, meta = problem()
    passes: list[int] = []
    net.register_forward_hook(lambda module, args, out: passes.append(len(args[0])))
    known = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    split_hypergradient(net, perturbation_at(SIGNS), batch, meta, lr=ETA, gradients=known)
    assert sorted(passes) == [8, 12, 12]  # the meta set once, the batch twice


def test_pull_back_is_the_chain_rule():
    split = MetaSplit(C)
    split.raw.data.copy_(torch.tensor([0.0, -1.0, 0.5, 2.0]))
    slope = torch.tensor([1.0, 2.0, -3.0, 0.5])
    raw = split.raw.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad((0.7 * raw.tanh() * slope).sum(), raw)
    torch.testing.assert_close(split.pull_back(slope, 0.7), expected)


def test_a_new_split_does_nothing():
    lpl = LPL(C, split=MetaSplit(C), bound=2.0, solver="linf")
    assert not lpl(torch.randn(5, C), torch.tensor([0, 1, 2, 3, 0])).any()


def fit_meta_split(net, data, meta, epsilon=1.0, meta_lr=0.1, seed=0, **recipe):
    """Train and learn the split, as chapter 18; the soft signs after each epoch."""
    lpl = learned_lpl(last_linear(net)[1].out_features, epsilon)
    hook = LookAhead(lpl, meta, meta_lr)
    train(net, PerturbedLoss(lpl), data, Recipe(**recipe), seed=seed, hook=hook)
    steps = len(hook.history) // recipe["epochs"]
    return torch.stack(hook.history[steps - 1 :: steps])


def test_with_a_bound_of_zero_it_is_plain_training():
    """The same batches, weights and losses as ``fit``."""
    pool, _ = digits()
    data, meta = (pool.subset(torch.arange(*span)) for span in ((0, 150), (150, 180)))
    nets = []
    for learned in (True, False):
        torch.manual_seed(0)
        nets.append(SmallConvNet(10, width=4))
        if learned:
            fit_meta_split(nets[0], data, meta, epsilon=0.0, epochs=2, seed=3)
        else:
            fit(nets[1], PerturbedLoss(), data, epochs=2, seed=3)
    torch.testing.assert_close(
        nets[0].state_dict(), nets[1].state_dict(), rtol=0, atol=1e-6
    )


def test_the_class_that_lacks_training_is_raised():
    """Two Gaussian classes, 60 against 6 training images, a balanced meta set. At first
    both are raised, since a raised loss has a larger gradient and there is much to learn;
    then the frequent class is lowered, and the rare one raised further."""
    draw = torch.Generator().manual_seed(0)

    def images(counts):
        y = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
        x = torch.randn(len(y), 2, generator=draw) + 0.5 * (2.0 * y[:, None] - 1)
        return LabelledImages(x, y)

    torch.manual_seed(0)
    data, meta = images([60, 6]), images([20, 20])
    history = fit_meta_split(nn.Linear(2, 2), data, meta, epsilon=1.0, epochs=30, lr=0.3)
    assert history.shape == (30, 2)
    assert (history[2] > 0.2).all()
    assert history[-1, 0] < -0.3 < 0.7 < history[-1, 1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"meta_lr": -1.0}, "meta_lr"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"meta": LabelledImages(torch.zeros(0, 2), torch.zeros(0).long())}, "meta"),
        ({"data": LabelledImages(torch.zeros(0, 2), torch.zeros(0).long())}, "data"),
    ],
)
def test_bad_arguments_are_named(change, name):
    images = LabelledImages(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
    arguments = {"data": images, "meta": images, "epsilon": 1.0, "epochs": 1} | change
    with pytest.raises(ValueError, match=name):
        fit_meta_split(nn.Linear(2, 2), **arguments)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"reach": 0.0}])
def test_bad_lengths_are_named(change):
    net, batch, meta = problem()
    arguments = {"lr": 1.0} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        split_hypergradient(net, perturbation_at(SIGNS), batch, meta, **arguments)


def test_frozen_parameters_take_no_part_in_the_step():
    """As if the frozen layer were a part of the images."""
    torch.manual_seed(0)
    first, last = nn.Linear(3, 4).double(), nn.Linear(4, 3).double()
    first.requires_grad_(False)
    images, meta_images = torch.randn(2, 12, 3, dtype=torch.float64)
    targets = torch.arange(12) % 3
    lpl = LPL(3, 1.0, split=MetaSplit(3), solver="linf")
    whole = split_hypergradient(
        nn.Sequential(first, last),
        lpl,
        LabelledImages(images, targets),
        LabelledImages(meta_images, targets),
        lr=0.5,
    )
    alone = split_hypergradient(
        last,
        lpl,
        LabelledImages(first(images), targets),
        LabelledImages(first(meta_images), targets),
        lr=0.5,
    )
    torch.testing.assert_close(whole, alone)


def test_a_class_without_images_is_a_class():
    torch.manual_seed(0)
    data = LabelledImages(torch.randn(8, 3), torch.tensor([0, 1] * 4))
    soft = fit_meta_split(nn.Linear(3, 4), data, data, epsilon=1.0, epochs=1)
    assert soft.shape == (1, 4)
