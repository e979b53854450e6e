"""Chapter 18: train, and learn the split of the classes meanwhile."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.meta_split import LookAhead, learned_lpl
from lpl_lib.lab.models import last_linear
from lpl_lib.lab.recipe import Recipe
from lpl_lib.lab.training import train
from lpl_lib.losses import PerturbedLoss
from lpl_lib.perturbations import Perturbation


def fit_meta_split(
    net: nn.Module,
    data: LabelledImages,
    meta: LabelledImages,
    *,
    epsilon: float,
    epochs: int,
    batch_size: int = 64,
    before: Perturbation | None = None,
    lr: float = 0.1,
    meta_lr: float = 0.1,
    seed: int = 0,
) -> Tensor:
    r"""Train ``net`` in place as :func:`lpl_lib.lab.fit` does, and learn the split.

    Args:
        net: maps images ``(B, ...)`` to logits ``(B, C)``, with a linear layer at its end.
        data: the training set.
        meta: see :class:`~lpl_lib.lab.meta_split.LookAhead`, as ``meta_lr``.
        epsilon: the largest bound, >= 0, in nats; 0 is plain training.
        epochs, batch_size, lr, seed: as for :func:`lpl_lib.lab.fit`.
        before: a fixed perturbation that comes first, such as
            :class:`~lpl_lib.LogitAdjustment`.

    Returns:
        the soft signs :math:`\tanh a_c` at the end of each epoch, ``(epochs, C)``.

    Raises:
        ValueError: an argument out of range; no image.

    >>> from lpl_lib.lab import SmallConvNet, digits
    >>> pool, _ = digits()
    >>> train, meta = pool.subset(torch.arange(200)), pool.subset(torch.arange(200, 250))
    >>> fit_meta_split(SmallConvNet(10), train, meta, epsilon=1.0, epochs=2).shape
    torch.Size([2, 10])
    """
    lpl = learned_lpl(last_linear(net)[1].out_features, epsilon)
    hook = LookAhead(lpl, meta, meta_lr)
    criterion = PerturbedLoss(lpl if before is None else before + lpl)
    check_number(lr, "lr", strict=True)
    epochs, size = check_count(epochs, "epochs"), check_count(batch_size, "batch_size")
    recipe = Recipe(epochs=epochs, batch_size=size, lr=lr)
    train(net, criterion, data, recipe, seed=seed, hook=hook, progress=False)
    steps = len(hook.history) // epochs
    return torch.stack(hook.history[steps - 1 :: steps])
