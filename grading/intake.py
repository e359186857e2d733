"""Find a student's notebooks among whatever was handed in, and take out of them what is the student's.

Files are read, never run, links are not followed, and nothing is unpacked to disk.
"""

import base64
import binascii
import contextlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

LARGEST = 50 * 2**20  # bytes of a notebook; a hundred figures fit in
OLD = 5 * 2**20  # bytes of one in an older format, which takes many times its size to convert
CODE = 500_000  # letters of all code cells of a notebook; none of the course has 20,000
ALL = 3 * LARGEST  # bytes of all that one student hands in
FILES, DEPTH = 5000, 20  # how much of a student's folder is looked at
CELLS, SOURCE = 5000, 100_000  # cells of a notebook, letters of a cell
ZIPPED = 50  # notebooks of one zip file that are read
LITTER = {".git", ".ipynb_checkpoints", "__MACOSX"}  # folders that programs leave behind, and nobody's work
NOTES = 20
STUB = "raise NotYet()  # write your answer in place of this line"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\n]{100,})")


@dataclass
class Submission:
    """What one student handed in."""

    notebooks: dict[str, NotebookNode] = field(default_factory=dict)  # by the stem of the course's notebook
    notes: list[str] = field(default_factory=list)  # what an instructor should know, in sentences
    when: float = 0.0  # seconds since 1970 of the newest file


def beyond_missing(note: str) -> str:
    """A student's note without the notebooks that are not handed in, as most are not while a course goes on."""
    return "; ".join(each for each in note.split("; ") if not each.endswith(".ipynb is missing"))


def take_in(place: Path, blanks: dict[str, NotebookNode], ungraded: set[str] = frozenset()) -> Submission:
    """Read the notebooks below a student's folder, or in a zip file, and tell which is which by the cells they hold.

    Args:
        blanks: the released notebooks, by their stems.
        ungraded: stems of those without exercises, which may lie beside.
    """
    found, submission = {}, Submission()
    for name, when, data in files(place, submission.notes):
        submission.when = max(submission.when, when)
        try:
            notebook = read(data)
        except Exception as problem:  # whatever a broken file makes a reader raise
            submission.notes.append(f"{name} cannot be read ({type(problem).__name__})")
            continue
        stem = which(notebook, name, blanks)
        if stem is None and Path(name).name.startswith(tuple(ungraded)):
            continue
        if stem is None:
            submission.notes.append(f"{name} is not a notebook of the course")
        else:
            found.setdefault(stem, []).append((when, name, notebook))
            if notebook.metadata.too_long:
                submission.notes.append(f"{name}: a cell of more than {SOURCE:,} letters was not read")
    if len(submission.notes) > NOTES:
        submission.notes[NOTES:] = [f"and {len(submission.notes) - NOTES} more of the kind"]
    for stem in blanks:
        if stem not in found:
            submission.notes.append(f"{stem}.ipynb is missing")
            continue
        copies = sorted(found[stem], key=lambda copy: (copy[0], Path(copy[1]).stem == stem, copy[1]))
        submission.notebooks[stem] = copies[-1][2]
        if len(copies) > 1:
            submission.notes.append(f"{len(copies)} files for {stem}: {copies[-1][1]}, the newest, counts")
    if not found:
        names = [plain_text(path.name) for path in below(place) if is_plain_file(path)][:3]
        submission.notes += [f"no notebook was found, only {', '.join(names)}"] if names else []
    return submission


def below(place: Path) -> list[Path]:
    """What lies below a folder, in the order of the names, or the one file; links are listed and not followed."""
    if place.is_file():
        return [place]
    found, left = [], [(place, 0)]
    while left and len(found) < FILES:
        folder, depth = left.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:  # a folder that may not be read has nothing
            for entry in entries:
                found.append(Path(entry.path))
                if entry.is_dir(follow_symlinks=False) and depth < DEPTH:
                    left.append((found[-1], depth + 1))
    return sorted(found)[:FILES]


def is_plain_file(path: Path) -> bool:
    """A file, neither a link nor one that may not be looked at."""
    try:
        return not path.is_symlink() and path.is_file()
    except OSError:
        return False


def files(place: Path, notes: list[str]) -> Iterator[tuple[str, float, bytes]]:
    """(name, time, content) of every notebook file below a folder and inside zip files."""
    if place.is_symlink():
        notes.append(f"{plain_text(place.name)} is a link and was not followed")
        return
    taken = 0
    for path in below(place):
        name = plain_text(path.name if path == place else str(path.relative_to(place)))
        kind = path.suffix.lower()
        if os.path.isdir(path) and not os.path.islink(path) and not os.access(path, os.R_OK | os.X_OK):
            notes.append(f"{name} is a folder that may not be opened")
        if kind not in (".ipynb", ".zip") or LITTER & set(path.relative_to(place).parts):
            continue
        if os.path.islink(path):
            notes.append(f"{name} is a link and was not followed")
        elif not is_plain_file(path):
            notes.append(f"{name} is no file")
        elif not os.access(path, os.R_OK):
            notes.append(f"{name} may not be read")
        elif path.stat().st_size > LARGEST:
            notes.append(f"{name} is larger than {LARGEST >> 20} MB: clear its outputs and hand it in again")
        elif taken > ALL:
            notes.append(f"{name} was not read: there is more than {ALL >> 20} MB")
        else:
            for found in (
                zipped(path, name, notes) if kind == ".zip" else [(name, path.stat().st_mtime, path.read_bytes())]
            ):
                taken += len(found[2])
                if taken > ALL:
                    notes.append(f"{found[0]} was not read: there is more than {ALL >> 20} MB")
                    break
                yield found


def zipped(path: Path, name: str, notes: list[str]) -> Iterator[tuple[str, float, bytes]]:
    """The notebooks in a zip file, read in memory and never more than LARGEST of each."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.lower().endswith(".ipynb")]
            members = [member for member in members if not LITTER & set(Path(member.filename).parts)]
            if len(members) > ZIPPED:
                notes.append(f"{name} holds {len(members)} notebooks, of which the {ZIPPED} changed last were read")
            members = sorted(members, key=lambda member: member.date_time)[-ZIPPED:]
            for place, member in enumerate(members, 1):  # all as old as the archive, the last one changed a little less
                if member.file_size > LARGEST:
                    notes.append(f"{plain_text(member.filename)} in {name} is larger than {LARGEST >> 20} MB")
                    continue
                with archive.open(member) as file:
                    yield (
                        plain_text(Path(member.filename).name),
                        path.stat().st_mtime + 1e-4 * (place - len(members)),
                        file.read(LARGEST),
                    )
    except Exception as problem:  # a broken archive makes its reader raise all kinds
        notes.append(f"{name} cannot be unpacked ({type(problem).__name__})")


def read(data: bytes) -> NotebookNode:
    """A notebook of version 4 whose cells have what graft looks at; raises for anything else.

    What a cell shows is kept as text, `shown`; metadata.too_long tells whether a cell was longer than SOURCE.
    """
    content = json.loads(data.decode("utf-8-sig"))
    if content["nbformat"] != 4:
        if len(data) > OLD:
            raise ValueError("an old format, and large")
        content = nbformat.convert(nbformat.from_dict(content), 4)
    if len(content["cells"]) > CELLS:
        raise ValueError("too many cells")
    cells, too_long = [], False
    for cell in content["cells"]:
        source = cell.get("source", "")
        source = source if isinstance(source, str) else "".join(map(str, source))
        too_long |= len(source) > SOURCE
        source = whole_letters(source).replace("\r\n", "\n") if len(source) <= SOURCE else ""
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        marks = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
        kind = cell.get("cell_type") if cell.get("cell_type") in ("code", "markdown") else "raw"
        shown = json.dumps(cell["outputs"])[: 8 * 2**20] if cell.get("outputs") else ""
        known = {"cell_type": kind, "id": whole_letters(str(cell.get("id", "")))[:64], "source": source, "shown": shown}
        name = whole_letters(str(marks.get("grade_id", "")))
        cells.append(known | {"metadata": {"nbgrader": {"grade_id": name}}})
    if sum(len(cell["source"]) for cell in cells if cell["cell_type"] == "code") > CODE:
        raise ValueError("too much code")
    return nbformat.from_dict({"cells": cells, "metadata": {"too_long": too_long}})


def whole_letters(text: str) -> str:
    """The text without halves of surrogate pairs, which could not be written to a file."""
    return text.encode("utf-8", "replace").decode()


def grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def solutions(blank: NotebookNode) -> list[str]:
    """Grade ids of the cells that hold answers."""
    return [grade_id(cell) for cell in blank.cells if cell.metadata.get("nbgrader", {}).get("solution")]


def which(notebook: NotebookNode, name: str, blanks: dict[str, NotebookNode]) -> str | None:
    """The stem of the course's notebook that this is: by its cells, else by its name."""
    ids = {grade_id(cell) or cell.id for cell in notebook.cells}
    fits = {stem: len(ids & set(solutions(blank))) for stem, blank in blanks.items()}
    best = max(fits, key=fits.get)
    if fits[best]:
        return best
    named = Path(name).name
    return next((stem for stem in blanks if named.startswith((stem, stem[:3])) or stem in named), None)


def answers(blank: NotebookNode, submitted: NotebookNode, makers: dict[str, str]) -> dict[str, str]:
    """{grade_id: source} of the answers that are not as they were released.

    An answer is its cell, a copy of it, or a cell of the student's own that defines it. Of several the one that defines
    it (JupyterLab's "split cell" gives both halves the same grade_id), then the last one before the check counts, as
    when the notebook is run from the top, and stubs only where nothing else is there. What the cell of another answer
    defines, as after "merge cells", counts where there is none of these.

    Args:
        makers: {name that an answer defines: its grade_id}, for cells that hold it without bearing that grade_id.
    """
    wanted, found, elsewhere = set(solutions(blank)), {}, {}
    released = {without_comments(cell.source) for cell in blank.cells} | {""}
    known = set(filter(None, map(grade_id, blank.cells)))
    names = [grade_id(cell) or cell.id for cell in submitted.cells]
    for place, (cell, here) in enumerate(zip(submitted.cells, names, strict=True)):
        if cell.cell_type != "code" or without_comments(cell.source) in released:
            continue
        made = [
            makers[name] for name in makers if re.search(rf"^((def|class) {name}\b|{name} *=[^=])", cell.source, re.M)
        ]
        held = [here] if here in wanted else [] if grade_id(cell) in known else made
        for name in {*held, *(made if here in wanted else [])}:
            before = f"{name}_check" not in names[:place]
            rank = (name in made, STUB not in cell.source, before, place)  # a stub may be left below, or as a comment
            kept = found if name in held else elsewhere
            kept[name] = max(kept.get(name, (rank, cell.source)), (rank, cell.source))
    found = elsewhere | found
    return {name: found[name][1] for name in solutions(blank) if name in found}


def without_comments(source: str) -> str:
    """The cell without lines that are empty or comments alone: what is left of a stub is equal to the stub."""
    lines = [line.rstrip() for line in source.split("\n")]
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def place_of(submitted: NotebookNode, name: str) -> int:
    """Where the cell of this name stands; behind all cells where it is gone."""
    names = [grade_id(cell) or cell.id for cell in submitted.cells]
    return names.index(name) if name in names else len(names)


def around(blank: NotebookNode, submitted: NotebookNode, taken: set[str]) -> list[tuple[int, str]]:
    """(place, source) of the code cells that are the student's own or that the student changed, answers left aside.

    The other half of an answer's cell that was split is the student's own.
    """
    released = {cell.source.strip() for cell in blank.cells}
    graded = {grade_id(cell) for cell in blank.cells if cell.metadata.get("nbgrader", {}).get("grade")}
    return [
        (place, cell.source)
        for place, cell in enumerate(submitted.cells)
        if cell.cell_type == "code"
        and cell.source.strip() not in released
        and not {grade_id(cell), cell.id} & graded
        and not ({grade_id(cell), cell.id} & set(solutions(blank)) and STUB in cell.source)
        and cell.source not in taken
    ]


def graft(blank: NotebookNode, submitted: NotebookNode, filled: dict[str, str]) -> NotebookNode:
    """The released notebook with the student's answers in it, and code cells of the student's own where they stood.

    Tags, metadata, outputs, edited checks and everything else of the student's file stay behind.
    """
    ids, place, own, plain = {cell.id for cell in blank.cells}, None, {}, {}
    taken = set(filled.values())
    for cell in submitted.cells:
        here = grade_id(cell) or cell.id
        mine = here not in ids or (here in filled and STUB not in cell.source)  # the other half of a split cell, too
        if mine and cell.cell_type == "code" and cell.source not in taken:
            own.setdefault(place, []).append(cell.source)
        if here in ids:
            place = here
            plain[here] = cell.source
    grafted = nbformat.from_dict(blank)
    grafted.cells = [nbformat.v4.new_code_cell(source) for source in own.get(None, [])]
    for cell in nbformat.from_dict(blank).cells:
        if cell.id in filled:
            cell.source = filled[cell.id]
        elif cell.cell_type == "code" and not grade_id(cell):
            cell.source = plain.get(cell.id, cell.source)
        grafted.cells.append(cell)
        grafted.cells += [nbformat.v4.new_code_cell(source) for source in own.get(cell.id, [])]
    return grafted


def figures(blank: NotebookNode, submitted: NotebookNode, most: int = 2) -> dict[str, list[str]]:
    """{grade_id of an answer: pictures, as base64 PNG} that the student's notebook shows between answer and check.

    Pictures are decoded and written anew, so that nothing else travels with them.
    """
    places, answer = {}, None
    for cell in blank.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            answer = grade_id(cell)
        elif cell.metadata.get("nbgrader", {}).get("grade"):
            answer = None
        elif answer:
            places[cell.id] = answer
    found: dict[str, list[str]] = {}
    for cell in submitted.cells:
        if cell.id in places and len(found.get(places[cell.id], [])) < most:
            raw = [*PICTURE.findall(cell.shown), *re.findall(r'"image/png": "([A-Za-z0-9+/=\\n]{100,})"', cell.shown)]
            clean = [picture for picture in map(clean_picture, raw[:most]) if picture]
            found.setdefault(places[cell.id], []).extend(clean)
    return found


def clean_picture(text: str) -> str | None:
    """A base64 PNG of reasonable size, encoded anew; None for anything else."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text.replace("\\n", ""))), formats=["PNG"]) as picture:
            if picture.width * picture.height > 6_000_000:
                return None
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "PNG")
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError, MemoryError):
        return None
    return base64.b64encode(buffer.getvalue()).decode()


def plain_text(text: str, most: int = 80) -> str:
    """Text from outside, safe in a table and a terminal: printable, short, and no spreadsheet formula."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)[:most]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
