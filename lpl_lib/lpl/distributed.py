"""One batch over several processes: class means and splits see all of it."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def whole_batch(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, slice]:
    """Return the batch of all processes, and which of its rows are this process's.

    Without ``torch.distributed``, or with one process, the batch comes back as it is.
    All processes must hold the same number of samples, as ``DistributedSampler`` gives
    them: asking each for its number would make every device wait.

    Args:
        logits: ``(B, C)``; no gradient flows through the gathered copy.
        targets: ``(B,)``, or ``(B, K)`` for many labels.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return logits, targets, slice(None)
    world, rank, size = dist.get_world_size(), dist.get_rank(), len(targets)
    all_logits = logits.new_empty(world * size, logits.shape[1])
    all_targets = targets.new_empty(world * size, *targets.shape[1:])
    dist.all_gather_into_tensor(all_logits, logits.detach().contiguous())
    dist.all_gather_into_tensor(all_targets, targets.contiguous())
    return all_logits, all_targets, slice(rank * size, (rank + 1) * size)
