"""What a criterion knows of the data survives every way of saving, loading and casting.

Fault 1: priors, signs and bounds were uninitialised memory after ``from_pretrained`` or
construction on the meta device. Fault 3: casts froze running statistics. The tests go over
every perturbation of the library.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from cases import CASES, Batch, Case, class_counts, random_batch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lpl_lib import (
    FocalLoss,
    MultilabelLogitAdjustment,
    MultilabelLPL,
    Perturbation,
    PerturbedLoss,
)
from lpl_lib.lab.rebalancing import Rebalanced

C = 5
BATCHES = [
    random_batch([0, 1, 1, 2, 4, 0, 3], C, seed=s, dtype=torch.float32) for s in range(5)
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Model(nn.Module):
    """A net that holds its criterion, as EMA, checkpoints and casts see it."""

    def __init__(self, case: Case, counts: list[int]) -> None:
        super().__init__()
        self.fc = nn.Linear(3, C, bias=False)
        self.criterion = PerturbedLoss(case.make(counts, 1.0, self.fc))

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch whose features the head sees in float32."""
        self.fc(batch.features.to(self.fc.weight.dtype))
        return self.criterion(
            batch.logits.detach().requires_grad_(), batch.targets
        ).detach()


def model(case: Case, counts: list[int] | None = None) -> Model:
    made = Model(case, class_counts(C) if counts is None else counts)
    made.fc.weight.data.copy_(BATCHES[0].head_weight)
    return made


def losses(trained: Model, batches: list[Batch] = BATCHES[2:]) -> list[Tensor]:
    return [trained(batch) for batch in batches]


def through_state_dict(first: Model, case: Case) -> Model:
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = model(case, class_counts(C)[::-1])  # another tail: all must come from the file
    second.load_state_dict(torch.load(buffer, weights_only=True))
    return second


def through_the_meta_device(first: Model, case: Case) -> Model:
    with torch.device("meta"):
        second = Model(case, class_counts(C))
    second.to_empty(device="cpu")
    second.load_state_dict(first.state_dict())
    return second


WAYS: dict[str, Callable[[Model, Case], Model]] = {
    "state_dict": through_state_dict,
    "meta": through_the_meta_device,
    "deepcopy": lambda first, case: copy.deepcopy(first),
    "pickle": lambda first, case: pickle.loads(pickle.dumps(first)),
}


@pytest.mark.parametrize("way", WAYS)
@each_case
def test_saved_and_loaded_it_goes_on_as_before(case, way):
    first = model(case)
    losses(first, BATCHES[:2])
    second = WAYS[way](first, case)
    torch.testing.assert_close(losses(second), losses(first), rtol=0, atol=0)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@each_case
def test_a_cast_rounds_nothing_that_it_knows(case, half):
    """The head's weight is rounded with the net; what is known of the data is not."""
    plain, cast = model(case), model(case).to(half)
    for twin in (plain, cast):
        twin.fc.weight.data = BATCHES[0].head_weight.to(half).to(twin.fc.weight.dtype)
    features = [b._replace(features=b.features.to(half).float()) for b in BATCHES]
    torch.testing.assert_close(losses(cast, features), losses(plain, features))
    for name, value in cast.criterion.state_dict().items():
        assert value.dtype in (torch.float32, torch.bool, torch.int64), name


def test_statistics_go_on_counting_past_256_in_half_precision():
    case = next(case for case in CASES if case.name == "ISDA(full)")
    trained = model(case).bfloat16()
    for _ in range(60):
        losses(trained, BATCHES)
    assert int(trained.criterion.perturbation.count.sum()) == 60 * 5 * 7


@each_case
def test_an_average_of_models_keeps_what_is_known(case):
    """EMA with its buffers averaged too, as in ``torch.optim.swa_utils``."""
    first = model(case)
    ema = AveragedModel(first, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    ema.update_parameters(first)
    torch.testing.assert_close(
        ema.module.criterion.state_dict(), first.criterion.state_dict()
    )


# --- many labels, and base losses with buffers ------------------------------------------

K = 4
LABELS = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
LABEL_CRITERIA: dict[str, Callable[[list[int]], PerturbedLoss]] = {
    "LA": lambda n: PerturbedLoss(MultilabelLogitAdjustment(n, 100)),
    "LPL": lambda n: PerturbedLoss(MultilabelLPL(n, 100, 0.5, decay=0.5)),
    "default LPL, R-BCE": lambda n: PerturbedLoss(MultilabelLPL(n, 100), Rebalanced(n)),
    "both": lambda n: PerturbedLoss(
        MultilabelLogitAdjustment(n, 100) + MultilabelLPL(n, 100)
    ),
    "focal": lambda n: PerturbedLoss(None, FocalLoss(1.0, torch.tensor(n) / 10)),
}


@pytest.mark.parametrize("name", LABEL_CRITERIA)
def test_many_labels_and_base_losses(name):
    logits = [b.logits[:4, :K].clone().requires_grad_() for b in BATCHES]
    targets = LABELS.argmax(1) if name == "focal" else LABELS
    first = LABEL_CRITERIA[name]([40, 20, 8, 3])
    first(logits[0], targets)
    second = LABEL_CRITERIA[name]([3, 8, 20, 40])
    second.load_state_dict(first.state_dict())
    cast = copy.deepcopy(first).half()
    for u in logits[1:]:
        assert torch.equal(second(u, targets), first(u, targets))
        assert torch.equal(cast(u, targets), first(u, targets))


def test_keys_do_not_depend_on_the_order_of_a_sum():
    cases = {case.name: case for case in CASES}
    la, ldam = cases["LA"], cases["LDAM"]
    lpl = cases["LPL(l2,mean,confidence,running)"]
    keys = {
        frozenset(model(total).state_dict())
        for total in (la + ldam + lpl, lpl + (ldam + la), ldam + (lpl + la))
    }
    assert len(keys) == 1


# --- compiled ----------------------------------------------------------------------------

COMPILED = (  # the others with the "eager" backend, and by tools/try_to_break.py --compile
    "VS",
    "ISDA(full)",
    "LPL(linf,mean,fixed)",
    "LPL(l2,mean,confidence,running)",
    "LA+LDAM+LPL(l2,half,fixed)",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_by_inductor_it_is_the_same(name):
    torch.compiler.reset()
    torch._inductor.config.compile_threads = 1  # no pool of processes for so little
    case = next(case for case in CASES if case.name == name)
    results = []
    for compiles in (False, True):
        trained = model(case)
        criterion = trained.criterion
        if compiles:
            criterion = torch.compile(criterion)
        found = []
        for batch in BATCHES[:2]:
            trained.fc(batch.features)
            logits = batch.logits.clone().requires_grad_()
            loss = criterion(logits, batch.targets)
            loss.backward()
            found += [loss.detach(), logits.grad]
        results.append((found, dict(trained.criterion.state_dict())))
    torch.testing.assert_close(*results)


def test_a_perturbation_of_ones_own_is_kept_as_well():
    """Buffers of a subclass: the kind, not the list of those that exist."""

    class Own(Perturbation):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.tensor([0.1, 0.2, 0.3]))

        def delta(self, logits: Tensor, targets: Tensor) -> Tensor:
            return self.table.to(logits.dtype).expand_as(logits)

    own = PerturbedLoss(Own()).half()
    assert own.perturbation.table.dtype == torch.float32
    assert torch.equal(own.perturbation.table, torch.tensor([0.1, 0.2, 0.3]))
