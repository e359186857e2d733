"""Pictures of every widget, and of notebook 06's figures, in JupyterLab's light and dark theme, to look at.

python -m tests.screenshots            all of them, into runs/screenshots/
python -m tests.screenshots 01 06      only these notebooks
"""

import sys
import tempfile
from pathlib import Path

import nbformat

from grading.build import SOURCE, instructor_notebook
from tests.lab import local_page, open_notebook, run_all, running_browser, running_lab, shut_down, theme

OUT = Path(__file__).parent.parent / "runs" / "screenshots"
NOTEBOOKS = ("01_augmentation", "04_contrastive_loss", "05_training", "06_evaluation")


def take(page, stem: str, colours: str) -> None:
    """One picture a widget, and for notebook 06 one a figure."""
    for index, widget in enumerate(page.locator("section.two-views").all()):
        for details in widget.locator("details").all():
            details.evaluate("element => { element.open = true; }")
        page.wait_for_timeout(1500)
        widget.screenshot(path=OUT / f"{stem}-widget-{index + 1}-{colours}.png")
    if stem.startswith("06"):
        for index, figure in enumerate(page.locator(".jp-OutputArea-output img:visible").all()):
            figure.screenshot(path=OUT / f"{stem}-figure-{index + 1}-{colours}.png")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = [stem for stem in NOTEBOOKS if not sys.argv[1:] or stem.startswith(tuple(sys.argv[1:]))]
    with tempfile.TemporaryDirectory() as home, running_lab(Path(home)) as lab, running_browser() as browser:
        for stem in wanted:
            nbformat.write(instructor_notebook(SOURCE / f"{stem}.py"), lab.folder / f"{stem}.ipynb")
            page = local_page(browser, viewport={"width": 1500, "height": 2300})
            open_notebook(page, lab, f"{stem}.ipynb")
            for problem in run_all(page, seconds=600):
                print(f"{stem}: {problem['name']}: {problem['value']}")
            for colours in ("light", "dark"):
                theme(page, colours)
                take(page, stem, colours)
            print(*[f"{stem}: {problem}" for problem in page.broke], sep="\n")
            shut_down(page)
            page.context.close()
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
