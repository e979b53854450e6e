"""Other perturbations of the field: equalization, seesaw, Gaussian clouded logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lpl_lib.checks import ClassCounts, check_class_counts, check_number
from lpl_lib.perturbations import Perturbation


class Equalization(Perturbation):
    r"""Softmax equalization loss: rare classes are no rivals, most of the time.

    .. math:: \delta_{y,k} = -\infty \text{ with probability } \gamma
              \text{ if } k \ne y \text{ is rare, else } 0

    So a rare class is not pushed down by the others' samples. One draw a sample. Always
    lowers the loss. Minus infinity is -10,000 nats here, whose exponential is 0 in all
    floating types, so that sums and differences stay finite.

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        threshold: a class is rare if its share :math:`\pi_k` is below. Default: half the
            mean share; the authors choose it for each data set.
        gamma: :math:`\gamma` in [0, 1]; the authors choose it near 1.

    Source: Tan et al. 2020, "Equalization loss for long-tailed object recognition", the
    softmax form for image classification.

    Raises:
        ValueError: no class is rare, or all are; ``gamma`` outside [0, 1].

    >>> Equalization([90, 8, 2], gamma=1.0)(torch.zeros(2, 3), torch.tensor([0, 2]))
    tensor([[     0., -10000., -10000.],
            [     0., -10000.,      0.]])
    """

    couples = False
    rare: Tensor

    def __init__(
        self, class_counts: ClassCounts, threshold: float | None = None, gamma: float = 0.95
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.num_classes = len(counts)
        if threshold is None:
            threshold = 0.5 / len(counts)
        rare = counts / counts.sum() < check_number(threshold, "threshold")
        if not rare.any() or rare.all():
            raise ValueError(
                f"threshold must part the classes, got {threshold:g}: of "
                f"{len(counts)} classes {int(rare.sum())} are rare"
            )
        self.gamma = check_number(gamma, "gamma")
        if self.gamma > 1:
            raise ValueError(f"gamma must be a probability in [0, 1], got {gamma}")
        self.register_buffer("rare", rare)

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        drawn = torch.rand(len(logits), 1, device=logits.device) < self.gamma
        gone = (drawn & self.rare).scatter(1, targets[:, None], False)
        return torch.zeros_like(logits).masked_fill(gone, -1e4)


class Seesaw(Perturbation):
    r"""Seesaw loss: rarer rivals are lowered, unless the net takes the sample for them.

    .. math::

        \delta_{y,k} = a \min\Bigl(0, \log \frac{n_k}{n_y}\Bigr)
                     + b \max\Bigl(0, \log \frac{p_k}{\max(p_y, 0.01)}\Bigr), \qquad
        \delta_{y,y} = 0

    with the sample's own softmax probabilities :math:`p_k`, held constant. The first
    summand (mitigation) is class-level and lowers the loss of frequent classes; the
    second (compensation) depends on the sample and raises its loss.

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        mitigation: :math:`a` >= 0, the paper's ``p``; 0.8 there.
        compensation: :math:`b` >= 0, the paper's ``q``; 2 there. 0 leaves a class-level
            perturbation.

    Source: Wang et al. 2021, "Seesaw loss for long-tailed instance segmentation", whose
    code sets the floor of 0.01.

    Raises:
        ValueError: a count that is not positive; a negative strength.

    >>> seesaw = Seesaw([90, 10], mitigation=1.0, compensation=0.0)
    >>> seesaw(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([[ 0.0000, -2.1972],
            [ 0.0000,  0.0000]])
    """

    couples = False
    counts: Tensor

    def __init__(
        self, class_counts: ClassCounts, mitigation: float = 0.8, compensation: float = 2.0
    ) -> None:
        super().__init__()
        self.mitigation = check_number(mitigation, "mitigation")
        self.compensation = check_number(compensation, "compensation")
        self.register_buffer("counts", check_class_counts(class_counts).float())
        self.num_classes = len(self.counts)

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        own = targets[:, None]
        log_n = self.counts.log().to(logits.dtype)
        log_p = logits.detach().log_softmax(1)
        rarer = (log_n - log_n[own]).clamp(max=0)
        floor = log_p.gather(1, own).clamp(min=math.log(0.01))
        likelier = (log_p - floor).clamp(min=0)
        return self.mitigation * rarer + self.compensation * likelier


class GCL(Perturbation):
    r"""Gaussian clouded logits: noise that only lowers, most for the rarest class.

    .. math:: \delta_k = -s a\, |\varepsilon_k|\, \frac{\log n_{\max} - \log n_k}
              {\log n_{\max} - \log n_{\min}}, \qquad
              \varepsilon_k \sim N(0, 1/9) \text{ cut to } [-1, 1]

    for all classes alike, drawn anew for each sample in training mode. Rare classes get
    more room in the space of features. In the mean it is a vector that all classes share,
    with :math:`\mathrm{E}\,|\varepsilon_k| = 0.266`.

    Args:
        class_counts: training images per class, ``(C,)``, not all equal.
        noise: :math:`a`, of the noise, >= 0; 0.5 in the authors' script for CIFAR.
        scale: :math:`s` >= 0, of the logits: 30 for a cosine head as in the authors' code;
            with ordinary logits leave 1.

    Source: Li et al. 2022, "Long-tailed visual recognition via Gaussian clouded logit
    adjustment", as its authors' code has it (``GCLLoss`` with ``m=0``).

    Raises:
        ValueError: equal counts; a negative ``noise`` or ``scale``.

    >>> GCL([90, 10], noise=0.0)(torch.zeros(1, 2), torch.tensor([1])).abs()
    tensor([[0., 0.]])
    """

    couples = False
    clouds: Tensor

    def __init__(
        self, class_counts: ClassCounts, noise: float = 0.5, scale: float = 1.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.num_classes = len(counts)
        clouds = counts.max().log() - counts.log()
        if clouds.max() == 0:
            raise ValueError(f"class_counts must differ, got {counts[0]:g} for all")
        strength = check_number(noise, "noise") * check_number(scale, "scale")
        self.register_buffer("clouds", (strength * clouds / clouds.max()).float())

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        draw = (torch.randn_like(logits) / 3).clamp(-1, 1).abs()
        return -draw * self.clouds.to(logits.dtype)
