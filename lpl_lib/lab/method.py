"""What a method changes in a training run, and how methods are fused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

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
    head: Any = None
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
        base: maps ``weight`` to a base loss, if it is not cross-entropy.
        weight: of the classes, ``(C,)``.
        task: ``"multiclass"`` or ``"multilabel"``.
        posthoc: ``(C,)``, subtracted from the test logits.
        at_epoch: called before each epoch with the share of training done, in [0, 1).
        sampler: draws the order of an epoch.
        mixup: parameter of mix-up's Beta distribution; 0 for none.
        hook: called in each step, see :class:`lpl_lib.lab.training.Hook`.
    """

    perturbation: Perturbation | None = None
    base: Callable[[Tensor | None], BaseLoss] | None = None
    weight: Tensor | None = None
    task: Task = "multiclass"
    posthoc: Tensor | None = None
    at_epoch: tuple[Callable[[float], object], ...] = ()
    sampler: Sampler | None = None
    mixup: float = 0.0
    hook: Hook | None = None

    @cached_property
    def criterion(self) -> PerturbedLoss:
        """The training loss."""
        base: Any = self.base and self.base(self.weight)
        if base is None and self.weight is not None:
            base = nn.CrossEntropyLoss(self.weight)
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


def fuse(methods: Sequence[Method], task: Task = "multiclass") -> Method:
    """Return the method that does all of these, perturbations in the order given.

    Raises:
        ValueError: two base losses, two samplers.

    >>> fuse([Method(posthoc=torch.ones(2)), Method(mixup=0.2)]).mixup
    0.2
    >>> fuse([Method(base=nn.CrossEntropyLoss), Method(base=nn.CrossEntropyLoss)])
    Traceback (most recent call last):
    ...
    ValueError: two methods bring a base loss: they do not fuse
    """
    return reduce(_both, methods, Method(task=task))


_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("perturbation", "posthoc", "at_epoch"), operator.add),
    **dict.fromkeys(("mixup", "task"), max),  # "multilabel" is the larger word
    "weight": operator.mul,
}
"""How what two methods bring is taken together; of anything else there is one."""


def _both(one: Method, other: Method) -> Method:
    def together(name: str) -> Any:
        a, b = getattr(one, name), getattr(other, name)
        if a is None or b is None:
            return b if a is None else a
        if name not in _TOGETHER:
            what = "base loss" if name == "base" else name
            raise ValueError(f"two methods bring a {what}: they do not fuse")
        return _TOGETHER[name](a, b)

    return Method(**{field.name: together(field.name) for field in fields(Method)})
