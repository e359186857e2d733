"""What each exercise usually gets wrong, and what the learner is told then: from the bank of answers, as judged.

    python -m grading.teaching.mistakes               every exercise
    python -m grading.teaching.mistakes nt_xent       one

Reads data/results/answer_bank.json, which `make bank` writes by running every answer of tests/banks/ through the checks.
"""

import argparse
import json
import re

from data.record import RESULTS

SHOWN = 12  # mistakes of an exercise, from the whole length of its list; the bank has them all


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what each exercise usually gets wrong.")
    parser.add_argument("exercises", nargs="*", help="for instance nt_xent; default: all")
    print(pages(json.loads((RESULTS / "answer_bank.json").read_text(encoding="utf-8")), parser.parse_args().exercises))


def pages(bank: dict, names: list[str]) -> str:
    """Markdown: a table an exercise, of the mistakes that are named when they are made."""
    chosen = [row for row in bank["exercises"] if not names or row["exercise"] in names]
    if not chosen:
        return f"No exercise is called {' or '.join(names)}."
    return "\n\n".join(page(row) for row in chosen)


def page(row: dict) -> str:
    """A heading, the counts, and a table of some mistakes."""
    accepted = "all accepted" if not row["right_rejected"] else f"{row['right_rejected']} of them refused"
    counts = f"{row['wrong']} wrong answers in the bank, {row['diagnosed']:.0%} named; {row['right']} right ones, {accepted}."
    lines = [f"## {row['exercise']}", "", counts, "", "| mistake | what the learner reads |", "|---|---|"]
    return "\n".join(
        lines + [f"| {cell(each['name'])} | {cell(each['told'])} |" for each in some(row["wrong_answers"])]
    )


def some(answers: list[dict]) -> list[dict]:
    """Honest mistakes that are named, one of each diagnosis, SHOWN at most: the list has like beside like."""
    honest = [
        each for each in answers if each["diagnosed"] and not each["name"].startswith(("lazy", "fitted", "calls the"))
    ]
    first = {re.sub(r"[-+.\d]+", "", each["told"])[:100]: each for each in reversed(honest)}
    kinds = list(reversed(first.values()))
    return [kinds[place * len(kinds) // SHOWN] for place in range(SHOWN)] if len(kinds) > SHOWN else kinds


def cell(text: str) -> str:
    """Text inside a table of markdown, taken as it is."""
    text = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "|*_`$<[\\" else letter for letter in text)


if __name__ == "__main__":
    main()
