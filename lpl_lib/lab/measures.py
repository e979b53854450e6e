"""What a record can hold besides the accuracy of each class, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.lab import shift
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.label_metrics import average_precision, f1_scores, tuned_thresholds
from lpl_lib.lab.method import Method
from lpl_lib.lab.plan import Run
from lpl_lib.lab.problem import Problem
from lpl_lib.lab.training import predict
from lpl_lib.variation import loss_variation

PRIORS = {"forward 50": 50.0, "forward 10": 10.0, "uniform": 1.0}
PRIORS |= {"backward 10": 1 / 10, "backward 50": 1 / 50}


@dataclass(frozen=True)
class Outcome:
    """A trained net, and what it was trained for and with."""

    run: Run
    problem: Problem
    net: nn.Module
    method: Method

    def logits(self, images: Tensor) -> Tensor:
        """Return test logits ``(N, C)``, on the CPU; a post-hoc shift is taken off."""
        logits = predict(self.net, images)
        return logits if self.method.posthoc is None else logits - self.method.posthoc

    def hits(self, data: LabelledImages) -> list[int]:
        """Return how many images of each class are right."""
        right = data.targets[self.logits(data.images).argmax(1) == data.targets]
        return right.bincount(minlength=len(self.problem.names)).tolist()

    def precisions(self, data: LabelledImages) -> list[float]:
        """Return the average precision of each label."""
        found = average_precision(self.logits(data.images), data.targets)
        return [round(value, 5) for value in found.tolist()]


def _variation(outcome: Outcome) -> dict[str, Any]:
    """How the method changes the trained net's loss on training images, relative, by class.

    In batches of the training's size, since LPL works batch by batch, over the first
    10,000 images in random order.
    """
    perturbation = outcome.method.criterion.perturbation
    if perturbation is None:
        return {"variation": None}
    for call in outcome.method.at_epoch:
        call(1.0)
    perturbation.eval()
    size, data = len(outcome.problem.names), outcome.problem.train
    device = next(outcome.net.parameters()).device
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data.targets), generator=draw)[:10_000]
    change, before = torch.zeros(size), torch.zeros(size)
    with torch.no_grad():
        for chosen in order.split(outcome.run.own_spec.recipe.batch_size):
            y = data.targets[chosen].to(device)
            u = outcome.net(data.images[chosen].to(device))
            delta = perturbation(u, y)
            change.index_add_(0, y.cpu(), loss_variation(u, y, delta).cpu())
            before.index_add_(0, y.cpu(), F.cross_entropy(u, y, reduction="none").cpu())
    shares = (change / before.clamp(min=1e-12)).tolist()
    return {"variation": [float(f"{share:.6g}") for share in shares]}


def _confidence(outcome: Outcome) -> dict[str, Any]:
    """Mean probability of the own class, over each class's training images."""
    data = outcome.problem.train
    p = outcome.logits(data.images).softmax(1)
    own = p.gather(1, data.targets[:, None])[:, 0]
    total = torch.zeros(p.shape[1]).index_add(0, data.targets, own)
    means = total / outcome.problem.counts
    return {"confidence": [round(value, 5) for value in means.tolist()]}


def _validation(outcome: Outcome) -> dict[str, Any]:
    """Hits on the images that the experiment holds out, and how many there are."""
    data = outcome.problem.validation
    assert data is not None
    counts = data.class_counts(len(outcome.problem.names))
    return {"validation": {"hits": outcome.hits(data), "tested": counts.tolist()}}


def _thresholds(outcome: Outcome) -> dict[str, Any]:
    """F1 of several labels, at one half and at thresholds tuned on validation images."""
    held, scored = outcome.problem.validation, outcome.problem.scored
    assert held is not None
    tuned = tuned_thresholds(outcome.logits(held.images), held.targets)
    logits = outcome.logits(scored.images)
    return {
        "F1": f1_scores(logits, scored.targets, 0.0),
        "F1 tuned": f1_scores(logits, scored.targets, tuned),
    }


def _shift(outcome: Outcome) -> dict[str, Any]:
    """Calibration, with a temperature fitted on the meta set, and other test priors.

    ``known`` are accuracies where the test prior is told and added to the logits, for
    methods whose logits are made for a uniform prior; ``plain`` those without.
    """
    test, meta = outcome.problem.scored, outcome.problem.meta
    assert meta is not None
    logits, y = outcome.logits(test.images), test.targets
    t = shift.fit_temperature(outcome.logits(meta.images), meta.targets)
    knows = "LA" in outcome.run.method
    plain, known = {}, {}
    for name, ratio in PRIORS.items():
        prior = shift.long_tail_prior(logits.shape[1], ratio)
        plain[name] = round(100 * shift.accuracy_under(logits, y, prior), 3)
        if knows:
            told = logits + prior.log().float()
            known[name] = round(100 * shift.accuracy_under(told, y, prior), 3)
    scaled = (logits, logits / t)
    return {
        "temperature": round(t, 4),
        "ece": [round(100 * shift.calibration_error(u, y), 3) for u in scaled],
        "nll": [round(float(F.cross_entropy(u, y)), 4) for u in scaled],
        "plain": plain,
        "known": known,
    }


def _signs(outcome: Outcome) -> dict[str, Any]:
    """The soft signs of a learned split at the end of each epoch, ``(epochs, C)``."""
    history = getattr(outcome.method.hook, "history", None)
    if not history:
        return {}
    steps = len(history) // outcome.run.own_spec.recipe.epochs
    ends = history[steps - 1 :: steps]
    return {"signs": [[round(x, 3) for x in end.tolist()] for end in ends]}


MEASURES: dict[str, Callable[[Outcome], dict[str, Any]]] = {
    "variation": _variation,
    "confidence": _confidence,
    "validation": _validation,
    "thresholds": _thresholds,
    "shift": _shift,
    "signs": _signs,
}
