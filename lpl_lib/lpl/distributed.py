"""One batch over several processes: class means and splits see all of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lpl_lib.checks import several_processes

PATIENCE = 30.0  # seconds without the others until a process says what it waits for
RULE = (
    "a perturbation that looks at the whole batch (LPL, ISDA) needs each process of its "
    "group to compute this loss in training mode at the same step, on an empty batch where "
    "its data have run out. A process that computes it alone does so after "
    "criterion.eval(), or with process_group=torch.distributed.new_group([rank])"
)


def whole_batch(
    logits: Tensor, targets: Tensor, group: Any = None
) -> tuple[Tensor, Tensor, slice]:
    """Return the batch of all processes, and which of its rows are this process's.

    With one process the batch comes back as it is. Several may hold different numbers of
    samples, none included: they tell each other theirs first, for which the host waits.

    Args:
        logits: ``(B, C)``; no gradient flows through the gathered copy.
        targets: ``(B,)``, or ``(B, K)`` for many labels.
        group: the ``ProcessGroup``; ``None`` for all processes.

    Raises:
        RuntimeError: another process did not come, or has died; it names the rule. A
            warning does so after 30 seconds of waiting.
    """
    if not several_processes(group):
        return logits, targets, slice(None)
    with _told_why():
        own = torch.tensor([len(targets)], device=logits.device)
        sizes = torch.cat(_gathered(own, group)).tolist()
        wide = max(sizes)
        whole = [
            torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])
            for parts in (_gathered(_padded(x, wide), group) for x in (logits, targets))
        ]
    first = sum(sizes[: dist.get_rank(group)])
    return whole[0], whole[1], slice(first, first + len(targets))


def _padded(rows: Tensor, length: int) -> Tensor:
    padding = rows.new_zeros(length - len(rows), *rows.shape[1:])
    return torch.cat([rows.detach(), padding])


def _gathered(rows: Tensor, group: Any) -> list[Tensor]:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, rows, group)
    return parts


@contextmanager
def _told_why() -> Iterator[None]:
    """Say what is waited for, and what went wrong."""
    timer = Timer(PATIENCE, warnings.warn, [f"waiting for another process: {RULE}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{RULE} ({error})") from error
    finally:
        timer.cancel()
