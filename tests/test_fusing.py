"""Fusing: the methods against references, and every pair trained on digits-LT."""

from __future__ import annotations

import json

import pytest
import torch

from lpl_lib import (
    LPL,
    Perturbation,
    SmallConvNet,
    digits,
    fit,
    long_tail_indices,
    predict,
)
from lpl_lib.lab.fusing import METHODS, Method, compose_matrix, fuse, train
from lpl_lib.lab.fusing.__main__ import EXTRAS, NAMES, TEST_SEEDS, chosen_extra, run
from lpl_lib.lab.fusing.methods import inverse_frequency, lpl
from lpl_lib.lab.fusing.training import cut_mix, mix_up
from lpl_lib.losses import PerturbedLoss
from tools.bookfiles import ROOT

RECORDS = [
    json.loads(line)
    for line in (ROOT / "results" / "fusing.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def data():
    pool, _ = digits()
    return pool.subset(long_tail_indices(pool.targets, 50))


def test_every_pair_trains_or_says_why_not(data):
    """Finite loss, finite gradient, and the loss falls over 50 steps."""
    matrix = compose_matrix(data)
    names = [name for name in METHODS if name != "cross-entropy"]
    assert len(matrix) == len(names) * (len(names) + 1) / 2
    failing = {pair: cell.note for pair, cell in matrix.items() if not cell.works}
    assert set(failing) == {("focal loss", "label smoothing")}
    assert "two base losses" in failing["focal loss", "label smoothing"]
    twice = {pair for pair, cell in matrix.items() if cell.works and cell.note}
    assert ("LA", "post-hoc LA") in twice
    assert not {name for pair in twice for name in pair if not METHODS[name].corrects_prior}


class NotANumber(Perturbation):
    """A method that breaks down."""

    def delta(self, logits, targets, features=None, head_weight=None):
        return logits * torch.nan


def test_a_run_that_breaks_down_is_found_out(data):
    """A matrix that called everything fine would be worth nothing."""
    broken = Method(perturb=(lambda n, a, base: NotANumber(),))
    outcome = train(SmallConvNet(10, width=4), broken, data, steps=5)
    assert not outcome.finite
    assert len(outcome.losses) == 1


def test_weights_of_inverse_frequency_have_mean_one_over_the_samples():
    counts = torch.tensor([7, 2, 1])
    weights = inverse_frequency(counts)
    assert (counts * weights).sum().item() == pytest.approx(10)
    torch.testing.assert_close(weights * counts, torch.full((3,), 10 / 3))


def test_plain_cross_entropy_trains_as_fit_does(data):
    """So the experiment's first row is that of chapter 8."""
    nets = []
    for trainer in ("fit", "train"):
        torch.manual_seed(3)
        net = SmallConvNet(10, width=4)
        if trainer == "fit":
            fit(net, PerturbedLoss(), data, epochs=2, seed=3)
        else:
            train(net, METHODS["cross-entropy"], data, steps=10, seed=3)
        nets.append(predict(net, data.images))
    torch.testing.assert_close(*nets)


def test_balanced_sampling_shows_all_classes_alike(data):
    from lpl_lib.lab.fusing.training import _order

    counts = data.class_counts(10)
    draw = torch.Generator().manual_seed(0)
    seen = torch.cat(list(_order(data.targets, counts, 200, True, draw)))
    share = torch.bincount(data.targets[seen], minlength=10) / len(seen)
    torch.testing.assert_close(share, torch.full((10,), 0.1), atol=0.01, rtol=0)


@pytest.mark.parametrize("mixer", [mix_up, cut_mix])
def test_mixers_keep_the_share_that_they_report(mixer):
    draw = torch.Generator().manual_seed(0)
    zeros, ones = torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    shares = []
    for _ in range(50):
        mixed, share = mixer(ones, zeros, draw)
        assert mixed.mean().item() == pytest.approx(share, abs=1e-6)
        shares.append(share)
    assert 0 <= min(shares) < 0.3
    assert max(shares) > 0.9


def test_fusing_does_both():
    both = fuse([METHODS["LA"], METHODS["class weights"], METHODS["mix-up"], lpl(2.0)])
    assert (len(both.perturb), both.weighted, both.mixers) == (2, True, ("mix-up",))
    criterion = both.criterion(torch.tensor([9, 1]), 4)
    assert isinstance(criterion.perturbation.second, LPL)
    assert criterion.perturbation.second.base_loss is criterion.base_loss


def test_the_records_are_complete_and_their_bounds_were_chosen_in_validation():
    for name in NAMES:
        extra = chosen_extra(RECORDS, name)
        assert extra in EXTRAS
        tested = {
            (r["lpl_extra"], r["seed"])
            for r in RECORDS
            if r["method"] == name and r["part"] == "test"
        }
        assert tested == {(e, seed) for e in (None, extra) for seed in TEST_SEEDS}
    assert all(r["finite"] for r in RECORDS)
    assert all(sum(r["class_counts"]) == 321 for r in RECORDS)


def test_a_record_can_be_made_again():
    """The same machine type gives the same hits; another may differ by an image."""
    stored = next(
        r for r in RECORDS if (r["part"], r["method"], r["seed"]) == ("test", "LA", 0)
    )
    again = run("test", "LA", stored["lpl_extra"], 0)
    assert again["tested"] == stored["tested"]
    assert again["balanced_accuracy"] == pytest.approx(
        stored["balanced_accuracy"], abs=0.05
    )
