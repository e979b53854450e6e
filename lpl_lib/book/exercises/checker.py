"""Tell a learner whether a function is right, and if not, where it fails.

A `Checker` calls the learner's function on examples and compares the results with those
of a reference. Answers that are typically wrong are listed with a hint each; if the
learner's results are those of such an answer, the hint is shown.
"""

from __future__ import annotations

import copy
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

LONGEST = 60  # characters of an argument that a message shows
COLUMNS = 78


@dataclass(frozen=True)
class Checker:
    """The checker of one exercise; call it with the learner's function.

    Args:
        reference: the right function. Its name is the name of the exercise.
        examples: makes the examples, small ones first: each a tuple of the arguments.
            They must be the same at each call.
        mistakes: typical wrong answers, functions with the arguments of the right one,
            each with a hint: a sentence or two, without the solution.
        tolerance: relative and absolute, for each number of a result.

    The examples are copied for each call, so that a function that changes its arguments
    is found out. Exceptions of the learner's function are reported, not raised.

    >>> def double(x): return 2 * x
    >>> squares = {(lambda x: x**2): "That is the square."}
    >>> check_double = Checker(double, lambda: [(2.0,), (3.0,)], squares)
    >>> check_double(lambda number: number + number)
    double: right, on 2 examples.
    >>> check_double(lambda number: number**2)
    double: not yet. For
        x = 3
    it gave 9, and 6 is right.
    A guess: That is the square.
    """

    reference: Callable[..., Any]
    examples: Callable[[], Iterable[tuple[Any, ...]]]
    mistakes: Mapping[Callable[..., Any], str] = field(default_factory=dict)
    tolerance: float = 1e-4

    @property
    def name(self) -> str:
        """The name of the function that is asked for."""
        return self.reference.__name__

    def __call__(self, answer: Callable[..., Any]) -> None:
        """Print whether ``answer`` is right."""
        for line in f"{self.name}: {self.verdict(answer)}".split("\n"):
            indent = " " * (len(line) - len(line.lstrip()))
            print(textwrap.fill(line, COLUMNS, subsequent_indent=indent))

    def verdict(self, answer: Callable[..., Any]) -> str:
        """Return ``right, ...`` or ``not yet. ...`` with what is wrong."""
        if not callable(answer):
            return "not yet. Hand over the function itself, without calling it."
        examples = list(self.examples())
        for example in examples:
            complaint = self.complaint(answer, example)
            if complaint:
                return "\n".join([f"not yet. {complaint}", *self.guesses(answer, examples)])
        return f"right, on {len(examples)} examples."

    def complaint(self, answer: Callable[..., Any], example: tuple[Any, ...]) -> str:
        """Return what is wrong with the answer on one example; empty if nothing is."""
        given = copy.deepcopy(example)
        named = dict(
            zip(inspect.signature(self.reference).parameters, example, strict=True)
        )
        where = "For\n" + "\n".join(f"    {k} = {shown(v)}" for k, v in named.items())
        try:
            result = answer(*given)
        except Exception as error:  # whatever the learner's function does
            return f"{where}\nit raised {type(error).__name__}: {error}"
        if result is None:
            return "It returns nothing: write its body."
        if result is ...:
            return "It returns an ellipsis: put a value in the place of the dots."
        pairs = zip(named.items(), given, strict=True)
        changed = [name for (name, old), new in pairs if differs(old, new)]
        if changed:
            return f"It changes its argument {changed[0]}; work on a copy of it."
        right = numbers(self.reference(*copy.deepcopy(example)))
        try:
            found = numbers(result)
        except (TypeError, ValueError, RuntimeError):
            return f"{where}\nit gave a {type(result).__name__}, not numbers."
        if found.shape != right.shape:
            return f"{where}\nit gave {sized(found)}, and {sized(right)} is needed."
        if not self.same(found, right):
            return f"{where}\n{self.difference(found, right)}"
        return ""

    def close(self, found: Tensor, right: Tensor) -> Tensor:
        """Which numbers of two results of one shape agree to the tolerance."""
        return torch.isclose(
            found, right, rtol=self.tolerance, atol=self.tolerance, equal_nan=True
        )

    def same(self, found: Tensor, right: Tensor) -> bool:
        """Whether two results agree to the tolerance."""
        return found.shape == right.shape and bool(self.close(found, right).all())

    def difference(self, found: Tensor, right: Tensor) -> str:
        """Two results of one shape side by side; of long ones the first that differs."""
        where = ""
        if max(len(listed(values.tolist())) for values in (found, right)) > LONGEST:
            place = tuple((~self.close(found, right)).nonzero()[0].tolist())
            where = f"at place {listed(list(place))} "
            found, right = found[place], right[place]
        return f"{where}it gave {shown(found)}, and {shown(right)} is right."

    def guesses(
        self, answer: Callable[..., Any], examples: Sequence[tuple[Any, ...]]
    ) -> list[str]:
        """The hint of the first mistake that gives the learner's results throughout."""
        found = outcomes(answer, examples)
        if found is None:
            return []
        for mistake, hint in self.mistakes.items():
            wrong = outcomes(mistake, examples)
            if wrong is not None and all(map(self.same, found, wrong)):
                return [f"A guess: {hint}"]
        return []


def outcomes(
    answer: Callable[..., Any], examples: Sequence[tuple[Any, ...]]
) -> list[Tensor] | None:
    """The results on all examples; ``None`` if there is one on which there is none."""
    try:
        return [numbers(answer(*copy.deepcopy(example))) for example in examples]
    except Exception:  # whatever the learner's function does
        return None


def numbers(result: Any) -> Tensor:
    """A result as a tensor of float64: a number, a tensor, or a sequence of numbers."""
    return torch.as_tensor(result).detach().to("cpu", torch.float64)


def differs(before: Any, after: Any) -> bool:
    """Whether a function changed this argument; of networks and the like nobody asks."""
    if isinstance(before, Tensor):
        return not torch.equal(before, after)
    return isinstance(before, list | dict) and before != after


def sized(values: Tensor) -> str:
    """What a tensor is, in words."""
    if values.ndim == 0:
        return "one number"
    return f"a tensor of shape {tuple(values.shape)}"


def shown(value: Any) -> str:
    """An argument or a result, shortly, with four digits."""
    if isinstance(value, Tensor):
        text = listed(value.tolist())
        return text if len(text) <= LONGEST else sized(value)
    if isinstance(value, int | float | list | tuple | dict | str):
        text = listed(value)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
    return f"a {type(value).__name__}"


def listed(value: Any) -> str:
    """Numbers, and lists of lists of numbers, with four digits each."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(listed, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
