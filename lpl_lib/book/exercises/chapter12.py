"""The coding exercise of chapter 12: the class errors that bounds lead to."""

from typing import Any

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.book.theory.boundary import optimal_bias
from lpl_lib.book.theory.gaussians import TwoGaussians, class_errors


def errors(m: float, K: float, V: float, eps_plus: float, eps_minus: float) -> Any:  # noqa: N803
    """Return the class errors at the smallest perturbed risk; standard deviation 1."""
    model = TwoGaussians(m, K, V)
    return class_errors(model, optimal_bias(model, eps_plus, eps_minus))[:2]


check_errors = Checker(
    "errors",
    errors,
    [(2, 2, 1, 0, 0), (2, 2, 5, 0.5, -0.5), (1.5, 3, 1, 0.8, 0.2), (2, 1.5, 10, -0.3, -1)],
    {
        "Half the difference shifts, and half the sum draws near.": (
            lambda m, k, v, up, low: errors(m, k, v, 2 * up, 2 * low)
        ),
        "The mean of the bounds changes the distance inside b*.": (
            lambda m, k, v, up, low: errors(m, k, v, (up - low) / 2, (low - up) / 2)
        ),
    },
)
