"""Average precision and F1 for many labels, by scikit-learn, label by label.

A label that no test image has has no average precision and no recall. It gets NaN, and
means over labels leave it out and say how many they left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_label_batch
from lpl_lib.perturbations import at_least_float32


def average_precision(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return the average precision of each label, ``(K,)``; NaN without a positive.

    .. math:: \text{AP}_k = \sum_j (R_j - R_{j-1})\, P_j

    over the distinct scores from high to low, with precision :math:`P_j` and recall
    :math:`R_j` of the images at least as high: the definition of scikit-learn. Only the
    order of a label's scores counts.

    Args:
        logits: ``(N, K)``, floating; higher means likelier.
        targets: ``(N, K)`` of 0 and 1.

    >>> logits = torch.tensor([[2.0, 1.0], [1.0, 0.0], [0.0, 2.0]])
    >>> average_precision(logits, torch.tensor([[1, 0], [0, 0], [1, 0]]))
    tensor([0.8333,    nan])
    """
    # here, not above: who uses the losses alone need not wait for this import
    from sklearn.metrics import average_precision_score

    check_label_batch(logits, targets)
    result = torch.full((logits.shape[1],), torch.nan)
    scores, truth = at_least_float32(logits).cpu().numpy(), targets.cpu().numpy()
    for k in targets.any(0).nonzero()[:, 0].tolist():
        result[k] = average_precision_score(truth[:, k], scores[:, k])
    return result


def f1_scores(
    logits: Tensor, targets: Tensor, thresholds: Tensor | float = 0.0
) -> dict[str, float]:
    """Return micro and macro F1 of the labels whose logits are above a threshold.

    Args:
        logits, targets: as for :func:`average_precision`.
        thresholds: on the logits, one number or ``(K,)``; 0 is probability one half.

    Returns:
        ``"micro"``, over all images and labels together, and ``"macro"``, the mean over
        the labels that have a positive, in [0, 1].

    >>> logits = torch.tensor([[2.0, 1.0], [1.0, -1.0], [-1.0, 2.0]])
    >>> f1_scores(logits, torch.tensor([[1, 0], [0, 0], [0, 1]]))
    {'micro': 0.6666..., 'macro': 0.6666...}
    """
    check_label_batch(logits, targets)
    predicted, truth = logits > thresholds, targets > 0
    hits = (predicted & truth).sum(0).double()
    found = (predicted.sum(0) + truth.sum(0)).double()
    micro = 2 * hits.sum() / found.sum().clamp(min=1)
    macro = (2 * hits / found)[truth.any(0)].mean()
    return {"micro": float(micro), "macro": float(macro)}


def tuned_thresholds(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return for each label the threshold on its logit with the highest F1, ``(K,)``.

    Use validation images: tuned on test images, the score would flatter itself. Of equal
    thresholds the highest is taken; it lies half-way between two scores. A label without
    a positive keeps 0, probability one half.

    Args:
        logits, targets: as for :func:`average_precision`, of a validation set.

    >>> tuned_thresholds(torch.tensor([[3.0], [1.0], [0.0]]), torch.tensor([[1], [1], [0]]))
    tensor([0.5000])
    """
    check_label_batch(logits, targets)
    # half-way between two half-precision numbers would round to one of them
    scores, order = at_least_float32(logits).sort(dim=0, descending=True, stable=True)
    hits = targets.to(torch.float64).gather(0, order).cumsum(0)
    positives = hits[-1]
    found = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=logits.device)
    f1 = 2 * hits / (found[:, None] + positives)
    floor = scores[-1:] - 1
    below = torch.cat([scores[1:], floor])
    f1 = f1.masked_fill(scores == below, -1)  # no threshold parts equal scores
    best = f1.argmax(0, keepdim=True)
    middle = (scores.gather(0, best) + below.gather(0, best))[0] / 2
    return torch.where(positives > 0, middle, 0.0)
