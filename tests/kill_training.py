"""Kill a training run from the command line again and again, resume it, and compare the end bit by bit: `make kills`.

A run that nothing disturbs comes first, twice. Then a run of the same line is ended by kill -9, in turn before its
first checkpoint or at any moment, when it has a checkpoint, and while one is being written; what that leaves is there
for the next one to clear away. The same line goes on with it; a run that gets to its end is compared, and the
next one begins, until all kills are done. Compared are weights, optimizer, random state and history, so also the order
of the images, the views, the learning rates and the monitor. Everything runs on the CPU.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from data.record import write_result
from helpers import checkpoints, shapes
from helpers.machine import usable_cores

ROOT = Path(__file__).parent.parent
IMAGES, BATCH = 160, 32


def training(images: Path, out: Path, epochs: int, threads: int) -> subprocess.Popen:
    """The run, begun or resumed, as a process; what it says goes to a file beside `out`."""
    line = [sys.executable, "-m", "helpers.training", "--data", f"folder:{images}", "--out", str(out)]
    line += ["--epochs", str(epochs), "--batch-size", str(BATCH), "--image-size", "32"]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    with open(said_by(out), "w") as said:
        return subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=said)


def said_by(out: Path) -> Path:
    return out.with_suffix(".log")


def finish(process: subprocess.Popen, out: Path) -> None:
    """Wait for its end; RuntimeError, with what it said, where that is not a good one."""
    if process.wait(timeout=600) != 0:
        raise RuntimeError(f"the training ended with {process.returncode}:\n{said_by(out).read_text()}")


def kill(process: subprocess.Popen, out: Path, seconds: float, kind: int) -> bool:
    """End the process with kill -9 after this time; False where it was done before.

    Args:
        kind: 0 then at once, 1 as soon as there is a checkpoint, 2 at the next write of one.
    """
    end, before = time.monotonic() + seconds, set(unfinished(out))
    while process.poll() is None:
        ready = (True, (out / "checkpoint.pt").exists(), bool(set(unfinished(out)) - before))
        if time.monotonic() > end and ready[kind]:
            process.kill(), process.wait()
            return True
        time.sleep(0.0005)
    finish(process, out)
    return False


def unfinished(out: Path) -> list[Path]:
    return list(out.glob("checkpoint.pt.*.part"))


def same(one: object, other: object) -> bool:
    """Equal to the last bit, in dictionaries and lists too."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def write_images(folder: Path) -> None:
    """Pictures of the built-in set, as files in a folder for each class."""
    images, labels, _ = shapes.render(IMAGES, seed=0)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / str(label) / f"{number:04}.png")


def disturb(kills: int, folder: Path, epochs: int = 60, twice: bool = True, threads: int = 1, seed: int = 0) -> dict:
    """Kill runs so often and compare each with the undisturbed one.

    Args:
        kills: how many, at least 1.
        folder: an empty one, for pictures and runs.
        epochs: of a run.
        twice: run the undisturbed one again, to see that it is the same.
        threads: of every run.
        seed: of the moments.

    Returns:
        counts, and "identical": whether every killed run ended as the undisturbed one. "cleared" counts the unfinished
        files that killed runs left and later ones took away, "left" those that were there at the end.
    """
    images, whole, out = folder / "images", folder / "whole", folder / "killed"
    write_images(images)
    start = time.monotonic()
    finish(training(images, whole, epochs, threads), whole)
    life = time.monotonic() - start
    imports = life - json.loads((whole / "result.json").read_text())["seconds"]
    wanted = checkpoints.load_checkpoint(whole / "checkpoint.pt")
    result = {"kills": 0, "while_writing": 0, "before_the_first_checkpoint": 0, "resumed": 0, "runs": 0}
    result |= {"epochs": epochs, "steps": len(wanted["history"]["loss"]), "threads": threads}
    result |= {"cleared": 0, "left": 0}
    if twice:
        finish(training(images, folder / "again", epochs, threads), folder / "again")
        result["twice_the_same"] = same(wanted, checkpoints.load_checkpoint(folder / "again" / "checkpoint.pt"))
    draw, identical, under_way = random.Random(seed), [], False
    with tqdm(total=kills, unit="kill") as bar:
        while result["kills"] < kills or under_way:
            before = set(unfinished(out))
            process, kind = training(images, out, epochs, threads), result["kills"] % 3
            under_way = True
            begun = (out / "checkpoint.pt").exists()
            result["resumed"] += begun
            earliest, latest = (imports, (imports + life) / 2) if kind else (0, life if begun else imports)
            moment = draw.uniform(earliest, latest)
            if result["kills"] == kills:
                finish(process, out)
            elif kill(process, out, moment, kind):
                result["kills"] += 1
                result["while_writing"] += bool(set(unfinished(out)) - before)
                result["cleared"] += len(before - set(unfinished(out)))
                result["before_the_first_checkpoint"] += not (out / "checkpoint.pt").exists()
                bar.update()
                continue
            result["cleared"] += len(before - set(unfinished(out)))
            result["left"] += len(unfinished(out))
            identical.append(same(wanted, checkpoints.load_checkpoint(out / "checkpoint.pt")))
            result["runs"] += 1
            shutil.rmtree(out)
            under_way = False
    return result | {"identical": all(identical)}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where a run did not end as the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_training", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="(default: 20)")
    kills = parser.parse_args(arguments).kills
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = disturb(kills, Path(folder), threads=usable_cores())
    result["seconds"] = round(time.monotonic() - start)
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result.items()))
    write_result("kills", f"python -m tests.kill_training --kills {kills}", 0, result)
    return int(not (result["identical"] and result["twice_the_same"] and not result["left"]))


if __name__ == "__main__":
    sys.exit(main())
