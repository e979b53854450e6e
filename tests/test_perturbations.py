"""What every perturbation keeps to; then LA, LDAM and VS against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import CASES, CLASS_LEVEL, Batch, Case, batches, class_counts, few, random_batch
from hypothesis import given
from hypothesis import strategies as st
from reference import la_loss, ldam_loss, vs_loss

from lpl_lib import ISDA, LDAM, LPL, VS, LogitAdjustment, PerturbedLoss
from lpl_lib.perturbations import Chain

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_class_level = pytest.mark.parametrize("case", CLASS_LEVEL, ids=lambda case: case.name)
half_precision = pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)

DEVICES = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
COUNTS = np.array([70.0, 8.0, 300.0, 21.0])

extreme_logits = st.lists(
    st.lists(st.sampled_from([-1e4, 0.0, 3.0, 1e4]), min_size=4, max_size=4),
    min_size=1,
    max_size=6,
)


def check_finite(case: Case, batch: Batch) -> None:
    """Assert that loss and gradients are finite."""
    head, logits = batch.head(), batch.logits.detach().requires_grad_()
    counts = class_counts(batch.logits.shape[1])
    criterion = PerturbedLoss(case.make(counts, 1.0, head))
    head(batch.features)
    loss, leaves = criterion(logits, batch.targets), [logits, head.weight]
    loss.backward()
    assert loss.isfinite()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)
    assert leaves[0].grad is not None


@every
@few
@given(batch=batches(), double=st.booleans())
def test_zero_strength_is_the_base_loss_exactly(case, batch, double):
    dtype = torch.float64 if double else torch.float32
    batch = Batch(*(part.to(dtype) if part.is_floating_point() else part for part in batch))
    loss = PerturbedLoss(case.for_batch(batch, strength=0.0))(*batch[:2])
    assert loss.dtype == dtype
    assert torch.equal(loss, F.cross_entropy(batch.logits, batch.targets))


@every_class_level
@few
@given(batch=batches(), shift=st.floats(-100, 100))
def test_a_constant_added_to_logits_changes_nothing(case, batch, shift):
    moved = batch.with_logits(batch.logits + shift)
    before, after = case.delta(batch), case.delta(moved)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    loss = F.cross_entropy(batch.logits + before, batch.targets)
    assert PerturbedLoss(case.for_batch(moved))(*moved[:2]).item() == pytest.approx(
        loss.item()
    )


@given(batch=batches(), shift=st.floats(-10, 10))
def test_vs_turns_a_constant_into_a_bias_of_its_own(batch, shift):
    """VS multiplies logits, so that a constant ``a`` becomes ``a Delta_c``: what is
    added moves from class to class unless the scales are equal."""
    counts = torch.tensor(class_counts(batch.logits.shape[1]))
    vs = VS(counts, gamma=0.3)
    scales = (counts / counts.max()) ** 0.3
    before, after = vs(*batch[:2]), vs(batch.logits + shift, batch.targets)
    expected = (shift * (scales - 1)).double().expand_as(before)
    torch.testing.assert_close(after - before, expected, rtol=1e-5, atol=1e-5)
    alike = VS(torch.ones_like(counts), gamma=0.3)
    unmoved = alike(batch.logits + shift, batch.targets)
    torch.testing.assert_close(unmoved, alike(*batch[:2]))


@every
@few
@given(batch=batches(), seed=st.integers(0, 999))
def test_classes_permute_equivariantly(case, batch, seed):
    num_classes = batch.logits.shape[1]
    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed))
    counts = class_counts(num_classes)
    renamed = Batch(
        batch.logits[:, order],
        order.argsort()[batch.targets],  # class order[i] is now called i
        batch.features,
        batch.head_weight[order],
    )
    delta = case.with_counts([counts[i] for i in order.tolist()], renamed)(*renamed[:2])
    torch.testing.assert_close(delta, case.delta(batch)[:, order], rtol=1e-5, atol=1e-6)


@every
@few
@given(batch=batches(), seed=st.integers(0, 999))
def test_samples_permute_equivariantly(case, batch, seed):
    order = torch.randperm(
        len(batch.targets), generator=torch.Generator().manual_seed(seed)
    )
    logits, targets, features, weight = batch
    shuffled = Batch(logits[order], targets[order], features[order], weight)
    expected = case.delta(batch)[order]
    torch.testing.assert_close(case.delta(shuffled), expected, rtol=1e-5, atol=1e-6)


@every_class_level
@few
@given(batch=batches())
def test_a_class_level_delta_is_shared_by_the_class(case, batch):
    delta = case.delta(batch)
    for c in batch.targets.unique():
        rows = delta[batch.targets == c]
        torch.testing.assert_close(rows, rows[:1].expand_as(rows), rtol=0, atol=1e-12)


def test_vs_is_not_shared_by_the_class():
    batch = random_batch([0, 0], 3)
    first, second = VS([9, 4, 1])(*batch[:2])
    assert not torch.allclose(first, second)


@every
@few
@given(logits=extreme_logits, double=st.booleans())
def test_extreme_logits_give_finite_loss_and_gradient(case, logits, double):
    dtype = torch.float64 if double else torch.float32
    targets = [(3 * i + 1) % 4 for i in range(len(logits))]
    batch = random_batch(targets, 4, dtype=dtype)
    check_finite(case, batch.with_logits(torch.tensor(logits, dtype=dtype)))


@every
@half_precision
def test_half_precision_is_raised_to_float32(case, half):
    batch = random_batch([0, 2, 2, 5], 6, dtype=half)
    delta = case.delta(batch)
    assert delta.dtype == torch.float32
    assert torch.equal(delta, case.delta(batch.with_logits(batch.logits.float())))
    batch.logits[0, 0], batch.logits[1, 2] = 1e4, -1e4
    check_finite(case, batch)


@every
@pytest.mark.parametrize(
    ("targets", "num_classes"),
    [
        pytest.param([0], 1, id="one sample, one class"),
        pytest.param([0, 0, 0], 1, id="one class in all"),
        pytest.param([1], 2, id="one sample"),
        pytest.param([0, 1, 1], 2, id="two classes"),
        pytest.param([3, 3, 3, 3], 5, id="one class in the batch"),
        pytest.param([8141, 0, 4000, 0], 8142, id="8,142 classes"),
    ],
)
def test_small_and_large_shapes(case, targets, num_classes):
    batch = random_batch(targets, num_classes, dtype=torch.float32)
    delta = case.delta(batch)
    assert delta.shape == batch.logits.shape
    assert delta.dtype == torch.float32
    assert delta.isfinite().all()
    check_finite(case, batch)
    if num_classes == 1:
        assert PerturbedLoss(case.for_batch(batch))(*batch[:2]) == 0


@every
def test_inputs_are_left_as_they_were(case):
    batch = random_batch([0, 2, 2, 1], 4)
    kept = Batch(*(part.clone() for part in batch))
    case.delta(batch)
    assert all(torch.equal(*pair) for pair in zip(batch, kept, strict=True))


@every
def test_any_integer_type_of_targets(case):
    batch = random_batch([0, 2, 2, 1], 4)
    delta = case.delta(batch)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert torch.equal(
            case.delta(batch._replace(targets=batch.targets.to(dtype))), delta
        )


@every
@pytest.mark.parametrize("device", DEVICES)
def test_the_device_is_asked_nothing(case, device):
    """On the meta device there are no values, so that any look at them is an error."""
    batch = Batch(*(part.to(device) for part in random_batch([0, 2, 2, 1], 4)))
    loss = PerturbedLoss(case.for_batch(batch)).to(device)(*batch[:2])
    assert loss.device.type == device


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
@given(batch=batches(smallest=4))
def test_la_against_numpy(tau, batch):
    loss = PerturbedLoss(LogitAdjustment(COUNTS, tau))(
        batch.logits[:, :4], batch.targets % 4
    )
    u, y = batch.logits[:, :4].numpy(), batch.targets.numpy() % 4
    assert loss.item() == pytest.approx(la_loss(u, y, COUNTS, tau), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("max_margin", "scale"), [(0.5, 1.0), (0.3, 30.0)])
@given(batch=batches(smallest=4))
def test_ldam_against_numpy(max_margin, scale, batch):
    ldam = LDAM(COUNTS, max_margin, scale)
    loss = PerturbedLoss(ldam)(batch.logits[:, :4], batch.targets % 4)
    u, y = batch.logits[:, :4].numpy(), batch.targets.numpy() % 4
    expected = ldam_loss(u, y, COUNTS, max_margin, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("gamma", "tau"), [(0.3, 1.0), (0.2, 1.2), (1.0, 0.0)])
@given(batch=batches(smallest=4))
def test_vs_against_numpy(gamma, tau, batch):
    loss = PerturbedLoss(VS(COUNTS, gamma, tau))(batch.logits[:, :4], batch.targets % 4)
    u, y = batch.logits[:, :4].numpy(), batch.targets.numpy() % 4
    expected = vs_loss(u, y, COUNTS, gamma, tau)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_la_of_one_is_the_balanced_softmax():
    batch, counts = random_batch([0, 1, 2, 2, 3], 4), torch.tensor(COUNTS)
    weighted = counts * batch.logits.exp()
    own = weighted.gather(1, batch.targets[:, None])[:, 0]
    expected = -(own / weighted.sum(1)).log().mean()
    loss = PerturbedLoss(LogitAdjustment(COUNTS))(*batch[:2])
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_vs_holds_la_as_a_special_case():
    u, y = random_batch([0, 1, 2, 2, 3], 4)[:2]
    assert torch.equal(
        VS(COUNTS, gamma=0, tau=1.5)(u, y), LogitAdjustment(COUNTS, 1.5)(u, y)
    )


def test_counts_may_be_a_list_an_array_or_a_tensor():
    u, y = random_batch([0, 1], 4)[:2]
    kinds = [COUNTS.tolist(), COUNTS, torch.tensor(COUNTS).int(), torch.tensor(COUNTS)]
    first, *others = [LogitAdjustment(kind)(u, y) for kind in kinds]
    assert all(torch.equal(first, other) for other in others)


def test_a_sum_is_associative():
    batch, counts = random_batch([0, 1, 2, 2, 3], 4), COUNTS
    a, b, c = VS(counts), LDAM(counts), LPL(4, bound=0.7)
    left, right = (a + b) + c, a + (b + c)
    assert list(left.parts) == list(right.parts) == ["VS", "LDAM", "LPL"]
    assert list((c + c).parts) == ["LPL", "LPL_2"]
    torch.testing.assert_close(left(*batch[:2]), right(*batch[:2]), rtol=1e-12, atol=1e-12)
    assert left.num_classes == right.num_classes == 4


def test_a_sum_solves_the_second_on_what_the_first_left():
    batch, la, lpl = random_batch([0, 1, 2, 2, 3], 4), LogitAdjustment(COUNTS), LPL(4)
    prior = la(*batch[:2])
    learnt = lpl(batch.logits + prior, batch.targets)
    torch.testing.assert_close((la + lpl)(*batch[:2]), prior + learnt, rtol=0, atol=1e-12)
    assert not torch.allclose(learnt, lpl(*batch[:2]), atol=1e-3)  # else the order is idle


def test_a_sum_keeps_its_parts_state_under_keys_of_no_order():
    batch = random_batch([0, 1, 1, 2], 3, dtype=torch.float32)
    head = batch.head()
    isda = ISDA(head)
    both = LogitAdjustment([3, 2, 1]) + isda
    head(batch.features)
    both(*batch[:2])
    assert isda.count.tolist() == [1, 2, 1]
    both.eval()
    both(*batch[:2])
    assert isda.count.sum() == 4
    other = isda + LogitAdjustment([3, 2, 1])
    assert set(both.state_dict()) == set(other.state_dict())
    assert "parts.ISDA.spread" in both.state_dict()


def test_adding_something_else_is_refused():
    with pytest.raises(TypeError):
        LogitAdjustment([2, 1]) + 1.0
    assert isinstance(LogitAdjustment([2, 1]) + LDAM([2, 1]), Chain)
