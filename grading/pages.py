"""The pages of a grading run: one for each student, one summary for the instructor. Everything from outside is escaped."""

import html
import os
import re
import statistics
import urllib.parse
from collections import Counter
from pathlib import Path

from grading.intake import beyond_missing

STYLE = """<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd }
td.number { text-align: right; white-space: nowrap } .yes { color: #1a5f96 } .no { color: #a33b00 } img { max-width: 100% }
.bar { background: #3f90da; height: .8rem } section { border-top: 1px solid #ddd; padding: .5rem 0 }
</style>"""


def page(title: str, body: list[str]) -> str:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return "\n".join(
        [f'{head}<meta name="viewport" content="width=device-width">{STYLE}', f"<h1>{html.escape(title)}</h1>", *body]
    )


def student_page(
    row: dict, said: dict, figures: dict[str, list[str]], worth: dict[str, float], handed_in: dict[str, bool]
) -> str:
    """Points, what is not solved yet and why, and the student's own figures beside it.

    Args:
        said: {exercise: {"check": None or why not, "hidden": the same}}.
        figures: {exercise: base64 PNGs}.
        worth: {exercise: points}.
        handed_in: {notebook: was it there?}.
    """
    body = [f"<p><b>{row['total']:g} of {row['of']:g} points.</b></p>"]
    body += [f"<p class=no>{html.escape(row['note'])}</p>"] if row["note"] else []
    links = [f'<a href="{stem}.html">{stem}</a>' for stem, there in handed_in.items() if there]
    body += [f"<p>Your notebooks with their points: {', '.join(links)}.</p>"] if links else []
    for name, points in worth.items():
        done = row[name] == points
        state = "solved" if done else "not yet"
        body.append(f"<section><h2 class={'yes' if done else 'no'}>{name}: {row[name]:g} of {points:g}, {state}</h2>")
        if not done:
            why = said.get(name, {})
            sentences = dict.fromkeys(each for each in why.values() if each)
            text = " ".join(map(sentence, sentences)) or "This notebook was not handed in, or could not be read."
            body.append(f"<p>{html.escape(text)}</p>")
            body += [
                f'<img alt="Your own figure of {name}" src="data:image/png;base64,{each}">'
                for each in figures.get(name, [])
            ]
        body.append("</section>")
    return page(f"Two Views: {row['student']}", body)


def sentence(text: str) -> str:
    """With a capital, where it begins with a plain word and not with a name of the code."""
    return text[0].upper() + text[1:] if re.match(r"[a-z]{2,} ", text) else text


def write_summary(path: Path, records: dict[str, dict], worth: dict[str, float]) -> None:
    """For the instructor: totals, each exercise's distribution and commonest diagnoses, and who needs a look."""
    rows = [record["row"] for record in records.values()]
    totals = [row["total"] for row in rows]
    body = [f"<p>{len(rows)} submissions, median {statistics.median(totals):g} of {sum(worth.values()):g} points.</p>"]
    links = {student: link(student, record["row"]["student"]) for student, record in records.items()}
    notes = {student: note for student, record in records.items() if (note := beyond_missing(record["row"]["note"]))}
    looks = [f"<tr><td>{links[student]}<td>{html.escape(note)}" for student, note in notes.items()]
    body.append("<h2>Need a human look</h2>")
    body += ["<table>", *looks, "</table>"] if looks else ["<p>None.</p>"]
    body += [
        "<h2>Exercises</h2><table><tr><th>exercise<th>points<th>full<th>part<th>none<th>solved by<th>commonest diagnoses"
    ]
    for name, points in worth.items():
        full, none = (sum(row[name] == level for row in rows) for level in (points, 0))
        share = full / len(rows)
        heard = Counter(why for record in records.values() if (why := (record["said"].get(name) or {}).get("check")))
        common = "<br>".join(f"{count} × {html.escape(why[:140])}" for why, count in heard.most_common(3))
        body.append(
            f"<tr><td>{name}<td class=number>{points:g}<td class=number>{full}<td class=number>{len(rows) - full - none}"
            f'<td class=number>{none}<td style="min-width:6rem">{share:.0%}<div class=bar style="width:{share:.0%}"></div><td>{common}'
        )
    body += [
        "</table><h2>Students</h2><table>",
        *[f"<tr><td>{links[name]}<td class=number>{each['row']['total']:g}" for name, each in records.items()],
        "</table>",
    ]
    unfinished = path.with_suffix(".part")
    unfinished.touch(mode=0o600)  # for the instructor alone, as grades.csv
    unfinished.write_text(page("Two Views: the class", body), encoding="utf-8")
    unfinished.replace(path)


def link(student: str, shown: str) -> str:
    """To a student's page; a folder may be called as it likes, in bytes that are no text, too."""
    return f'<a href="feedback/{urllib.parse.quote(os.fsencode(student))}/index.html">{html.escape(shown)}</a>'
