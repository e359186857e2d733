"""`python -m grading.bench.profile`: the share of a CPU training step inside the encoder's own operators.

The encoder's share is the time from the call of its forward to its end, and from the arrival of the gradient of h to
the end of the backward pass; views, head, loss, the optimizer and the loop are the rest. Beside it, by torch's
profiler, the operators that take the most time. Written to data/results/profile.json.
"""

import time

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.profiler import ProfilerActivity, profile

from data.record import write_result
from grading.bench.race import rounded
from grading.bench.views import pictures
from helpers import training
from helpers.machine import cap_threads

STEPS = 12


def encoder_seconds(encoder: nn.Module, train) -> tuple[float, float]:
    """(seconds inside the encoder, forward and backward; seconds of all steps but the first) of a training run.

    Args:
        train: called as train(on_step), on_step at the end of every step.
    """
    marks, inside, whole = {}, [], []

    def enter(module: nn.Module, inputs: tuple) -> None:
        marks["enter"] = time.perf_counter()

    def leave(module: nn.Module, inputs: tuple, h: torch.Tensor) -> None:
        marks["forward"] = time.perf_counter() - marks["enter"]
        h.register_hook(lambda slope: marks.update(arrival=time.perf_counter()))

    def backward_done(*_) -> None:
        if "arrival" in marks:  # the first optimizer of the step
            inside.append(marks["forward"] + time.perf_counter() - marks.pop("arrival"))

    def on_step(step: int, total_steps: int, loss: float) -> None:
        whole.append(time.perf_counter())

    hooks = [encoder.register_forward_pre_hook(enter), encoder.register_forward_hook(leave)]
    hooks.append(register_optimizer_step_pre_hook(backward_done))
    try:
        train(on_step)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(inside[1:]), whole[-1] - whole[0]


def main() -> None:
    threads = cap_threads()
    recipe = training.recipe_for("cifar10", 32, epochs=1)
    model, two_views = training.build_model(recipe), training.views_of(recipe)
    images = pictures(STEPS * recipe.batch_size)

    def train(on_step=None) -> None:
        training.pretrain(model, images, two_views, recipe, on_step=on_step)

    inside, whole = encoder_seconds(model.encoder, train)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        train()
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    operators = {row.key: rounded(row.self_cpu_time_total / total) for row in rows[:15]}
    print(f"{inside / whole:.1%} of a step's time is inside the encoder; of all operators' time:")
    for name, share in operators.items():
        print(f"{share:8.1%}  {name}")
    numbers = {"encoder_share": rounded(inside / whole), "seconds_a_step": rounded(whole / (STEPS - 1))}
    numbers |= {"threads": threads, "arch": recipe.arch, "batch_size": recipe.batch_size, "operators": operators}
    write_result("profile", "python -m grading.bench.profile", recipe.seed, numbers)


if __name__ == "__main__":
    main()
