"""A finished run for TensorBoard: its curves, and the latent space with thumbnails and labels in its projector.

Written to a folder; `tensorboard --logdir FOLDER` shows it. Nothing is trained or measured here.
"""

from pathlib import Path

from torch import Tensor

from helpers.data import ImageSet


def write_run(folder: str | Path, history: dict, images: ImageSet, moments: dict[int, Tensor]) -> Path:
    """Write a run's history and the representation of some images at some moments.

    Args:
        folder: of its own for each run.
        history: as pretrain returns it.
        images: M images, with labels where there are any; a few hundred are plenty.
        moments: {epoch: h of the images then, (M, D)}.
    """
    from torch.utils.tensorboard import SummaryWriter  # here, for its import alone takes seconds

    names = [images.classes[label] for label in images.labels] if images.labels is not None else None
    with SummaryWriter(str(folder)) as writer:
        for name in ("loss", "lr"):
            for step, value in enumerate(history[name], start=1):
                writer.add_scalar(name, value, step)
        for entry in history["epochs"]:
            for name in entry.keys() - {"epoch"}:
                writer.add_scalar(name, entry[name], entry["epoch"])
        for epoch, h in moments.items():
            writer.add_embedding(h, metadata=names, label_img=images.images / 255, global_step=epoch, tag="h")
    return Path(folder)
