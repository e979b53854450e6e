r"""What a perturbation does to the gradient: a weight.

With the effective gap :math:`G` of a sample (:func:`effective_gap`) the loss is
:math:`\ell' = \log(1 + e^{G}(1 - p_y)/p_y)`. In the maximum norm :math:`G = 2\varepsilon`
for every sample of a class that is raised, :math:`-2\varepsilon` where it is lowered.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lpl_lib.checks import check_shift
from lpl_lib.perturbations import at_least_float32
from lpl_lib.variation import rival_score


def effective_gap(logits: Tensor, targets: Tensor, delta: Tensor) -> Tensor:
    r"""Return :math:`G`, by how much ``delta`` moves the rivals against the label.

    .. math:: G = \log \mathbb E_r e^{\delta_c} - \delta_y, \qquad
              r_c = p_c / (1 - p_y) \text{ for } c \ne y

    The loss changes with the sign of ``G``, however well the sample is classified.

    Returns:
        ``(B,)``, in nats; NaN if there is one class only.

    Raises:
        ValueError: ``delta`` of another shape than the logits.

    >>> delta = torch.tensor([[-0.5, 0.5, 0.5]])
    >>> effective_gap(torch.zeros(1, 3), torch.tensor([0]), delta)
    tensor([1.])
    """
    before = rival_score(logits, targets)
    check_shift(logits, delta)
    return rival_score(at_least_float32(logits) + delta, targets) - before


def gap_weight(probability: Tensor, gap: Tensor | float) -> Tensor:
    r"""Return by what a gap multiplies the gradient that a sample sends to its rivals.

    .. math:: \omega = \frac{1 - p'_y}{1 - p_y} = \frac{1}{1 - p_y + p_y e^{-G}}

    It goes from 1 (:math:`p_y \to 0`) to :math:`e^{G}` (:math:`p_y \to 1`), between
    which it lies. If all rivals are moved alike, as LPL does in the maximum norm, the
    whole gradient at the logits is :math:`\omega\,(p - e_y)`.

    Args:
        probability: :math:`p_y` in [0, 1], any shape, floating.
        gap: :math:`G` in nats, a number or of a shape that broadcasts.

    Raises:
        ValueError: a probability outside [0, 1].

    >>> gap_weight(torch.tensor([0.0, 0.5, 1.0]), 2.0)
    tensor([1.0000, 1.7616, 7.3891])
    """
    if not probability.is_floating_point():
        raise ValueError(f"probability must be a floating tensor, got {probability.dtype}")
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        span = f"{float(probability.min())} to {float(probability.max())}"
        raise ValueError(f"probability must lie in [0, 1], got {span}")
    fade = torch.as_tensor(-gap, dtype=probability.dtype).exp()
    return 1 / (1 - probability + probability * fade)
