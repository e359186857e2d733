"""A whole training step, views included: ours, and lightly's with the same encoder, head, pictures and batch.

Ours is `training.pretrain` as it is: batched views, bfloat16 where the hardware has it, channels last. Theirs is the
loop of lightly's documentation, its transform on one PIL image after the other, its loss, float32, SGD.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image

from helpers import training

OURS, LIGHTLY = "Two Views", "lightly"
BATCH, STEPS = 128, 4


class Pictures(torch.utils.data.Dataset):
    """Two views of one image at a time, by lightly's transform."""

    def __init__(self, images: Tensor, transform: Callable):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(to_pil_image(self.images[index]))


def recipe() -> training.Recipe:
    """The recipe for photographs, with two views and NT-Xent as lightly has them."""
    return training.recipe_for("cifar10", 32, epochs=1, views=2, decoupled=False, batch_size=BATCH)


def runners(images: Tensor) -> dict[str, Callable[[], object]]:
    """Each trains for STEPS steps on batches of BATCH; images are (STEPS · BATCH, 3, 32, 32) uint8."""
    ours = recipe()
    model, two_views = training.build_model(ours), training.views_of(ours)
    return {
        OURS: lambda: training.pretrain(model, images, two_views, ours),
        LIGHTLY: lightly_steps(copy.deepcopy(model), images, ours.view_size),
    }


def lightly_steps(model: nn.Module, images: Tensor, size: int) -> Callable[[], None]:
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0)
    loader = torch.utils.data.DataLoader(Pictures(images, transform), batch_size=BATCH, shuffle=True, drop_last=True)
    criterion, optimizer = NTXentLoss(), torch.optim.SGD(model.parameters(), lr=0.06)

    def train() -> None:
        model.train()
        for x_a, x_b in loader:
            loss = criterion(model(x_a)[1], model(x_b)[1])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return train
