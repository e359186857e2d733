"""Write a results file: the numbers, and with them everything needed to get them again."""

import datetime
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from helpers.files import written_whole

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, command: str, seed: int | list[int], numbers: dict) -> Path:
    """Write data/results/NAME.json: command, seed, versions, machine, date and commit, then the numbers."""
    path = RESULTS / f"{name}.json"
    write_json(path, {"command": command, "seed": seed} | stamp() | numbers)
    print(f"wrote {path}", file=sys.stderr)
    return path


def stamp() -> dict:
    """Versions, machine, date and commit of what is measured now."""
    import numpy
    import torch

    from helpers.machine import has_bfloat16, usable_cores, versions

    machine = {
        "processor": processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": has_bfloat16(torch.device("cpu")),
        "cores": usable_cores(),
        "system": platform.system(),
        "gpu": gpu(torch),
    }
    known = versions() | {"numpy": numpy.__version__}
    return {"versions": known, "machine": machine, "date": datetime.date.today().isoformat(), "commit": commit()}


def write_json(path: Path, content: dict) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def commit() -> str | None:
    """The commit that the code is of, with a + where it was changed since; None outside a repository."""
    ask = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def earlier_runs(path: Path, recipe: dict, pictures: dict, without_it: Collection[str] = ()) -> list[dict]:
    """The runs of this machine, with as many threads, that a results file holds, to go on from.

    Where it was made with another recipe, those jobs alone that the recipe has no part in.

    Raises:
        ValueError: it holds runs on other pictures, by their numbers.
    """
    import torch

    if not path.exists():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    runs = result["runs"]
    if runs and result["pictures"] != pictures:
        raise ValueError(
            f"{path} holds runs on other pictures ({result['pictures']}, now {pictures}): move that file away first."
        )
    if result["recipe"] != json.loads(json.dumps(recipe)):
        runs = [run for run in runs if run.get("job") in without_it]
        print(f"{path.name} was made with another recipe: what that made is measured anew.", file=sys.stderr)
    here, threads = json.loads(json.dumps(stamp()["machine"])), torch.get_num_threads()
    kept = [run for run in runs if run.get("measured", {}).get("machine") == here]
    kept = [run for run in kept if run.get("threads", threads) == threads]
    if others := len(runs) - len(kept):
        print(f"{path.name}: {others} runs of another machine or other threads are measured anew", file=sys.stderr)
    return kept


def own_name(data: str) -> str:
    """What data is called: "shapes", or the last part of "folder:PATH"."""
    return data.rstrip("/").split("/")[-1].split(":")[-1]


def data_option(data: str) -> str:
    """How a command names the data; of a folder its own name, without where it lies on this machine."""
    place = "folder:" if data.startswith("folder:") else ""
    return "" if data == "shapes" else f" --data {shlex.quote(place + own_name(data))}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def gpu(torch) -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
