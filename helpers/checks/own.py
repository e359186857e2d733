"""An answer is the learner's own work: while a check runs, the course's answer to the same exercise refuses to be called.

The reference functions lend their bodies: each gets another `__code__` for the time of the check, so every name that
leads to it, in whatever module or notebook, leads to the refusal. What stands in helpers.checks, the slow oracles
above all, is open to helpers.checks alone while a check runs.
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

from helpers.checks.core import NotYet, snake_case

SAME_JOB = {  # exercise: what else in its module does all of it
    "color_distortion": ("distort",),
    "simclr_transform": ("view", "fast_view"),
    "histogram_similarity": ("histogram_similarities", "color_histograms"),
    "projection_head": ("projection_mlp",),
    "linear_classifier": ("LinearClassifier",),
    "nt_xent_loop": ("nt_xent", "nt_xent_chunked", "sup_con"),
    "nt_xent": ("nt_xent_loop", "nt_xent_chunked", "sup_con"),
    "train_step": ("step_on_views",),
    "knn_accuracy": ("knn_predict",),
}
BODIES: dict[FunctionType, object] = {}  # of every function that ever lent its own
calls: list[str] = []  # what an answer called that it should not, in the checks that run now
running = 0  # checks


@contextlib.contextmanager
def own_work(answer, exercise: str, module: str) -> Iterator[None]:
    """Run a check of the exercise, whose reference is in `module`; NotYet where the answer had its work done.

    An answer that is itself part of helpers may call what it likes: the reference passes its own check.
    """
    global running
    parts = reference(exercise, importlib.import_module(module))
    public = parts[0].__name__
    expect_not_renamed(answer, public, parts)
    lent = [] if (getattr(answer, "__module__", None) or "").startswith("helpers.") else parts
    before, running = len(calls), running + 1
    try:
        with contextlib.ExitStack() as stack:
            for part in lent:
                stack.enter_context(refusing(part))
            yield
    finally:
        running -= 1
        called = calls[before:]
        del calls[before:]
        if called:  # whatever else came of it
            what = "a part of the check" if called[0].startswith("helpers.checks.") else "the course's own answer"
            raise NotYet(f"`{public}` calls {what}, {called[0]}; write it yourself.") from None


def reference(exercise: str, module: ModuleType) -> list[FunctionType | type]:
    """The course's own answer, and what does the same job under another name."""
    named = (value for name, value in vars(module).items() if callable(value) and snake_case(name) == exercise)
    own = getattr(module, exercise, None) or next(named)
    return [own, *(getattr(module, name) for name in SAME_JOB.get(exercise, ()))]


def expect_not_renamed(answer, public: str, parts: list) -> None:
    """In a notebook, `nt_xent = losses.nt_xent_loop` is no answer; elsewhere the reference passes like any other."""
    notebook = vars(sys.modules["__main__"])
    if any(answer is part for part in parts) and "get_ipython" in notebook and notebook.get(public) is answer:
        raise NotYet(f"`{public}` is the course's own answer, {answer.__module__}.{answer.__name__}; write your own.")


@contextlib.contextmanager
def refusing(part: FunctionType | type) -> Iterator[None]:
    """The function, or every method of the class, refuses to be called; afterwards it is what it was."""
    if isinstance(part, FunctionType):
        own = BODIES.setdefault(part, part.__code__)
        try:
            part.__code__ = refusal(part).__code__
            yield
        finally:
            part.__code__ = own
        return
    methods = {name: value for name, value in vars(part).items() if isinstance(value, FunctionType)}
    own = {name: BODIES.setdefault((part, name), value) for name, value in methods.items()}
    try:
        for name, method in methods.items():
            setattr(part, name, refusal(method, part.__name__))
        yield
    finally:
        for name, method in own.items():
            setattr(part, name, method)


def refusal(function: FunctionType, name: str = "") -> FunctionType:
    """A function of the same module that says its name and stops."""
    code = stop.__code__.replace(co_name=name or function.__name__)
    return FunctionType(code, function.__globals__, function.__name__)


def stop(*arguments, **named):
    """Runs in place of a reference; it may use nothing but imports, for its globals are those of the reference."""
    import sys

    from helpers.checks.own import refuse

    frame = sys._getframe()
    refuse(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")


def refuse(name: str) -> None:
    calls.append(name)
    raise NotYet(f"{name} is the course's own answer.")


def for_checks_only(module: ModuleType) -> None:
    """While a check runs, the plain functions of this module refuse callers outside helpers.checks."""
    for name, value in list(vars(module).items()):
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("check_"):
            setattr(module, name, guarded(value))


def guarded(function: FunctionType) -> FunctionType:
    @functools.wraps(function)
    def only_for_checks(*arguments, **named):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if running and not caller.startswith("helpers.checks"):
            refuse(f"{function.__module__}.{function.__name__}")
        return function(*arguments, **named)

    return only_for_checks
