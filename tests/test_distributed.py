"""Several processes make the run that one process makes: the same loss, gradient, statistics and files."""

import datetime
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from helpers import checkpoints, data, distributed, losses, monitors, resuming, training

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="needs torch with gloo")
RECIPE = training.Recipe(small_images=True, view_size=8, batch_size=6, hidden_dim=16, out_dim=8)
KINDS = ("resnet", "plain", "blocks", "decoupled", "photographs")
RATE = 1e-3  # of the runs by torchrun; a larger one makes more of bfloat16's rounding from step to step


def batch(views: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(6, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(views))


def model(kind: str) -> nn.Module:
    """In float64. "resnet" normalises its batches, "photographs" its head's too; the others have no layer that does."""
    built = training.build_model(replace(RECIPE, head_norm=kind == "photographs")).double()
    if kind in ("plain", "blocks", "decoupled"):
        torch.manual_seed(2)
        built.encoder = nn.Sequential(nn.Flatten(), nn.Linear(192, 128, dtype=torch.float64), nn.ReLU())
    return built


def step(kind: str) -> dict:
    """Loss, gradients and buffers of one step on this process's share of the batch; two kinds in blocks of four anchors."""
    mine, views, many = model(kind), 4 if kind == "photographs" else 2, distributed.MANY
    still = torch.optim.SGD(mine.parameters(), lr=0.0)
    try:
        distributed.MANY = 4 if kind in ("blocks", "decoupled") else many
        own, decoupled = distributed.own_rows(*batch(views)), kind in ("decoupled", "photographs")
        loss = training.step_on_views(distributed.share(mine), still, own, 0.2, decoupled)
    finally:
        distributed.MANY = many
    gradients = {name: weight.grad for name, weight in mine.named_parameters()}
    return {"loss": torch.tensor(loss), "gradients": gradients, "buffers": dict(mine.named_buffers())}


def gathered() -> dict:
    """Rows of all processes, and the gradient that one process's function of them sends to the others."""
    own = torch.full((2, 3), float(distributed.rank() + 1), requires_grad=True)
    rows = distributed.gather(own)
    (rows.sum(dim=1) @ torch.arange(1.0, 1 + len(rows)) * 10 ** distributed.rank()).backward()
    return {"rows": rows.detach(), "slope": own.grad[:, 0], "number": distributed.agreed(1 / 3 + distributed.rank())}


def timed() -> dict:
    """How many steps a process times, and how many epochs it then finds, where each would stop at another moment."""
    drawn, views, images = [], training.views_of(RECIPE), torch.zeros(12, 3, 8, 8, dtype=torch.uint8)
    stepped, step_on_views = [], training.step_on_views

    def counted(images, generator):
        drawn.append(len(images))
        return views(images, generator)

    def watched(model, *rest):
        stepped.append(isinstance(model, nn.parallel.DistributedDataParallel))
        return step_on_views(model, *rest)

    seconds = (20, 200)[distributed.rank()]
    training.step_on_views = watched
    epochs = training.epochs_in(seconds, training.build_model(RECIPE), images, counted, RECIPE)
    training.step_on_views = step_on_views
    return {"steps": len(drawn), "epochs": epochs, "averaged": all(stepped)}


def ordered(folder: str) -> bool:
    """Does what process 0 does alone, and slowly, lie there when another process begins?"""
    with distributed.first_alone():
        found = Path(folder, "fetched").exists()
        if distributed.rank() == 0:
            time.sleep(0.2)
            Path(folder, "fetched").touch()
    return found


def process(rank: int, count: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = {"init_method": f"file://{folder}/meeting", "timeout": datetime.timedelta(seconds=60)}
    dist.init_process_group("gloo", rank=rank, world_size=count, **meeting)
    result = {kind: step(kind) for kind in KINDS} | {"gathered": gathered(), "timed": timed()}
    result["ordered"] = ordered(folder)
    [own] = distributed.own_rows(torch.zeros(2 * count, 3))
    result["kept"] = own.untyped_storage().nbytes()
    try:
        distributed.own_rows(torch.zeros(count + 1, 3))
    except ValueError as problem:
        result["uneven"] = str(problem)
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(process, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_half_the_batch_have_the_loss_and_gradient_of_one_with_all(two, kind):
    alone = step(kind)
    for seen in two:
        assert torch.allclose(seen[kind]["loss"], alone["loss"], rtol=1e-6, atol=0)
        for name, slope in alone["gradients"].items():
            assert torch.allclose(seen[kind]["gradients"][name], slope, rtol=1e-6, atol=1e-9), name


@pytest.mark.parametrize("kind", ["resnet", "photographs"])
def test_batch_norm_counts_the_images_of_all_processes(two, kind):
    for name, value in step(kind)["buffers"].items():
        for seen in two:
            assert torch.allclose(seen[kind]["buffers"][name], value, rtol=1e-6), name


def test_a_gradient_comes_back_through_the_gathered_rows_from_every_process(two):
    assert two[0]["gathered"]["rows"][:, 0].tolist() == [1, 1, 2, 2]
    assert [seen["gathered"]["slope"].tolist() for seen in two] == [[11, 22], [33, 44]]  # 1 · (1 + 10), ...


def test_processes_agree_on_the_very_number_of_the_first(two):
    assert [seen["gathered"]["number"] for seen in two] == [1 / 3, 1 / 3]


def test_processes_time_the_same_steps_and_find_the_same_epochs_whatever_each_has_measured(two):
    assert two[0]["timed"] == two[1]["timed"] and two[0]["timed"]["steps"] >= 10


def test_what_the_first_process_does_alone_is_done_when_the_others_begin(two):
    assert [seen["ordered"] for seen in two] == [False, True]


def test_a_batch_that_cannot_be_shared_evenly_is_refused_with_the_numbers(two):
    assert two[0]["uneven"] == "batch_size is 3, which 2 processes cannot share evenly: take a multiple of 2."


def test_a_process_keeps_its_own_rows_of_a_batch_alone(two):
    assert [seen["kept"] for seen in two] == [2 * 3 * 4] * 2  # bytes


def test_the_steps_that_are_timed_average_their_gradients_as_those_of_the_run_do(two):
    assert [seen["timed"]["averaged"] for seen in two] == [True, True]


def test_one_process_takes_a_large_decoupled_batch_in_blocks_to_the_same_loss_and_gradient(monkeypatch):
    drawn = torch.randn(2, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    z_a, z_b = (half.requires_grad_() for half in drawn.unbind())
    wanted = losses.decoupled(z_a, z_b, 0.2)
    monkeypatch.setattr(distributed, "MANY", 3)  # rows of a block, too
    monkeypatch.setattr(losses, "decoupled", None)  # it makes all similarities at once
    loss = distributed.nt_xent(z_a, z_b, 0.2, decoupled=True)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(value, (z_a, z_b)) for value in (loss, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


def test_one_process_is_as_if_nothing_were_distributed():
    z_a, z_b = torch.randn(2, 5, 4)
    alone = model("resnet")
    assert distributed.share(alone) is alone and (distributed.processes(), distributed.rank()) == (1, 0)
    assert distributed.nt_xent(z_a, z_b, 0.2) == losses.nt_xent(z_a, z_b, 0.2)
    assert distributed.nt_xent(z_a, z_b, 0.2, decoupled=True) == losses.decoupled(z_a, z_b, 0.2)
    assert all(torch.equal(own, x) for own, x in zip(distributed.own_rows(z_a, z_b), (z_a, z_b), strict=True))


def test_one_process_alone_takes_the_loss_of_a_large_batch_in_blocks():
    generator = torch.Generator().manual_seed(3)
    for n, temperature, in_blocks in ((512, 0.1, True), (511, 0.1, False), (512, 0.002, False)):
        z_a, z_b = torch.randn(2, n, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        loss = distributed.nt_xent(z_a, z_b, temperature)
        torch.testing.assert_close(loss, losses.nt_xent(z_a, z_b, temperature), rtol=1e-10, atol=1e-10)
        steps, seen = [loss.grad_fn], set()
        while steps:
            step = steps.pop()
            seen.add(type(step).__name__)
            steps += [before for before, _ in step.next_functions if before is not None]
        assert ("LogSumExpOfOthersBackward" in seen) == in_blocks


# torchrun


def torchrun(*words) -> subprocess.CompletedProcess:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0", "-m", "helpers.training", *map(str, words)]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # two processes would need two GPUs
    return subprocess.run(launch, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def one(folder, tmp_path_factory) -> Path:
    """The finished run of a single process."""
    out = tmp_path_factory.mktemp("one")
    assert training.main([*words(folder), "--out", str(out)]) == 0
    return out


def words(folder: str) -> list[str]:
    return ["--data", folder, "--batch-size", "8", "--epochs", "2", "--arch", "resnet8", "--lr", str(RATE)]


def agrees(run: Path, other: Path) -> bool:
    """bfloat16 rounds the sums over half a batch differently, so the losses are near, not equal."""
    mine, theirs = (json.loads((path / "result.json").read_text())["history"] for path in (run, other))
    return mine["loss"] == pytest.approx(theirs["loss"], rel=0.02) and mine["lr"] == theirs["lr"]


def test_torchrun_trains_from_the_command_line_as_one_process_does(folder, one, tmp_path):
    done = torchrun(*words(folder), "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written: ") == 1 and agrees(tmp_path / "two", one)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert result["command"].startswith("torchrun --nproc-per-node 2 -m helpers.training --data ")
    two, alone = (checkpoints.load_checkpoint(run / "checkpoint.pt") for run in (tmp_path / "two", one))
    assert two["model"].keys() == alone["model"].keys() and torch.equal(two["generator"], alone["generator"])
    assert [epoch.keys() for epoch in two["history"]["epochs"]] == [{"epoch", "knn"}] * 2


def test_two_processes_go_on_with_what_one_began(folder, one, tmp_path):
    def stop(step, total_steps, loss):
        if step == 2:  # the first of the second epoch
            raise KeyboardInterrupt

    images = data.load_images(folder, "pretrain")
    recipe = training.recipe_for(folder, images.images.shape[-1], epochs=2, batch_size=8, arch="resnet8", base_lr=RATE)
    begun, views = training.build_model(recipe), training.views_of(recipe)
    with pytest.raises(resuming.Interrupted, match="keeps 1 of 2 epochs"):
        training.pretrain(
            begun, images.images, views, recipe, monitors.knn_monitor(images), tmp_path / "checkpoint.pt", stop
        )
    done = torchrun(*words(folder), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert agrees(tmp_path, one) and json.loads((tmp_path / "result.json").read_text())["resumed_after_epoch"] == 1
