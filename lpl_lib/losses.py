"""The loss of a perturbed batch: the base loss of ``logits + delta``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib.checks import BaseLoss, Task, check_batch, check_label_batch
from lpl_lib.multilabel.base_losses import BCELoss, LabelLoss
from lpl_lib.perturbations import Perturbation, at_least_float32, frozen
from lpl_lib.targets import check_linear, check_mixed, unmix


class PerturbedLoss(nn.Module):
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
    learn from the larger part). *Labels*: any number of labels a sample, ``(B, K)`` of 0
    and 1.

    Args:
        perturbation: a :class:`~lpl_lib.Perturbation`, or several joined with ``+``;
            ``None`` leaves the base loss.
        base_loss: a callable of logits and targets: a ``nn.CrossEntropyLoss`` with label
            smoothing or class weights, a focal loss, one of
            :mod:`lpl_lib.multilabel.base_losses`, your own. The loss is what it returns.
            Default: cross-entropy, or binary cross-entropy for labels (means, in nats).
        task: ``"multiclass"`` or ``"multilabel"``; ``None`` takes that of the
            perturbation or of the base loss, else ``"multiclass"``.
        check_values: look at the values of each batch (labels in range, logits
            finite). ``None``: on the CPU only, since elsewhere the host would have to
            wait for the device.

    Half-precision logits are raised to float32 before they are perturbed.

    Source: Eq. 7 of Li et al. (arXiv 2209.05668); for mixed targets the rule is this
    book's (chapter 9).

    Raises:
        ValueError: a task other than the perturbation's; targets of another kind, or mixed
            of more than two classes; a base loss that is not linear in mixed targets; and
            from the checks of the batch, see :mod:`lpl_lib.checks`.

    >>> from lpl_lib import LogitAdjustment
    >>> criterion = PerturbedLoss(LogitAdjustment([90, 10]))
    >>> criterion(torch.zeros(1, 2), torch.tensor([1])).item()  # -log 0.1
    2.302...
    >>> PerturbedLoss(task="multilabel")(torch.zeros(1, 2), torch.tensor([[1, 0]])).item()
    0.693...
    """

    def __init__(
        self,
        perturbation: Perturbation | None = None,
        base_loss: BaseLoss | None = None,
        *,
        task: Task | None = None,
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
        if base_loss is None:
            base_loss = F.cross_entropy if self.task == "multiclass" else BCELoss()
        self.base_loss = base_loss
        self.check_values = check_values
        self._linear = False  # whether the base loss was seen to be so, for mixed targets

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, reduced as the base loss does (mean by default).

        Args:
            logits: ``(B, C)``, floating.
            targets: ``(B,)``, integers in ``[0, C)``; or ``(B, C)``, class probabilities;
                or for labels ``(B, C)`` of 0 and 1.
        """
        active = self.training and torch.is_grad_enabled()
        perturbation = self.perturbation if active else None
        known = self.perturbation.num_classes if self.perturbation else None
        if self.task == "multilabel":
            parts = [part for part in (perturbation, self.base_loss) if part is not None]
            soft = all(getattr(part, "allows_soft_labels", True) for part in parts)
            known = known or getattr(self.base_loss, "num_classes", None)
            check_label_batch(logits, targets, known, soft=soft, values=self.check_values)
            logits = at_least_float32(logits)
            targets = targets.to(logits.dtype)
        elif isinstance(targets, Tensor) and targets.is_floating_point():
            check_mixed(logits, targets, known, values=self.check_values)
            logits = at_least_float32(logits)
            targets = targets.to(logits.dtype)
            if perturbation is not None:
                return self._mixed(perturbation, logits, targets)
        else:
            check_batch(logits, targets, known, values=self.check_values)
            logits, targets = at_least_float32(logits), targets.long()
        if perturbation is not None:
            logits = perturbation.move(logits, targets)
        return self.base_loss(logits, targets)

    def _mixed(self, perturbation: Perturbation, logits: Tensor, targets: Tensor) -> Tensor:
        if not self._linear and not torch.compiler.is_compiling():
            check_linear(self.base_loss, logits, targets)
            self._linear = True
        major, minor, part = unmix(targets)
        first = perturbation.move(logits, major)
        with frozen(perturbation):
            second = perturbation.move(logits, minor)
        return self.base_loss(first, targets - part) + self.base_loss(second, part)


def _task(
    perturbation: Perturbation | None, base_loss: BaseLoss | None, task: Task | None
) -> Task:
    """The task of a loss, from its parts."""
    if task not in (None, "multiclass", "multilabel"):
        raise ValueError(f"task must be 'multiclass' or 'multilabel', got {task!r}")
    of_loss: Task | None = "multilabel" if isinstance(base_loss, LabelLoss) else None
    told = {
        "task": task,
        "perturbation": perturbation.task if perturbation else None,
        "base_loss": of_loss,
    }
    found = {name: kind for name, kind in told.items() if kind is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in found.items())
        raise ValueError(f"perturbation and base_loss must be of one task: {listed}")
    return next(iter(found.values()), "multiclass")
