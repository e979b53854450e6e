"""One record: its digest, its scores, its hyper-parameters in short."""

from __future__ import annotations

import hashlib
import json
from typing import Any

Record = dict[str, Any]


def digest(config: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits of SHA-256 that stand for a configuration.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def class_scores(record: Record) -> list[float]:
    """Return a record's accuracy of each class, or average precision of each label, in
    percent.

    >>> class_scores({"hits": [9, 1], "tested": [10, 10]})
    [90.0, 10.0]
    """
    if record.get("ap") is not None:
        return [100 * value for value in record["ap"]]
    pairs = zip(record["hits"], record["tested"], strict=True)
    return [100 * hits / tested for hits, tested in pairs]


def class_mean(record: Record) -> float:
    """Return the mean of :func:`class_scores`: balanced accuracy, or mAP, in percent."""
    scores = class_scores(record)
    return sum(scores) / len(scores)


def train_mean(record: Record) -> float:
    """Return :func:`class_mean` on the training images; NaN if it is not recorded.

    >>> train_mean({"train_accuracy": [1.0, 0.5]})
    75.0
    """
    shares = record.get("train_accuracy") or record.get("train_ap")
    return 100 * sum(shares) / len(shares) if shares else float("nan")


def as_text(params: dict[str, Any]) -> str:
    """Return hyper-parameters in short.

    >>> as_text({"tau": 1.0, "recipe.lr": 0.3})
    'tau=1 lr=0.3'
    """
    texts = {name: f"{v:g}" if isinstance(v, float) else v for name, v in params.items()}
    return " ".join(f"{name.rpartition('.')[2]}={text}" for name, text in texts.items())
