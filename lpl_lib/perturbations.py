"""Perturbations of logits: the protocol, their sum, and the fixed ones (LA, LDAM, VS).

A *perturbation* maps logits and targets to a tensor ``delta`` of the logits' shape. The
loss of a method is the base loss of ``logits + delta`` (:class:`lpl_lib.PerturbedLoss`),
the form in which Eq. 7 of Li et al. (arXiv 2209.05668) unifies LA, LDAM, ISDA and LPL:

    sum_i  loss(softmax(u_i + delta_{y_i}), y_i)

Perturbations compose with ``+``, from left to right: each sees the logits that the
earlier ones left. So ``LogitAdjustment(n) + LPL(...)`` learns its perturbation on the
adjusted logits, as in Eq. 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lpl_lib.checks import ClassCounts, check_batch, check_class_counts, check_number


def at_least_float32(logits: Tensor) -> Tensor:
    """Return ``logits`` in a dtype fit for statistics: float16 and bfloat16 are raised
    to float32, others kept."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of a module and its parts as they are, for a while."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class Perturbation(nn.Module):
    r"""Maps logits ``(B, C)`` and targets ``(B,)`` to ``delta`` ``(B, C)``.

    Subclasses implement :meth:`delta`; calling the module checks the batch first and
    raises half precision to float32. Logits are in nats (log-odds), and so is ``delta``.

    Attributes:
        num_classes: the number of classes ``C`` it was made for; ``None`` if any.

    >>> class Margin(Perturbation):
    ...     def delta(self, logits, targets, features=None, head_weight=None):
    ...         one_hot = torch.nn.functional.one_hot(targets, logits.shape[1])
    ...         return -0.5 * one_hot.to(logits.dtype)
    >>> Margin()(torch.zeros(1, 2), torch.tensor([0])).abs()
    tensor([[0.5000, 0.0000]])
    """

    num_classes: int | None = None

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the perturbation of a batch that has been checked.

        Args:
            logits: ``(B, C)``, float32 or float64.
            targets: ``(B,)``, int64.
            features: ``(B, A)``, the last layer's input; only ISDA asks for it.
            head_weight: ``(C, A)``, the last layer's weight; only ISDA asks for it.
        """
        raise NotImplementedError

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        """Check the batch and return ``delta``, ``(B, C)``, float32 or float64."""
        check_batch(logits, targets, self.num_classes)
        return self.delta(at_least_float32(logits), targets.long(), features, head_weight)

    def __add__(self, other: Perturbation) -> Sum:
        if not isinstance(other, Perturbation):
            return NotImplemented
        return Sum(self, other)


class Sum(Perturbation):
    """One perturbation after another; usually written ``first + second``.

    ``delta`` is the sum of the two deltas, the second computed on the logits that the
    first left. The order matters where a part depends on the logits (LPL, VS).

    Raises:
        ValueError: the parts were made for different numbers of classes.

    >>> both = LogitAdjustment([9, 1]) + LDAM([9, 1])
    >>> both(torch.zeros(1, 2), torch.tensor([1])).round(decimals=3)
    tensor([[-0.1050, -2.8030]])
    """

    def __init__(self, first: Perturbation, second: Perturbation) -> None:
        super().__init__()
        sizes = {first.num_classes, second.num_classes} - {None}
        if len(sizes) > 1:
            raise ValueError(
                "perturbations that add must be made for the same classes, got "
                f"{first.num_classes} and {second.num_classes} classes"
            )
        self.num_classes = sizes.pop() if sizes else None
        self.first = first
        self.second = second

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        first = self.first.delta(logits, targets, features, head_weight)
        return first + self.second.delta(logits + first, targets, features, head_weight)


class LogitAdjustment(Perturbation):
    r"""Logit adjustment, LA: the same vector for every class, larger for frequent ones.

    .. math:: \delta_y = \tau \log \pi, \qquad \pi_c = n_c / \textstyle\sum_k n_k

    Raises the loss of rare classes and lowers that of frequent ones during training, so
    that the trained logits need no correction at test time. With :math:`\tau = 1` it is
    the balanced softmax (which adds :math:`\log n_c`, the same up to a constant).

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        tau: strength, >= 0; 1 makes the minimiser of the balanced error consistent.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", Eq. 10; Eq. 3-4
    of Li et al.

    Raises:
        ValueError: a count that is not positive, a negative ``tau``.

    >>> la = LogitAdjustment([90, 10])
    >>> la(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([[-0.1054, -2.3026],
            [-0.1054, -2.3026]])
    """

    log_prior: Tensor

    def __init__(self, class_counts: ClassCounts, tau: float = 1.0) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.tau = check_number(tau, "tau")
        self.num_classes = len(counts)
        self.register_buffer("log_prior", log_prior(counts).float(), persistent=False)

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        return (self.tau * self.log_prior).to(logits.dtype).expand_as(logits)


class LDAM(Perturbation):
    r"""Label-distribution-aware margin: the sample's own logit is lowered by a margin.

    .. math:: \delta_y = -s\, m_y\, e_y, \qquad
              m_c = m_{\max} \, (n_c / \min_k n_k)^{-1/4}

    Always raises the loss, most for the rarest class, whose margin is ``max_margin``.

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        max_margin: margin of the rarest class, >= 0; 0.5 in the authors' code.
        scale: the logit scale ``s`` that the margin is multiplied by. LDAM was made for
            cosine logits multiplied by ``s = 30``: with such a head pass ``scale=30``;
            with ordinary logits leave 1.

    Source: Cao et al. 2019, "Learning imbalanced datasets with label-distribution-aware
    margin loss", Eq. 10-13; Eq. 1-2 of Li et al.

    Raises:
        ValueError: a count that is not positive, a negative margin or scale.

    >>> LDAM([16, 1])(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([[-0.2500,  0.0000],
            [ 0.0000, -0.5000]])
    """

    margins: Tensor

    def __init__(
        self, class_counts: ClassCounts, max_margin: float = 0.5, scale: float = 1.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        check_number(max_margin, "max_margin")
        check_number(scale, "scale")
        self.num_classes = len(counts)
        margins = scale * max_margin * (counts / counts.min()) ** -0.25
        self.register_buffer("margins", margins.float(), persistent=False)

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        own = -self.margins[targets].to(logits.dtype)
        return torch.zeros_like(logits).scatter(1, targets[:, None], own[:, None])


class VS(Perturbation):
    r"""Vector scaling: logits are multiplied per class, and adjusted as by LA.

    .. math:: \delta = (\Delta - 1) \odot u + \tau \log \pi, \qquad
              \Delta_c = (n_c / \max_k n_k)^{\gamma}

    A *sample-level* perturbation: it depends on the sample's logits, not on its class
    alone. ``gamma=0`` is :class:`LogitAdjustment`; ``tau=0`` is CDT (:func:`cdt`).

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        gamma: strength of the scaling, >= 0; 0.3 in the authors' code.
        tau: strength of the adjustment, >= 0.

    Source: Kini et al. 2021, "Label-imbalanced and group-sensitive classification under
    overparameterization", Eq. 2.

    Raises:
        ValueError: a count that is not positive, a negative ``gamma`` or ``tau``.

    >>> VS([4, 1], gamma=0.5, tau=0)(torch.ones(1, 2), torch.tensor([0]))
    tensor([[ 0.0000, -0.5000]])
    """

    log_prior: Tensor
    scales: Tensor

    def __init__(
        self, class_counts: ClassCounts, gamma: float = 0.3, tau: float = 1.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.gamma = check_number(gamma, "gamma")
        self.tau = check_number(tau, "tau")
        self.num_classes = len(counts)
        scales = (counts / counts.max()) ** self.gamma
        self.register_buffer("log_prior", log_prior(counts).float(), persistent=False)
        self.register_buffer("scales", scales.float(), persistent=False)

    def delta(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        shrink = (self.scales - 1).to(logits.dtype)
        return shrink * logits + (self.tau * self.log_prior).to(logits.dtype)


def cdt(class_counts: ClassCounts, gamma: float = 0.3) -> VS:
    r"""Class-dependent temperatures: :class:`VS` without the adjustment, ``tau=0``.

    Source: Ye et al. 2020, "Identifying and compensating for feature deviation in
    imbalanced deep learning" (arXiv 2001.01385), Eq. 2.

    >>> cdt([4, 1]).tau
    0.0
    """
    return VS(class_counts, gamma=gamma, tau=0.0)


def log_prior(class_counts: ClassCounts) -> Tensor:
    r"""Return :math:`\log \pi_c = \log (n_c / \sum_k n_k)`, ``(C,)``, float64, in nats.

    >>> log_prior([3, 1]).exp()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    counts = check_class_counts(class_counts)
    return counts.log() - counts.sum().log()
