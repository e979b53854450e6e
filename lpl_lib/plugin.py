"""What other people's training programs need: mixed targets, and the Trainer's call.

A perturbation belongs to the class of a sample. Two things that frameworks do blur what
that class is, and one hides the logits:

- mix-up and CutMix make one sample of two: its loss is mixed of the two classes' losses,
  each with its own class's perturbation (:class:`MixedTargetLoss`);
- label smoothing leaves the sample in its class: its perturbation is that of the class,
  and only the target of the base loss is smooth;
- the Hugging Face ``Trainer`` hands over a model's output object, and how many samples
  the whole accumulated batch has (:class:`TrainerLoss`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lpl_lib.checks import BaseLoss, check_finite, check_logits
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import Perturbation, at_least_float32, frozen

TIE = 1e-6  # target masses closer than this are equal: mixers work in float32


class MixedTargetLoss(PerturbedLoss):
    r""":class:`~lpl_lib.PerturbedLoss` for the soft targets of mix-up and CutMix.

    .. math:: L = \lambda\, \ell\bigl(u + \delta_a,\, s(a)\bigr)
                + (1 - \lambda)\, \ell\bigl(u + \delta_b,\, s(b)\bigr), \qquad
              q = \lambda\, s(a) + (1 - \lambda)\, s(b)

    for a sample that was mixed from one of class ``a`` (share :math:`\lambda \ge 1/2`)
    and one of class ``b``. :math:`s(c)` is the one-hot vector of ``c``, or its smoothed
    form :math:`(1 - \sigma) e_c + \sigma / C`: smoothing is the same for all classes, so
    it can be told from mixing, and it does not move a sample to another class. Without
    perturbation this is the cross-entropy with targets ``q``, what timm calls
    ``SoftTargetCrossEntropy``; with hard labels it is :class:`~lpl_lib.PerturbedLoss`.

    The perturbation is asked twice, once with all ``a``, once with all ``b``. Running
    statistics (of ISDA, of LPL with a ``decay``) learn from the first call only.

    Args:
        perturbation: as for :class:`~lpl_lib.PerturbedLoss`.
        base_loss: a callable of logits ``(B, C)`` and class probabilities ``(B, C)``,
            linear in the latter: ``nn.CrossEntropyLoss``, also with class weights.
            Default: ``torch.nn.functional.cross_entropy`` (mean, in nats). Smoothing
            belongs to the targets (``Mixup(label_smoothing=...)``), not here.
        check_values: as for :class:`~lpl_lib.PerturbedLoss`.

    With two classes a smoothed label looks like a mixed one, and is taken for one.

    Source: mix-up's loss is that of Zhang et al. 2018; which perturbation applies is a
    rule of this book (chapter 9). Li et al. do not treat mixed samples.

    Raises:
        ValueError: targets of another shape than the logits, negative, that do not sum
            to 1, the same for all classes, or of more than two; a base loss with label
            smoothing.

    >>> from lpl_lib import LDAM
    >>> u = torch.tensor([[2.0, 0.0, 1.0]])
    >>> soft = torch.tensor([[0.7, 0.0, 0.3]])
    >>> criterion, hard = MixedTargetLoss(LDAM([9, 3, 1])), PerturbedLoss(LDAM([9, 3, 1]))
    >>> a, b = (hard(u, torch.tensor([c])) for c in (0, 2))
    >>> torch.isclose(criterion(u, soft), 0.7 * a + 0.3 * b)
    tensor(True)
    """

    def __init__(
        self,
        perturbation: Perturbation | None = None,
        base_loss: BaseLoss | None = None,
        check_values: bool | None = None,
    ) -> None:
        if getattr(base_loss, "label_smoothing", 0):
            raise ValueError(
                f"base_loss must not smooth labels itself, got {base_loss!r}: smooth the "
                "targets where they are mixed, as timm's Mixup(label_smoothing=...) does"
            )
        super().__init__(perturbation, base_loss, check_values)

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        head_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, reduced as the base loss does (mean by default).

        Args:
            logits: ``(B, C)``, floating.
            targets: ``(B, C)``, floating, class probabilities; or ``(B,)``, integer.
            features: ``(B, A)``, the last layer's input, if ISDA takes part.
            head_weight: ``(C, A)``, the last layer's weight, if ISDA takes part.
        """
        if not (isinstance(targets, Tensor) and targets.is_floating_point()):
            return super().forward(logits, targets, features, head_weight)
        perturbation = self.perturbation
        check_logits(logits, perturbation.num_classes if perturbation else None)
        _check_mixed(logits, targets, self.check_values)
        logits = at_least_float32(logits)
        targets = targets.to(logits.dtype)
        if perturbation is None or not self.training:
            return self.base_loss(logits, targets)
        major, minor, part = unmix(targets)
        first = perturbation.delta(logits, major, features, head_weight)
        with frozen(perturbation):
            second = perturbation.delta(logits, minor, features, head_weight)
        return self.base_loss(logits + first, targets - part) + self.base_loss(
            logits + second, part
        )


def unmix(targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Take mixed targets apart: the two classes of each sample, and the second's part.

    What all classes share is label smoothing; the two classes that stick out are ``a``
    and ``b``, and :math:`\lambda` is ``a``'s share of what sticks out.

    Args:
        targets: ``(B, C)``, floating: :math:`\lambda\, s(a) + (1 - \lambda)\, s(b)`.

    Returns:
        ``a`` and ``b``, each ``(B,)``, int64, equal where one class sticks out; and
        :math:`(1 - \lambda)\, s(b)`, ``(B, C)``.

    >>> a, b, part = unmix(torch.tensor([[0.65, 0.05, 0.25, 0.05], [0.1, 0.1, 0.7, 0.1]]))
    >>> a, b, part.round(decimals=4)  # smoothing 0.2 and lambda 0.75; smoothing 0.4
    (tensor([0, 2]), tensor([2, 2]), tensor([[0.0125, 0.0125, 0.2125, 0.0125],
            [0.0000, 0.0000, 0.0000, 0.0000]]))
    """
    num_classes = targets.shape[1]
    floor = targets.amin(1, keepdim=True)
    if num_classes < 3:
        floor = torch.zeros_like(floor)  # here the least is b's own share
    mass, classes = (targets - floor).topk(min(2, num_classes), dim=1)
    major, minor, rest = classes[:, 0], classes[:, -1], mass[:, -1]
    one_class = (rest <= TIE) | (major == minor)
    rest = torch.where(one_class, 0.0, rest)
    share = rest / (mass[:, 0] + rest).clamp(min=torch.finfo(mass.dtype).tiny)
    part = share[:, None] * floor
    part = part.expand_as(targets).scatter_add(1, minor[:, None], rest[:, None])
    return major, torch.where(one_class, major, minor), part


class TrainerLoss(nn.Module):
    r"""A perturbed loss in the form that Hugging Face's ``Trainer`` calls.

    .. code-block:: python

        Trainer(..., compute_loss_func=TrainerLoss(LogitAdjustment(class_counts)))

    It takes the logits out of the model's output object, works on their device, and
    weights the batch by its share of the accumulated one,

    .. math:: L = \frac{B}{\text{num\_items\_in\_batch}} \; \overline{\ell}

    so that gradient accumulation gives the mean over all samples, also where the last
    batch is smaller. Where no gradient is asked for (``Trainer.evaluate``) nothing is
    perturbed, and ``eval_loss`` is the base loss.

    Args:
        perturbation: as for :class:`~lpl_lib.PerturbedLoss`.
        base_loss: as for :class:`MixedTargetLoss`; a mean over the batch. Labels may be
            hard, or mixed by the data collator.

    Source: the signature is that of ``compute_loss_func`` in transformers 4.46 and newer.

    Raises:
        ValueError: no labels, no logits in the output, and what
            :class:`MixedTargetLoss` raises.

    >>> criterion = TrainerLoss()
    >>> output = {"logits": torch.zeros(2, 4)}  # a model's output is such a mapping
    >>> criterion(output, torch.tensor([0, 3])).item()  # log 4
    1.386...
    >>> criterion(output, torch.tensor([0, 3]), num_items_in_batch=8).item()  # a quarter
    0.346...
    """

    def __init__(
        self, perturbation: Perturbation | None = None, base_loss: BaseLoss | None = None
    ) -> None:
        super().__init__()
        self.criterion = MixedTargetLoss(perturbation, base_loss)

    def forward(
        self,
        outputs: Any,
        labels: Tensor | None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the batch's part of the loss of the accumulated batch, a scalar.

        Args:
            outputs: what the model returned: an object or mapping with ``logits``, a
                tuple that begins with them, or the logits ``(B, C)`` themselves.
            labels: ``(B,)``, integer, or ``(B, C)``, mixed.
            num_items_in_batch: labels in the accumulated batch; ``None``: in this one.
        """
        if labels is None:
            raise ValueError(
                "labels must come with each batch, got None: call the data set's column "
                "of classes 'labels'; if the Trainer drops it because the model's "
                "forward does not take it, set remove_unused_columns=False"
            )
        logits = logits_of(outputs)
        self.criterion.to(logits.device).train(torch.is_grad_enabled())
        loss = self.criterion(logits, labels)
        if num_items_in_batch is None:
            return loss
        return loss * (labels.numel() / num_items_in_batch)


def logits_of(outputs: Any) -> Tensor:
    """Return the logits that a framework's output holds.

    >>> logits_of((torch.zeros(1, 2), "hidden states")).shape
    torch.Size([1, 2])
    >>> logits_of({"last_hidden_state": torch.zeros(1, 2)})
    Traceback (most recent call last):
    ...
    ValueError: outputs must hold 'logits', got dict with ['last_hidden_state']: ...
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        logits: Tensor = outputs["logits"]
        return logits
    if isinstance(outputs, tuple) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    held = f" with {list(outputs)}" if isinstance(outputs, Mapping) else ""
    raise ValueError(
        f"outputs must hold 'logits', got {type(outputs).__name__}{held}: use a model "
        "with a classification head, such as AutoModelForSequenceClassification"
    )


def _check_mixed(logits: Tensor, targets: Tensor, values: bool | None) -> None:
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must have the shape of logits, {tuple(logits.shape)}, or be "
            f"integer labels ({len(logits)},), got {targets.dtype} of shape "
            f"{tuple(targets.shape)}"
        )
    if targets.device != logits.device:
        raise ValueError(
            f"targets are on {targets.device} but logits on {logits.device}: "
            "move both to one device"
        )
    if torch.compiler.is_compiling():
        return  # a look at values would break the graph
    if not (values if values is not None else logits.device.type == "cpu"):
        return
    check_finite(logits)
    sums = targets.sum(1)
    if not bool((targets >= 0).all() and ((sums - 1).abs() < 1e-3).all()):
        raise ValueError(
            "targets must be class probabilities, each row >= 0 and 1 in sum, got "
            f"values from {float(targets.min()):g} to {float(targets.max()):g} and sums "
            f"from {float(sums.min()):g} to {float(sums.max()):g}"
        )
    above = (targets - targets.amin(1, keepdim=True) > 1e-4).sum(1)
    if targets.shape[1] > 2 and int(above.min()) == 0:
        raise ValueError(
            "targets must single out a class, got the same share for all in sample "
            f"{int(above.argmin())}: it belongs to no class"
        )
    if int(above.max()) > 2:
        row = int(above.argmax())
        raise ValueError(
            "targets must mix at most two classes (over a floor that all classes share, "
            f"of label smoothing), got {int(above[row])} in sample {row}: a teacher's "
            "soft labels belong to no class; add their loss on the plain logits instead"
        )
