"""The table of chapter 2: each of its columns, measured."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from cases import linear
from family import FAMILY, Member, family_table
from torch import Tensor, nn

from lpl_lib import LogitAdjustment, Perturbation, PerturbedLoss
from lpl_lib.book.theory.tables import consistent_parts, consistent_table

CHAPTER = Path(__file__).parents[1] / "book" / "method" / "02-known-methods.ipynb"
COUNTS = [100, 40, 15, 5, 2]
C, B, A = len(COUNTS), 400, 4
DRAW = torch.Generator().manual_seed(0)
FEATURES = torch.randn(B, A, generator=DRAW, dtype=torch.float64)
TARGETS = torch.randint(C, (B,), generator=DRAW)
WEIGHT = torch.randn(C, A, generator=DRAW, dtype=torch.float64)
each_member = pytest.mark.parametrize("member", FAMILY, ids=lambda member: member.name)


def made(member: Member) -> tuple[Perturbation, nn.Linear]:
    """A member whose statistics have seen the batch, and its head."""
    torch.manual_seed(0)
    head = linear(WEIGHT)
    perturbation = member.make(COUNTS, head)
    with torch.no_grad():
        perturbation(head(FEATURES), TARGETS)
    return perturbation.eval(), head


def delta_of(perturbation: Perturbation, head: nn.Linear) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = head(FEATURES)
        return logits, perturbation(logits, TARGETS)


@each_member
def test_all_samples_of_a_class_get_the_same_vector(member):
    perturbation, head = made(member)
    draws = 100 if member.how == "random" else 1
    exps = sum(delta_of(perturbation, head)[1].exp() for _ in range(draws)) / draws
    spread = max(float(exps[c == TARGETS].std(0).max()) for c in range(C))
    noise = 0.5 / draws**0.5 if draws > 1 else 1e-9  # of a mean of numbers from 0 to 1
    assert (spread <= 1.2 * noise) == member.of_class


@each_member
def test_the_sign_of_the_loss_variation(member):
    logits, delta = delta_of(*made(member))
    before = F.cross_entropy(logits, TARGETS, reduction="none")
    change = F.cross_entropy(logits + delta, TARGETS, reduction="none") - before
    raises, lowers = bool((change > 1e-6).any()), bool((change < -1e-6).any())
    assert {(True, False): "raised", (False, True): "lowered", (True, True): "both"}[
        raises, lowers
    ] == member.loss


@each_member
def test_which_error_its_table_is_consistent_for(member):
    """By the theorem of chapter 13: a table of the family with ``v`` the prior."""
    if member.consistent == "no table":
        assert not member.of_class or member.how == "random"
        return
    head = linear(WEIGHT)
    perturbation = member.make(COUNTS, head)
    if member.name == "ISDA":  # of one sample a class it knows no covariance yet
        perturbation, head = made(member)
    with torch.no_grad():
        table = perturbation(head(FEATURES[:C]), torch.arange(C))
    parts = consistent_parts(table)
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    balanced = parts is not None and torch.allclose(parts[0], prior, rtol=1e-4)
    assert balanced == (member.consistent == "balanced")
    assert (parts is None) == (member.consistent == "none")


def test_chapter_2_shows_the_table():
    """A cell that printed it would show its formulas as text."""
    cells = nbformat.read(CHAPTER, 4).cells
    assert family_table() in [cell.source for cell in cells]


def test_the_table_has_a_row_for_each():
    rows = [line.split(" | ") for line in family_table().splitlines()]
    assert [row[0][2:] for row in rows[2:]] == [member.name for member in FAMILY]
    assert {len(row) for row in rows} == {6}


# --- the margin that costs no consistency -----------------------------------------------


@pytest.mark.parametrize("part", [-0.99, -0.5, 0.5, 30.0])
@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_la_with_a_margin_is_the_consistent_table(tau, part):
    v = (torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)) ** tau
    s = part * float(v.min())
    u = torch.zeros(C, C, dtype=torch.float64)
    delta = LogitAdjustment(COUNTS, tau, shift=s)(u, torch.arange(C))
    torch.testing.assert_close(delta, consistent_table(v, s), rtol=1e-5, atol=1e-5)


def test_a_margin_is_largest_for_the_rarest_class():
    own = LogitAdjustment(COUNTS, shift=-0.5 * COUNTS[-1] / sum(COUNTS)).own
    assert bool((own < 0).all() and (own.diff() < 0).all())
    assert own[-1].exp() == pytest.approx(0.5)


@pytest.mark.parametrize("part", [-1.0, -2.0])
def test_a_shift_at_its_bound_is_refused(part):
    with pytest.raises(ValueError, match=r"shift must be a finite number > -0\.012345"):
        LogitAdjustment(COUNTS, shift=part * COUNTS[-1] / sum(COUNTS))


def test_the_margin_is_a_part_of_the_state():
    u, y = torch.randn(3, C, generator=DRAW), torch.tensor([0, 2, 4])
    first = PerturbedLoss(LogitAdjustment(COUNTS, shift=-0.01))
    second = PerturbedLoss(LogitAdjustment(COUNTS[::-1], shift=0.5))
    assert set(first.state_dict()) == {"perturbation.log_prior", "perturbation.own"}
    second.load_state_dict(first.half().state_dict())
    assert torch.equal(first(u, y), second(u, y))
