"""Train the small encoder that notebooks 00 and 06 start with: `python -m data.make_encoder`, from the root.

Writes data/encoder.safetensors (the weights as float16; helpers.checkpoints.load_model reads it) and
data/results/encoder.json (its accuracies on test, beside their controls, and the time it took).
"""

import time
from dataclasses import asdict

import torch

from data.record import write_result
from helpers import checkpoints, evaluation, machine, training
from helpers.data import DATA, load_images


def main() -> None:
    machine.cap_threads()
    recipe = training.Recipe()
    train, test = load_images("shapes", "train"), load_images("shapes", "test")
    model, start = training.build_model(recipe), time.perf_counter()
    history = training.pretrain(model, train.images, training.views_of(recipe), recipe)
    seconds = time.perf_counter() - start
    checkpoints.save_model(DATA / "encoder.safetensors", model, asdict(recipe))

    model, _ = checkpoints.load_model(DATA / "encoder.safetensors")  # measure what is shipped, rounding included
    rows = evaluation.table(model, asdict(recipe), train, test, epochs=None)
    numbers = {
        "recipe": asdict(recipe),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "final_loss": history["loss"][-1],
        "test_accuracy": {name: {"knn": knn, "white": white, "probe": probe} for name, knn, white, probe in rows},
    }
    write_result("encoder", "python -m data.make_encoder", recipe.seed, numbers)


if __name__ == "__main__":
    main()
