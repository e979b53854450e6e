"""Bad input is a ValueError that names the argument, what it got and what it needs."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from lpl_lib import (
    ISDA,
    L2,
    LDAM,
    LPL,
    VS,
    ConfidenceBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    LogitAdjustment,
    PerturbedLoss,
    RankSplit,
    balanced_accuracy,
    book,
    loss_variation,
)
from lpl_lib.book.theory.calibration import epsilon_for_variation
from lpl_lib.book.theory.weights import effective_gap
from lpl_lib.checks import check_batch
from lpl_lib.lab.data import digits, long_tail_counts, long_tail_indices
from lpl_lib.lab.intervals import mean_interval
from lpl_lib.lab.models import CifarResNet, SmallConvNet
from lpl_lib.lab.released import Released
from lpl_lib.lab.training import fit
from lpl_lib.lab.variants import PGD, ConfidenceRatioBound
from lpl_lib.lpl import Algorithm1, ClassConfidence
from lpl_lib.metrics import class_accuracy, frequency_groups
from lpl_lib.variation import class_relative_variation, rival_score

NAN, INF = math.nan, math.inf
LOGITS, TARGETS = torch.zeros(2, 3), torch.tensor([0, 2])
FEATURES = torch.zeros(2, 4)
LABELS = torch.arange(60) % 3


def isda(num_classes: int, num_features: int, **settings: object) -> ISDA:
    """ISDA on a head that has seen a batch of two zeros."""
    head = torch.nn.Linear(num_features, num_classes, bias=False)
    found = ISDA(head, **settings)
    head(torch.zeros(2, num_features))
    return found


def logits_with(value: float, row: int = 1, column: int = 2) -> Tensor:
    """Zeros but for one value."""
    logits = LOGITS.clone()
    logits[row, column] = value
    return logits


# What takes a batch of logits and targets, and so has to check it.
TAKES_A_BATCH = {
    "check_batch": check_batch,
    "PerturbedLoss": PerturbedLoss(LPL(3)),
    "PerturbedLoss without perturbation": PerturbedLoss(),
    "LogitAdjustment": LogitAdjustment([3, 2, 1]),
    "LDAM": LDAM([3, 2, 1]),
    "VS": VS([3, 2, 1]),
    "LPL": LPL(3),
    "ISDA": lambda u, y: isda(3, 4)(u, y),
    "Sum": LDAM([3, 2, 1]) + LPL(3),
    "rival_score": rival_score,
    "effective_gap": lambda u, y: effective_gap(u, y, 0.0),
    "loss_variation": lambda u, y: loss_variation(u, y, 0.0),
    "class_relative_variation": lambda u, y: class_relative_variation(u, y, 0.0),
    "epsilon_for_variation": lambda u, y: epsilon_for_variation(L2(), u, y, 0.1),
    "class_accuracy": class_accuracy,
    "balanced_accuracy": balanced_accuracy,
}
BAD_BATCHES = [
    (LOGITS, torch.tensor([0, 3]), r"targets must lie in \[0, 2\], got labels from 0 to 3"),
    (
        LOGITS,
        torch.tensor([-1, 1]),
        r"targets must lie in \[0, 2\], got labels from -1 to 1",
    ),
    (
        LOGITS,
        torch.tensor([0, 1, 2]),
        r"targets must have shape \(2,\).*\(2, 3\), got \(3,\)",
    ),
    (LOGITS, torch.tensor([0]), r"targets must have shape \(2,\).*got \(1,\)"),
    (LOGITS, torch.tensor([[0], [1]]), r"targets must have shape \(2,\).*got \(2, 1\)"),
    (LOGITS, torch.tensor(0), r"targets must have shape \(2,\).*got \(\)"),
    (
        LOGITS,
        torch.tensor([0.0, 1.0]),
        r"targets must be .*integer labels.* got torch\.float32",
    ),
    (LOGITS, [0, 1], r"targets must be a tensor of integer labels, got list"),
    (LOGITS.long(), TARGETS, r"logits must be a floating-point tensor, got torch\.int64"),
    (LOGITS.tolist(), TARGETS, r"logits must be a floating-point tensor, got list"),
    (LOGITS[0], TARGETS[:1], r"logits must have shape \(B, C\).*got \(3,\)"),
    (LOGITS[None], TARGETS, r"logits must have shape \(B, C\).*got \(1, 2, 3\)"),
    (LOGITS[:0], TARGETS[:0], r"logits .*at least one sample.*got \(0, 3\)"),
    (LOGITS[:, :0], TARGETS, r"logits .*at least .*one class, got \(2, 0\)"),
    (
        logits_with(NAN),
        TARGETS,
        r"logits must be finite, got nan for sample 1, class 2 \(1",
    ),
    (logits_with(INF), TARGETS, r"logits must be finite, got inf for sample 1, class 2"),
    (
        logits_with(-INF, 1, 2),
        TARGETS,
        r"logits must be finite, got -inf for sample 1, class 2",
    ),
]


@pytest.mark.parametrize("function", TAKES_A_BATCH.values(), ids=TAKES_A_BATCH)
def test_a_bad_batch(function):
    for logits, targets, message in BAD_BATCHES:
        with pytest.raises(ValueError, match=message):
            function(logits, targets)


@pytest.mark.parametrize(
    "perturbation", [LDAM([2, 1]), LPL(2), LPL(2) + LDAM([1, 2]), isda(2, 4)], ids=repr
)
def test_logits_of_another_number_of_classes(perturbation):
    message = r"logits have 3 classes \(columns\), but the perturbation was made for 2"
    for function in (perturbation, PerturbedLoss(perturbation)):
        with pytest.raises(ValueError, match=message):
            function(LOGITS, TARGETS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_large_finite_logits_are_no_error_though_their_sum_overflows(dtype):
    largest = torch.finfo(dtype).max
    logits = torch.full((2, 3), largest, dtype=dtype)
    assert logits.sum().isinf()
    check_batch(logits, TARGETS)
    logits[0, 0] = -largest  # sums of both infinities
    check_batch(logits, TARGETS)


def test_the_device_is_named_when_it_differs():
    with pytest.raises(ValueError, match="targets are on meta but logits on cpu"):
        check_batch(LOGITS, TARGETS.to("meta"))


BAD_COUNTS = [
    ([5, 0, 2], r"class_counts must be positive and finite, got 0\.0 for class 1"),
    ([5, 3, -2], r"class_counts must be positive and finite, got -2\.0 for class 2"),
    ([NAN, 3, 1], r"class_counts must be positive and finite, got nan for class 0"),
    ([5, INF, 1], r"class_counts must be positive and finite, got inf for class 1"),
    ([], r"class_counts must be a non-empty one-dimensional list.*got shape \(0,\)"),
    (7, r"class_counts must be a non-empty one-dimensional list.*got shape \(\)"),
    ([[5, 3], [2, 1]], r"class_counts must be .*one-dimensional.*got shape \(2, 2\)"),
]


@pytest.mark.parametrize(
    "function",
    [
        LogitAdjustment,
        LDAM,
        VS,
        RankSplit,
        lambda counts: FrequencyBound(counts, 0.1, 1.0),
        lambda counts: ConfidenceRatioBound(counts, 0.1, 1.0),
        frequency_groups,
    ],
    ids=["LA", "LDAM", "VS", "RankSplit", "FrequencyBound", "RatioBound", "groups"],
)
@pytest.mark.parametrize(("counts", "message"), BAD_COUNTS)
def test_bad_class_counts(function, counts, message):
    with pytest.raises(ValueError, match=message):
        function(counts)


def needs(name: str, relation: str, got: str) -> str:
    """The message of a number out of range."""
    return rf"^{name} must be a finite number {relation}, got {got}$"


BAD_SETTINGS = {
    "tau": (lambda: LogitAdjustment([2, 1], tau=-1), needs("tau", ">= 0", "-1")),
    "tau NaN": (lambda: LogitAdjustment([2, 1], tau=NAN), needs("tau", ">= 0", "nan")),
    "VS tau": (lambda: VS([2, 1], tau=-1), needs("tau", ">= 0", "-1")),
    "VS gamma": (lambda: VS([2, 1], gamma=-0.3), needs("gamma", ">= 0", "-0.3")),
    "gamma": (lambda: VS([2, 1], gamma=INF), needs("gamma", ">= 0", "inf")),
    "margin": (lambda: LDAM([2, 1], max_margin=-0.5), needs("max_margin", ">= 0", "-0.5")),
    "scale": (lambda: LDAM([2, 1], scale=-30), needs("scale", ">= 0", "-30")),
    "strength": (lambda: isda(2, 3, strength=-1), needs("strength", ">= 0", "-1")),
    "ISDA head": (lambda: ISDA(10), "head must be the model's last layer.* got 10"),
    "ISDA's head": (lambda: ISDA(torch.nn.ReLU()), r"head must .*weight.* got ReLU\(\)"),
    "covariance": (
        lambda: isda(2, 3, covariance="low rank"),
        "covariance must be 'full' or 'diagonal', got 'low rank'",
    ),
    "full covariance": (
        lambda: isda(8142, 2048),
        "covariance='full' for 8142 classes and 2048 features needs 127.2 GiB.*diagonal",
    ),
    "max_bytes": (lambda: isda(10, 10, max_bytes=3999), "more than max_bytes=3999"),
    "epsilon": (lambda: FixedBound(-0.1), needs("epsilon", ">= 0", "-0.1")),
    "epsilon NaN": (lambda: FixedBound(NAN), needs("epsilon", ">= 0", "nan")),
    "bound": (lambda: LPL(3, bound=-0.5), needs("bound", ">= 0", "-0.5")),
    "confidence epsilon": (lambda: ConfidenceBound(-1, 1), needs("epsilon", ">= 0", "-1")),
    "confidence extra": (lambda: ConfidenceBound(1, -1), needs("extra", ">= 0", "-1")),
    "frequency epsilon": (
        lambda: FrequencyBound([2, 1], -1, 1),
        needs("epsilon", ">= 0", "-1"),
    ),
    "frequency extra": (
        lambda: FrequencyBound([2, 1], 1, -1),
        needs("extra", ">= 0", "-1"),
    ),
    "threshold": (
        lambda: ConfidenceSplit(1.1),
        r"threshold must be None or a confidence in \[0, 1\], got 1\.1",
    ),
    "threshold NaN": (
        lambda: ConfidenceSplit(NAN),
        r"threshold must be None or a confidence in \[0, 1\], got nan",
    ),
    "head beyond": (
        lambda: RankSplit([3, 2, 1], num_head=4),
        r"num_head must lie in \[0, 3\], the number of classes, got 4",
    ),
    "head below": (lambda: RankSplit([3, 2, 1], num_head=-1), r"num_head must .*got -1"),
    "step": (lambda: Algorithm1(0), needs("step_size", "> 0", "0")),
    "step below": (lambda: Algorithm1(-0.01), needs("step_size", "> 0", "-0.01")),
    "steps": (lambda: L2(steps=0), "steps must be an integer >= 1, got 0"),
    "steps whole": (lambda: L2(steps=1.5), "steps must be an integer >= 1, got 1.5"),
    "PGD steps": (lambda: PGD(steps=0), "steps must be an integer >= 1, got 0"),
    "PGD share": (lambda: PGD(share=0), needs("share", "> 0", "0")),
    "released step": (lambda: Released(0), needs("step_size", "> 0", "0")),
    "ratio epsilon": (
        lambda: ConfidenceRatioBound([2, 1], -1, 1),
        needs("epsilon", ">= 0", "-1"),
    ),
    "ratio extra": (
        lambda: ConfidenceRatioBound([2, 1], 1, -1),
        needs("extra", ">= 0", "-1"),
    ),
    "ratio bound": (
        lambda: LPL(3, bound=ConfidenceRatioBound([2, 1], 1, 1)),
        "bound was made for 2 classes, but there are 3 classes",
    ),
    "damping": (lambda: L2(damping=1), r"damping must lie in \[0, 1\), got 1"),
    "damping below": (lambda: L2(damping=-0.5), r"damping must lie in \[0, 1\), got -0\.5"),
    "counts none": (
        lambda: RankSplit(None),
        "class_counts must be a list with one count per class, got None",
    ),
    "split": (lambda: LPL(3, split="rank"), "split must be a Split such as RankSplit"),
    "level": (lambda: mean_interval([1, 2], level=1.5), "level must lie between 0 and 1"),
    "delta's shape": (
        lambda: loss_variation(torch.zeros(2, 3), torch.arange(2), torch.zeros(1, 3)),
        r"delta must have the shape of logits, \(2, 3\), got \(1, 3\)",
    ),
    "solver": (
        lambda: LPL(3, solver="newton"),
        r"solver must be one of \['algorithm1', 'l2', 'linf'\] .*got 'newton'",
    ),
    "solver none": (lambda: LPL(3, solver=None), "solver must be .*got None"),
    "LPL classes": (lambda: LPL(0), "classes must be an integer >= 1, got 0"),
    "LPL split": (
        lambda: LPL(3, split=RankSplit([2, 1])),
        "split was made for 2 classes, but there are 3 classes",
    ),
    "LPL bound": (
        lambda: LPL(3, bound=FrequencyBound([2, 1], 0, 1)),
        "bound was made for 2 classes, but there are 3 classes",
    ),
    "decay": (lambda: LPL(3, decay=1.0), r"decay must be None or in \[0, 1\), got 1\.0"),
    "decay below": (
        lambda: ClassConfidence(3, -0.1),
        r"decay must be None or in .*got -0\.1",
    ),
    "decay NaN": (lambda: ClassConfidence(3, NAN), r"decay must be None or in .*got nan"),
    "sum": (
        lambda: LogitAdjustment([2, 1]) + LPL(3),
        "add must be made for the same classes, got 2 and 3 classes",
    ),
    "sum of sums": (
        lambda: (LogitAdjustment([2, 1]) + LDAM([2, 1])) + (LPL(3) + LPL(3)),
        "add must be made for the same classes, got 2 and 3 classes",
    ),
    "perturbation": (
        lambda: PerturbedLoss(torch.nn.CrossEntropyLoss()),
        "perturbation must be a Perturbation or None, got CrossEntropyLoss",
    ),
    "ratio": (
        lambda: long_tail_counts(500, 10, 0.5),
        needs("imbalance_ratio", ">= 1", "0.5"),
    ),
    "ratio too large": (
        lambda: long_tail_counts(50, 10, 51),
        "imbalance_ratio must be at most 50, the size of the largest class, got 51",
    ),
    "max_count": (
        lambda: long_tail_counts(0, 10, 2),
        "max_count must be an integer >= 1, got 0",
    ),
    "counts classes": (lambda: long_tail_counts(5, 0, 2), "num_classes must be .*got 0"),
    "set ratio": (
        lambda: long_tail_indices(LABELS, 0.9),
        "imbalance_ratio .*>= 1, got 0.9",
    ),
    "set ratio too large": (
        lambda: long_tail_indices(LABELS, 21),
        "imbalance_ratio must be at most 20, the size of the largest class, got 21",
    ),
    "too few images": (
        lambda: long_tail_indices(LABELS, 2, max_count=21),
        "class 0 has 20 images but .* from max_count 21 asks for 21",
    ),
    "no image": (lambda: long_tail_indices(LABELS * 2, 1), "class 1 has (0|no) images"),
    "set labels below": (
        lambda: long_tail_indices(LABELS - 1, 2),
        r"targets must be .* labels from 0 on, got torch\.int64 of shape \(60,\): \[-1, 0",
    ),
    "set labels floating": (
        lambda: long_tail_indices(LABELS.float(), 2),
        r"targets must be .*integer labels .*, got torch\.float32 of shape \(60,\)",
    ),
    "set labels none": (lambda: long_tail_indices(LABELS[:0], 2), r"targets .*non-empty"),
    "set labels 2-D": (lambda: long_tail_indices(LABELS[None], 2), r"one-dimensional"),
    "test_share": (lambda: digits(1.0), "test_share must lie between 0 and 1, got 1.0"),
    "test_share below": (lambda: digits(0), "test_share must lie between 0 and 1, got 0"),
    "net classes": (lambda: SmallConvNet(0), "num_classes must be an integer >= 1, got 0"),
    "net channels": (lambda: SmallConvNet(2, 0), "channels must be an integer >= 1, got 0"),
    "net depth": (lambda: CifarResNet(2, 21), r"depth must be 6 n \+ 2.*got 21"),
    "net too shallow": (lambda: CifarResNet(2, 2), "depth must be an integer >= 8, got 2"),
    "net width": (lambda: SmallConvNet(2, 1, 0), "width must be an integer >= 1, got 0"),
    "groups": (
        lambda: frequency_groups([3, 4], head_above=1, tail_below=5),
        "head_above must be at least tail_below, got 1 < 5",
    ),
    "runs": (lambda: mean_interval([1.0]), "values must hold at least two runs, got 1"),
    "status": (
        lambda: book.claim("C1", "So.", True, status="certain", source="me"),
        "status must be one of .*got 'certain'",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_a_bad_setting(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("alone", [True, False])
def test_isda_whose_head_did_not_see_the_batch(alone):
    head = torch.nn.Linear(4, 3)
    part = ISDA(head)
    criterion = PerturbedLoss(part if alone else LDAM([3, 2, 1]) + part)
    with pytest.raises(ValueError, match=r"head must see .*\(2, 4\).* got none since the"):
        criterion(LOGITS, TARGETS)
    head(torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"head must see .*\(2, 4\).*, got shape \(1, 4\)"):
        criterion(LOGITS, TARGETS)
    head(FEATURES)
    criterion(LOGITS, TARGETS)
    with pytest.raises(ValueError, match="got none since the last step: is it the layer"):
        criterion(LOGITS, TARGETS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"lr": 0.0}, needs("lr", "> 0", "0.0")),
    ],
)
def test_bad_settings_of_training(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(SmallConvNet(10), PerturbedLoss(), digits()[0], **{"epochs": 1, **settings})


def test_training_on_nothing():
    nothing = digits()[0].subset(torch.tensor([], dtype=torch.int64))
    with pytest.raises(ValueError, match="data must hold at least one image, got none"):
        fit(SmallConvNet(10), PerturbedLoss(), nothing, epochs=1)


@pytest.mark.parametrize("value", ["", "large", "SMOKE"])
def test_an_unknown_size_of_the_experiments(value, monkeypatch):
    monkeypatch.setenv("LPL_SIZE", value)
    message = f"LPL_SIZE must be one of ('smoke', 'default', 'full'), got '{value}'"
    with pytest.raises(ValueError, match=re.escape(message)):
        book.size()
