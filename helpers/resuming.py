"""How a training run is stopped and goes on: what its checkpoint keeps, and which checkpoint a run may go on from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from helpers import checkpoints
from helpers.recipe import Recipe


class Interrupted(KeyboardInterrupt):
    """Training was stopped by hand. Its text says what is kept and how to go on; shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def save(checkpoint, model, optimizer, generator, mark, recipe, history) -> None:
    """Write all that the next epoch depends on, also what layers like dropout draw from. mark: the images' fingerprint."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state()}
    state |= {"history": history, "recipe": asdict(recipe), "images": mark, "dropout": torch.get_rng_state()}
    checkpoints.save_checkpoint(checkpoint, state)


def resume(checkpoint, model, optimizer, generator, mark, recipe) -> dict:
    """Put model, optimizer and generator where the checkpoint left them, and return its history."""
    state = checkpoints.load_checkpoint(checkpoint)
    if not {"model", "optimizer", "generator", "history", "recipe", "images"} <= state.keys():
        raise ValueError(f"{checkpoint} holds a model but not a run to go on with. Choose another file.")
    now, then = asdict(recipe), asdict(Recipe()) | state["recipe"]  # settings younger than the run: the defaults
    changed = [f"{name} {then[name]!r} (now {value!r})" for name, value in now.items() if then[name] != value]
    afresh = "Delete it to start afresh, or choose another file."
    if changed:
        raise ValueError(f"{checkpoint} comes from a run with another {', another '.join(changed)}. {afresh}")
    if state["images"] != mark:
        raise ValueError(f"{checkpoint} comes from a run on other images. {afresh}")
    own, kept = ({name: value.shape for name, value in some.items()} for some in (model.state_dict(), state["model"]))
    try:
        if own != kept:  # load_state_dict would notice, with half of the weights copied
            raise ValueError
        optimizer.load_state_dict(state["optimizer"])
        model.load_state_dict(state["model"])
    except (RuntimeError, ValueError):
        raise ValueError(f"{checkpoint} holds the weights of another architecture than this model. {afresh}") from None
    generator.set_state(state["generator"])
    if "dropout" in state:  # runs begun before it was kept have none
        torch.set_rng_state(state["dropout"])
    return state["history"]


@contextmanager
def stoppable(checkpoint: str | Path | None, recipe: Recipe) -> Iterator[None]:
    """Around a training loop of any kind: Ctrl-C and "Interrupt kernel" end in one line that says what is kept."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(how_to_go_on(checkpoint, recipe)) from stop


def how_to_go_on(checkpoint: str | Path | None, recipe: Recipe) -> str:
    """One line after Ctrl-C."""
    if checkpoint is None or not Path(checkpoint).exists():
        return "Stopped. No epoch was finished and kept, so the next run starts from the beginning."
    return f"Stopped. {checkpoint} keeps {epochs_done(checkpoint)} of {recipe.epochs:g} epochs: run the same again and it goes on from there."


def history_so_far(checkpoint: str | Path) -> dict | None:
    """The history that a run's checkpoint keeps; None where there is none yet, or a model alone."""
    return checkpoints.load_checkpoint(checkpoint).get("history") if Path(checkpoint).exists() else None


def epochs_done(checkpoint: str | Path) -> int:
    """Whole epochs that a run's checkpoint keeps; 0 where there is none yet."""
    return len((history_so_far(checkpoint) or {"epochs": []})["epochs"])
