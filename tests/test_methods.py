"""The methods by name: each trains, and each is what it says in terms of the others."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lpl_lib import LDAM, LPL, FrequencyBound, LogitAdjustment, PerturbedLoss, RankSplit
from lpl_lib.base_losses import class_balanced_weights
from lpl_lib.lab.methods import METHODS, TRAINS_AS, Classes, build_method, hyper_parameters

COUNTS = torch.tensor([90, 40, 15, 6, 2])
LONG_TAIL = Classes(COUNTS, num_features=7)
BALANCED = Classes(torch.full((5,), 30), num_features=7, split="confidence")
DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(40, 5, generator=DRAW)
TARGETS = torch.arange(40) % 5
FEATURES = torch.randn(40, 7, generator=DRAW)
WEIGHT = torch.randn(5, 7, generator=DRAW)


def loss(
    name: str, classes: Classes = LONG_TAIL, share: float = 0.0, **parameters
) -> float:
    """The method's loss of the batch, at a share of training done."""
    method = build_method(name, classes, **parameters)
    method.at_epoch(share)
    return float(method.criterion(LOGITS, TARGETS, FEATURES, WEIGHT))


def some_bound(name: str) -> dict[str, float]:
    """A bound other than zero for a method with LPL."""
    if "lpl" not in name:
        return {}
    return {"epsilon": 0.5} if "fixed" in name else {"epsilon": 0.2, "extra": 0.7}


@pytest.mark.parametrize("classes", [LONG_TAIL, BALANCED], ids=["long tail", "balanced"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_finite_loss_and_gradient(name, classes):
    method = build_method(name, classes, **some_bound(name))
    for share in (0.0, 0.5, 0.9):
        method.at_epoch(share)
        logits = LOGITS.clone().requires_grad_()
        value = method.criterion(logits, TARGETS, FEATURES, WEIGHT)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()
        assert logits.grad.any()


@pytest.mark.parametrize(
    ("name", "parameters", "share"),
    [
        ("la", {"tau": 0}, 0),
        ("vs", {"tau": 0, "gamma": 0}, 0),
        ("focal", {"gamma": 0}, 0),
        ("class-balanced", {"beta": 0}, 0),
        ("ldam", {"max_margin": 0}, 0),
        ("ldam-drw", {"max_margin": 0}, 0.79),
        ("isda", {"strength": 0}, 0.5),
        ("isda", {"strength": 9}, 0),  # its strength grows from zero
        ("la-posthoc", {}, 0),
        *((name, {}, 0) for name in METHODS if name.startswith("lpl")),
    ],
)
def test_zero_strength_is_cross_entropy(name, parameters, share):
    expected = float(F.cross_entropy(LOGITS, TARGETS))
    assert loss(name, share=share, **parameters) == pytest.approx(expected, rel=1e-6)


def test_balanced_softmax_is_logit_adjustment():
    assert loss("balanced-softmax") == loss("la") == loss("vs", gamma=0)


def test_sums_are_the_sums_of_their_parts():
    learned = LPL(5, RankSplit(COUNTS), FrequencyBound(COUNTS, 0.1, 0.8))
    bound = {"epsilon": 0.1, "extra": 0.8}
    for name, first, parameters in [
        ("lpl-varied", None, bound),
        ("la+lpl", LogitAdjustment(COUNTS, 0.7), {"tau": 0.7, **bound}),
        ("ldam+lpl", LDAM(COUNTS, 0.5, 30), bound),
    ]:
        criterion = PerturbedLoss(learned if first is None else first + learned)
        assert loss(name, **parameters) == float(criterion(LOGITS, TARGETS))


def test_solvers_and_bounds_by_name_are_all_different():
    values = {name: loss(name, **some_bound(name)) for name in METHODS if "lpl-" in name}
    assert len(values) == 6
    assert len(set(values.values())) == 6


def test_deferred_weights_start_when_they_should():
    plain = loss("ldam")
    weights = class_balanced_weights(COUNTS, 0.9999)
    base = torch.nn.CrossEntropyLoss(weights)
    weighted = float(PerturbedLoss(LDAM(COUNTS, 0.5, 30), base)(LOGITS, TARGETS))
    assert loss("ldam-drw", share=159 / 200) == pytest.approx(plain, rel=1e-6)
    assert loss("ldam-drw", share=160 / 200) == weighted != plain


def test_isda_grows_with_training():
    values = [loss("isda", share=share) for share in (0.0, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] < values[2]


def test_margins_come_with_a_cosine_head():
    scales = {name: build_method(name, LONG_TAIL).cosine_scale for name in METHODS}
    assert {name for name, scale in scales.items() if scale} == {
        "ldam",
        "ldam-drw",
        "ldam+lpl",
    }


def test_post_hoc_adjustment_is_taken_off_the_test_logits():
    method = build_method("la-posthoc", LONG_TAIL, tau=2)
    expected = 2 * (COUNTS / COUNTS.sum()).log()
    torch.testing.assert_close(method.posthoc, expected)
    assert TRAINS_AS["la-posthoc"] == "ce"


def test_lpl_splits_as_the_problem_says():
    """Balanced: by confidence. The class learnt worst is augmented positively."""
    for classes, expected in [(LONG_TAIL, RankSplit), (BALANCED, None)]:
        perturbation = build_method("lpl-varied", classes, extra=1).criterion.perturbation
        assert isinstance(perturbation.split, RankSplit) == (expected is RankSplit)


@pytest.mark.parametrize("name", METHODS)
def test_hyper_parameters_that_do_not_exist_are_refused(name):
    with pytest.raises(
        ValueError, match=f"method '{name}'".replace("+", r"\+") + " has no"
    ):
        build_method(name, LONG_TAIL, strenght=1)
    assert "classes" not in hyper_parameters(name)
    assert "solver" not in hyper_parameters(name)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"method must be one of .*'vs'.*, got 'ERM'"):
        build_method("ERM", LONG_TAIL)
