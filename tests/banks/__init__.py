"""Banks of answers: for every exercise wrong ones, each with words of its diagnosis, and right ones written otherwise.

`BANK[exercise]` holds the answers as objects, `source(exercise, name)` is any of them as the text of a notebook cell.
`python -m tests.bank` judges them all and prints the table.
"""

from helpers import checks
from tests.banks import augmentation, encoder, evaluation, losses, projection_head, training
from tests.banks.exercise import Exercise, diagnosis, notebook_of, pasted, public_name, seeds_for, source

__all__ = [
    "BANK", "Exercise", "diagnosis", "notebook_of", "pasted", "public_name", "right_answers", "seeds_for", "source",
    "wrong_answers",
]  # fmt: skip

MODULES = (augmentation, encoder, projection_head, losses, training, evaluation)
FOUND = {exercise: answers for module in MODULES for exercise, answers in module.BANK.items()}
BANK: dict[str, Exercise] = {
    exercise: FOUND[exercise] for exercises in checks.POINTS.values() for exercise in exercises
}


def wrong_answers(exercises: tuple[str, ...] = tuple(BANK)) -> list[tuple[str, str]]:
    """(exercise, name) of every wrong answer to these exercises."""
    return [(exercise, name) for exercise in exercises for name in BANK[exercise].wrong]


def right_answers(exercises: tuple[str, ...] = tuple(BANK)) -> list[tuple[str, str]]:
    """(exercise, name) of every right one."""
    return [(exercise, name) for exercise in exercises for name in BANK[exercise].right]
