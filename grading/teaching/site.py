"""Publish the reading edition: every notebook executed, with grading/docs/, as a static site that needs no server.

    python -m grading.teaching.site                        into site/, as `make site` does
    python -m grading.teaching.site --without-solutions    exercises as they are released; the figures stay
    python -m grading.teaching.site --quick                notebooks in their quick form: for a look at the pages, not for numbers
    python -m grading.teaching.site --docs                 no site: only write the commands' output into grading/docs/ anew

Hidden tests are never published. Widgets become what they show when the notebook has run.
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from data.record import RESULTS
from grading.build import GRADING, NOTEBOOKS, execute, release, repository, write_instructor_notebooks
from helpers.findings.notebook import in_words

ROOT = GRADING.parent
DOCS, SITE = GRADING / "docs", ROOT / "site"
SPHINX = ROOT / ".venv-site" / "bin" / "sphinx-build"
FINDINGS = RESULTS / "findings"
END = "<!-- end of its output -->"
WIDGET = "application/vnd.jupyter.widget-view+json"
STATES = "application/vnd.jupyter.widget-state+json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish the reading edition.")
    parser.add_argument("--without-solutions", action="store_true", help="show exercises as they are released")
    parser.add_argument("--quick", action="store_true", help="run the notebooks in their quick form")
    parser.add_argument("--out", type=Path, default=SITE, help="folder of the site; default: site")
    parser.add_argument("--docs", action="store_true", help="only write the commands' output into grading/docs/ anew")
    options = parser.parse_args()
    if options.docs:
        for path in DOCS.glob("*.md"):
            path.write_text(with_output(path.read_text(encoding="utf-8")), encoding="utf-8")
        return
    if options.out.exists() and any(options.out.iterdir()) and not (options.out / ".nojekyll").exists():
        sys.exit(f"{options.out} holds something that is no site of ours, and would be replaced: name another folder.")
    if not SPHINX.exists():
        sys.exit(f"{SPHINX} is missing: run `make site`, which makes its environment.")
    with tempfile.TemporaryDirectory() as folder:
        executed = run_all(Path(folder), options.quick)
        if options.without_solutions:
            take_back_solutions(executed, Path(folder))
        publish(executed, Path(folder) / "pages", options.out)
    print(f"The site is in {options.out}; open {options.out}/index.html")


def run_all(folder: Path, quick: bool) -> dict[str, NotebookNode]:
    """{stem: instructor notebook, executed}; none of your own answers is used."""
    os.environ["COURSE_YOURS"] = str(folder / "yours")
    os.environ["COURSE_QUICK"] = "1" if quick else ""
    os.environ["COURSE_READING"] = "1"
    executed = {}
    for path in write_instructor_notebooks(folder / "instructor"):
        execute(path, NOTEBOOKS)
        executed[path.stem] = nbformat.read(path, as_version=4)
        print(f"ran {path.stem}", flush=True)
    return executed


def take_back_solutions(executed: dict[str, NotebookNode], folder: Path, numbers: list[str] = ()) -> None:
    """Put the released text into every exercise; what the solution printed and drew stays."""
    for path in release(folder, numbers):
        blank = {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}
        for cell in executed[path.stem].cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = blank[cell.id]


def publish(executed: dict[str, NotebookNode], pages: Path, out: Path) -> None:
    """Write the pages as Sphinx wants them and build out/ from them, replacing it."""
    pages.mkdir(parents=True)
    for path in [*DOCS.glob("*.py"), *DOCS.glob("*.css")]:
        shutil.copy(path, pages)
    for path in DOCS.glob("*.md"):
        (pages / path.name).write_text(outward(path.read_text(encoding="utf-8"), DOCS), encoding="utf-8")
    (pages / "findings.md").write_text(findings_page(pages), encoding="utf-8")
    for stem, notebook in executed.items():
        nbformat.write(readable(notebook), pages / f"{stem}.ipynb")
    built = pages.parent / "built"  # so that out/ stays as it was where the build fails
    command = [SPHINX, "-b", "html", "-q", "-W", "--keep-going", "-d", pages.parent / "trees", pages, built]
    if subprocess.run(command).returncode:
        sys.exit("sphinx-build was not content; its words stand above.")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(built, out)
    (out / ".nojekyll").touch()  # GitHub's pages leave out folders that start with _ otherwise


def readable(notebook: NotebookNode) -> NotebookNode:
    """The notebook as a page: no hidden tests, no marks of the build, hints whose formulas are read, still widgets."""
    states = notebook.metadata.get("widgets", {}).get(STATES, {}).get("state", {})
    notebook.cells = [cell for cell in notebook.cells if not cell.id.endswith(("_hidden", "colab"))]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = outward(open_up(cell.source), NOTEBOOKS)
            continue
        cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", cell.source, flags=re.M).rstrip()
        shown = [still(output, states) for output in joined(cell.outputs) if not script_only(output)]
        cell.outputs = [output for output in shown if output.get("data", {}).get("text/html") != ""]
    notebook.metadata.pop("widgets", None)
    return notebook


def outward(text: str, folder: Path) -> str:
    """Markdown whose links to files that are no pages of the site lead to the repository."""

    def lead(match: re.Match) -> str:
        target, _, place = match[2].partition("#")
        path = (folder / target).resolve()
        is_page = path.parent in (DOCS, NOTEBOOKS) and path.suffix in (".md", ".ipynb")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        if is_page:
            return f"{match[1]}({path.name}{match[2].removeprefix(target)})"
        where = f"{repository()}/{'tree' if path.is_dir() else 'blob'}/HEAD/{path.relative_to(ROOT)}"
        return f"{match[1]}({where}{f'#{place}' if place else ''})"

    return re.sub(r"(\[[^\]]*\])\(([^)\s]+)\)", lead, text)


def with_output(text: str) -> str:
    """Markdown in which a fence that ends with `# its output:` is followed by what its command prints, up to END."""

    def run(match: re.Match) -> str:
        command = [sys.executable, *match[2].split()]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        shown = said if said.startswith("#") else f"```\n{said}```\n"
        return f"{match[1]}\n{shown}\n{END}"

    fence = r"(```\n\.venv/bin/python (-m [^\n#]*?) *# its output:\n```\n).*?"
    return re.sub(fence + re.escape(END), run, text, flags=re.S)


def findings_page(pages: Path) -> str:
    """The table of the findings, and below it every figure, copied beside the page."""
    text = re.sub(r"\]\((\w[\w-]*)\.png\)", r"](#\1)", (FINDINGS / "README.md").read_text(encoding="utf-8"))
    for path in sorted(FINDINGS.glob("*.png")):
        rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
        shutil.copy(path, pages)
        text += f"\n## {path.stem}\n\n![{in_words(rows)}]({path.name})\n"
    return text


def open_up(text: str) -> str:
    """Empty lines around what is folded away, so that it is read as markdown, formulas and all."""
    text = re.sub(r"</summary>[ \n]*", "</summary>\n\n", text)
    return re.sub(r"\s*</details>[ \n]*", "\n\n</details>\n\n", text)


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs in which neighbouring pieces of one stream are one: a slow machine sends line by line what belongs together."""
    whole = []
    for output in outputs:
        if whole and output.get("name") is not None and output.get("name") == whole[-1].get("name"):
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def script_only(output: NotebookNode) -> bool:
    return "application/javascript" in output.get("data", {}) and "text/html" not in output.data


def still(output: NotebookNode, states: dict) -> NotebookNode:
    """A widget's output as plain HTML; any other output as it is."""
    if WIDGET not in output.get("data", {}):
        return output
    shown = widget_html(output.data[WIDGET]["model_id"], states)
    return nbformat.v4.new_output("display_data", {"text/html": shown})


def widget_html(name: str, states: dict) -> str:
    """What a widget shows, from the state that the notebook keeps: pictures and text whole, controls by their value."""
    state = states.get(name, {}).get("state", {})
    children = "".join(widget_html(child.removeprefix("IPY_MODEL_"), states) for child in state.get("children", ()))
    if state.get("_model_name") in ("HTMLModel", "HTMLMathModel"):
        return str(state.get("value", ""))
    label, value = str(state.get("description", "")), state.get("value", state.get("index"))
    if label and isinstance(value, int | float | str):
        return f"<div>{html.escape(label)}: {html.escape(str(value))}</div>"
    note = '<p class="static-widget">In the notebook, this follows the controls above it.</p>'
    if not children:
        return ""  # a widget of the course's own shows a still picture beside it
    return f"<div>{children}</div>{note}" if has_controls(state, states) else f"<div>{children}</div>"


def has_controls(state: dict, states: dict) -> bool:
    """Does this box hold a slider, a menu or a button itself?"""
    held = [states.get(child.removeprefix("IPY_MODEL_"), {}) for child in state.get("children", ())]
    return any(re.search("Slider|Dropdown|Button|Checkbox", each.get("model_name", "")) for each in held)


if __name__ == "__main__":
    main()
