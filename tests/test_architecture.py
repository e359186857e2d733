"""How the code is laid out: imports point one way, modules stay small, settings are frozen."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import helpers

ROOT = Path(__file__).parent.parent
HELPERS = ROOT / "helpers"
MAY_IMPORT = {  # module: the helpers it may import
    "shapes": set(),
    "machine": set(),
    "image_set": set(),
    "files": set(),
    "cache": {"files", "image_set"},
    "folder": {"image_set", "cache", "machine"},
    "data": {"shapes", "image_set", "cache", "folder"},
    "operations": set(),
    "augmentation": {"folder", "operations"},
    "policies": {"augmentation", "operations"},
    "small_maps": set(),
    "encoder": {"small_maps"},
    "projection_head": set(),
    "losses": set(),
    "distributed": {"losses"},
    "optimizers": {"machine"},
    "checkpoints": {"encoder", "files", "projection_head"},
    "features": set(),
    "controls": {"encoder", "features"},
    "evaluation": {"features", "controls", "data", "checkpoints", "losses", "machine"},
    "latent_space": {"features", "evaluation"},
    "recipe": {"augmentation", "encoder", "projection_head"},
    "monitors": {"recipe", "augmentation", "checkpoints", "data", "evaluation"},
    "resuming": {"recipe", "checkpoints"},
    "clinic": {"data"},
    "training": {
        "augmentation", "checkpoints", "clinic", "data", "distributed", "encoder", "files", "losses", "machine",
        "monitors", "optimizers", "recipe", "resuming",
    },
    "board": {"data"},
    "plots": {"plots"},
    "widgets": {"widgets", "plots", "losses", "augmentation", "operations", "policies", "data", "latent_space", "folder"},
    "checks": {"checks"},
    "course": {"checks", "files", "machine"},
    "findings": {
        "findings", "augmentation", "controls", "course", "data", "encoder", "evaluation", "losses", "machine",
        "operations", "optimizers", "plots", "projection_head", "recipe", "training",
    },
    "colab": set(),
}  # fmt: skip


def imported_helpers(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("helpers.")}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or node.names[0].name
            assert module.split(".")[0] != "grading", f"{path.name} imports grading"
    return found


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_imports_point_one_way(module):
    paths = sorted((HELPERS / module).glob("*.py")) if (HELPERS / module).is_dir() else [HELPERS / f"{module}.py"]
    for path in paths:
        assert imported_helpers(path) <= MAY_IMPORT[module], path.name


def test_every_helpers_module_is_in_the_table():
    names = {path.stem for path in HELPERS.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__"} == set(MAY_IMPORT)


def test_the_map_of_the_package_names_every_module_below_those_it_imports():
    table = re.findall(r"^    ([a-z][a-z_, ]*?)  ", helpers.__doc__, flags=re.M)
    modules = [name for names in table for name in names.split(", ")]
    assert modules == list(MAY_IMPORT)
    for place, module in enumerate(modules):
        assert MAY_IMPORT[module] <= set(modules[: place + 1]), module


@pytest.mark.parametrize("folder", ["data", "grading", "helpers", "tests"])
def test_whatever_code_asks_of_a_helpers_module_is_there(folder):
    missing = []
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "helpers"]
        modules = {alias.asname or alias.name: f"helpers.{alias.name}" for node in froms for alias in node.names}
        modules = {name: module for name, module in modules.items() if module.split(".")[1] in MAY_IMPORT}
        for node in ast.walk(tree):
            asked = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
            if asked and isinstance(node.ctx, ast.Load):
                module = importlib.import_module(modules[node.value.id])
                if not hasattr(module, node.attr):
                    missing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value.id}.{node.attr}")
    assert not missing


def test_a_helpers_module_is_short_enough_to_read_whole():
    for path in [*HELPERS.glob("*.py"), *(HELPERS / "plots").glob("*.py"), *(HELPERS / "widgets").glob("*.*")]:
        longest = 200 if path.parent.name == "plots" else 400 if path.suffix == ".js" else 300
        assert len(path.read_text(encoding="utf-8").splitlines()) <= longest, path.name


def test_every_public_function_of_helpers_longer_than_a_few_lines_has_a_docstring():
    missing = []
    for path in HELPERS.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            long = node.end_lineno - node.lineno > 5
            if public and long and path.parent.name in ("helpers", "plots", "widgets") and not ast.get_docstring(node):
                missing.append(f"{path.name}: {node.name}")
    assert not missing


def test_dataclasses_of_helpers_are_frozen():
    for path in HELPERS.glob("*.py"):
        for found in re.findall(r"^@dataclass.*$", path.read_text(encoding="utf-8"), flags=re.M):
            assert "frozen=True" in found, path.name


def test_training_does_without_the_memory_of_libraries_that_only_measure_or_draw():
    code = "import sys, helpers.training; print([name for name in ('sklearn', 'scipy', 'matplotlib') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_no_helpers_module_seeds_or_prints_when_imported():
    for path in HELPERS.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            called = (
                ast.unparse(node.value.func) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else ""
            )
            assert "seed" not in called and called != "print", path.name


# The table of features ------------------------------------------------------------------------------------------------

FEATURES = ROOT / "grading" / "docs" / "features.md"
ROWS = [line.strip("| ").split(" | ") for line in FEATURES.read_text(encoding="utf-8").splitlines() if " | " in line]
ROWS = [row for row in ROWS if row[0] != "feature"]


def named_in(row: list[str]) -> list[str]:
    """What a row names in code, as helpers.module.attribute without the helpers."""
    return re.findall(r"`([\w.]+)`", row[1])


def test_every_row_of_the_features_has_its_place_its_pages_and_its_tests():
    assert len(ROWS) > 30
    for row in ROWS:
        assert len(row) == 3 and re.match(r"`|\[", row[1]) and "](" in row[1] and "::test_" in row[2], row[0]


def test_everything_the_features_name_in_helpers_exists():
    for row in ROWS:
        for name in named_in(row):
            module, *attributes = name.split(".")
            found = importlib.import_module(f"helpers.{module}")
            for attribute in attributes:
                assert hasattr(found, attribute), f"{row[0]}: {name}"
                found = getattr(found, attribute)


def test_every_test_the_features_name_exists():
    for row in ROWS:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[2])
        assert len(named) == row[2].count("`") // 2, row[0]
        for file, test in named:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


def test_every_page_the_features_name_mentions_what_the_row_is_about():
    for row in ROWS:
        words = re.findall(r"\*\*(.+?)\*\*", row[0]) or [name.split(".")[-1] for name in named_in(row)]
        for target in re.findall(r"\]\(([^)]+)\)", row[1].split("; ")[1]):
            page = (FEATURES.parent / target).read_text(encoding="utf-8")
            if target.endswith(".ipynb"):
                page = "".join(text for cell in json.loads(page)["cells"] for text in (*cell["source"], "\n"))
            page = " ".join(page.split()).lower()
            assert any(re.search(rf"\b{re.escape(word.lower())}\b", page) for word in words), f"{row[0]}: {target}"
