"""Label noise, other test priors, temperature, and the runs of chapter 15."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lpl_lib.lab.beyond import runs
from lpl_lib.lab.beyond.noise import flip_labels, signal_share
from lpl_lib.lab.beyond.shift import (
    accuracy_under,
    calibration_error,
    fit_temperature,
    long_tail_prior,
)
from lpl_lib.lab.records import append, read
from tools.bookfiles import ROOT

RATES = st.floats(0.0, 0.7)

# --- noise ----------------------------------------------------------------------


def test_labels_are_flipped_at_the_rate_and_evenly():
    """30,000 labels: four standard errors are 0.012 for the rate."""
    clean = torch.arange(30_000) % 5
    noisy = flip_labels(clean, 5, rate=0.3, seed=1)
    assert (noisy != clean).double().mean().item() == pytest.approx(0.3, abs=0.012)
    away = ((noisy - clean) % 5)[noisy != clean]
    shares = away.bincount(minlength=5)[1:] / len(away)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.02)


@given(first=RATES, second=RATES, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_noise_grows_label_by_label(first, second, seed):
    low, high = sorted((first, second))
    clean = torch.arange(60) % 4
    a, b = (flip_labels(clean, 4, rate, seed) for rate in (low, high))
    changed = a != clean
    assert torch.equal(a[changed], b[changed])
    assert torch.equal(flip_labels(clean, 4, 0.0, seed), clean)


@given(
    counts=st.lists(st.integers(1, 500), min_size=2, max_size=6),
    share=st.floats(0.0, 0.95),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=50, deadline=None)
def test_the_balanced_score_is_a_mixture(counts, share, seed):
    """Noisy posterior over noisy prior, from the definition of the noise."""
    classes = len(counts)
    rate = share * (classes - 1) / classes
    prior = np.array(counts) / sum(counts)
    p = np.random.default_rng(seed).dirichlet(np.ones(classes))
    flips = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(flips, 1 - rate)
    noisy = (p @ flips) / (prior @ flips)
    lam = signal_share(counts, rate).numpy()
    np.testing.assert_allclose(noisy, lam * p / prior + 1 - lam, rtol=1e-9, atol=1e-12)


def test_rare_classes_keep_less():
    lam = signal_share([100, 30, 10, 3], 0.2)
    assert (lam.diff() < 0).all()
    assert torch.equal(signal_share([3, 1], 0.0), torch.ones(2).double())


@pytest.mark.parametrize("rate", [-0.1, 1.0, math.nan])
def test_bad_rates_are_named(rate):
    with pytest.raises(ValueError, match="rate"):
        flip_labels(torch.tensor([0]), 2, rate)
    with pytest.raises(ValueError, match="rate"):
        signal_share([3, 1], rate)


def test_noise_needs_two_classes():
    with pytest.raises(ValueError, match="num_classes"):
        flip_labels(torch.tensor([0]), 1, 0.1)
    with pytest.raises(ValueError, match="number of classes"):
        signal_share([3], 0.1)


# --- priors and calibration -----------------------------------------------------


@given(classes=st.integers(2, 20), ratio=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_long_tail_priors(classes, ratio):
    prior = long_tail_prior(classes, ratio)
    assert prior.sum().item() == pytest.approx(1)
    assert (prior[0] / prior[-1]).item() == pytest.approx(ratio)
    steps = prior[1:] / prior[:-1]
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))
    backward = long_tail_prior(classes, 1 / ratio)
    torch.testing.assert_close(backward, prior.flip(0))


def test_accuracy_under_a_prior_is_that_of_images_drawn_by_it():
    """A test set in which class c stands 4, 2 and 1 times has the weighted accuracy."""
    draw = torch.Generator().manual_seed(0)
    u, y = torch.randn(60, 3, generator=draw), torch.arange(60) % 3
    times = torch.tensor([4, 2, 1])
    again = torch.repeat_interleave(torch.arange(60), times[y])
    plain = (u[again].argmax(1) == y[again]).double().mean().item()
    assert accuracy_under(u, y, times / times.sum()) == pytest.approx(plain)
    # a class without weight need not be there
    assert accuracy_under(u[:1], y[:1], torch.tensor([1.0, 0.0, 0.0])) in (0.0, 1.0)


def test_bad_priors_are_refused():
    u, y = torch.zeros(1, 2), torch.tensor([0])
    for prior in (torch.tensor([0.5, 0.2]), torch.tensor([1.0])):
        with pytest.raises(ValueError, match="prior"):
            accuracy_under(u, y, prior)
    with pytest.raises(ValueError, match="ratio"):
        long_tail_prior(3, 0.0)


@given(scale=st.floats(0.2, 20), seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_temperature_undoes_a_scale(scale, seed):
    """Of the logits alone: labels stay, so the best T grows with the scale."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.randn(200, 4, generator=draw, dtype=torch.float64)
    y = torch.distributions.Categorical(logits=u).probs.multinomial(1, generator=draw)[:, 0]
    one = fit_temperature(u, y)
    assert fit_temperature(scale * u, y) == pytest.approx(scale * one, rel=1e-3)


def test_temperature_is_at_the_minimum():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(100) % 4
    u = 3 * torch.randn(100, 4, generator=draw) + 4 * F.one_hot(y, 4)
    t = fit_temperature(u, y)
    best, *others = (F.cross_entropy(u / s, y).item() for s in (t, 0.95 * t, 1.05 * t))
    assert best < min(others)


def test_temperature_stays_in_its_range():
    u = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(u, torch.tensor([0, 1])) == pytest.approx(0.01, rel=1e-3)
    assert fit_temperature(u, torch.tensor([1, 0])) == pytest.approx(100, rel=1e-3)


def test_calibration_error_against_its_definition():
    draw = torch.Generator().manual_seed(0)
    u, y = 2 * torch.randn(300, 5, generator=draw), torch.arange(300) % 5
    confidence, guess = (part.numpy() for part in u.softmax(1).max(1))
    right = guess == y.numpy()
    which = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(15)]
    assert calibration_error(u, y) == pytest.approx(sum(gaps) / 300, abs=1e-5)


# --- runs -----------------------------------------------------------------------


def test_sets_do_not_overlap_and_the_meta_set_is_balanced():
    sets = runs.draw(0)
    seen = {image.numpy().tobytes() for image in sets.long_tail.images}
    assert not seen & {image.numpy().tobytes() for image in sets.meta.images}
    assert sets.meta.class_counts(10).tolist() == [5] * 10
    counts = sets.long_tail.class_counts(10)
    assert counts[0] // counts[-1] >= 50
    assert len(sets.both.targets) == len(sets.long_tail.targets) + 50


@pytest.mark.parametrize("method", [*runs.FITTED, *runs.LEARNED])
def test_every_method_trains(method):
    sets = runs.draw(0)
    choice = {**runs.STRESSED, **{name: grid[0] for name, grid in runs.GRID.items()}}
    data = sets.long_tail.subset(torch.arange(0, 307, 6))
    net, signs = runs.train(method, choice.get(method, {}), data, sets.meta, 0, epochs=1)
    assert runs.scores(net, method, data, sets.meta.images).isfinite().all()
    assert (signs is None) == (method not in runs.LEARNED)


def test_settings_are_chosen_by_validation_alone(tmp_path):
    path = tmp_path / "digits-beyond.jsonl"
    grid = runs.GRID["LA"]
    for part, values in (("validation", (1.0, 3.0, 2.0)), ("meta", (9.0, 0.0, 9.0))):
        for choice, value in zip(grid, values, strict=True):
            wanted = runs.job(part, "LA", choice, 0, 0.0)
            assert append(path, {**wanted, "balanced_accuracy": value})
    assert runs.chosen_settings(read(path), "LA") == grid[1]
    assert runs.chosen_settings([], "cross-entropy") == {}
    with pytest.raises(ValueError, match="not validated"):
        runs.chosen_settings([], "LA")


def test_the_ledger_holds_what_the_program_asks_for():
    """Every run once, under its own key, with the settings that validation chose."""
    path = ROOT / "results" / "digits-beyond.jsonl"
    records = read(path)
    wanted = [runs.job(*each)["key"] for each in runs.jobs(path)]
    assert sorted(record["key"] for record in records) == sorted(wanted)
    for record in records[::20]:
        assert all(
            record[k] == v
            for k, v in runs.job(
                *(record[k] for k in ("part", "method", "settings", "seed", "rate"))
            ).items()
        )


def test_settings_under_stress_are_those_of_chapter_8():
    recorded = {
        record["method"]: record["params"]
        for record in read(ROOT / "results" / "digits-lt50.jsonl")
        if record["part"] == "test" and "digits-lt50" in record["experiment"]
    }
    for ours, theirs in (("LA", "la"), ("LPL", "lpl-varied"), ("LA + LPL", "la+lpl")):
        assert runs.STRESSED[ours] == recorded[theirs]
