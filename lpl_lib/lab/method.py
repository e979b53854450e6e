"""What a method changes in a training run, and how methods are fused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from lpl_lib.base_losses import FocalLoss
from lpl_lib.checks import BaseLoss, Task
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import Perturbation

if TYPE_CHECKING:  # who asks for names and numbers needs no loop
    from lpl_lib.lab.data.images import LabelledImages
    from lpl_lib.lab.training import Hook, Sampler


@dataclass(frozen=True)
class Facts:
    """What a method may know of its problem.

    Attributes:
        counts: training images per class or label, ``(C,)``.
        num_samples: training images; by default the sum of the counts.
        head: the net's last layer, for ISDA.
        split: how LPL divides the classes: ``"rank"`` (Eq. 10, long-tail sets) or
            ``"confidence"`` (Eq. 9, balanced sets).
        meta: a small balanced set, for the split that is learned.
    """

    counts: Tensor
    num_samples: int = 0
    head: nn.Module | None = None
    split: Literal["rank", "confidence"] = "rank"
    meta: LabelledImages | None = None


@dataclass(frozen=True)
class Method:
    """What a method changes in a training run; the defaults change nothing.

    A run has a few places where a method can take hold. Methods that take hold at
    different places fuse by doing both. At one place, perturbations add and mixers take
    turns; two base losses do not fuse.

    Attributes:
        perturbation: of the training logits.
        gamma: exponent of the focal loss, >= 0.
        smoothing: label smoothing, in [0, 1).
        weight: of the classes, ``(C,)``.
        base_loss: another base loss, in the place of the three above.
        task: ``"multiclass"`` or ``"multilabel"``.
        posthoc: ``(C,)``, subtracted from the test logits.
        at_epoch: called before each epoch with the share of training done, in [0, 1).
        sampler: draws the order of an epoch.
        mixup: parameter of mix-up's Beta distribution; 0 for none.
        hook: called in each step, see :class:`lpl_lib.lab.training.Hook`.
    """

    perturbation: Perturbation | None = None
    gamma: float = 0.0
    smoothing: float = 0.0
    weight: Tensor | None = None
    base_loss: BaseLoss | None = None
    task: Task = "multiclass"
    posthoc: Tensor | None = None
    at_epoch: tuple[Callable[[float], object], ...] = ()
    sampler: Sampler | None = None
    mixup: float = 0.0
    hook: Hook | None = None

    @cached_property
    def criterion(self) -> PerturbedLoss:
        """The training loss.

        Raises:
            ValueError: two base losses.
        """
        named = {
            "focal loss": self.gamma > 0,
            "label smoothing": self.smoothing > 0,
            "a base loss of its own": self.base_loss is not None,
        }
        found = [name for name, is_there in named.items() if is_there]
        if len(found) > 1:
            raise ValueError(
                f"{found[0]} and {found[1]} are two base losses: a run has one, and "
                "which of their products is meant would have to be said"
            )
        base: Any = self.base_loss
        if self.gamma:
            base = FocalLoss(self.gamma, self.weight)
        elif self.weight is not None or self.smoothing:
            base = nn.CrossEntropyLoss(self.weight, label_smoothing=self.smoothing)
        # the loop looks at the loss of each epoch: no need to look at each batch
        return PerturbedLoss(self.perturbation, base, task=self.task, check_values=False)

    def additions(self, num_classes: int) -> dict[str, Any]:
        """Return what the training loop is to do besides, as its keyword arguments."""
        do = {"at_epoch": self.at_epoch, "sampler": self.sampler, "hook": self.hook}
        if not self.mixup:
            return do
        from timm.data.mixup import Mixup  # here, not above: it is slow to import

        mixer = Mixup(self.mixup, label_smoothing=0.0, num_classes=num_classes)
        return {**do, "mixer": mixer}


def fuse(methods: Sequence[Method]) -> Method:
    """Return the method that does all of these, perturbations in the order given.

    Raises:
        ValueError: two base losses, two samplers, single labels and several.

    >>> both = fuse([Method(smoothing=0.1), Method(mixup=0.2)])
    >>> both.smoothing, both.mixup
    (0.1, 0.2)
    >>> fuse([Method(smoothing=0.1), Method(gamma=2.0)]).criterion
    Traceback (most recent call last):
    ...
    ValueError: focal loss and label smoothing are two base losses: ...
    """
    return reduce(_both, methods, Method(task=methods[0].task))


_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("perturbation", "posthoc", "at_epoch"), operator.add),
    **dict.fromkeys(("gamma", "smoothing", "mixup", "task"), max),
    "weight": operator.mul,
}
"""How what two methods bring is taken together; of anything else there is one."""


def _both(one: Method, other: Method) -> Method:
    def together(name: str) -> Any:
        a, b = getattr(one, name), getattr(other, name)
        if a is None or b is None:
            return b if a is None else a
        if name not in _TOGETHER:
            raise ValueError(f"two methods bring a {name}: they do not fuse")
        return _TOGETHER[name](a, b)

    if one.task != other.task:
        raise ValueError(f"task must be the same, got {one.task} and {other.task}")
    return Method(**{field.name: together(field.name) for field in fields(Method)})
