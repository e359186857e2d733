"""Checkpoints: a training run, or a trained model, to a file and back, whole or not at all. Files only; no training.

`python -m helpers.checkpoints runs/first/checkpoint.pt model.safetensors` takes the model out of a run, to hand it on.
"""

import errno
import io
import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from helpers.encoder import build_encoder
from helpers.files import written_whole
from helpers.projection_head import SimCLR, head_for

FORMAT = "two views, checkpoint 1"
BUILT_FROM = {"arch", "small_images", "hidden_dim", "out_dim"}  # what a recipe has to say for its model to be built


def save_checkpoint(path: str | Path, state: Mapping) -> None:
    """Write a dictionary of tensors, numbers, texts, lists and dictionaries to a file, whole or not at all.

    A file already there is replaced in one instant; when writing fails it stays as it was. Folders are made.

    Args:
        state: what to keep, for instance {"model": model.state_dict(), "optimizer": optimizer.state_dict(), ...}.

    Raises:
        OSError: the disk is full, or the file may not be written.
        TypeError: something else is in it, which load_checkpoint would refuse.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **plain(state, "state")}, buffer)
    write_whole(Path(path), buffer.getbuffer())


def plain(value, where: str):
    """The value, with NumPy's numbers as Python's; TypeError for what is neither tensor, number, text, list nor dict."""
    if isinstance(value, Mapping):
        return {key: plain(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        entries = (plain(entry, f"{where}[{place}]") for place, entry in enumerate(value))
        return list(entries) if isinstance(value, list) else tuple(entries)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str, bytes):
        return value
    mend = " Take asdict(...) of it." if is_dataclass(value) else ""
    raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint does not keep.{mend}")


def save_model(path: str | Path, model: SimCLR, recipe: Mapping) -> None:
    """Write a trained model to hand on: safetensors, weights as float16, the recipe with them as text.

    Args:
        path: ends in .safetensors; load_model reads it, and so does any library that knows the format.
        recipe: the fields of training.Recipe, as a dictionary.

    Raises:
        OSError: as for save_checkpoint.
    """
    weights = {name: value.contiguous() for name, value in halved(model).items()}
    write_whole(Path(path), safetensors.torch.save(weights, {"recipe": json.dumps(recipe)}))


def halved(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model in half the room: its floating-point numbers as float16, the largest of it where they end."""
    most = torch.finfo(torch.float16).max  # 65504
    state = model.state_dict().items()
    return {name: value.clamp(-most, most).half() if value.is_floating_point() else value for name, value in state}


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file in one instant, as save_checkpoint promises."""
    try:
        with written_whole(path) as file:
            file.write(content)
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = f"the disk is full ({len(content) / 1e6:.0f} MB are needed)" if full else problem.strerror
        kept = f" The earlier {path.name} is intact." if path.is_file() else ""
        raise OSError(f"{path} could not be written: {reason}.{kept}") from None


def load_checkpoint(path: str | Path) -> dict:
    """Read what save_checkpoint wrote, tensors on the CPU; no code in the file is run.

    Raises:
        ValueError: the file is missing, cut short, or not a checkpoint of this course.
        OSError: the file is there and cannot be opened.
    """
    path = Path(path)
    if (path / "checkpoint.pt").is_file():
        raise ValueError(f"{path} is a folder; its checkpoint is {path / 'checkpoint.pt'}.")
    if not path.is_file():
        raise ValueError(f"There is no checkpoint {path}; `python -m helpers.training --out {path.parent}` makes one.")
    path.open("rb").close()  # what may not be read is another fault than what cannot be understood
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # the zip reader and the unpickler have a dozen errors between them
        raise ValueError(
            f"{path} cannot be read as a checkpoint: cut short, or another kind of file. Name another; what is left of "
            "a run that you want to start again can be deleted."
        ) from None
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise ValueError(f"{path} holds PyTorch data, but is not a checkpoint of this course. Choose another file.")
    return state


def fingerprint(images: Tensor) -> list[int]:
    """Enough to notice other images, or another order of them: their shape, and a checksum of every byte."""
    checksum = 0
    for some in images.split(4096):
        checksum = zlib.crc32(some.cpu().contiguous().numpy(), checksum)
    return [*images.shape, checksum]


def read_model(path: Path) -> dict:
    """{"model": weights, "recipe": its fields} of what save_model wrote; ValueError as for load_checkpoint."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}; save_model writes one.")
    try:
        with safetensors.safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            recipe = json.loads(file.metadata()["recipe"])
        return {"model": weights, "recipe": {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.items()}}
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError, AttributeError):
        raise ValueError(
            f"{path} cannot be read as a model of this course: cut short, or another kind of file."
        ) from None


def load_model(path: str | Path) -> tuple[SimCLR, dict]:
    """The trained model of a checkpoint, or of a .safetensors file, and its recipe.

    Weights of a model built from your own parts fit too, also where your layers have other names, as long as
    they come in the same order and shapes.

    Returns:
        model: SimCLR, in eval mode, on the CPU.
        recipe: the fields of training.Recipe, as a dictionary.

    Raises:
        ValueError: the file cannot be used, as for load_checkpoint, or its weights are of another architecture.
    """
    state = read_model(Path(path)) if Path(path).suffix.lower() == ".safetensors" else load_checkpoint(path)
    if not {"model", "recipe"} <= state.keys():
        raise ValueError(f"{path} holds {', '.join(sorted(state)) or 'nothing'}; a model needs 'model' and 'recipe'.")
    recipe = state["recipe"]
    if missing := BUILT_FROM - recipe.keys():
        raise ValueError(
            f"the recipe in {path} does not say {', '.join(sorted(missing))}: no model can be built from it."
        )
    group_norm, head_norm = recipe.get("group_norm", False), recipe.get("head_norm", False)  # not in older files
    encoder, feature_dim = build_encoder(recipe["arch"], recipe["small_images"], group_norm)
    head = head_for(feature_dim, recipe["hidden_dim"], recipe["out_dim"], head_norm)
    model = SimCLR(encoder, head)
    try:
        load_weights(model, state["model"])
    except ValueError as problem:
        raise ValueError(f"{path} does not fit {recipe['arch']} with its projection head: {problem}") from None
    return model.eval(), recipe


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model, by name, or, where the names differ, in order within the encoder and the head.

    Raises:
        ValueError: another number of tensors, or other shapes.
    """
    own = model.state_dict()
    if own.keys() != weights.keys():
        theirs = sorted(weights, key=lambda name: not name.startswith("encoder."))  # the encoder first; order kept
        ours = sorted(own, key=lambda name: not name.startswith("encoder."))
        if len(theirs) != len(ours):
            raise ValueError(f"{len(theirs)} tensors are stored, the model has {len(ours)}.")
        weights = {ours[i]: weights[theirs[i]] for i in range(len(ours))}
    for name, values in own.items():
        if weights[name].shape != values.shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)} there and {tuple(values.shape)} in the model.")
    model.load_state_dict(weights)


def main(arguments: list[str]) -> int:
    """From a checkpoint to a .safetensors file; the exit code."""
    if len(arguments) != 2 or not arguments[1].lower().endswith(".safetensors"):
        print("Give two files: python -m helpers.checkpoints CHECKPOINT MODEL.safetensors", file=sys.stderr)
        return 1
    try:
        save_model(arguments[1], *load_model(arguments[0]))
    except (ValueError, OSError) as problem:
        print(f"helpers.checkpoints: {problem}", file=sys.stderr)
        return 1
    print(f"Written: {arguments[1]}, {Path(arguments[1]).stat().st_size / 1e6:.1f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
