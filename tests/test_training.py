"""Pretraining: the schedule, a step, the loop, stopping and going on, the machine, and the command line."""

import copy
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path

import pytest
import torch

from grading.sandbox import asks
from helpers import (
    augmentation,
    checkpoints,
    data,
    losses,
    machine,
    monitors,
    policies,
    resuming,
    shapes,
    training,
)
from helpers.checks import training as checks
from helpers.files import HOST
from helpers.recipe import settings_in

ROOT = Path(__file__).parent.parent
RECIPE = training.Recipe(small_images=True, view_size=8, epochs=3, batch_size=8, hidden_dim=16, out_dim=8)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (27, 3, 12, 12), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def pretrain(images, recipe=RECIPE, two_views=None, **more):
    model = training.build_model(recipe)
    return model, training.pretrain(model, images, two_views or training.views_of(recipe), recipe, **more)


def same_weights(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


# warmup_cosine, train_step


def test_the_schedule_climbs_in_a_line_stands_at_its_peak_and_falls_to_zero():
    rates = [training.warmup_cosine(step, 30, 5, 0.2) for step in range(31)]
    assert rates[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert rates[5] == 0.2 and rates[30] == pytest.approx(0)
    assert all(later <= earlier for earlier, later in zip(rates[5:], rates[6:], strict=False))


def test_the_middle_of_the_cosine_is_half_the_peak():
    assert training.warmup_cosine(15, 25, 5, 0.2) == pytest.approx(0.1)


def test_without_warm_up_the_schedule_starts_at_its_peak():
    assert training.warmup_cosine(0, 10, 0, 0.3) == 0.3


def test_a_step_returns_the_loss_it_started_from_and_lowers_it(images):
    model = training.build_model(RECIPE)
    x_a, x_b = training.views_of(RECIPE)(images, torch.Generator().manual_seed(0))
    z_a, z_b = model(torch.cat([x_a, x_b]))[1].chunk(2)
    start = losses.nt_xent(z_a, z_b, 0.5).item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = training.train_step(model, optimizer, x_a, x_b, 0.5)
    assert first == pytest.approx(start, abs=1e-5)
    assert training.train_step(model, optimizer, x_a, x_b, 0.5) < first


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_loss_of_more_views_is_the_mean_over_all_pairs_of_them(images, decoupled):
    model = training.build_model(RECIPE)
    views = training.views_of(replace(RECIPE, views=4))(images, torch.Generator().manual_seed(0))
    z = model(torch.cat(views))[1].split(len(images))
    loss = losses.decoupled if decoupled else losses.nt_xent_loop
    pairs = [loss(z[i], z[j], 0.5).item() for i in range(4) for j in range(i)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert training.step_on_views(model, optimizer, views, 0.5, decoupled) == pytest.approx(sum(pairs) / 6, abs=1e-5)


def test_a_recipe_says_which_loss_its_run_lowers(images):
    first = {decoupled: pretrain(images, replace(RECIPE, decoupled=decoupled))[1]["loss"][0] for decoupled in (0, 1)}
    assert first[True] < first[False]  # the positive is missing in the denominator


def test_a_step_wakes_a_model_that_slept(images):
    model = training.build_model(RECIPE).eval()
    x_a, x_b = training.views_of(RECIPE)(images, torch.Generator().manual_seed(0))
    training.train_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x_a, x_b, 0.5)
    assert all(module.training for module in model.modules())


# pretrain


def test_a_run_records_every_step_and_every_epoch(images):
    told = []
    _, history = pretrain(images, monitor=lambda model: {"knn": 0.25}, on_step=lambda *values: told.append(values))
    assert [len(history[name]) for name in ("loss", "lr", "epochs")] == [9, 9, 3]
    assert history["epochs"] == [{"epoch": epoch, "knn": 0.25} for epoch in (1, 2, 3)]
    assert told == [(step, 9, loss) for step, loss in enumerate(history["loss"])]


def test_every_epoch_of_a_run_has_a_step_however_short_the_last_one_is(images):
    _, history = pretrain(images, replace(RECIPE, epochs=2.001))
    assert [len(history[name]) for name in ("loss", "epochs")] == [7, 3]


def test_a_run_learns_to_tell_its_images_apart():
    images, _, _ = shapes.render(32, seed=1)
    _, history = pretrain(images, replace(RECIPE, epochs=12, strength=0.0))
    assert sum(history["loss"][-8:]) / 8 < math.log(15) - 0.5 < history["loss"][0]


def test_the_same_run_twice_gives_the_same_weights(images):
    assert same_weights(pretrain(images)[0], pretrain(images)[0])


def test_another_seed_gives_another_run(images):
    assert pretrain(images)[1]["loss"] != pretrain(images, replace(RECIPE, seed=1))[1]["loss"]


def test_training_leaves_the_global_random_state_alone(images):
    before = torch.random.get_rng_state()
    pretrain(images)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_leaves_the_images_alone(images):
    before = images.clone()
    pretrain(images)
    assert torch.equal(before, images)


@pytest.mark.parametrize("batch", range(9))
def test_a_run_stopped_at_any_batch_ends_as_the_undisturbed_one(images, tmp_path, batch):
    monitor = lambda model: {"norm": sum(weight.norm().item() for weight in model.parameters())}  # noqa: E731
    whole, history = pretrain(images, monitor=monitor)

    def stop(step, total_steps, loss):
        if step == batch:
            raise KeyboardInterrupt

    with pytest.raises(resuming.Interrupted):
        pretrain(images, monitor=monitor, checkpoint=tmp_path / "a.pt", on_step=stop)
    torch.rand(5)  # the global random state must not matter
    again, resumed = pretrain(images, monitor=monitor, checkpoint=tmp_path / "a.pt")
    assert same_weights(again, whole)
    assert resumed == history


@pytest.mark.parametrize("optimizer", ["muon", "lars"])
def test_a_run_with_another_optimizer_more_views_and_half_an_epoch_resumes_as_exactly(images, tmp_path, optimizer):
    recipe = replace(RECIPE, optimizer=optimizer, epochs=2.5, fused=True, views=3)
    whole, history = pretrain(images, recipe)
    assert len(history["loss"]) == 8 and len(history["epochs"]) == 3  # 3 + 3 + 2 steps

    def stop(step, total_steps, loss):
        assert total_steps == 8
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(resuming.Interrupted, match=r"keeps 1 of 2\.5 epochs"):
        pretrain(images, recipe, checkpoint=tmp_path / "a.pt", on_step=stop)
    again, resumed = pretrain(images, recipe, checkpoint=tmp_path / "a.pt")
    assert same_weights(again, whole) and resumed == history


def test_a_model_that_drops_at_random_resumes_as_exactly(images, tmp_path):
    def run(**more):
        model = training.build_model(RECIPE)
        model.head = torch.nn.Sequential(torch.nn.Dropout(0.5), model.head)
        return model, training.pretrain(model, images, training.views_of(RECIPE), RECIPE, **more)

    def stop(step, total_steps, loss):
        if step == 4:
            raise KeyboardInterrupt

    torch.manual_seed(0)  # dropout draws from torch's global random state
    whole, history = run()
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path / "a.pt", on_step=stop)
    torch.rand(5)
    again, resumed = run(checkpoint=tmp_path / "a.pt")
    assert same_weights(again, whole) and resumed == history


def test_a_recipe_with_group_norm_has_no_batch_norm_in_its_encoder_and_learns():
    images, _, _ = shapes.render(32, seed=1)
    model, history = pretrain(images, replace(RECIPE, group_norm=True, epochs=20, base_lr=1e-3, strength=0.0))
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.encoder.modules())
    assert sum(history["loss"][-8:]) / 8 < math.log(15) - 0.3 < history["loss"][0]


@pytest.mark.parametrize(
    "views",
    [
        augmentation.each_image(augmentation.TwoViews(augmentation.simclr_transform(8))),
        policies.two_policies("SimAugment", "AutoAugment", 8),
    ],
    ids=["one image at a time", "two policies"],
)
def test_other_views_resume_as_exactly(images, tmp_path, views):
    def stop(step, total_steps, loss):
        if step == 4:
            raise KeyboardInterrupt

    whole, history = pretrain(images, two_views=views)
    with pytest.raises(KeyboardInterrupt):
        pretrain(images, two_views=views, checkpoint=tmp_path / "a.pt", on_step=stop)
    again, resumed = pretrain(images, two_views=views, checkpoint=tmp_path / "a.pt")
    assert same_weights(again, whole) and resumed == history


def test_after_a_stop_one_line_says_how_to_go_on(images, tmp_path):
    def stop(step, total_steps, loss):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(resuming.Interrupted, match=r"a\.pt keeps 1 of 3 epochs: run the same again") as problem:
        pretrain(images, checkpoint=tmp_path / "a.pt", on_step=stop)
    assert problem.value._render_traceback_() == [str(problem.value)]
    with pytest.raises(resuming.Interrupted, match="No epoch was finished and kept"):
        pretrain(images, on_step=stop)


def test_a_finished_run_is_not_trained_again(images, tmp_path):
    first, history = pretrain(images, checkpoint=tmp_path / "a.pt")
    told = []
    second, again = pretrain(images, checkpoint=tmp_path / "a.pt", on_step=lambda *values: told.append(values))
    assert same_weights(first, second) and again == history and told == []


def test_a_checkpoint_of_another_recipe_is_refused_by_name(images, tmp_path):
    pretrain(images, checkpoint=tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"another temperature 0\.2 \(now 0\.5\)"):
        pretrain(images, replace(RECIPE, temperature=0.5), checkpoint=tmp_path / "a.pt")


def test_a_checkpoint_from_before_a_setting_existed_goes_on_where_the_setting_has_its_default(images, tmp_path):
    def stop(step, total_steps, loss):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(resuming.Interrupted):
        pretrain(images, checkpoint=tmp_path / "a.pt", on_step=stop)
    state = checkpoints.load_checkpoint(tmp_path / "a.pt")
    del state["recipe"]["views"]
    checkpoints.save_checkpoint(tmp_path / "a.pt", state)
    with pytest.raises(ValueError, match=r"another views 2 \(now 4\)"):
        pretrain(images, replace(RECIPE, views=4), checkpoint=tmp_path / "a.pt")
    assert same_weights(pretrain(images, checkpoint=tmp_path / "a.pt")[0], pretrain(images)[0])


def test_a_checkpoint_of_other_images_is_refused(images, tmp_path):
    pretrain(images, checkpoint=tmp_path / "a.pt")
    with pytest.raises(ValueError, match="other images"):
        pretrain(images.flip(3) // 2, checkpoint=tmp_path / "a.pt")


def test_a_checkpoint_of_the_same_images_in_another_order_is_refused(images, tmp_path):
    pretrain(images, checkpoint=tmp_path / "a.pt")
    with pytest.raises(ValueError, match="other images"):
        pretrain(images.flip(0), checkpoint=tmp_path / "a.pt")


def test_a_checkpoint_of_another_architecture_is_refused(images, tmp_path):
    pretrain(images, checkpoint=tmp_path / "a.pt")
    model = training.build_model(replace(RECIPE, hidden_dim=17))
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match="another architecture"):
        training.pretrain(model, images, training.views_of(RECIPE), RECIPE, checkpoint=tmp_path / "a.pt")
    assert same_weights(model, before)  # not those of the checkpoint, as far as they fitted


def test_a_model_alone_is_not_a_run_to_go_on_with(images, tmp_path):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": {}, "recipe": {}})
    with pytest.raises(ValueError, match="not a run to go on with"):
        pretrain(images, checkpoint=tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 28}, "27 images are fewer than one batch of 28.* set batch_size to 27 or less"),
        ({"batch_size": 1}, "with fewer than 2 images there are no negatives"),
        ({"epochs": 0}, "a number above 0 is wanted"),
        ({"optimizer": "sgd"}, "There is no optimizer 'sgd'; choose"),
        ({"temperature": 0}, "temperature must be a positive number"),
    ],
)
def test_a_run_that_cannot_start_says_why(images, change, words):
    with pytest.raises(ValueError, match=words):
        pretrain(images, replace(RECIPE, **change))


def test_one_image_alone_is_refused(images):
    with pytest.raises(ValueError, match="There is one image; training needs others"):
        pretrain(images[:1])


def test_images_that_are_not_bytes_are_refused(images):
    with pytest.raises(ValueError, match=r"must be \(M, 3, H, W\) uint8"):
        pretrain(images.float())


def test_a_recipe_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        RECIPE.epochs = 2


def test_a_monitor_needs_labels_and_asks_images_it_does_not_know():
    labels = torch.arange(45) % 3
    images = torch.zeros(45, 3, 12, 12, dtype=torch.uint8)
    images[torch.arange(45), labels] = 200  # the class is the colour
    monitor = monitors.knn_monitor(data.ImageSet(images, labels, tuple("rgb")), k=3)
    assert monitor(training.build_model(RECIPE)) == {"knn": 1.0}
    with pytest.raises(ValueError, match="needs labels"):
        monitors.knn_monitor(data.ImageSet(images, None))


@pytest.mark.parametrize(("labels", "said"), [(None, ""), (torch.zeros(9, dtype=torch.long), "of one class, 'raw'")])
def test_where_there_is_no_class_to_tell_from_another_there_is_no_monitor(capsys, labels, said):
    images = data.ImageSet(torch.zeros(9, 3, 12, 12, dtype=torch.uint8), labels, ("raw",))
    assert monitors.monitor_for(images) is None and said in capsys.readouterr().out


def test_a_monitor_that_may_only_guess_is_right_by_chance(generator):
    images = torch.randint(256, (500, 3, 12, 12), generator=generator, dtype=torch.uint8)
    labels = torch.randint(4, (500,), generator=generator)  # says nothing about the picture
    monitor = monitors.knn_monitor(data.ImageSet(images, labels, tuple("abcd")), k=1)
    assert monitor(training.build_model(RECIPE))["knn"] < 0.5  # 1 if it knew the pictures that it asks for


def test_more_time_means_more_epochs_and_no_time_means_one_step(images):
    model = training.build_model(RECIPE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = lambda seconds: training.epochs_in(seconds, model, images, training.views_of(RECIPE), RECIPE)  # noqa: E731
    assert count(0) == 1 / (len(images) // RECIPE.batch_size) < 1 < count(100)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# machine


def in_another_process(code):
    """The number it prints, where it runs on GNU's C library."""
    whole = f"from helpers import machine\nif machine.gnu_library() is None: raise SystemExit(77)\n{code}"
    run = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True)
    if run.returncode == 77:
        pytest.skip("not GNU's C library")
    assert run.returncode == 0, run.stderr
    return float(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's page faults")
def test_a_training_step_uses_the_memory_of_the_last_one_again():
    code = (
        "import resource, torch; from helpers import training\n"
        "recipe, faults = training.recipe_for('cifar10', 32, epochs=1, views=2, batch_size=128, arch='resnet8'), []\n"
        "images = torch.zeros(12 * 128, 3, 32, 32, dtype=torch.uint8)\n"
        "def count(*_): faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)\n"
        "training.pretrain(training.build_model(recipe), images, training.views_of(recipe), recipe, on_step=count)\n"
        "print((faults[-1] - faults[5]) // 6)"
    )
    assert in_another_process(code) < 1500  # without, it is some thousands


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_training_kept_goes_back_to_the_system_when_it_ends():
    code = (
        "import torch; from pathlib import Path\n"
        "def held(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20\n"
        "with machine.fast(torch.nn.Linear(1, 1)):\n"
        "    blocks = [torch.ones(2 << 20) for _ in range(40)]\n"  # 8 MiB each
        "    del blocks\n"
        "    kept = held()\n"
        "print(kept - held())"
    )
    assert in_another_process(code) > 250


def test_fast_gives_float32_near_the_slow_result_and_ends_clean(images):
    model = training.build_model(RECIPE).eval()
    x = images.float() / 255
    h, z = model(x)
    with training.fast(model), training.fast(model):
        fast_h, fast_z = model(x)
    assert fast_h.dtype == fast_z.dtype == torch.float32
    assert (fast_h - h).abs().max() < 0.05 * h.abs().max() and (fast_z - z).abs().max() < 0.05 * z.abs().max()
    assert "forward" not in vars(model) and torch.allclose(model(x)[1], z, atol=1e-5)


def test_a_model_compiled_in_place_trains_to_the_same_losses(images):
    model = training.build_model(RECIPE)
    model.compile(backend="eager")
    history = training.pretrain(model, images, training.views_of(RECIPE), RECIPE)
    assert history["loss"] == pytest.approx(pretrain(images)[1]["loss"], rel=1e-3)


def test_a_model_whose_forward_was_replaced_is_refused_with_what_to_call_instead(images):
    model = torch.compile(training.build_model(RECIPE), backend="eager")
    with pytest.raises(ValueError, match=r"call model\.compile\(\) instead"):
        training.pretrain(model, images, training.views_of(RECIPE), RECIPE)


def test_a_copy_made_while_fast_computes_with_its_own_weights(images):
    import copy

    model, x = training.build_model(RECIPE).eval(), images.float() / 255
    with training.fast(model):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            model.head.layers[2].bias += 100
        assert twin(x)[1].max() < 50 < model(x)[1].min()


@pytest.mark.parametrize(
    ("files", "groups", "cores"),
    [
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "190000 100000"}, "0::/", 1),  # a second thread would wait for the first
        ({"a/cpu.max": "max 100000", "cpu.max": "100000 100000"}, "0::/a", 1),
        ({"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/a\n3:memory:/b", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", None),
        ({}, "", None),
    ],
)
def test_cores_are_capped_by_the_quota_of_the_container(tmp_path, files, groups, cores):
    for name, text in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(groups)
    everything = machine.usable_cores(tmp_path / "none", tmp_path / "none")
    assert machine.usable_cores(tmp_path / "cgroup", tmp_path / "tree") == (cores or everything)


def test_torch_is_given_no_more_threads_than_there_are_cores_and_keeps_fewer():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(machine.usable_cores() + 3)
        assert machine.cap_threads() == torch.get_num_threads() == machine.usable_cores()
        torch.set_num_threads(1)
        assert machine.cap_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "files, groups, left",
    [
        ({"a/memory.max": "2147483648", "a/memory.current": "1073741824"}, "0::/a", 2**30),
        ({"memory.max": "max", "memory.current": "5"}, "0::/", 2**40),
        (
            {"memory/b/memory.limit_in_bytes": "100", "memory/b/memory.usage_in_bytes": "30"},
            "4:cpu:/a\n3:memory:/b",
            70,
        ),
        (  # files that are kept at hand are given back when there is need of their memory
            {"memory.max": "100", "memory.current": "90", "memory.stat": "anon 20\nactive_file 30\ninactive_file 25"},
            "0::/",
            65,
        ),
        (
            {
                "memory/b/memory.limit_in_bytes": "100",
                "memory/b/memory.usage_in_bytes": "90",
                "memory/b/memory.stat": "inactive_file 1\ntotal_active_file 30\ntotal_inactive_file 25",
            },
            "3:memory:/b",
            65,
        ),
        ({}, "0::/", 2**40),
    ],
)
def test_memory_is_what_the_container_has_left_or_the_machine(tmp_path, files, groups, left):
    for name, text in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(groups)
    assert machine.usable_memory(2**40, tmp_path / "cgroup", tmp_path / "tree") == left


# the command line


def command(*words, **more):
    run = [sys.executable, "-m", "helpers.training", *map(str, words)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300, **more)


def one_epoch(folder, out) -> list[str]:
    """The words of a run that takes a second."""
    return ["--data", folder, "--image-size", "16", *"--batch-size 8 --epochs 1 --out".split(), str(out)]


def test_the_command_line_trains_and_writes_checkpoint_and_result(folder, tmp_path):
    done = command("--data", folder, "--epochs", 2, "--batch-size", 8, "--image-size", 16, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "loss=" in done.stderr and "knn=" in done.stderr
    measure = f"python -m helpers.evaluation {tmp_path / 'run/checkpoint.pt'} --data {folder} --image-size 16"
    assert done.stdout.strip().endswith(measure)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    _, recipe = checkpoints.load_model(tmp_path / "run" / "checkpoint.pt")
    assert result["recipe"] == json.loads(json.dumps(recipe)) and recipe["batch_size"] == 8
    assert {"command", "data", "seed", "versions", "seconds", "history"} <= result.keys()
    assert [entry["epoch"] for entry in result["history"]["epochs"]] == [1, 2]
    again = command("--data", folder, "--epochs", 2, "--batch-size", 8, "--image-size", 16, "--out", tmp_path / "run")
    assert again.returncode == 0 and "has all its 2 epochs already" in again.stdout
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result


def test_the_command_of_a_result_makes_the_same_weights_in_another_folder(folder, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    assert (
        command("--data", folder, "--epochs", 1.5, "--batch-size", 8, "--image-size", 16, "--out", first).returncode
        == 0
    )
    words = shlex.split(json.loads((first / "result.json").read_text())["command"])
    assert words[:3] == ["python", "-m", "helpers.training"]
    assert command(*(word.replace(str(first), str(again)) for word in words[3:])).returncode == 0
    assert same_weights(*(checkpoints.load_model(run / "checkpoint.pt")[0] for run in (first, again)))


def test_every_field_of_a_recipe_can_be_set_on_the_command_line():
    other = training.Recipe(
        "resnet18",
        True,
        True,
        24,
        2.5,
        64,
        3,
        "lars",
        0.5,
        0.1,
        0.2,
        0.3,
        True,
        0.4,
        True,
        True,
        (0.1, 0.9),
        256,
        True,
        64,
        7,
    )
    fields, default = asdict(other), asdict(training.Recipe())
    assert all(fields[name] != default[name] for name in default)
    words = [f"{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in fields.items()]
    assert training.Recipe(**settings_in(words)) == other


def test_what_is_set_on_the_command_line_is_what_is_trained(folder, tmp_path):
    words = one_epoch(folder, tmp_path / "run")
    assert training.main([*words, "--set", "views=3", "area=0.3,0.8", "--set", "arch=resnet8"]) == 0
    _, kept = checkpoints.load_model(tmp_path / "run" / "checkpoint.pt")
    assert (kept["views"], kept["area"], kept["arch"], kept["optimizer"]) == (3, (0.3, 0.8), "resnet8", "muon")


def test_a_folder_in_which_another_run_is_at_work_is_left_as_it_is(folder, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "epochs.txt").write_text("3\n")
    (tmp_path / "run" / f"running.{HOST}.{os.getppid()}").touch()  # a process that is there
    words = ["--data", folder, "--image-size", "16", "--batch-size", "8", "--out", str(tmp_path / "run")]
    assert training.main([*words, "--seconds", "1"]) == 1
    assert f"process {os.getppid()} is at work in {tmp_path / 'run'}: wait for it" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run").iterdir())[0] == "epochs.txt"
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_a_folder_of_one_class_is_trained_on_without_a_monitor(folder, tmp_path, capsys):
    shutil.copytree(Path(folder.removeprefix("folder:"), "class0"), tmp_path / "pictures" / "raw")
    assert training.main(one_epoch(f"folder:{tmp_path / 'pictures'}", tmp_path / "run")) == 0
    assert "of one class, 'raw'" in capsys.readouterr().out
    assert "knn" not in json.loads((tmp_path / "run" / "result.json").read_text())["history"]["epochs"][0]


def test_the_measured_epochs_of_a_deleted_run_are_measured_anew(folder, tmp_path):
    (tmp_path / "epochs.txt").write_text("1000000\n")
    words = ("--data", folder, "--seconds", "0.1", "--batch-size", "8", "--image-size", "16", "--out", str(tmp_path))
    assert training.main(list(words)) == 0
    assert float((tmp_path / "epochs.txt").read_text()) < 1000


def test_a_run_of_some_seconds_keeps_the_epochs_it_measured_when_it_is_called_again(folder, tmp_path, monkeypatch):
    words = ["--data", folder, "--seconds", "0.1", "--batch-size", "8", "--image-size", "16", "--out", str(tmp_path)]
    assert training.main(words) == 0
    measured = (tmp_path / "epochs.txt").read_text()
    monkeypatch.setattr(training, "step_on_views", lambda *_: pytest.fail("a step was taken"))
    assert training.main(words) == 0
    assert (tmp_path / "epochs.txt").read_text() == measured


@pytest.mark.parametrize(
    "change", [{"area": (0.1, 0.2)}, {"blur": True}, {"fused": True}, {"strength": 0.1}, {"view_size": 16}], ids=str
)
def test_the_views_of_a_recipe_are_made_with_its_settings(change):
    images, default = shapes.render(16, seed=0)[0], training.Recipe()
    recipe, generator = replace(default, **change), torch.Generator().manual_seed(0)
    make = augmentation.fast_view if recipe.fused else augmentation.view
    settings = (recipe.view_size, recipe.strength, recipe.blur, recipe.area)
    wanted = [make(images, generator, *settings) for _ in "ab"]
    made, usual = (training.views_of(each)(images, torch.Generator().manual_seed(0)) for each in (recipe, default))
    assert all(map(torch.equal, made, wanted))
    assert not any(map(torch.equal, made, usual))


def test_the_weights_of_a_fresh_model_depend_on_the_recipes_seed_alone():
    def weights(seed):
        return torch.cat([weight.flatten() for weight in training.build_model(training.Recipe(seed=seed)).parameters()])

    first = weights(3)
    torch.manual_seed(99)
    assert torch.equal(weights(3), first) and not torch.equal(weights(4), first)


def test_photographs_get_the_settings_that_were_measured_to_suit_them():
    small, large = training.recipe_for("cifar10", 32), training.recipe_for("stl10", 96)
    assert (small.arch, small.view_size, small.small_images) == ("resnet8x4-quarters", 16, True)
    assert (large.view_size, large.small_images) == (96, False)
    assert training.recipe_for("folder:x", 64).view_size == 32
    for recipe in (small, large):
        assert recipe.decoupled and (recipe.strength, recipe.area, recipe.temperature) == (0.5, (0.12, 1.0), 0.1)
        assert recipe.head_norm and recipe.optimizer == "muon" and recipe.views * recipe.batch_size == 512


def test_lars_gets_the_papers_rate_unless_another_is_given():
    assert training.recipe_for("shapes", 32, optimizer="lars", batch_size=256).base_lr == 0.075 * 16
    assert training.recipe_for("cifar10", 32, optimizer="lars").base_lr == pytest.approx(0.075 * 128**0.5)
    assert training.recipe_for("shapes", 32, optimizer="lars", base_lr=0.3).base_lr == 0.3


def test_photographs_of_96_pixels_get_the_large_image_stem_and_those_of_32_the_small_one():
    large, small = (
        training.recipe_for("stl10", 96, arch="resnet18"),
        training.recipe_for("cifar10", 32, arch="resnet18"),
    )
    assert (large.small_images, large.view_size) == (False, 96)
    assert (small.small_images, small.view_size) == (True, 32)
    images = torch.randint(0, 256, (4, 3, 96, 96), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    model, history = pretrain(images, replace(large, epochs=1, batch_size=4))
    assert len(history["loss"]) == 1 and math.isfinite(history["loss"][0])
    assert model.encoder(torch.zeros(2, 3, 96, 96)).shape == (2, 512)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "imagenet"], "There is no data set 'imagenet'"),
        (["--data", "folder:/nowhere"], "There is no folder /nowhere"),
        (["--arch", "vgg"], "There is no encoder 'vgg'"),
        (["--epochs", "0"], "epochs is 0"),
        (["--batch-size", "1"], "batch_size is 1"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--batch-size", "1000"], "fewer than one batch of 1000"),
        (["--temperature", "0", "--batch-size", "8"], "temperature must be a positive number"),
        (["--epochs", "1", "--seconds", "1"], "give one of them"),
        (["--set", "epochs=1", "--seconds", "1"], "give one of them"),
        (["--epochs", "1", "--set", "epochs=2"], "epochs is given twice"),
        (["--set", "views=2", "--set", "views=4"], "views is given twice"),
        (["--epochs", "inf"], "epochs is inf"),
        (["--seconds", "inf"], "--seconds is inf"),
        (["--lr", "-1", "--optimizer", "muon", "--batch-size", "8"], "base_lr is -1"),
        (["--set", "learning_rate=1"], "A recipe has no 'learning_rate'; it has arch, small_images, "),
        (["--set", "views=2.5"], "views=2.5 cannot be read; write it as views=2."),
        (["--set", "blur=yes"], "blur=yes cannot be read; write it as blur=False."),
        (["--set", "area=0.5"], "area=0.5 cannot be read; write it as area=0.5,1.0."),
        (["--set", "views=1", "--batch-size", "8"], "views is 1"),
        (["--set", "views=0"], "views is 0"),
        (["--set", "area=1,0.5", "--batch-size", "8"], "area is (1.0, 0.5)"),
        (["--set", "hidden_dim=0", "--batch-size", "8"], "hidden_dim is 0"),
        (["--set", "warmup_fraction=5", "--batch-size", "8"], "warmup_fraction is 5"),
        (["--set", "weight_decay=-1", "optimizer=adamw", "--batch-size", "8"], "weight_decay"),
        (["--set", "weight_decay=0.1"], "weight_decay is AdamW's, and the optimizer is muon: leave it out"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_one_sentence(folder, tmp_path, capsys, words, sentence):
    code = training.main(["--data", folder, "--image-size", "16", "--out", str(tmp_path / "run"), *words])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1 and said.startswith("helpers.training: ") and sentence in said
    assert not (tmp_path / "run").exists()


def test_a_file_in_place_of_the_folder_is_named_before_anything_is_trained(folder, tmp_path, capsys):
    (tmp_path / "run").write_text("notes")
    assert training.main(["--data", folder, "--batch-size", "8", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == f"helpers.training: --out {tmp_path / 'run'} is a file; name a folder.\n"
    assert (tmp_path / "run").read_text() == "notes"


@pytest.mark.parametrize(
    ("problem", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "Stopped before the training began."),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "take a smaller --batch-size"),
    ],
)
def test_what_ends_a_run_early_is_told_in_a_sentence(monkeypatch, capsys, problem, code, sentence):
    def run(*_):
        raise problem

    monkeypatch.setattr(training, "run", run)
    assert training.main(["--out", "run"]) == code
    assert sentence in capsys.readouterr().err


def test_the_command_says_that_a_model_alone_is_not_a_run_to_go_on_with(folder, tmp_path, capsys):
    checkpoints.save_checkpoint(tmp_path / "checkpoint.pt", {"model": {}, "recipe": {}})
    words = ["--data", folder, "--image-size", "16", "--batch-size", "8", "--out", str(tmp_path)]
    assert training.main(words) == 1
    assert "holds a model but not a run to go on with" in capsys.readouterr().err.splitlines()[-1]


def test_the_progress_bar_of_the_command_appears_with_the_first_step_only(folder, tmp_path, capsys):
    words = one_epoch(folder, tmp_path / "run")
    assert training.main(words) == 0
    said = capsys.readouterr().err
    assert "step/s" in said or "s/step" in said
    assert training.main([*words, "--seed", "3"]) == 1  # the checkpoint there is of seed 0
    said = capsys.readouterr().err
    assert said.startswith("helpers.training: ") and said.count("\n") == 1


CTRL_C_ON = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests started in the background inherit that it is ignored
runpy.run_module("helpers.training", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_on_the_command_line_ends_with_130_and_the_same_line_goes_on(folder, tmp_path):
    words = ["--data", folder, "--epochs", 1500, "--batch-size", 8, "--image-size", 16, "--out", tmp_path / "run"]
    process = subprocess.Popen([sys.executable, "-c", CTRL_C_ON, *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE,
                               text=True)  # fmt: skip
    while not (tmp_path / "run" / "checkpoint.pt").exists() and process.poll() is None:
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in said and "of 1500 epochs: run the same again" in said
    kept = checkpoints.load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert 1 <= len(kept["history"]["epochs"]) < 1500
    assert asdict(training.Recipe())["seed"] == kept["recipe"]["seed"]


def test_the_geometry_monitor_measures_the_same_two_views_every_time():
    images, recipe = shapes.render(40, seed=0)[0], training.Recipe(hidden_dim=16)
    model = training.build_model(recipe)
    monitor = monitors.geometry_monitor(images, training.views_of(recipe), count=20)
    numbers = monitor(model)
    assert numbers == monitor(model) and numbers.keys() == {"alignment", "uniformity"}
    assert model.training and 0 <= numbers["alignment"] <= 4 and -8 <= numbers["uniformity"] <= 0


def test_the_geometry_monitor_tells_alignment_and_uniformity_of_z():
    images, recipe, generator = shapes.render(40, seed=0)[0], training.Recipe(hidden_dim=16), torch.Generator()
    model = training.build_model(recipe).eval()
    numbers = monitors.geometry_monitor(images, training.views_of(recipe), count=20, seed=3)(model)
    some = images[torch.randperm(40, generator=generator.manual_seed(3))[:20]]
    with torch.no_grad():
        z_a, z_b = (torch.nn.functional.normalize(model(x)[1]) for x in training.views_of(recipe)(some, generator))
    assert numbers["alignment"] == pytest.approx((z_a - z_b).square().sum(dim=1).mean().item(), rel=1e-3)
    assert numbers["uniformity"] == pytest.approx(torch.pdist(z_a).square().mul(-2).exp().mean().log().item(), rel=1e-3)


def test_the_moments_of_a_run_are_kept_after_0_1_2_4_epochs_and_at_the_end(tmp_path):
    recipe = replace(training.Recipe(), hidden_dim=8, epochs=5)
    model = training.build_model(recipe)
    watched = monitors.keep_moments(tmp_path, model, recipe, 0, lambda model: {"knn": 0.5})
    for _ in range(3):
        assert watched(model) == {"knn": 0.5}
    watched = monitors.keep_moments(tmp_path, model, recipe, 3)  # stopped, and gone on
    watched(model), watched(model)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"epoch-00{epoch}.pt" for epoch in (0, 1, 2, 4, 5)]
    assert checkpoints.load_model(tmp_path / "epoch-002.pt")[1]["hidden_dim"] == 8


def test_a_new_run_has_no_moments_of_an_earlier_one(tmp_path):
    recipe = replace(training.Recipe(), hidden_dim=8, epochs=5)
    (tmp_path / "epoch-004.pt").write_bytes(b"of another run")
    monitors.keep_moments(tmp_path, training.build_model(recipe), recipe, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000.pt"]


def test_the_recipe_that_answers_are_checked_with_has_every_field():
    names = [field.name for field in fields(training.Recipe)]
    for other in (checks.TinyRecipe, asks.TinyRecipe):
        assert sorted(field.name for field in fields(other)) == sorted(names)


def test_a_loop_of_ones_own_is_stopped_in_one_line_too(tmp_path):
    with (
        pytest.raises(resuming.Interrupted, match="No epoch was finished"),
        resuming.stoppable(tmp_path / "run.pt", training.Recipe()),
    ):
        raise KeyboardInterrupt
