"""While a check runs, the course's own answers and the checks' oracles refuse to do a learner's work."""

import contextlib
import functools
import inspect
import sys
import threading

import pytest
import torch

from helpers import (
    augmentation,
    checks,
    course,
    distributed,
    encoder,
    evaluation,
    losses,
    policies,
    projection_head,
    training,
)
from helpers.checks import own
from helpers.checks.losses import slow_cosines, slow_loss
from tests.banks import BANK, diagnosis, public_name

REFERENCES = {name: course.Parts().reference(name) for name in course.ANSWERS}


def bodies():
    """What every reference is made of: code of functions, methods of classes."""
    return {
        name: value.__code__ if hasattr(value, "__code__") else dict(vars(value)) for name, value in REFERENCES.items()
    }


@pytest.mark.parametrize("exercise", BANK)
def test_an_answer_that_only_calls_the_reference_is_told_so(exercise):
    public = public_name(exercise)
    told = diagnosis(exercise, BANK[exercise].answer("calls the reference"))
    assert told.startswith(f"`{public}` calls the course's own answer, helpers.")
    assert told.endswith("; write it yourself.")


def parts_of_helpers(inputs: int):
    """Every function and class of the parts of SimCLR that can be called with so many arguments."""
    for module in (augmentation, policies, encoder, projection_head, losses, distributed, training, evaluation):
        for name, part in list(vars(module).items()):
            if callable(part) and getattr(part, "__module__", None) == module.__name__ and name != "main":
                with contextlib.suppress(TypeError, ValueError):
                    inspect.signature(part).bind(*range(inputs))
                    yield name, part


@pytest.mark.parametrize("name", [name for name in course.ANSWERS if name != "pretrain"])
def test_no_part_of_helpers_passes_for_an_answer(name):
    wanted = inspect.signature(REFERENCES[name]).parameters.values()
    inputs = len([each for each in wanted if each.default is each.empty])
    passed = [
        other
        for other, part in parts_of_helpers(inputs)
        if diagnosis(checks.core.snake_case(name), lambda *given, part=part, **named: part(*given, **named)) is None
    ]
    assert passed == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda z_a, z_b, temperature=0.5: training.nt_xent(z_a, z_b, temperature),
        lambda z_a, z_b, temperature=0.5: course.Parts().nt_xent(z_a, z_b, temperature),
        lambda z_a, z_b, temperature=0.5: losses.nt_xent_loop(z_a, z_b, temperature),
        lambda z_a, z_b, temperature=0.5: getattr(losses, "nt_" + "xent")(z_a, z_b, temperature),
        functools.partial(losses.nt_xent),
    ],
    ids=["another module", "my", "the slow one", "getattr", "partial"],
)
def test_no_other_name_leads_past_the_refusal(answer, monkeypatch, tmp_path):
    monkeypatch.setattr(course, "YOURS", tmp_path)
    assert "calls the course's own answer" in diagnosis("nt_xent", answer)


def test_an_answer_that_catches_the_refusal_is_told_all_the_same():
    def nt_xent(z_a, z_b, temperature=0.5):
        try:
            return losses.nt_xent(z_a, z_b, temperature)
        except BaseException:
            return z_a.sum()

    assert "calls the course's own answer, helpers.losses.nt_xent" in diagnosis("nt_xent", nt_xent)


def test_an_oracle_of_the_checks_refuses_too():
    told = diagnosis("nt_xent_loop", lambda z_a, z_b, temperature: slow_loss(z_a, z_b, temperature))
    assert told == "`nt_xent_loop` calls a part of the check, helpers.checks.losses.slow_loss; write it yourself."


def test_an_oracle_may_be_called_while_no_check_runs(generator):
    assert slow_cosines(torch.randn(3, 4, generator=generator)).shape == (3, 3)


@pytest.mark.parametrize("name", course.ANSWERS)
def test_every_reference_is_the_same_after_its_check_whatever_happened(name):
    exercise, before = checks.core.snake_case(name), bodies()

    def stumbles(*arguments, **named):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(checks, f"check_{exercise}")(stumbles)
    assert bodies() == before
    assert own.running == 0 and own.calls == []


def test_checks_that_run_at_once_leave_the_reference_as_it_was():
    before, waiting = bodies(), threading.Barrier(2)

    def slow(n):
        waiting.wait(timeout=20)
        return None

    threads = [threading.Thread(target=lambda: diagnosis("chance_loss", slow)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies() == before


def test_an_answer_may_build_on_the_answers_to_other_exercises():
    class TwoViewDataset:
        def __init__(self, images, transform):
            self.images, self.two_views = images, augmentation.TwoViews(transform)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.two_views(self.images[index])

    assert diagnosis("two_view_dataset", TwoViewDataset) is None


@pytest.mark.parametrize(
    "exercise, answer",
    [
        ("nt_xent", losses.nt_xent),
        ("projection_head", projection_head.ProjectionHead),
        ("alignment", evaluation.alignment),
    ],
)
def test_the_reference_itself_passes(exercise, answer):
    assert diagnosis(exercise, answer) is None


def test_in_a_notebook_the_reference_under_the_exercise_s_name_is_no_answer(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "get_ipython", None, raising=False)
    assert diagnosis("chance_loss", losses.chance_loss) is None
    monkeypatch.setattr(main, "chance_loss", losses.chance_loss, raising=False)
    assert "is the course's own answer, helpers.losses.chance_loss" in diagnosis("chance_loss", losses.chance_loss)
    monkeypatch.setattr(main, "nt_xent", losses.nt_xent_chunked, raising=False)
    assert "is the course's own answer, helpers.losses.nt_xent_chunked" in diagnosis("nt_xent", losses.nt_xent_chunked)
