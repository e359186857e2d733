"""Run every instructor notebook as a learner would and write wall time and peak memory to data/results/timings.json.

Beside them: the same for the small version of every finding, as `predict` runs it in a notebook; what a process holds
that has only imported torch, what a JupyterLab server holds, and what a learner's files take on the disk after the whole
course.

python -m grading.timings                    as `make timings` does
python -m grading.timings 05 06 head         only these notebooks and findings; the others keep their numbers
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import nbformat
import psutil

from data.record import RESULTS, write_result
from grading.build import NOTEBOOKS, client, sources, write_instructor_notebooks
from grading.teaching.classroom import free_port
from helpers.data import DATA
from helpers.findings import FINDINGS

MIB = 2**20


def measure(notebook: nbformat.NotebookNode) -> dict:
    """Wall seconds of a notebook from kernel start to its last cell, and the most memory its kernel held."""
    runner = client(notebook, NOTEBOOKS, timeout=1800)
    peaks, done = [0], threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not done.wait(0.2):
            held = 0
            for child in me.children(recursive=True):
                try:
                    held = max(held, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            peaks.append(held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        runner.execute()
    finally:
        seconds = time.perf_counter() - start
        done.set(), watcher.join()
    return {"seconds": round(seconds, 1), "peak_mib": round(max(peaks) / MIB)}


def prediction(name: str) -> nbformat.NotebookNode:
    """A notebook that runs the small version of a finding, and nothing else."""
    lines = [
        "from helpers import findings, machine",
        "machine.cap_threads()",
        f"findings.predict({name!r}, {FINDINGS[name].choices[0]!r})",
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(lines))])


def import_torch_mib() -> int:
    """What a Python process holds that has only imported torch."""
    program = "import torch, psutil; print(psutil.Process().memory_info().rss)"
    return round(int(psutil.subprocess.check_output([sys.executable, "-c", program])) / MIB)


def server_mib() -> int:
    """What a learner's JupyterLab server holds, kernels not counted, once it answers."""
    port, token = free_port(), "measured"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
        command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **quiet) as server:
            try:
                for place in ("api/status", "lab"):
                    opened(f"http://127.0.0.1:{port}/{place}?token={token}")
                return round(psutil.Process(server.pid).memory_info().rss / MIB)
            finally:
                server.terminate()


def opened(address: str, patience: int = 120) -> bytes:
    """The page at an address, asked for until it is there."""
    for _ in range(patience):
        try:
            with urllib.request.urlopen(address, timeout=60) as page:
                return page.read()
        except OSError:
            time.sleep(1)
    raise TimeoutError(f"{address} did not answer")


def disk_mib() -> int:
    """What a learner's own files take: the course's copy, the pictures rendered once, the run of 05 with its checkpoint."""
    places = [NOTEBOOKS, DATA.parent / "helpers", RESULTS, DATA / "encoder.safetensors", DATA.parent / "runs" / "05"]
    files = [path for place in places for path in (place.rglob("*") if place.is_dir() else [place])]
    files += (DATA / "cache").glob("shapes*")
    return round(sum(path.stat().st_size for path in files if path.is_file()) / MIB)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the notebooks and small findings take.")
    parser.add_argument("names", nargs="*", help="notebooks and findings, for instance 05 head; default: all")
    names = parser.parse_args().names
    known_names = [*FINDINGS, *(path.stem[:2] for path in sources([]))]
    if unknown := [name for name in names if name[:2] not in known_names and name not in FINDINGS]:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(known_names)}.")
    known = RESULTS / "timings.json"
    earlier = json.loads(known.read_text()) if names and known.exists() else {}
    notebooks, predictions = earlier.get("notebooks", {}), earlier.get("predictions", {})
    numbers = [name for name in names if name not in FINDINGS]
    asked = [name for name in names if name in FINDINGS] if names else list(FINDINGS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COURSE_YOURS"] = folder  # the answers of this run, not yours
        if numbers or not names:
            for path in write_instructor_notebooks(Path(folder), numbers):
                notebooks[path.stem] = measure(nbformat.read(path, as_version=4))
                print(path.stem, notebooks[path.stem])
        for name in asked:
            predictions[name] = measure(prediction(name))
            print(name, predictions[name], flush=True)
    disk = earlier.get("disk_mib") or disk_mib()  # of some of the notebooks it would be less
    result = {"import_torch_mib": import_torch_mib(), "server_mib": server_mib(), "disk_mib": disk}
    result |= {"notebooks": {path.stem: notebooks[path.stem] for path in sources([]) if path.stem in notebooks}}
    result |= {"predictions": {name: predictions[name] for name in FINDINGS if name in predictions}}
    write_result("timings", "python -m grading.timings", 0, result)


if __name__ == "__main__":
    main()
