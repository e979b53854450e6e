"""Learning rates: torch's own schedulers, and the numbers of LDAM's protocol."""

from __future__ import annotations

import pytest
import torch

from lpl_lib.lab.schedules import rate_factor


def torchs(make, steps: int) -> list[float]:
    """What a scheduler of torch gives, step by step, for a rate of 1."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimiser), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [4, 10, 37, 200])
def test_one_cycle_is_torchs(steps):
    def make(optimiser):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=1.0, total_steps=steps, cycle_momentum=False
        )

    ours = [rate_factor("one-cycle", step, steps, 1) for step in range(steps)]
    assert ours == pytest.approx(torchs(make, steps), rel=1e-9)


def test_cosine_is_torchs():
    def make(optimiser):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 60)

    ours = [rate_factor("cosine", step, 6, 10) for step in range(60)]
    assert ours == pytest.approx(torchs(make, 60), rel=1e-6)


def test_the_protocol_of_ldam():
    ldam = {"warmup_epochs": 5, "milestones": (160, 180), "gamma": 0.01}
    by_epoch = [rate_factor("step", 97 * e + 3, 97, 200, **ldam) for e in range(200)]
    assert by_epoch[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert by_epoch[5:160] == [1.0] * 155
    assert by_epoch[160:180] == pytest.approx([0.01] * 20)
    assert by_epoch[180:] == pytest.approx([0.0001] * 20)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
def test_the_shortest_trainings(schedule, steps):
    rates = [rate_factor(schedule, step, 1, steps) for step in range(steps)]
    assert all(0 <= rate <= 1 for rate in rates)


def test_an_unknown_schedule():
    with pytest.raises(ValueError, match=r"schedule must be one of .*, got 'cos'"):
        rate_factor("cos", 0, 1, 1)
