"""The registry of methods: every name trains, sums fuse, and what is unknown is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lpl_lib import LPL, LogitAdjustment, MultilabelLPL
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.method import Facts
from lpl_lib.lab.methods import METHODS, build_method, hyper_parameters, parts_of
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import train

COUNTS = torch.tensor([20, 12, 6, 4])
DRAW = torch.Generator().manual_seed(0)
TARGETS = torch.repeat_interleave(torch.arange(4), COUNTS)
DATA = LabelledImages(torch.randn(42, 1, 2, 3, generator=DRAW), TARGETS)
LABELS = LabelledImages(
    DATA.images,
    (torch.rand(42, 4, generator=DRAW) < torch.tensor([0.6, 0.4, 0.3, 0.2])) * 1.0,
)
META = DATA.subset(torch.tensor([0, 20, 32, 38]))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def losses(name: str, task: str, **parameters) -> list[float]:
    model, data = net(), DATA if task == "multiclass" else LABELS
    facts = Facts(data.class_counts(4), 42, model[3], meta=META)
    method = build_method(name, facts, task, **parameters)
    recipe = Recipe(epochs=3, batch_size=16)
    return train(
        model, method.criterion, data, recipe, progress=False, **method.additions(4)
    ).loss


@pytest.mark.parametrize("name", METHODS["multiclass"])
@pytest.mark.parametrize("also", ["", " + LPL"])
def test_each_method_trains_alone_and_with_lpl(name, also):
    assert all(torch.tensor(losses(name + also, "multiclass")).isfinite())


@pytest.mark.parametrize("name", METHODS["multilabel"])
@pytest.mark.parametrize("also", ["", " + LPL"])
def test_each_method_for_labels_trains_alone_and_with_lpl(name, also):
    assert all(torch.tensor(losses(name + also, "multilabel")).isfinite())


def test_a_sum_adds_perturbations_in_its_order():
    facts = Facts(COUNTS)
    method = build_method("LA + LPL", facts, tau=0.5, extra=2.0)
    u, y = torch.randn(8, 4, generator=DRAW), torch.arange(8) % 4
    adjusted = u + LogitAdjustment(COUNTS, 0.5)(u, y)
    expected = F.cross_entropy(adjusted + LPL(COUNTS, 2.0)(adjusted, y), y)
    torch.testing.assert_close(method.criterion(u, y), expected)
    labels = build_method("DB-Focal + LPL", Facts(COUNTS, 42), "multilabel", scale=2.0)
    kinds = [type(part) for part in labels.criterion.perturbation.parts.values()]
    assert MultilabelLPL in kinds
    assert labels.criterion.base_loss.loss.scale == 2.0


def test_lpl_is_the_one_that_its_name_and_parameters_say():
    def lpl(name: str = "LPL", **parameters) -> LPL:
        return build_method(name, Facts(COUNTS), **parameters).perturbation

    u, y = torch.randn(8, 4, generator=DRAW), torch.arange(8) % 4
    torch.testing.assert_close(lpl(extra=2.0)(u, y), LPL(COUNTS, 2.0)(u, y))
    assert lpl("LPL, fixed", epsilon=2.0).bound(None, torch.ones(4)).tolist() == [2] * 4
    assert lpl(split="reversed", num_head=1).split(None).tolist() == [1, -1, -1, -1]
    assert lpl(only="raised", num_head=2).split(None).tolist() == [0, 0, 1, 1]
    lowered = lpl(only="lowered", num_head=2)
    assert lowered.split(None).tolist() == [-1, -1, 0, 0]
    assert not lowered(u, y)[y > 1].any()
    assert lpl("LPL, by confidence", epsilon=1.0, threshold=0.5).split.threshold == 0.5


@pytest.mark.parametrize("tau", [1.0, 1.5])
def test_la_with_a_margin_takes_its_shift_in_shares_of_the_bound(tau):
    own = build_method("LA with a margin", Facts(COUNTS), tau=tau, share=-0.9).perturbation
    least = float((4 / torch.tensor(42.0)) ** tau)
    expected = LogitAdjustment(COUNTS, tau, shift=-0.9 * least)
    torch.testing.assert_close(own.own, expected.own)
    assert own.own.exp()[3] == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(ValueError, match="shift must be a finite number > "):
        build_method("LA with a margin", Facts(COUNTS), tau=tau, share=-1.0)


def test_a_method_may_be_a_perturbation_of_the_counts():
    seesaw = build_method("seesaw", Facts(COUNTS), mitigation=1.6).perturbation
    assert (seesaw.mitigation, seesaw.compensation) == (1.6, 2.0)
    assert hyper_parameters("GCL") == ["noise"]  # its scale is the cosine head's
    assert parts_of("GCL")["GCL"].cosine
    assert hyper_parameters("equalization") == ["threshold", "gamma"]


def test_post_hoc_adjustment_trains_plainly_and_shifts_the_test():
    method = build_method("post-hoc LA", Facts(COUNTS), tau=2.0)
    assert method.perturbation is None
    torch.testing.assert_close(method.posthoc, 2 * (COUNTS / COUNTS.sum()).log())


def test_ldam_defers_its_weights():
    method = build_method("LDAM-DRW", Facts(COUNTS), start=0.5)
    weight = method.criterion.base_loss.weight
    (at_epoch,) = method.at_epoch
    at_epoch(0.4)
    assert weight.tolist() == [1] * 4
    at_epoch(0.5)
    assert weight[3] > weight[0]


def test_balanced_sampling_draws_classes_at_par():
    sampler = build_method("balanced sampling", Facts(COUNTS)).sampler
    targets = TARGETS.repeat(100)
    drawn = targets[sampler(targets, torch.Generator().manual_seed(0))]
    assert (torch.bincount(drawn) / len(drawn)).tolist() == pytest.approx(
        [0.25] * 4, abs=0.03
    )


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("LAA", {}, r"method must be one of \['cross-entropy'.* got 'LAA'"),
        ("LA + nothing", {}, "got 'LA [+] nothing'"),
        ("LA", {"taw": 1.0}, r"'LA' has no hyper-parameter 'taw': it has \['tau'\]"),
        ("LPL, fixed", {"extra": 1.0}, "no hyper-parameter 'extra'"),
        ("LA", {"tau": -1.0}, "tau"),
        ("ISDA", {}, "head must be the model's last layer"),
        ("LPL, learned", {}, "meta must be a set"),
    ],
)
def test_what_is_not_known_is_refused(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        build_method(name, Facts(COUNTS), **parameters)


def test_two_base_losses_do_not_fuse():
    with pytest.raises(ValueError, match="two methods bring a base loss"):
        build_method("label smoothing + focal loss", Facts(COUNTS))
    with pytest.raises(ValueError, match="class weights do not fuse with CrossEntropyLoss"):
        _ = build_method("LDAM-DRW + class-balanced weights", Facts(COUNTS)).criterion


def test_hyper_parameters_of_a_sum_are_those_of_its_parts():
    assert hyper_parameters("LA + ISDA") == ["tau", "strength"]
    assert hyper_parameters("DB-Focal", "multilabel") == ["kappa", "scale", "mu"]
