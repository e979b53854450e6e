"""Learning rates: torch's own schedulers, and the numbers of LDAM's protocol."""

from __future__ import annotations

import pytest
import torch

from lpl_lib.lab.recipe import Recipe


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

    ours = [Recipe(epochs=1).rate_factor(step, steps) for step in range(steps)]
    assert ours == pytest.approx(torchs(make, steps), rel=1e-9)


def test_the_protocol_of_ldam():
    step = {"schedule": "step", "milestones": (160, 180), "gamma": 0.01}
    ldam = Recipe(epochs=200, warmup_epochs=5, **step)
    by_epoch = [ldam.rate_factor(97 * e + 3, 97) for e in range(200)]
    assert by_epoch[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert by_epoch[5:160] == [1.0] * 155
    assert by_epoch[160:180] == pytest.approx([0.01] * 20)
    assert by_epoch[180:] == pytest.approx([0.0001] * 20)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["step", "one-cycle"])
def test_the_shortest_trainings(schedule, steps):
    recipe = Recipe(epochs=steps, schedule=schedule)
    rates = [recipe.rate_factor(step, 1) for step in range(steps)]
    assert all(0 <= rate <= 1 for rate in rates)
