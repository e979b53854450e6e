r"""Perturbations of logits: the protocol, their sum, and the fixed ones (LA, LDAM, VS).

A *perturbation* maps logits and targets to a tensor ``delta`` of the logits' shape. The
loss of a method is the base loss of ``logits + delta`` (:class:`lpl_lib.PerturbedLoss`),
the form in which Eq. 7 of Li et al. (arXiv 2209.05668) unifies LA, LDAM, ISDA and LPL:

.. math:: \sum_i \ell(\operatorname{softmax}(u_i + \delta_{y_i}), y_i)

Perturbations compose with ``+``, from left to right: each sees the logits that the
earlier ones left. So ``LogitAdjustment(n) + LPL(n)`` learns its perturbation on the
adjusted logits, as in Eq. 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.checks import (
    BaseLoss,
    ClassCounts,
    Task,
    check_batch,
    check_class_counts,
    check_label_batch,
    check_number,
)
from lpl_lib.state import FullPrecision


def at_least_float32(logits: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32, fit for statistics; others as they are."""
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


class Perturbation(FullPrecision):
    r"""Maps logits ``(B, C)`` and targets to ``delta`` ``(B, C)``.

    Subclasses implement :meth:`delta`; calling the module checks the batch first and
    raises half precision to float32. Logits are in nats (log-odds), and so is ``delta``.

    Attributes:
        task: ``"multiclass"``, targets ``(B,)`` of integers, or ``"multilabel"``, targets
            ``(B, C)`` of 0 and 1, one for each of ``C`` labels.
        num_classes: the number of classes, or labels, ``C`` it was made for; ``None`` if
            any.
        allows_soft_labels: whether multi-label targets may lie between 0 and 1.
        couples: whether a sample's ``delta`` may depend on the batch's other samples.

    >>> class Margin(Perturbation):
    ...     def delta(self, logits, targets):
    ...         one_hot = torch.nn.functional.one_hot(targets, logits.shape[1])
    ...         return -0.5 * one_hot.to(logits.dtype)
    >>> Margin()(torch.zeros(1, 2), torch.tensor([0])).abs()
    tensor([[0.5000, 0.0000]])
    """

    task: Task = "multiclass"
    num_classes: int | None = None
    allows_soft_labels: bool = False
    couples: bool = True

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "delta" in vars(cls) and "move" not in vars(cls):
            cls.move = Perturbation.move  # type: ignore[method-assign]  # not a parent's

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the perturbation of a batch that has been checked.

        Args:
            logits: ``(B, C)``, float32 or float64.
            targets: ``(B,)``, int64; of labels ``(B, C)``, in the logits' dtype.
        """
        raise NotImplementedError

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``logits + delta``, ``(B, C)``, for the arguments of ``delta``; a
        perturbation may know a cheaper way, and leave out what no softmax sees."""
        return logits + self.delta(logits, targets)

    def _table(self, name: str, logits: Tensor) -> Tensor:
        """A buffer in the logits' dtype, past the slow look-up of ``nn.Module``."""
        table: Any = self._buffers[name]
        return table if table.dtype is logits.dtype else table.to(logits.dtype)

    def use_base_loss(self, base_loss: BaseLoss | None) -> None:
        """Be told the base loss, ``None`` for the task's own; what solves for its
        perturbation (LPL) raises and lowers this one."""

    def keep_rows(self, rows: Tensor | None) -> None:
        """Be told which samples of the batch count, ``(B,)`` bool, ``None`` for all;
        what sees more of a sample than its logits (ISDA) leaves the others out."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Check the batch and return ``delta``, ``(B, C)``, float32 or float64."""
        if self.task == "multilabel":
            soft = self.allows_soft_labels
            check_label_batch(logits, targets, self.num_classes, soft=soft)
            logits = at_least_float32(logits)
            return self.delta(logits, targets.to(logits.dtype))
        check_batch(logits, targets, self.num_classes)
        return self.delta(at_least_float32(logits), targets.long())

    def __add__(self, other: Perturbation) -> Chain:
        if not isinstance(other, Perturbation):
            return NotImplemented
        return Chain(self, other)


class Chain(Perturbation):
    """One perturbation after another; usually written ``first + second``.

    ``delta`` is the sum of the parts' deltas, each computed on the logits that the
    earlier ones left. The order matters where a part depends on the logits (LPL, VS).
    A chain in a chain is taken apart, so that ``a + (b + c)`` is ``(a + b) + c``.

    Attributes:
        parts: by the names of their classes (``LPL``, a second one ``LPL_2``), which are
            their keys in ``state_dict``: the same in any order.

    Raises:
        ValueError: parts of two tasks, or made for different numbers of classes.

    >>> both = LogitAdjustment([9, 1]) + LDAM([9, 1])
    >>> both(torch.zeros(1, 2), torch.tensor([1])).round(decimals=3)
    tensor([[-0.1050, -2.8030]])
    >>> list(both.parts)
    ['LogitAdjustment', 'LDAM']
    """

    def __init__(self, *parts: Perturbation) -> None:
        super().__init__()
        flat = [
            inner
            for part in parts
            for inner in (part.parts.values() if isinstance(part, Chain) else [part])
        ]
        tasks = dict.fromkeys(part.task for part in flat)
        if len(tasks) > 1:
            raise ValueError(
                "perturbations that add must be of one task, got "
                + " and ".join(f"{type(p).__name__} ({p.task})" for p in flat)
            )
        sizes = dict.fromkeys(p.num_classes for p in flat if p.num_classes is not None)
        if len(sizes) > 1:
            numbers = " and ".join(map(str, sizes))
            raise ValueError(
                f"perturbations that add must be made for the same classes, got {numbers} "
                "classes"
            )
        self.task = next(iter(tasks))
        self.num_classes = next(iter(sizes), None)
        self.allows_soft_labels = all(part.allows_soft_labels for part in flat)
        self.couples = any(part.couples for part in flat)
        self.parts: Any = nn.ModuleDict()  # a ModuleDict's values are Any to mypy
        for part in flat:
            name = type(part).__name__
            same = sum(type(p).__name__ == name for p in self.parts.values())
            self.parts[f"{name}_{same + 1}" if same else name] = part

    def use_base_loss(self, base_loss: BaseLoss | None) -> None:
        for part in self.parts.values():
            part.use_base_loss(base_loss)

    def keep_rows(self, rows: Tensor | None) -> None:
        for part in self.parts.values():
            part.keep_rows(rows)

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros_like(logits)
        for part in self.parts.values():
            total = total + part.delta(logits + total, targets)
        return total

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        *first, last = self.parts.values()
        for part in first:
            logits = logits + part.delta(logits, targets)
        return last.move(logits, targets)


class LogitAdjustment(Perturbation):
    r"""Logit adjustment, LA: the same vector for every class, larger for frequent ones.

    .. math:: \delta_y = \tau \log \pi + \log\Bigl(1 + \frac{s}{\pi_y^\tau}\Bigr)\, e_y,
              \qquad \pi_c = n_c / \textstyle\sum_k n_k

    with :math:`s = 0` as a rule. The trained logits need no correction at test time. With
    :math:`\tau = 1` it is the balanced softmax, up to a constant.

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        tau: strength, >= 0; 1 makes the minimiser of the balanced error consistent.
        shift: :math:`s` of the own logit, above the smallest :math:`-\pi_c^\tau`. Below 0
            it is a margin, largest for the rarest class, that costs no consistency.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", Eq. 10; Eq. 3-4
    of Li et al.; the shift is this book's (chapter 13).

    Raises:
        ValueError: a count that is not positive, a negative ``tau``, a ``shift`` at or
            below its bound.

    >>> LogitAdjustment([90, 10])(torch.zeros(1, 2), torch.tensor([1]))
    tensor([[-0.1054, -2.3026]])
    """

    couples = False
    log_prior: Tensor
    own: Tensor

    def __init__(
        self, class_counts: ClassCounts, tau: float = 1.0, shift: float = 0.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.tau = check_number(tau, "tau")
        self.num_classes = len(counts)
        self.register_buffer("log_prior", log_prior(counts).float())
        share = (counts / counts.sum()) ** self.tau
        lowest = -float(share.min())
        if check_number(shift, "shift", minimum=lowest, strict=True):
            self.register_buffer("own", torch.log1p(shift / share).float())

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        return LogitAdjustment.move(self, torch.zeros_like(logits), targets)

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = torch.add(logits, self._table("log_prior", logits), alpha=self.tau)
        if "own" not in self._buffers:
            return logits
        return move_own(logits, targets, self.own[targets])


class LDAM(Perturbation):
    r"""Label-distribution-aware margin: the sample's own logit is lowered by a margin.

    .. math:: \delta_y = -s\, m_y\, e_y, \qquad
              m_c = m_{\max} \, (n_c / \min_k n_k)^{-1/4}

    Always raises the loss, most for the rarest class, whose margin is ``max_margin``.

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        max_margin: margin of the rarest class, >= 0; 0.5 in the authors' code.
        scale: the logit scale ``s``: 1 for ordinary logits, 30 for the cosine logits, times
            30, that LDAM was made for.

    Source: Cao et al. 2019, "Learning imbalanced datasets with label-distribution-aware
    margin loss", Eq. 10-13; Eq. 1-2 of Li et al.

    Raises:
        ValueError: a count that is not positive, a negative margin or scale.

    >>> LDAM([16, 1])(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([[-0.2500,  0.0000],
            [ 0.0000, -0.5000]])
    """

    couples = False
    margins: Tensor

    def __init__(
        self, class_counts: ClassCounts, max_margin: float = 0.5, scale: float = 1.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.num_classes = len(counts)
        largest = check_number(scale, "scale") * check_number(max_margin, "max_margin")
        margins = largest * (counts / counts.min()) ** -0.25
        self.register_buffer("margins", margins.float())

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        return LDAM.move(self, torch.zeros_like(logits), targets)

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        own = self._table("margins", logits).index_select(0, targets)
        return move_own(logits, targets, -own)


class VS(Perturbation):
    r"""Vector scaling: logits are multiplied per class, and adjusted as by LA.

    .. math:: \delta = (\Delta - 1) \odot u + \tau \log \pi, \qquad
              \Delta_c = (n_c / \max_k n_k)^{\gamma}

    A *sample-level* perturbation: it depends on the sample's logits, not on its class
    alone. ``gamma=0`` is :class:`LogitAdjustment`; ``tau=0`` is CDT (Ye et al. 2020).

    Args:
        class_counts: training images per class, ``(C,)``, all positive.
        gamma: strength of the scaling, >= 0; small in this book's searches, 0.3 in the
            authors' code.
        tau: strength of the adjustment, >= 0.

    Source: Kini et al. 2021, "Label-imbalanced and group-sensitive classification under
    overparameterization", Eq. 2.

    Raises:
        ValueError: a count that is not positive, a negative ``gamma`` or ``tau``.

    >>> VS([4, 1], gamma=0.5, tau=0)(torch.ones(1, 2), torch.tensor([0]))
    tensor([[ 0.0000, -0.5000]])
    """

    couples = False
    log_prior: Tensor
    scales: Tensor

    def __init__(
        self, class_counts: ClassCounts, gamma: float = 0.05, tau: float = 1.0
    ) -> None:
        super().__init__()
        counts = check_class_counts(class_counts)
        self.gamma = check_number(gamma, "gamma")
        self.tau = check_number(tau, "tau")
        self.num_classes = len(counts)
        scales = (counts / counts.max()) ** self.gamma
        self.register_buffer("log_prior", log_prior(counts).float())
        self.register_buffer("scales", scales.float())

    def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
        shrink = (self.scales - 1).to(logits.dtype)
        return torch.add(shrink * logits, self._table("log_prior", logits), alpha=self.tau)

    def move(self, logits: Tensor, targets: Tensor) -> Tensor:
        scaled = logits * self._table("scales", logits)
        return torch.add(scaled, self._table("log_prior", logits), alpha=self.tau)


def move_own(logits: Tensor, targets: Tensor, shift: Tensor) -> Tensor:
    """Return logits ``(B, C)`` with the sample's own moved by ``shift``, ``(B,)``.

    >>> move_own(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([0.5]))
    tensor([[0.0000, 0.5000]])
    """
    return logits.scatter_add(1, targets[:, None], shift.to(logits.dtype)[:, None])


def log_prior(class_counts: ClassCounts) -> Tensor:
    r"""Return :math:`\log \pi_c = \log (n_c / \sum_k n_k)`, ``(C,)``, float64, in nats.

    >>> log_prior([3, 1]).exp()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    counts = check_class_counts(class_counts)
    return counts.log() - counts.sum().log()
