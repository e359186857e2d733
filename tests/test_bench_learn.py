"""The race by the clock: what is run, what is written down, and that the peers' recipes train."""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import scipy.stats
import torch
from PIL import Image

from data import record
from grading.bench import choices, figures, learn, peers
from helpers import encoder, evaluation, training
from helpers.data import load_images
from helpers.projection_head import SimCLR, projection_mlp

PIL_PEERS = [peer for peer in peers.PEERS if peer.name != "lightly"]  # lightly is not installed beside the course


def runs() -> list[dict]:
    """Made-up rows, to look at the arithmetic alone."""
    found = [
        {"name": "raw pixels", "minutes": 0, "seed": 0, "knn": 0.36, "white": 0.35, "part": 0.3},
        {"name": "UvA", "minutes": 3, "seed": 0, "knn": 0.4, "white": 0.45, "part": 0.38},
    ]
    found += [
        {"name": "ours", "minutes": 3, "seed": seed, "knn": 0.6 + 0.01 * seed, "plain": 0.5, "part": 0.55}
        for seed in (0, 1)
    ]
    return found + [{"name": "ours", "minutes": 10.0, "seed": 0, "knn": 0.7, "plain": 0.6, "part": 0.58}]


def small(peer: peers.Peer) -> peers.Peer:
    """The same recipe with a smaller encoder and batch."""

    def model() -> SimCLR:
        body, width = encoder.build_encoder("resnet8", True)
        return SimCLR(body, projection_mlp(width, [8, 4]))

    return replace(peer, model=model, batch_size=6)


@pytest.mark.parametrize("peer", PIL_PEERS, ids=lambda peer: peer.name)
def test_a_peers_recipe_trains_and_is_looked_at_in_passing(peer):
    images = load_images("shapes", "train").images[:13]
    threads = torch.get_num_threads()
    found = list(peers.trained(small(peer), images, [0.002, 0.0], seed=0, workers=0))
    assert [minutes for minutes, *_ in found] == [0.0, 0.002] and 0 < found[0][3] < found[1][3] >= 0.12
    assert torch.get_num_threads() == threads
    assert 6 == found[0][2] < found[1][2] and found[1][2] % 6 == 0
    a, b = (torch.cat([weight.flatten() for weight in body.parameters()]) for _, body, *_ in found)
    assert a.isfinite().all() and not torch.equal(a, b) and not found[0][1].training


@pytest.mark.parametrize("peer", PIL_PEERS, ids=lambda peer: peer.name)
def test_a_peers_views_are_normalised_pictures_of_32_pixels(peer):
    a, b = peers.Pairs(load_images("shapes", "train").images[:1], peer.views())[0]
    assert a.shape == b.shape == (3, 32, 32) and a.min() < 0 and not torch.equal(a, b)


@pytest.mark.parametrize("peer", PIL_PEERS, ids=lambda peer: peer.name)
def test_a_peers_encoder_is_measured_on_pictures_as_it_was_trained_on_them(peer):
    images = load_images("shapes", "train").images[:6]
    [(_, body, *_)] = peers.trained(small(peer), images, [0.0], seed=0, workers=0)
    *_, last = peer.views().transforms
    assert torch.equal(body[0](images / 255), torch.stack([last(image / 255) for image in images]))


@pytest.mark.parametrize("faster", [0, 1])
def test_views_are_made_where_the_steps_are_faster(monkeypatch, faster):
    used, real = [], peers.steps
    monkeypatch.setattr(peers, "pace", lambda peer, images, seed, workers: abs(workers - faster))

    def steps(peer, images, seed, workers):
        used.append(workers)
        return real(peer, images, seed, 0)

    monkeypatch.setattr(peers, "steps", steps)
    list(peers.trained(small(PIL_PEERS[0]), load_images("shapes", "train").images[:6], [0.0], seed=0))
    assert used == [faster]


def test_peers_without_enough_images_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="256 images a batch, and there are 5"):
        next(peers.trained(peers.PEERS[0], torch.zeros(5, 3, 32, 32, dtype=torch.uint8), [1], 0))


def test_every_time_is_a_run_of_ours_and_one_of_a_peer():
    jobs = learn.jobs([5, 3], [0, 1], None)
    assert jobs[:4] == [("ours", [3], 0), ("ours", [5], 0), ("ours", [3], 1), ("ours", [5], 1)]
    assert jobs[4:] == [(name, [3, 5], 0) for name in ("controls", "UvA", "CS231n", "lightly")]
    assert learn.jobs([3], [0], ["UvA"]) == [("UvA", [3], 0)]


def test_the_summary_has_the_mean_over_seeds_and_each_of_them():
    numbers = learn.summary(runs())
    assert numbers["knn/3min"] == pytest.approx(0.605) and numbers["knn/3min/each"] == [0.6, 0.61]
    assert numbers["knn/10min"] == 0.7 and numbers["UvA/3min"] == 0.4 and numbers["raw pixels"] == 0.36
    assert numbers["knn/10min/plain"] == 0.6 and numbers["UvA/3min/white"] == 0.45
    assert numbers["knn/10min/part"] == 0.58 and numbers["UvA/3min/part"] == 0.38
    assert "knn/10min" in learn.table(numbers) and "each" not in learn.table(numbers)


def test_a_series_goes_on_from_what_the_file_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    asked, both = [], {"knn": 0.5, "white": 0.5, "plain": 0.5, "part": 0.5}

    def measured(name, minutes, seed, train, test):
        asked.append((name, minutes, seed))
        return [{"name": name, "minutes": length, "seed": seed} | both for length in minutes]

    monkeypatch.setattr(learn, "measured", measured)
    words = ["--data", "shapes", "--minutes", "3", "--only", "ours", "--seeds"]
    assert learn.main([*words, "0"]) == learn.main([*words, "0", "1"]) == 0
    assert asked == [("ours", [3.0], 0), ("ours", [3.0], 1)]
    words[3:4] = ["3", "5"]  # more minutes later: only those are run
    assert learn.main([*words, "0"]) == 0 and asked[2:] == [("ours", [5.0], 0)]
    words = ["--data", "shapes", "--only", "UvA", "--minutes"]
    assert learn.main([*words, "3"]) == learn.main([*words, "3", "5"]) == 0
    assert asked[3:] == [("UvA", [3.0], 0), ("UvA", [5.0], 0)]
    result = json.loads(learn.results_file().read_text(encoding="utf-8"))
    assert result["knn/3min/each"] == [0.5, 0.5] and learn.results_file().with_suffix(".svg").exists()


def test_minutes_with_bfloat16_and_without_stand_in_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    names = []
    for half in (True, False):
        monkeypatch.setattr(learn, "has_bfloat16", lambda device, half=half: half)
        names.append(learn.results_file().name)
    assert names == ["learn_cifar10.json", "learn_cifar10-float32.json"]


@pytest.mark.parametrize(("end", "steps"), [(-math.inf, 1), (math.inf, 6)])
def test_our_run_ends_with_its_schedule_or_with_the_clock(end, steps):
    images = load_images("shapes", "train").images[:20]
    recipe = replace(learn.ours(0), arch="resnet8", batch_size=8, epochs=3.0)
    model = training.build_model(recipe)
    before = [weight.clone() for weight in model.parameters()]
    assert learn.trained_until(end, model, images, training.views_of(recipe), recipe) == steps * 8 / 20
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert any(not torch.equal(weight, old) for weight, old in zip(model.parameters(), before, strict=True))


def test_a_run_that_took_longer_than_its_minutes_does_not_count(capsys):
    late, kept = ({"name": "ours", "minutes": 5.0, "seconds": seconds} for seconds in (330.4, 299.9))
    assert learn.in_time(kept) and learn.in_time({"name": "UvA", "minutes": 3}) and not learn.in_time(late)
    assert "ours took 330.4 s for 5 minutes" in capsys.readouterr().err
    assert learn.in_time({"name": "CS231n", "minutes": 5, "seconds": 306.3})  # it ended with the step it was in


def test_runs_of_another_recipe_or_machine_are_not_gone_on_from(tmp_path, capsys):
    path = tmp_path / "a.json"
    assert record.earlier_runs(path, {"area": (0.2, 1.0)}, {"bank": 9}) == []
    here = json.loads(json.dumps({"knn": 0.5, "measured": record.stamp()}))
    path.write_text(
        json.dumps({"recipe": {"area": [0.2, 1.0]}, "pictures": {"bank": 9}, "runs": [here, {"knn": 0.6}]}),
        encoding="utf-8",
    )
    assert record.earlier_runs(path, {"area": (0.2, 1.0)}, {"bank": 9}) == [here]
    assert "1 runs of another machine" in capsys.readouterr().err
    assert record.earlier_runs(path, {"area": (0.3, 1.0)}, {"bank": 9}) == []
    assert "another recipe" in capsys.readouterr().err


def test_a_file_of_other_pictures_is_not_gone_on_from_and_stays_as_it_is(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"recipe": {}, "pictures": {"bank": 9}, "runs": [{"knn": 0.5}]}), encoding="utf-8")
    with pytest.raises(ValueError, match="a.json holds runs on other pictures .*move that file away"):
        record.earlier_runs(path, {}, {"bank": 8})


def test_runs_of_a_peer_are_gone_on_from_whatever_our_recipe_is(tmp_path):
    path, measured = tmp_path / "a.json", record.stamp()
    rows = [json.loads(json.dumps({"job": job, "measured": measured})) for job in ("ours", "UvA")]
    path.write_text(
        json.dumps({"recipe": {"area": [0.2, 1.0]}, "pictures": {"bank": 9}, "runs": rows}), encoding="utf-8"
    )
    assert record.earlier_runs(path, {"area": (0.3, 1.0)}, {"bank": 9}, without_it=["UvA"]) == rows[1:]


def test_a_row_of_raw_pixels_is_their_knn_accuracy():
    images = load_images("shapes", "train")
    train, test = images.subset(torch.arange(60)), images.subset(torch.arange(60, 90))
    found = learn.row("raw pixels", 0, 0, torch.nn.Flatten(), train, test, len(train))
    assert found["bank"] == 60 and found["queries"] == 30 and 0 <= found["knn"] <= 1 and 0 <= found["white"] <= 1


def test_our_row_is_measured_with_the_whitened_encoder_and_beside_it_without(monkeypatch):
    images = load_images("shapes", "train")
    train, test = images.subset(torch.arange(600)), images.subset(torch.arange(600, 700))
    monkeypatch.setattr(learn, "ours", lambda seed: training.Recipe(batch_size=100, seed=seed))
    bodies, real = [], learn.row

    def watched(*arguments, last):
        bodies.append(torch.nn.Sequential(arguments[3], last))
        return real(*arguments, last=last)

    monkeypatch.setattr(learn, "row", watched)
    found = learn.our_row(0.05, 0, train, test)
    for body, number in ((bodies[0], "knn"), (bodies[0][0], "plain")):
        h = [evaluation.extract_features(body, part.images) for part in (train, test)]
        assert found[number] == pytest.approx(evaluation.knn_accuracy(h[0], train.labels, h[1], test.labels), abs=0.011)
    white = evaluation.extract_features(bodies[0], train.images)
    assert white.mean(dim=0).norm() < 0.05 * white.norm(dim=1).mean()  # moved to the middle
    assert found["seconds"] > 0 and "white" not in found


def test_the_figure_has_two_lines_for_each_recipe_and_a_level_for_each_control():
    [ax] = figures.learning(runs()).axes
    named = [line.get_label() for line in ax.lines if not line.get_label().startswith("_")]
    assert named == ["UvA", "ours", "h as it is, not whitened"]
    heights = {tuple(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "--"}
    assert {(0.4,), (0.5, 0.6)} <= heights  # as h is
    assert [text.get_text() for text in ax.texts] == ["raw pixels"]


def test_the_figure_says_which_line_was_measured_with_the_small_bank_and_draws_ours_so_too():
    [ax] = figures.learning([row | {"bank": 100 if row["name"] == "UvA" else 500} for row in runs()]).axes
    lines = {line.get_label(): tuple(line.get_ydata()) for line in ax.lines}
    assert "UvA, bank of 100" in lines and lines["ours, bank of 100"] == (0.55, 0.58)


# choices


def test_every_choice_taken_back_is_a_change_of_the_recipe():
    base = choices.recipe("the recipe", 3, 1.0)
    two = choices.recipe("two views", 3, 1.0)
    assert two.epochs * two.views == base.epochs * base.views  # as many views are seen
    assert (base.seed, base.epochs, base.optimizer) == (3, 1.0, "muon")
    others = [choices.recipe(name, 3, 1.0) for name in choices.CHOICES if name != "the recipe"]
    assert base not in others and len({str(other) for other in others}) == len(others)


def test_the_difference_of_a_choice_is_taken_seed_by_seed():
    knn = {"the recipe": (0.5, 0.6), "AdamW": (0.4, 0.52), "fused views": (0.5,)}
    rows = [
        {"choice": name, "seed": seed, "epochs": 1.0, "knn": value, "plain": 0.3, "core_seconds": 2.0}
        for name, values in knn.items()
        for seed, value in enumerate(values)
    ]
    rows.append({"choice": "AdamW", "seed": 0, "epochs": 2.0, "knn": 0.9, "plain": 0.9, "core_seconds": 4.0})
    found = choices.summary(rows, epochs=1.0)  # those of two epochs are another question
    assert found["AdamW"]["seeds"] == 2
    assert found["AdamW"]["difference"] == pytest.approx(-0.09)
    low, high = scipy.stats.ttest_1samp([-0.1, -0.08], 0).confidence_interval()
    assert (found["AdamW"]["low"], found["AdamW"]["high"]) == pytest.approx((low, high))
    assert found["fused views"]["low"] is None and found["the recipe"]["difference"] == 0
    assert choices.summary([row for row in rows if row["choice"] == "AdamW"], 1.0)["AdamW"]["difference"] is None


@pytest.mark.parametrize(
    ("data", "words"),
    [("shapes", ""), ("cifar10", " --data cifar10"), ("folder:/home/ada/my pictures/", " --data 'folder:my pictures'")],
)
def test_a_results_file_names_its_pictures_but_not_where_they_lie(data, words):
    assert record.data_option(data) == words


@pytest.mark.parametrize("command", [learn, choices])
def test_pictures_that_are_not_there_are_one_sentence(command, capsys):
    assert command.main(["--data", "folder:/nowhere"]) == 1
    assert "There is no folder /nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("command", [learn, choices])
@pytest.mark.parametrize(("pictures", "said"), [(300, "has no labels"), (30, "fewer than one batch")])
def test_pictures_that_a_race_cannot_use_are_one_sentence(command, pictures, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    some = load_images("shapes", "train").subset(torch.arange(pictures))
    some = replace(some, labels=None) if pictures > 100 else some
    monkeypatch.setattr("helpers.data.load_images", lambda data, split: some)
    assert command.main(["--data", "folder:loose"]) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_stopped_race_says_how_to_go_on_and_keeps_what_had_ended(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(learn, "load_labelled", lambda data, split: load_images("shapes", split))

    def measured(name, minutes, seed, train, test):
        if seed == 1:
            raise KeyboardInterrupt
        return [runs()[2] | {"minutes": minutes[0], "seed": seed, "bank": 8000, "seconds": 1.0}]

    monkeypatch.setattr(learn, "measured", measured)
    assert learn.main(["--only", "ours", "--minutes", "3", "--seeds", "0", "1"]) == 130
    assert "goes on after the last run" in capsys.readouterr().err
    [kept] = json.loads(learn.results_file().read_text(encoding="utf-8"))["runs"]
    assert kept["seed"] == 0 and learn.results_file().with_suffix(".svg").exists()


def test_choices_that_are_stopped_begin_no_further_run(monkeypatch):
    dropped = []

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            dropped.append(cancel_futures)
            super().shutdown(wait, cancel_futures=cancel_futures)

    def run(number):
        if number == 0:
            raise KeyboardInterrupt
        time.sleep(0.1)
        return done.append(number)

    done = []
    monkeypatch.setattr(choices, "ProcessPoolExecutor", lambda count, context: Pool(1))
    monkeypatch.setattr(choices, "run", run)
    with pytest.raises(KeyboardInterrupt):
        list(choices.each_run([(number,) for number in range(20)]))
    assert dropped[0] and len(done) < 3


def test_choices_hold_the_pictures_they_are_measured_with_back_from_training(monkeypatch):
    drawn, seen = load_images("shapes", "train").subset(torch.arange(300)), []
    monkeypatch.setattr(choices, "load_labelled", lambda data, split: {"train": drawn}[split])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    extract = evaluation.extract_features
    monkeypatch.setattr(training, "pretrain", lambda model, images, *_: seen.append(images))
    monkeypatch.setattr(evaluation, "extract_features", lambda f, images: seen.append(images) or extract(f, images))
    choices.run("the recipe", 0, 1, "shapes")
    trained, bank, held = ({picture.numpy().tobytes() for picture in images} for images in seen)
    assert len(held) == 30 and held <= {picture.numpy().tobytes() for picture in drawn.images}
    assert not held & trained and bank <= trained


def test_choices_are_measured_and_written_down_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    images = load_images("shapes", "train").images
    for number in range(400):
        (folder := tmp_path / f"pictures/{number % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number].permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    words = ["--data", f"folder:{tmp_path / 'pictures'}", "--only", "fused views", "--epochs", "1"]
    assert choices.main(words) == choices.main(words) == 0
    result = json.loads((tmp_path / "choices_cifar10.json").read_text(encoding="utf-8"))
    assert result["command"] == "python -m grading.bench.choices --data folder:pictures"
    assert [run["choice"] for run in result["runs"]] == ["the recipe", "fused views"]
    assert all(0 <= run["knn"] <= 1 and run["core_seconds"] > 0 for run in result["runs"])
    assert "fused views" in capsys.readouterr().out
