r"""What a perturbation does to the gradient: a weight, and what detaching leaves out.

With the effective gap :math:`G` of a sample (:func:`effective_gap`) the loss is
:math:`\ell' = \log(1 + e^{G}(1 - p_y)/p_y)`. In the maximum norm :math:`G = 2\varepsilon`
for every sample of a class that is raised, :math:`-2\varepsilon` where it is lowered.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.checks import check_count, check_logits, check_number, check_shift
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
    _check_probability(probability)
    fade = torch.as_tensor(-gap, dtype=probability.dtype).exp()
    return 1 / (1 - probability + probability * fade)


def focal_weight(probability: Tensor, gamma: float = 2.0) -> Tensor:
    r"""Return by what the focal loss multiplies the gradient of cross-entropy.

    .. math:: (1 - p_y)^\gamma - \gamma\, p_y (1 - p_y)^{\gamma - 1} \log p_y

    Args:
        probability: :math:`p_y` in [0, 1], any shape, floating.
        gamma: of the focal loss :math:`(1 - p_y)^\gamma \ell`, >= 1 here, so that the
            weight stays finite. Default: 2, the choice of Lin et al. 2017.

    Raises:
        ValueError: a probability outside [0, 1], ``gamma`` below 1.

    >>> focal_weight(torch.tensor([0.0, 0.5, 1.0]))
    tensor([1.0000, 0.5966, 0.0000])
    """
    _check_probability(probability)
    check_number(gamma, "gamma", minimum=1.0)
    rest = 1 - probability
    logs = torch.xlogy(probability, probability)
    return rest**gamma - gamma * rest ** (gamma - 1) * logs


class FlowGradients(NamedTuple):
    """Gradients ``(n, C)`` of a class's mean loss after steps of Algorithm 1.

    Attributes:
        detached: the perturbation taken for a constant, as LPL does.
        through: the steps differentiated too.
    """

    detached: Tensor
    through: Tensor


def flow_gradients(
    logits: Tensor, label: int, time: float, *, step_size: float = 0.1
) -> FlowGradients:
    r"""Return the gradient of one class's loss with and without that of Algorithm 1.

    The perturbation is :math:`\delta \leftarrow \delta \pm \alpha\, g(\delta)`,
    :math:`\lfloor |t| / \alpha \rfloor` times, :math:`g` being the class's mean gradient.
    The two results differ, for sample :math:`i`, by

    .. math:: \pm \frac{|t|}{n} \bigl(\mathrm{diag}(p_i) - p_i p_i^\top\bigr)\, g(0)
              + O(t^2) .

    Args:
        logits: ``(n, C)``, floating: samples of one class.
        label: their class, in ``[0, C)``.
        time: :math:`\varepsilon` of Algorithm 1, in units of the logits; negative where
            the loss is minimised.
        step_size: :math:`\alpha` > 0.

    Raises:
        ValueError: logits of another shape, a label out of range, a step that is not
            positive.

    >>> pair = flow_gradients(torch.zeros(1, 2), 0, time=0.5, step_size=0.5)
    >>> [round(float(g[0, 1]), 4) for g in pair]
    [0.6225, 0.7781]
    """
    check_logits(logits)
    check_number(step_size, "step_size", strict=True)
    check_count(label, "label", minimum=0)
    if label >= logits.shape[1]:
        raise ValueError(f"label must lie in [0, {logits.shape[1] - 1}], got {label}")
    steps = int(abs(time) / step_size + 1e-4)  # as in lpl_lib.lpl.solvers
    rate = step_size if time > 0 else -step_size
    targets = torch.full((len(logits),), label, device=logits.device)
    found = []
    for seen in (False, True):
        u = logits.detach().clone().requires_grad_()
        source = u if seen else u.detach()
        delta = torch.zeros_like(u[0])
        own = F.one_hot(targets[:1], u.shape[1])[0].to(u.dtype)
        for _ in range(steps):
            delta = delta + rate * ((source + delta).softmax(1).mean(0) - own)
        (gradient,) = torch.autograd.grad(F.cross_entropy(u + delta, targets), u)
        found.append(gradient)
    return FlowGradients(*found)


def _check_probability(probability: Tensor) -> None:
    if not probability.is_floating_point():
        raise ValueError(f"probability must be a floating tensor, got {probability.dtype}")
    if probability.numel() and not bool(((probability >= 0) & (probability <= 1)).all()):
        low, high = (float(end) for end in torch.aminmax(probability))
        raise ValueError(f"probability must lie in [0, 1], got {low} to {high}")
