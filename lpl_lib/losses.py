"""The loss of a perturbed batch: the base loss of ``logits + delta``."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.base_losses import FocalLoss
from lpl_lib.checks import (
    BaseLoss,
    Task,
    check_batch,
    check_finite,
    check_label_batch,
    check_label_values,
    checks_later,
    has_values,
    in_range,
    is_label,
    reads_values,
    several_processes,
)
from lpl_lib.multilabel.base_losses import BCELoss, LabelLoss
from lpl_lib.perturbations import Perturbation, at_least_float32, frozen
from lpl_lib.state import FullPrecision
from lpl_lib.targets import as_rows, check_linear, check_mixed, counted, unmix

FULL = (torch.float32, torch.float64)
BY_TORCH = (nn.CrossEntropyLoss, FocalLoss)


class PerturbedLoss(FullPrecision):
    r"""The base loss of perturbed logits, in the place of ``nn.CrossEntropyLoss``.

    .. math:: L = \ell_{\text{base}}(u + \delta(u, y),\; y)

    It perturbs in training mode and with gradients enabled only, since the perturbation
    knows the label: after ``criterion.eval()``, and under ``torch.no_grad()``, it is the
    base loss of the plain logits, as a validation loop asks.

    Targets are of three kinds. *Hard*: one integer a sample. *Mixed*: the class
    probabilities ``(B, C)`` of mix-up and CutMix,

    .. math:: L = \lambda\, \ell\bigl(u + \delta_a,\, s(a)\bigr)
                + (1 - \lambda)\, \ell\bigl(u + \delta_b,\, s(b)\bigr), \qquad
              q = \lambda\, s(a) + (1 - \lambda)\, s(b),

    for a sample of the classes ``a`` and ``b``, smoothed by ``s`` or not: each class's
    loss with its own perturbation (see :func:`lpl_lib.targets.unmix`; running statistics
    learn from the larger part). *Labels*: any number a sample, ``(B, K)`` of 0 and 1.
    Logits of pixels or tokens are ``(B, C, d1, ...)``, targets ``(B, d1, ...)``. Items to
    leave out (``ignore_index``) are left out of the statistics too.

    Args:
        perturbation: a :class:`~lpl_lib.Perturbation`, or several joined with ``+``;
            ``None`` leaves the base loss.
        base_loss: a callable of logits and targets: ``nn.CrossEntropyLoss``, one of
            :mod:`lpl_lib.base_losses` or :mod:`lpl_lib.multilabel.base_losses`, your own.
            Default: cross-entropy, or binary cross-entropy for labels (means, in nats).
        task: ``"multiclass"`` or ``"multilabel"``; ``None`` takes that of the
            perturbation or of the base loss, else ``"multiclass"``.
        ignore_index: the label of items that do not count; for labels, of entries that
            are not known, such as -1 or NaN. ``None`` takes the base loss's own, else
            -100, and counts all entries for labels. On a GPU such items need it named.
        check_values: look at the values (labels in range, logits finite where the loss
            is not). ``None``: yes, but a CUDA GPU checks labels only, by itself, later.

    Half-precision logits are raised to float32. A batch of which nothing counts has loss 0.

    Source: Eq. 7 of Li et al.; for mixed targets, chapter 7 of this book.

    Raises:
        ValueError: a task other than the perturbation's; targets of another kind, or mixed
            of more than two classes; a base loss that is not linear in mixed targets, or
            that has no ``elementwise`` for labels to leave out; and from the checks of the
            batch, see :mod:`lpl_lib.checks`.

    >>> from lpl_lib import LogitAdjustment
    >>> criterion = PerturbedLoss(LogitAdjustment([90, 10]))
    >>> criterion(torch.zeros(2, 2), torch.tensor([1, -100])).item()  # -log 0.1
    2.302...
    """

    def __init__(
        self,
        perturbation: Perturbation | None = None,
        base_loss: BaseLoss | None = None,
        *,
        task: Task | None = None,
        ignore_index: float | None = None,
        check_values: bool | None = None,
    ) -> None:
        super().__init__()
        if perturbation is not None and not isinstance(perturbation, Perturbation):
            raise ValueError(
                "perturbation must be a Perturbation or None, got "
                f"{type(perturbation).__name__}"
            )
        self.task = _task(perturbation, base_loss, task)
        self.perturbation = perturbation
        if perturbation is not None:
            perturbation.use_base_loss(base_loss)
        own = getattr(base_loss, "ignore_index", -100)
        self._asked = ignore_index is not None or own != -100
        if self.task == "multiclass" and ignore_index is None:
            ignore_index = own
        self.ignore_index: Any = ignore_index
        if base_loss is None:
            base_loss = F.cross_entropy if self.task == "multiclass" else BCELoss()
        known = isinstance(base_loss, LabelLoss)
        if self.task == "multilabel" and self._asked and not known:
            raise ValueError(
                "base_loss must be of lpl_lib.multilabel.base_losses, such as BCELoss(), "
                f"to leave entries out (ignore_index), got {base_loss!r}"
            )
        self.base_loss = base_loss
        torchs = base_loss is F.cross_entropy or type(base_loss) in BY_TORCH
        self._by_torch = torchs and ignore_index == own  # it leaves them out by itself
        self.check_values = check_values
        sizes = (getattr(part, "num_classes", None) for part in (perturbation, base_loss))
        self._num_classes = next((size for size in sizes if size is not None), None)
        self._linear = False  # whether the base loss was seen to be so, for mixed targets

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, reduced as the base loss does (mean by default).

        Args:
            logits: ``(B, C)`` or ``(B, C, d1, ...)``, floating.
            targets: ``(B,)`` or ``(B, d1, ...)``, integers in ``[0, C)``; or of the
                logits' shape, class probabilities; or for labels ``(B, C)`` of 0 and 1.
        """
        if self._by_torch and type(targets) is Tensor and targets.dtype is torch.int64:
            loss = self._quickly(logits, targets)
            if loss is not None:
                return loss
        if self.task == "multilabel":
            return self._of_labels(logits, targets)
        if getattr(logits, "ndim", 2) < 3 or not isinstance(targets, Tensor):
            return self._of_classes(logits, targets)
        loss = self._of_classes(*as_rows(logits, targets))
        return loss.view(targets.shape) if loss.ndim else loss

    def _quickly(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """The loss where torch's own checks, or a look at the labels if samples see each
        other, are enough; ``None`` where not: for an error, or if not all items count."""
        perturbation = self._active
        if type(logits) is not Tensor or logits.ndim != 2 or logits.dtype not in FULL:
            return None
        reads, (size, classes) = self._reads(logits), logits.shape
        told = reads or self.check_values is not None
        known = logits.is_cuda or (told and logits.is_cpu)
        if not known or not size or classes != (self._num_classes or classes):
            return None
        if perturbation is not None and perturbation.couples:
            if not reads or targets.shape != (size,) or targets.device != logits.device:
                return None
            if 0 <= self.ignore_index < classes or not in_range(targets, classes):
                return None
            perturbation.keep_rows(None)
            loss: Tensor = self._base(perturbation.move(logits, targets), targets)
            quick = not loss.ndim and math.isfinite(loss.item())
            return loss if quick else self._finite(loss, logits)
        try:
            moved = logits if perturbation is None else perturbation.move(logits, targets)
            loss = self._base(moved, targets)
        except (IndexError, RuntimeError, ValueError):
            return None
        return loss if loss.ndim or not reads or math.isfinite(loss.item()) else None

    def _of_labels(self, logits: Tensor, targets: Tensor) -> Tensor:
        perturbation, base = self._active, cast(LabelLoss, self.base_loss)
        check_label_batch(logits, targets, self._num_classes, values=False)
        logits = at_least_float32(logits)
        targets = values = targets.to(logits.dtype)
        known = None
        if self.ignore_index is not None:
            known = ~targets.isnan() & (targets != self.ignore_index)
            values = targets.where(known, 0)
            targets = targets.where(known, math.nan)  # which no group of a label holds
        parts = (perturbation, base)
        soft = all(getattr(part, "allows_soft_labels", True) for part in parts)
        if self._reads(logits):
            check_label_values(values, soft=soft)
        elif checks_later(logits):
            torch._assert_async(is_label(values, soft=soft).all(), "targets must be labels")
        moved = logits if perturbation is None else perturbation.move(logits, targets)
        if not len(targets):
            return moved.sum()
        if known is None:
            return self._finite(base(moved, targets), logits)
        losses = base.elementwise(torch.where(known, moved, logits), values)
        return self._finite((losses * known).sum() / known.sum().clamp(min=1), logits)

    def _of_classes(self, logits: Tensor, targets: Tensor) -> Tensor:
        perturbation = self._active
        if isinstance(targets, Tensor) and targets.is_floating_point():
            return self._of_mixed(logits, targets)
        check_batch(logits, targets, self._num_classes, values=False)
        logits, targets = at_least_float32(logits), targets.long()
        ignored, values = self.ignore_index, self.check_values
        rows = counted(targets, logits.shape[1], ignored, asked=self._asked, values=values)
        moved = kept = logits if rows is None else logits[rows]
        targets = targets if rows is None else targets[rows]
        if perturbation is not None and (len(targets) or several_processes()):
            perturbation.keep_rows(rows)
            moved = perturbation.move(kept, targets)
        # of nothing the loss is 0, and so is its gradient
        loss = self._base(moved, targets) if len(targets) else moved.sum()
        if rows is not None and loss.ndim:
            loss = loss.new_zeros(rows.shape).masked_scatter(rows, loss)
        return self._finite(loss, logits)

    def _of_mixed(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_mixed(logits, targets, self._num_classes, values=self.check_values)
        logits = at_least_float32(logits)
        targets = targets.to(logits.dtype)
        perturbation = self._active
        if perturbation is None:
            return self._finite(self._base(logits, targets), logits)
        if not self._linear and has_values(logits):
            check_linear(self.base_loss, logits, targets)
            self._linear = True
        major, minor, part = unmix(targets)
        first = perturbation.move(logits, major)
        with frozen(perturbation):
            second = perturbation.move(logits, minor)
        loss = self._base(first, targets - part) + self._base(second, part)
        return self._finite(loss, logits)

    @property
    def _active(self) -> Perturbation | None:
        """The perturbation, where it may act."""
        if self.training and torch.is_grad_enabled():
            return self._modules.get("perturbation")  # type: ignore[return-value]
        return None

    def _base(self, logits: Tensor, targets: Tensor) -> Tensor:
        base: Any = self._modules.get("base_loss")
        weight = None if base is None else base._buffers.get("weight")
        if weight is None or weight.dtype == logits.dtype:
            return self.base_loss(logits, targets)
        # torch wants both alike
        same = {"weight": weight.to(logits.dtype)}
        return torch.func.functional_call(base, same, (logits, targets))

    def _reads(self, logits: Tensor) -> bool:
        return reads_values(logits, self.check_values)

    def _finite(self, loss: Tensor, logits: Tensor) -> Tensor:
        """The loss; where it is not finite, because a logit is not, an error says so."""
        if self._reads(logits) and not math.isfinite(loss.detach().sum().item()):
            check_finite(logits)
        return loss


def _task(
    perturbation: Perturbation | None, base_loss: BaseLoss | None, task: Task | None
) -> Task:
    """The task of a loss, from its parts."""
    if task not in (None, "multiclass", "multilabel"):
        raise ValueError(f"task must be 'multiclass' or 'multilabel', got {task!r}")
    told: dict[str, Any] = {
        "task": task,
        "perturbation": getattr(perturbation, "task", None),
    }
    told["base_loss"] = "multilabel" if isinstance(base_loss, LabelLoss) else None
    found = {name: kind for name, kind in told.items() if kind is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in found.items())
        raise ValueError(f"perturbation and base_loss must be of one task: {listed}")
    return next(iter(found.values()), "multiclass")
