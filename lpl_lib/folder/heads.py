"""Last layers trained on features: which loss is worth its while on these images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lpl_lib.checks import check_count, check_in_range
from lpl_lib.counts import class_counts
from lpl_lib.lab.data.images import LabelledImages
from lpl_lib.lab.fitness import ENOUGH
from lpl_lib.lab.intervals import Interval, paired_lead
from lpl_lib.lab.training import fit, predict
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl.perturbation import LPL
from lpl_lib.metrics import balanced_accuracy
from lpl_lib.perturbations import LogitAdjustment, log_prior

PLAIN, POSTHOC = "cross-entropy", "post-hoc LA"
# one rule of strength: LA as it comes, and on top of it LPL with its default bound
LOSSES: Mapping[str, Callable[[Tensor], nn.Module]] = {
    PLAIN: lambda counts: PerturbedLoss(),
    "LA": lambda counts: PerturbedLoss(LogitAdjustment(counts)),
    "LA + LPL": lambda counts: PerturbedLoss(LogitAdjustment(counts) + LPL(counts)),
}


class Comparison(NamedTuple):
    """What the heads of each method say on the test images.

    Attributes:
        counts: training images per class, ``(C,)``, int64.
        targets: labels of the test images, ``(N,)``, int64.
        groups: of the test images, ``(N,)``, int64; images of a group count as one.
        logits: by method, ``(S, N, C)``, of ``S`` seeds; the same seeds for all.
        heads: by method, the ``S`` last layers, for features as they were given.
        learnt: share of the training images that plain training gets right, the mean of
            classes and seeds, in percent.
        longer: points that plain training gains by twice as many epochs.
    """

    counts: Tensor
    targets: Tensor
    groups: Tensor
    logits: dict[str, Tensor]
    heads: dict[str, list[nn.Linear]]
    learnt: float
    longer: Interval

    def lead(self, method: str, over: str = PLAIN, *, tests: int = 1) -> Interval:
        """Return by how many points ``method`` is ahead, see
        :func:`~lpl_lib.lab.intervals.paired_lead`."""
        one, other = (self.logits[name].argmax(2) for name in (method, over))
        return paired_lead(one, other, self.targets, self.groups, tests=tests)

    def fitness(self) -> str:
        """Return whether the heads were trained long enough to compare losses, and if
        not, what to do: the rule of :mod:`lpl_lib.lab.fitness`, for a last layer."""
        verdict = "fit" if self.learnt >= 100 * ENOUGH else "only fine-tuning learns more"
        if abs(self.longer.mean) > self.longer.half:
            verdict = "NOT FIT, train longer"
        return (
            f"{verdict}: plain training learnt {self.learnt:.1f} % of its set; twice the "
            f"epochs change its mean of classes by {self.longer.mean:+.1f} points "
            f"(interval ± {self.longer.half:.1f})"
        )


def compare_heads(
    features: Tensor,
    targets: Tensor,
    test_features: Tensor,
    test_targets: Tensor,
    counts: Tensor | None = None,
    *,
    losses: Mapping[str, Callable[[Tensor], nn.Module]] = LOSSES,
    seeds: int = 5,
    epochs: int = 100,
    groups: Tensor | None = None,
) -> Comparison:
    """Train a last layer with each loss on the same features, seed by seed.

    Each feature is brought to mean 0 and the same spread over the training images, an
    image's to length 1 on average; a head is trained by :func:`~lpl_lib.lab.fit` and then
    made one for the features as they were. Post-hoc LA is plain training with the prior
    taken off its bias.

    Args:
        features, targets: of the training images, ``(N, D)`` floating and ``(N,)`` int64.
        test_features, test_targets: of the test images.
        counts: training images per class, ``(C,)``; default, as ``targets`` has them.
        losses: by name, what makes a loss of the counts; ``PLAIN`` must be one of them.
        seeds: two or more; each draws initial weights and the order of batches.
        epochs: of a head; an epoch is of about sixteen steps, or of 64 images a step.
        groups: of the test images, ``(N,)``, integers; default, each by itself.

    Raises:
        ValueError: shapes that do not fit, a class without a training image, ``losses``
            without plain training, fewer than two seeds.

    >>> u, y = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    >>> found = compare_heads(u, y, u, y, seeds=2, epochs=20)
    >>> found.logits["LA"].shape, found.learnt
    (torch.Size([2, 12, 3]), 100.0)
    """
    counts = class_counts(targets) if counts is None else torch.as_tensor(counts)
    check_count(seeds, "seeds", minimum=2)
    for name, u, y in (("", features, targets), ("test_", test_features, test_targets)):
        if u.ndim != 2 or y.shape != u.shape[:1] or u.shape[1:] != features.shape[1:]:
            text = f"{name}features must be (N, D) and {name}targets (N,), got"
            raise ValueError(f"{text} {tuple(u.shape)} and {tuple(y.shape)}")
        check_in_range(y, len(counts))
    if PLAIN not in losses:
        raise ValueError(f"losses must have {PLAIN!r}, got {list(losses)}")
    mean, spread = features.mean(0), features.std(0)
    scale = torch.where(spread > 0, spread, 1.0) * features.shape[1] ** 0.5
    data = LabelledImages((features - mean) / scale, targets)
    recipe: dict[str, Any] = {"lr": 4.0, "batch_size": max(64, len(features) // 16)}
    recipe["weight_decay"] = 1 / features.numel()  # as scikit-learn's logistic regression

    def trained(name: str, length: int) -> list[nn.Linear]:
        heads = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            head = nn.Linear(features.shape[1], len(counts))
            fit(head, losses[name](counts), data, epochs=length, seed=seed, **recipe)
            head.weight.data /= scale  # from now on for features as they were
            head.bias.data -= head.weight.data @ mean
            heads.append(head)
        return heads

    def said(heads: list[nn.Linear], u: Tensor = test_features) -> Tensor:
        return torch.stack([predict(head, u) for head in heads])

    heads = {name: trained(name, epochs) for name in losses}
    heads[POSTHOC] = copy.deepcopy(heads[PLAIN])
    for head in heads[POSTHOC]:
        head.bias.data -= log_prior(counts).float()
    logits = {name: said(own) for name, own in heads.items()}
    right = [balanced_accuracy(u, targets) for u in said(heads[PLAIN], features)]
    groups = torch.arange(len(test_targets)) if groups is None else groups
    pair = said(trained(PLAIN, 2 * epochs)).argmax(2), logits[PLAIN].argmax(2)
    longer, learnt = paired_lead(*pair, test_targets, groups), 100 * sum(right) / seeds
    return Comparison(counts, test_targets, groups, logits, heads, learnt, longer)
