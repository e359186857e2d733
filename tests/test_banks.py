"""The banks of answers: enough of them, and each is a notebook cell that stands alone."""

import json

import pytest

from data import record
from helpers import checks
from tests import bank
from tests.banks import BANK, Exercise, pasted, public_name, right_answers, source, wrong_answers


def test_every_exercise_has_eight_wrong_and_four_right_answers():
    assert set(BANK) == {exercise for exercises in checks.POINTS.values() for exercise in exercises}
    for exercise, answers in BANK.items():
        assert len(answers.wrong) >= 8 and len(answers.right) >= 4, exercise


def test_the_bank_holds_250_wrong_and_100_right_answers():
    assert len(wrong_answers()) >= 250 and len(right_answers()) >= 100


def test_at_least_85_percent_of_the_wrong_answers_have_a_known_mistake():
    known = [bool(BANK[exercise].wrong[name][1]) for exercise, name in wrong_answers()]
    assert sum(known) >= 0.85 * len(known)


@pytest.mark.parametrize("kind", ["lazy", "fitted", "calls the reference"])
def test_every_exercise_has_a_wrong_answer_of_each_kind(kind):
    for exercise, answers in BANK.items():
        assert any(name.startswith(kind) for name in answers.wrong), exercise


def test_no_name_is_both_wrong_and_right():
    assert not [exercise for exercise, answers in BANK.items() if answers.wrong.keys() & answers.right.keys()]


@pytest.mark.parametrize("exercise", BANK)
def test_every_answer_is_a_cell_that_defines_the_exercise(exercise):
    for name in [*BANK[exercise].wrong, *BANK[exercise].right]:
        assert pasted(exercise, name).__name__ == public_name(exercise), name


def test_a_cell_brings_what_it_needs_and_nothing_of_the_bank():
    text = source("two_views", "channels last")
    assert "def channels_last" in text and "def plain" in text and "import numpy as np" in text
    assert "tests.banks" not in text and "def reshaped" not in text


def test_the_results_file_is_of_the_bank_as_it_is():
    rows = json.loads((record.RESULTS / "answer_bank.json").read_text(encoding="utf-8"))["exercises"]
    for kind in ("wrong", "right"):
        measured = {row["exercise"]: [answer["name"] for answer in row[f"{kind}_answers"]] for row in rows}
        assert measured == {exercise: list(getattr(answers, kind)) for exercise, answers in BANK.items()}


def test_every_answer_of_the_bank_was_put_through_make_grade():
    result = json.loads((record.RESULTS / "answer_bank_graded.json").read_text(encoding="utf-8"))
    for right, answers in ((False, wrong_answers()), (True, right_answers())):
        graded = [(row["exercise"], row["name"]) for row in result["answers"] if row["right"] is right]
        assert sorted(graded) == sorted(answers)


def test_the_command_writes_its_counts_and_a_list_per_exercise(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert bank.main(["--only", "positive_index", "chance_loss", "--seeds", "0"]) == 0
    result = json.loads((tmp_path / "answer_bank.json").read_text())
    wrong = len(BANK["positive_index"].wrong) + len(BANK["chance_loss"].wrong)
    assert (result["wrong"], result["wrong_accepted"], result["right_rejected"]) == (wrong, 0, 0)
    assert 0.8 < result["diagnosed"] < 1 and result["right"] == 8
    assert [row["exercise"] for row in result["exercises"]] == ["positive_index", "chance_loss"]
    assert {"command", "seed", "versions", "machine", "date"} <= result.keys()
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["exercise", "wrong", "accepted", "right", "rejected", "diagnosed"]


def test_the_table_names_what_is_judged_wrongly(monkeypatch):
    swapped = Exercise(wrong={"torch.cat": (None, "")}, right={"itself": None})
    monkeypatch.setitem(BANK, "positive_index", swapped)
    row = bank.judge("positive_index")
    assert (row["wrong_accepted"], row["right_rejected"]) == (1, 1)
    printed = bank.table([row])
    assert "positive_index accepts: torch.cat" in printed and "positive_index rejects: itself: " in printed


def test_false_alarms_and_misses_are_counted_over_the_seeds(monkeypatch):
    monkeypatch.setattr(bank, "diagnosis", lambda exercise, answer, seeds: answer if seeds[0] % 2 else None)
    monkeypatch.setattr(bank, "REFERENCES", {"simclr_transform": None})
    monkeypatch.setattr(bank, "SUBTLE", {"simclr_transform": {"off by a little": "told"}})
    names = (None, "off by a little")
    counts = {("simclr_transform", name): bank.refused("simclr_transform", name, range(10)) for name in names}
    row = bank.statistics("simclr_transform", 10, counts)
    assert row == {"exercise": "simclr_transform", "seeds": 10, "false_alarms": 0, "misses": {"off by a little": 5}}
