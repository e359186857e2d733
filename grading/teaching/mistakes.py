"""What each exercise usually gets wrong, and what the learner is told then: from the bank of answers, as judged.

    python -m grading.teaching.mistakes               every exercise
    python -m grading.teaching.mistakes nt_xent       one

Reads data/results/answer_bank.json, which `make bank` writes by running every answer of tests/banks/ through the checks.
"""

import json
import sys

from data.record import RESULTS

SHOWN = 8  # mistakes of an exercise; the bank has them all


def main() -> None:
    print(pages(json.loads((RESULTS / "answer_bank.json").read_text(encoding="utf-8")), sys.argv[1:]))


def pages(bank: dict, names: list[str]) -> str:
    """Markdown: a table an exercise, of the mistakes that are named when they are made."""
    chosen = [row for row in bank["exercises"] if not names or row["exercise"] in names]
    if not chosen:
        return f"No exercise is called {' or '.join(names)}."
    return "\n\n".join(page(row) for row in chosen)


def page(row: dict) -> str:
    named = [answer for answer in row["wrong_answers"] if answer["diagnosed"] and answer["told"]]
    named = [
        answer for answer in named if not answer["name"].startswith(("lazy", "fitted", "calls the"))
    ]  # nobody's honest mistake
    lines = [f"## {row['exercise']}", "", f"{row['wrong']} wrong answers in the bank, {row['diagnosed']:.0%} named; "
             f"{row['right']} right ones, all accepted." if not row["right_rejected"] else ""]  # fmt: skip
    lines += ["", "| mistake | what the learner reads |", "|---|---|"]
    lines += [f"| {cell(answer['name'])} | {cell(answer['told'])} |" for answer in named[:SHOWN]]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text inside a table of markdown, taken as it is."""
    text = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "|*_`$<[\\" else letter for letter in text)


if __name__ == "__main__":
    main()
