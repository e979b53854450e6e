"""What a comparison of heads says: in a sentence, by method, by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch

from lpl_lib.folder.heads import PLAIN, POSTHOC, Comparison
from lpl_lib.metrics import class_accuracy

SIMPLE_FIRST = (PLAIN, POSTHOC, "LA")  # who comes later has to show that it is better


class Report(NamedTuple):
    """What came out.

    Attributes:
        verdict: which method to take, by how much it is ahead, on how many images, or
            that these images do not tell.
        method: the one to take.
        methods: by method, the mean of classes and the share of all test images that are
            right, in percent, and the lead over plain training with its 95 % interval.
        classes: by class, the most frequent first, training images, test images, and the
            accuracy in percent with each method; NaN where there is no test image.
    """

    verdict: str
    method: str
    methods: pd.DataFrame
    classes: pd.DataFrame


def report(comparison: Comparison, classes: Sequence[str] | None = None) -> Report:
    """Say which method to take: the simplest (plain training, post-hoc LA, LA, then the
    others) unless another is ahead of it by more than the interval of their difference,
    all differences taken together.

    Args:
        comparison: from :func:`~lpl_lib.folder.heads.compare_heads`.
        classes: names, in the order of the labels; default, their numbers.

    Raises:
        ValueError: another number of names than of classes.

    >>> from lpl_lib.folder.heads import compare_heads
    >>> u, y = torch.eye(2).repeat(4, 1), torch.arange(2).repeat(4)
    >>> report(compare_heads(u, y, u, y, seeds=2, epochs=20)).method
    'cross-entropy'
    """
    counts, targets, logits = comparison.counts, comparison.targets, comparison.logits
    if classes is not None and len(classes) != len(counts):
        raise ValueError(f"classes must be {len(counts)} names, got {len(classes)}")
    order = sorted(logits, key=[*SIMPLE_FIRST, *logits].index)
    tests, taken = len(order) * (len(order) - 1) // 2, order[0]
    for name in order[1:]:
        lead = comparison.lead(name, taken, tests=tests)
        taken = name if lead.mean > lead.half else taken
    best = max(order[1:], key=lambda name: comparison.lead(name).mean)
    lead = comparison.lead(best if taken == PLAIN else taken, tests=tests)
    where = f"{len(targets):,} test images of {len(targets.unique())} classes"
    verdict = (
        f"Take {taken}. In the mean of classes it is {lead} points ahead of {PLAIN}, on "
        f"{where}, {len(logits[taken])} seeds. "
    )
    if taken == PLAIN:
        verdict = (
            f"Take {PLAIN}: {where} do not show that anything is better. The best of the "
            f"others, {best}, comes out {lead} points ahead in the mean of classes. "
        )
    elif more := order[order.index(taken) + 1 :]:
        verdict += f"That {' or '.join(more)} is better still, they do not show. "
    if "NOT FIT" in comparison.fitness():
        verdict = f"No verdict yet: {comparison.fitness()}. {verdict}"
    n = counts.numpy(), targets.bincount(minlength=len(counts)).numpy()
    table, rows = pd.DataFrame({"train": n[0], "test": n[1]}, classes), []
    for name in order:
        each = torch.stack([class_accuracy(one, targets) for one in logits[name]])
        table[name] = 100 * each.mean(0).double().numpy()
        right = (logits[name].argmax(2) == targets).float().mean()
        scores = {"mean of classes": table[name].mean(), "all images": 100 * float(right)}
        rows.append(scores | {"ahead": str(comparison.lead(name, tests=tests))})
    table = table.sort_values("train", ascending=False, kind="stable")
    return Report(verdict.strip(), taken, pd.DataFrame(rows, order), table)
