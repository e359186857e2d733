"""The tools every check is made of: how to call an answer, compare it, and say what is wrong in one sentence.

A check is a classifier of answers. It looks in this order: returned at all, type, shape, value, gradient, property.
"""

import contextlib
import functools
import random
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor


class NotYet(AssertionError):
    """An answer that is not right yet; its text is the diagnosis. Shown as one line, without a traceback."""

    def __init__(self, message: str = "this exercise is not written yet."):
        super().__init__(message)

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def check(function: Callable) -> Callable:
    """Turn `check_name(answer, generator)` into the public `check_name(answer, seed=0)`.

    Random states (torch, numpy, random) are seeded for the check and given back afterwards; another seed draws
    other inputs. A mistake in the answer raises NotYet; nothing else leaves a check. An answer that calls the course's
    own answer to the exercise, from the module of the check's name, is told so.
    """
    name = function.__name__.removeprefix("check_")
    reference = f"helpers.{function.__module__.split('.')[-1]}"

    @functools.wraps(function)
    def run(answer, seed: int = 0) -> None:
        from helpers.checks.own import own_work  # which needs NotYet from here

        python_state, numpy_state = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(seed), random.seed(seed), np.random.seed(seed % 2**32)
                with own_work(answer, name, reference):
                    function(answer, torch.Generator().manual_seed(seed))
        except NotYet as problem:
            raise problem.with_traceback(None) from None
        except Exception as problem:  # an output so odd that the check itself stumbled over it
            raise NotYet(f"`{name}` gave something the check cannot read ({describe_error(problem)}).") from None
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)

    return run


def call(what: str, answer: Callable, *arguments, **named):
    """Call an answer and return what it returned; its exceptions and a missing return become NotYet.

    Args:
        what: how the call reads in a message, for instance "nt_xent(z_a, z_b)".
    """
    try:
        value = answer(*arguments, **named)
    except NotYet:
        raise
    except NotImplementedError:
        raise NotYet(f"{what} is not written yet.") from None
    except Exception as problem:
        raise NotYet(f"{what} stopped with {describe_error(problem)}.") from None
    expect(value is not None, f"{what} returned nothing (None). Is a `return` missing?")
    return value


def describe_error(problem: Exception) -> str:
    """The exception in one line, with the innermost line of a notebook cell or of the answer's file."""
    frames = traceback.extract_tb(problem.__traceback__)
    own = [
        frame
        for frame in frames
        if not any(part in frame.filename for part in ("/site-packages/", "/helpers/checks/", "/grading/sandbox/"))
    ]
    text = f"{type(problem).__name__}: {textwrap.shorten(str(problem), 200, placeholder=' …')}"
    return f"{text} in the line `{own[-1].line}`" if own and own[-1].line else text


def expect(condition: bool, message: str) -> None:
    """Raise NotYet(message) unless the condition holds."""
    if not condition:
        raise NotYet(message)


def expect_tensor(what: str, value, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """The value is a torch tensor of this shape (and dtype, where one is given)."""
    expect(isinstance(value, Tensor), f"{what} gave a {type(value).__name__}; a torch tensor is wanted.")
    expect(tuple(value.shape) == tuple(shape), f"{what} has shape {tuple(value.shape)}; {tuple(shape)} is wanted.")
    expect(dtype is None or value.dtype == dtype, f"{what} has dtype {value.dtype}; {dtype} is wanted.")


def expect_close(
    what: str, value, wanted, mistakes: Mapping[str, object] | None = None, tolerance: float = 1e-5, hint: str = ""
) -> None:
    """The value equals the wanted one; where it equals what a known mistake gives instead, that mistake is named.

    Args:
        value, wanted: numbers or tensors of one shape.
        mistakes: {sentence that names the mistake: value it would give}; the first that fits is told.
        tolerance: allowed difference, relative to the largest wanted entry, at least absolute.
        hint: told when no known mistake fits.
    """
    value, wanted = as_double(value), as_double(wanted)
    if close(value, wanted, tolerance):
        return
    for sentence, wrong in (mistakes or {}).items():
        wrong = as_double(wrong)
        if not close(wrong, wanted, 10 * tolerance) and close(value, wrong, tolerance):
            raise NotYet(f"{what} gave {show(value)}, not {show(wanted)}: {sentence}")
    raise NotYet(f"{what} gave {show(value)}; {show(wanted)} is wanted. {hint}".rstrip())


def between(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def as_double(value) -> Tensor:
    return torch.as_tensor(value).detach().cpu().double()


def close(value: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Same shape and no entry further off than tolerance · max(1, largest |wanted|); NaN equals nothing."""
    if value.shape != wanted.shape:
        return False
    largest = max(1.0, wanted[wanted.isfinite()].abs().max().item()) if wanted.isfinite().any() else 1.0
    same = (value == wanted) | ((value - wanted).abs() <= tolerance * largest)  # == lets equal infinities pass
    return bool(same.all())


def show(value: Tensor) -> str:
    """A number or small tensor as text; of a large one, the shape and range."""
    if value.numel() == 1:
        return f"{value.item():.5g}"
    if value.numel() <= 12:
        rounded = [round(entry, 4) for entry in value.flatten().tolist()]
        return str([int(entry) if entry.is_integer() else entry for entry in rounded])
    return f"a {tuple(value.shape)} tensor between {value.min().item():.4g} and {value.max().item():.4g}"


def why(answer: Callable, otherwise: str) -> NoReturn:
    """For the message of an assert: raise NotYet with the diagnosis of the answer's check, else with the sentence given."""
    import helpers.checks

    check = getattr(helpers.checks, f"check_{snake_case(name_of(answer))}", lambda answer: None)
    try:
        check(answer)
    except NotYet as problem:
        raise problem.with_traceback(None) from None
    raise NotYet(otherwise)


@contextlib.contextmanager
def explained(answer: Callable) -> Iterator[None]:
    """Around the asserts of a graded cell: where one fails or cannot even be asked, the answer's check says why.

    What the check has no words for is told by the assert's own message, or by the error, in one line.
    """
    try:
        yield
    except NotYet as problem:
        raise problem.with_traceback(None) from None
    except Exception as problem:
        said = str(problem) if isinstance(problem, AssertionError) else ""
        otherwise = said or f"`{name_of(answer)}` stopped with {describe_error(problem)}."
    else:
        return
    why(answer, otherwise)


def try_it(demonstration: Callable[[], object]) -> None:
    """Run a demonstration of the learner's own answer; where that is unfinished or stumbles, say so in one line."""
    try:
        demonstration()
    except NotYet as problem:
        print(f"Nothing to show yet: {problem}")
    except Exception as problem:
        print(f"Nothing to show yet, your answer stopped with {describe_error(problem)}.")
    if "matplotlib.pyplot" in sys.modules:  # a figure that was begun and not shown would appear empty
        sys.modules["matplotlib.pyplot"].close("all")


def name_of(answer: object) -> str:
    """What a function or class calls itself; "your answer" for an object without a name, as functools.partial makes."""
    return getattr(answer, "__name__", "your answer")


def snake_case(name: str) -> str:
    """TwoViews -> two_views, SimCLR -> simclr: how an answer's check is named."""
    spaced = "".join(
        f"_{letter}" if letter.isupper() and before.islower() else letter for before, letter in zip("_" + name, name)
    )
    return spaced.lower().strip("_").replace("sim_clr", "simclr")
