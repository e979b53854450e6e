"""Tell a learner whether a function is right, and if not, where it fails.

A `Checker` calls the learner's function on examples and compares the results with those
of a reference. Answers that are typically wrong are listed under a hint each; if the
learner's results are those of such an answer, the hint is shown.
"""

from __future__ import annotations

import copy
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LONGEST = 60  # characters of an argument that a message shows
COLUMNS = 78
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4, "equal_nan": True}  # of each number


@dataclass(frozen=True)
class Checker:
    """The checker of one exercise; call it with the learner's function.

    Args:
        name: of the function that is asked for.
        reference: does what is asked for; messages call the arguments as it does.
        examples: small ones first, each a tuple of the arguments.
        mistakes: typical wrong answers, each under its hint: a sentence or two, without
            the solution.

    The examples are copied for each call, so that a function that changes its arguments
    is found out. Exceptions of the learner's function are reported, not raised.

    >>> squares = {"That is the square.": lambda x: x**2}
    >>> check_double = Checker("double", lambda x: 2 * x, [(2.0,), (3.0,)], squares)
    >>> check_double(lambda number: number + number)
    double: right, on 2 examples.
    >>> check_double(lambda number: number**2)
    double: not yet. For
        x = 3
    it gave 9, and 6 is right.
    A guess: That is the square.
    """

    name: str
    reference: Callable[..., Any]
    examples: Sequence[tuple[Any, ...]]
    mistakes: Mapping[str, Callable[..., Any]]

    def __call__(self, answer: Callable[..., Any]) -> None:
        """Print whether ``answer`` is right."""
        for line in f"{self.name}: {self.verdict(answer)}".split("\n"):
            indent = " " * (len(line) - len(line.lstrip()))
            print(textwrap.fill(line, COLUMNS, subsequent_indent=indent))

    def verdict(self, answer: Callable[..., Any]) -> str:
        """Return ``right, ...`` or ``not yet. ...`` with what is wrong."""
        if not callable(answer):
            return "not yet. Hand over the function itself, without calling it."
        for example in self.examples:
            if complaint := self.complaint(answer, example):
                return f"not yet. {complaint}{self.guess(answer)}"
        return f"right, on {len(self.examples)} examples."

    def complaint(self, answer: Callable[..., Any], example: tuple[Any, ...]) -> str:
        """Return what is wrong with the answer on one example; empty if nothing is."""
        given, names = copy.deepcopy(example), inspect.signature(self.reference).parameters
        shows = [f"    {name} = {shown(v)}" for name, v in zip(names, example, strict=True)]
        where = "\n".join(["For", *shows, ""])
        try:
            result = answer(*given)
        except Exception as error:  # whatever the learner's function does
            return f"{where}it raised {type(error).__name__}: {error}"
        if result is None:
            return "It returns nothing: write its body."
        if result is ...:
            return "It returns an ellipsis: put a value in the place of the dots."
        for name, before, after in zip(names, example, given, strict=True):
            if differs(before, after):
                return f"It changes its argument {name}; work on a copy of it."
        right = outcome(self.reference, example)
        try:
            found = numbers(result)
        except (TypeError, ValueError, RuntimeError):
            return f"{where}it gave a {type(result).__name__}, not numbers."
        if found.shape != right.shape:
            return f"{where}it gave {sized(found)}, and {sized(right)} is needed."
        wrong = (~torch.isclose(found, right, **CLOSE)).nonzero()
        if not len(wrong):
            return ""
        if max(len(listed(values.tolist())) for values in (found, right)) > LONGEST:
            place = wrong[0].tolist()
            where += f"at place {place} "
            found, right = found[tuple(place)], right[tuple(place)]
        return f"{where}it gave {shown(found)}, and {shown(right)} is right."

    def guess(self, answer: Callable[..., Any]) -> str:
        """The hint of the first mistake that gives the learner's results throughout."""
        for hint, mistake in self.mistakes.items():
            with suppress(Exception):  # the results differ, or one of the two gives none
                for example in self.examples:
                    found, wrong = outcome(answer, example), outcome(mistake, example)
                    torch.testing.assert_close(found, wrong, **CLOSE)
                return f"\nA guess: {hint}"
        return ""


def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Return normal numbers of standard deviation ``scale``, ``shape``, float32: random
    examples, the same at each call.

    >>> drawn(0, 2, 3).shape
    torch.Size([2, 3])
    """
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outcome(answer: Callable[..., Any], example: tuple[Any, ...]) -> Tensor:
    """The result on one example, as :func:`numbers`."""
    return numbers(answer(*copy.deepcopy(example)))


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
    return f"a tensor of shape {tuple(values.shape)}" if values.ndim else "one number"


def shown(value: Any) -> str:
    """An argument or a result, shortly, with four digits."""
    if isinstance(value, Tensor):
        text = listed(value.tolist())
        return text if len(text) <= LONGEST else sized(value)
    if callable(value):
        return f"a {type(value).__name__}"
    return textwrap.shorten(listed(value), LONGEST, placeholder=" ...")


def listed(value: Any) -> str:
    """Numbers, and lists of lists of numbers, with four digits each."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(listed, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
