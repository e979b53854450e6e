"""Last layers on features: a fair base, honest intervals, a verdict that can be no."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from lpl_lib.folder.heads import LOSSES, PLAIN, POSTHOC, Comparison, compare_heads
from lpl_lib.folder.report import report
from lpl_lib.lab.intervals import Interval, paired_lead
from lpl_lib.perturbations import log_prior

COUNTS = [200, 60, 20, 6]


def features(counts: list[int], seed: int, apart: float) -> tuple[Tensor, Tensor]:
    """Gaussians in eight dimensions, ``apart`` the distance of their means."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    means = apart * torch.eye(len(counts), 8)
    scale = torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0, 3.0, 1.0, 0.0])  # features differ
    noise = torch.randn(len(targets), 8, generator=draw)
    return (means[targets] + noise) * scale + 5, targets


@pytest.fixture(scope="module")
def overlapping() -> Comparison:
    return compare_heads(*features(COUNTS, 0, 2.0), *features([100] * 4, 1, 2.0), epochs=40)


def test_the_plain_layer_is_as_good_as_a_logistic_regression(
    overlapping: Comparison,
) -> None:
    u, y = features(COUNTS, 0, 2.0)
    v, _ = features([100] * 4, 1, 2.0)
    theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(u.numpy(), y.numpy())
    decided = torch.from_numpy(theirs.predict(v.numpy()))
    ours = overlapping.logits[PLAIN].argmax(2)
    lead = paired_lead(
        ours, decided.expand_as(ours), overlapping.targets, overlapping.groups
    )
    assert abs(lead.mean) < lead.half < 5


def test_heads_are_for_features_as_they_were(overlapping: Comparison) -> None:
    v, _ = features([100] * 4, 1, 2.0)
    for name, heads in overlapping.heads.items():
        for head, logits in zip(heads, overlapping.logits[name], strict=True):
            assert head(v).equal(logits)


def test_post_hoc_is_the_plain_layer_less_the_prior(overlapping: Comparison) -> None:
    prior = log_prior(torch.tensor(COUNTS)).float()
    wanted = overlapping.logits[PLAIN] - prior
    assert overlapping.logits[POSTHOC].allclose(wanted, atol=1e-5)


def test_a_tail_that_overlaps_is_told(overlapping: Comparison) -> None:
    said = report(overlapping, ["a", "b", "c", "d"])
    assert said.method in (POSTHOC, "LA")
    assert said.verdict.startswith(f"Take {said.method}. In the mean of classes it is")
    assert "400 test images of 4 classes, 5 seeds" in said.verdict
    assert list(said.classes.index) == ["a", "b", "c", "d"]
    assert said.classes["train"].tolist() == COUNTS
    assert said.methods.index.tolist() == [PLAIN, POSTHOC, "LA", "LA + LPL"]
    assert said.classes[PLAIN]["d"] < said.classes["LA"]["d"]


@pytest.mark.slow
def test_what_cannot_be_told_is_said_so() -> None:
    few = features([3] * 4, 2, 2.0)
    said = report(compare_heads(*features(COUNTS, 0, 2.0), *few, epochs=40))
    assert said.method == PLAIN
    assert said.verdict.startswith(
        f"Take {PLAIN}: 12 test images of 4 classes do not show that anything is better"
    )


def test_too_short_a_training_gives_no_verdict() -> None:
    problem = *features([400] * 4, 0, 3.0), *features([400] * 4, 1, 3.0)
    short = compare_heads(*problem, epochs=1)
    # a bound on how far one pass gets depends on the data: the rule itself is tested
    unfit = short._replace(longer=Interval(3.0, 1.0))
    assert unfit.fitness().startswith("NOT FIT, train longer: plain training learnt")
    assert report(unfit).verdict.startswith("No verdict yet: NOT FIT, train longer")
    assert (
        short._replace(learnt=80.0, longer=Interval(0.1, 1.0)).fitness().startswith("only")
    )
    assert (
        short._replace(learnt=99.5, longer=Interval(0.1, 1.0)).fitness().startswith("fit")
    )


def test_seeds_are_paired_and_repeatable(overlapping: Comparison) -> None:
    again = compare_heads(
        *features(COUNTS, 0, 2.0), *features([100] * 4, 1, 2.0), epochs=40, seeds=2
    )
    for name in LOSSES:
        assert again.logits[name].equal(overlapping.logits[name][:2])


def test_a_loss_of_ones_own() -> None:
    weighted = {"weights": lambda n: nn.CrossEntropyLoss(n.sum() / n / len(n))}
    found = compare_heads(
        *features(COUNTS, 0, 2.0),
        *features([9] * 4, 1, 2.0),
        losses={PLAIN: LOSSES[PLAIN]} | weighted,
        seeds=2,
        epochs=2,
    )
    assert report(found).methods.index.tolist() == [PLAIN, POSTHOC, "weights"]


def test_a_class_that_is_not_tested_has_no_accuracy() -> None:
    u, y = features(COUNTS, 0, 2.0)
    v, z = features([9] * 3, 1, 2.0)
    said = report(compare_heads(u, y, v, z, seeds=2, epochs=2))
    assert math.isnan(said.classes["LA"][3])
    assert said.classes["test"].tolist() == [9, 9, 9, 0]
    assert not said.methods["mean of classes"].isna().any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.zeros(3).long()}, r"features must be \(N, D\) and targets"),
        ({"test_features": torch.zeros(4, 7)}, r"test_features must be .* \(4, 7\)"),
        ({"test_targets": torch.full((4,), 4)}, r"targets must lie in \[0, 3\]"),
        ({"counts": torch.tensor([5, 5, 5, 0])}, "class_counts must be positive"),
        ({"losses": {"LA": LOSSES["LA"]}}, "losses must have 'cross-entropy'"),
        ({"seeds": 1}, "seeds must be an integer >= 2"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    u, y = features([5] * 4, 0, 1.0)
    given: dict = {
        "features": u,
        "targets": y,
        "test_features": u[:4],
        "test_targets": y[:4],
    }
    with pytest.raises(ValueError, match=message):
        compare_heads(**given | change)
    found = compare_heads(u, y, u, y, seeds=2, epochs=1)
    with pytest.raises(ValueError, match="classes must be 4 names, got 1"):
        report(found, ["a"])


# --- the interval -----------------------------------------------------------------------


def test_the_variance_has_half_an_image_more_on_either_side() -> None:
    """One class: the variance with their half images more, computed apart."""
    won, lost, n = 12, 4, 100
    targets, groups = torch.zeros(n).long(), torch.arange(n)
    one, other = torch.ones(2, n).long(), torch.ones(2, n).long()
    one[:, :won] = 0
    other[:, won : won + lost] = 0
    found = paired_lead(one, other, targets, groups)
    p, q = (won + 0.5) / (n + 2), (lost + 0.5) / (n + 2)
    half = 1.959964 * math.sqrt((p + q - (p - q) ** 2) / n)
    assert found.mean == pytest.approx(8.0)
    assert found.half == pytest.approx(100 * half, rel=1e-5)


def test_images_of_a_group_count_as_one() -> None:
    targets = torch.zeros(40).long()
    one, other = torch.zeros(2, 40).long(), torch.zeros(2, 40).long()
    other[:, :20] = 1
    alone = paired_lead(one, other, targets, torch.arange(40))
    bursts = paired_lead(one, other, targets, torch.arange(40) // 10)
    assert alone.mean == bursts.mean == 50
    assert bursts.half > 2 * alone.half


@given(st.integers(0, 1000), st.integers(1, 6))
def test_a_lead_turns_its_sign_with_its_sides_and_widens_with_more_tests(
    seed: int, tests: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randint(3, (2, 3, 30), generator=draw)
    targets, groups = torch.arange(30) % 3, torch.arange(30)
    ahead = paired_lead(one, other, targets, groups, tests=tests)
    behind = paired_lead(other, one, targets, groups, tests=tests)
    assert ahead.mean == pytest.approx(-behind.mean)
    assert ahead.half == pytest.approx(behind.half)
    assert ahead.half <= paired_lead(one, other, targets, groups, tests=tests + 1).half


def test_intervals_hold_what_they_promise() -> None:
    """Two methods that are equally good, on fresh test images: about one interval in
    twenty leaves out 0."""
    draw, misses = torch.Generator().manual_seed(0), 0
    targets, groups = torch.arange(60) % 6, torch.arange(60)
    for _ in range(400):
        noise = torch.rand(2, 60, generator=draw) < 0.3
        one, other = (((targets + wrong) % 6).expand(2, -1) for wrong in noise.long())
        lead = paired_lead(one, other, targets, groups)
        misses += abs(lead.mean) > lead.half
    assert 8 <= misses <= 32
