"""The reference measures against independent oracles, their errors, and the command line."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from helpers import checkpoints, controls, data, evaluation, latent_space, shapes
from helpers.encoder import build_encoder
from helpers.projection_head import ProjectionHead, SimCLR
from helpers.recipe import Recipe, build_model

ROOT = Path(__file__).parent.parent


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator):
    return torch.randint(256, (11, 3, 8, 8), generator=generator, dtype=torch.uint8)


@pytest.fixture
def encoder(generator):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Dropout(0.5))
    for weight in network.parameters():
        weight.data.normal_(generator=generator)
    return network


# extract_features


def test_features_do_not_depend_on_the_batch_size(encoder, images):
    whole = evaluation.extract_features(encoder, images, batch_size=11)
    assert torch.allclose(evaluation.extract_features(encoder, images, batch_size=4), whole, atol=1e-5)


def test_features_of_uint8_images_are_those_of_floats_in_0_to_1(encoder, images):
    assert torch.equal(evaluation.extract_features(encoder, images), evaluation.extract_features(encoder, images / 255))


def test_row_i_of_the_features_is_image_i(images):
    assert torch.equal(evaluation.extract_features(nn.Flatten(), images, batch_size=3), images.flatten(1) / 255)


def test_features_are_float32_without_a_gradient(encoder, images):
    h = evaluation.extract_features(encoder, images)
    assert (h.dtype, h.requires_grad, h.device.type) == (torch.float32, False, "cpu")


def test_every_part_of_the_encoder_is_back_in_its_mode(encoder, images):
    encoder.train()
    encoder[1].eval()  # a frozen batch-norm inside a network in train mode
    evaluation.extract_features(encoder, images)
    assert [part.training for part in encoder] == [True, False, True, True]


def test_the_mode_is_restored_when_the_encoder_fails(encoder):
    encoder.train()
    with pytest.raises(RuntimeError):
        evaluation.extract_features(encoder, torch.zeros(2, 4, 8, 8))
    assert encoder.training


def test_the_encoder_is_left_as_it_was(encoder, images):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    evaluation.extract_features(encoder.train(), images)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    "shape, batch_size, words", [((0, 3, 8, 8), 4, "M >= 1"), ((3, 8, 8), 4, "M >= 1"), ((2, 3, 8, 8), 0, "batch_size")]
)
def test_features_of_impossible_input_are_refused_with_a_sentence(encoder, shape, batch_size, words):
    with pytest.raises(ValueError, match=words):
        evaluation.extract_features(encoder, torch.zeros(shape), batch_size)


# k-NN


def slow_knn(bank_h, bank_y, query_h, k, temperature):
    """One query at a time in numpy, from the definition."""
    bank, found = bank_h.double().numpy(), []
    for query in query_h.double().numpy():
        cosine = bank @ query / (np.linalg.norm(bank, axis=1) * np.linalg.norm(query))
        votes = {}
        for row in np.argsort(-cosine)[:k]:
            votes[int(bank_y[row])] = votes.get(int(bank_y[row]), 0) + math.exp(cosine[row] / temperature)
        found.append(max(votes, key=votes.get))
    return torch.tensor(found)


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (7, 0.1), (20, 0.07), (50, 1.0)])
def test_knn_is_the_weighted_vote_one_query_at_a_time(generator, k, temperature):
    bank_h, query_h = torch.randn(50, 6, generator=generator), torch.randn(300, 6, generator=generator)
    bank_y = torch.randint(4, (50,), generator=generator)
    wanted = slow_knn(bank_h, bank_y, query_h, k, temperature)
    assert torch.equal(evaluation.knn_predict(bank_h, bank_y, query_h, k, temperature), wanted)


def test_knn_finds_each_image_in_a_bank_that_holds_it(generator):
    h, y = torch.randn(40, 6, generator=generator), torch.randint(5, (40,), generator=generator)
    assert evaluation.knn_accuracy(h, y, 3 * h, y, k=1) == 1


def test_knn_does_not_overflow_at_a_tiny_temperature(generator):
    h, y = torch.randn(40, 6, generator=generator), torch.randint(5, (40,), generator=generator)
    assert evaluation.knn_accuracy(h, y, h, y, k=20, temperature=1e-4) == 1


def test_nearest_neighbours_do_not_depend_on_the_chunk(generator):
    bank, query = torch.randn(30, 4, generator=generator), torch.randn(23, 4, generator=generator)
    assert torch.equal(
        evaluation.nearest_neighbours(bank, query, 5, chunk=4)[1], evaluation.nearest_neighbours(bank, query, 5)[1]
    )


def test_equal_votes_go_to_the_smaller_label():
    bank_h = torch.tensor([[3.0, 4.0], [3.0, -4.0]])
    for labels in ([2, 1], [1, 2]):
        assert evaluation.knn_predict(bank_h, torch.tensor(labels), torch.tensor([[1.0, 0.0]]), k=2).item() == 1


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"k": 11}, "k must be between 1 and the bank's 10"),
        ({"k": 0}, "k must be between 1"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"bank_y": torch.zeros(9, dtype=torch.int64)}, "one label a row"),
        ({"query_y": torch.zeros(3, dtype=torch.int64)}, "one label a row"),
        ({"query_h": torch.ones(4, 5)}, "use one encoder for both"),
        ({"bank_h": torch.full((10, 3), float("nan"))}, "NaN or infinity"),
        ({"query_h": torch.full((4, 3), float("inf"))}, "NaN or infinity"),
    ],
)
def test_knn_refuses_impossible_input_with_a_sentence(changes, words):
    sizes = {"bank_h": (10, 3), "query_h": (4, 3)}
    arguments = {name: torch.ones(size) for name, size in sizes.items()}
    arguments |= {"bank_y": torch.zeros(10, dtype=torch.int64), "query_y": torch.zeros(4, dtype=torch.int64), "k": 3}
    with pytest.raises(ValueError, match=words):
        evaluation.knn_accuracy(**(arguments | changes))


# whitening


def skewed(generator, rows: int = 400) -> torch.Tensor:
    """Rows of 6 numbers whose directions differ in variance by a factor of 10,000, around a point far from 0."""
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    return torch.randn(rows, 6, generator=generator) * torch.logspace(-2, 2, 6).sqrt() @ turn + 5


def test_white_rows_have_mean_0_and_the_identity_as_covariance(generator):
    h = skewed(generator)
    mean, matrix = evaluation.whitening(h, ridge=0)
    white = (h - mean) @ matrix
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(6), atol=1e-3, rtol=0)


def test_float64_rows_are_whitened_in_float64(generator):
    h = skewed(generator).double()
    mean, matrix = evaluation.whitening(h, ridge=0)
    torch.testing.assert_close(torch.cov(((h - mean) @ matrix).T), torch.eye(6).double(), atol=1e-5, rtol=0)


def test_a_ridge_leaves_weak_directions_weak(generator):
    h = skewed(generator)
    mean, matrix = evaluation.whitening(h, ridge=0.1)
    variances = torch.linalg.eigvalsh(torch.cov(h.T))
    wanted = variances / (variances + 0.1 * variances.mean())
    found = torch.linalg.eigvalsh(torch.cov(((h - mean) @ matrix).T))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)


def test_neighbours_of_white_rows_do_not_depend_on_an_invertible_map_of_h(generator):
    h, other = skewed(generator), torch.randn(6, 6, generator=generator)
    found = []
    for rows in (h, h @ other):
        mean, matrix = evaluation.whitening(rows, ridge=0)
        white = (rows - mean) @ matrix
        found.append(evaluation.nearest_neighbours(white[:300], white[300:], 3)[1])
    assert (found[0] == found[1]).float().mean() > 0.98  # float32
    assert (evaluation.nearest_neighbours(h[:300], h[300:], 3)[1] == found[0]).float().mean() < 0.5


def test_a_whitened_encoder_gives_white_rows_and_leaves_the_encoder_as_it_was(generator):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6))
    images = torch.randint(256, (300, 3, 8, 8), dtype=torch.uint8, generator=generator)
    h = evaluation.extract_features(encoder, images)
    white = evaluation.extract_features(evaluation.whitened(encoder, images), images)
    mean, matrix = evaluation.whitening(h)
    torch.testing.assert_close(white, (h - mean) @ matrix, atol=1e-4, rtol=1e-4)
    assert torch.equal(evaluation.extract_features(encoder, images), h)


def test_rows_that_are_all_equal_stay_finite_when_they_are_whitened():
    mean, matrix = evaluation.whitening(torch.full((20, 4), 3.0))
    assert ((torch.full((20, 4), 3.0) - mean) @ matrix).isfinite().all()


def test_k_nn_finds_a_class_in_a_weak_direction_after_whitening_alone(generator):
    y = torch.arange(400) % 2
    h = torch.randn(400, 3, generator=generator) * torch.tensor([5.0, 5.0, 0.1])
    h[:, 2] += 2 * y
    plain, white = evaluation.knn_plain_and_white(h[:200], y[:200], h[200:], y[200:])
    assert plain < 0.95 < 0.98 < white


def test_rows_are_whitened_by_the_bank_alone_and_their_neighbours_are_those_of_another_library(generator):
    y = torch.arange(400) % 4
    h = torch.randn(400, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + torch.eye(5)[y]
    bank, queries = h[:300], h[300:]
    _, white = evaluation.knn_plain_and_white(bank, y[:300], queries, y[300:])
    variances = np.cov(bank.T)
    lengths, directions = np.linalg.eigh(variances + 0.1 * np.diag(variances).mean() * np.eye(5))
    own = [(rows - bank.mean(dim=0)).numpy() @ directions / np.sqrt(lengths) for rows in (bank, queries)]
    voters = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1))
    assert white == voters.fit(own[0], y[:300]).score(own[1], y[300:])
    nobody = torch.full((100,), 9)  # has no such class in the bank
    far = torch.cat([queries, 1e3 * queries.flip(1)]), torch.cat([y[300:], nobody])
    assert evaluation.knn_plain_and_white(bank, y[:300], *far)[1] == white / 2


# linear probe, factors


def test_the_probe_finds_classes_that_planes_tell_apart(generator):
    y = torch.arange(90) % 3
    h = torch.randn(90, 5, generator=generator) + 8 * torch.eye(5)[y]
    assert evaluation.linear_probe(h[:60], y[:60], h[60:], y[60:]) == 1


def test_the_probe_cannot_learn_labels_that_are_noise(generator):
    h, y = torch.randn(1200, 5, generator=generator), torch.randint(2, (1200,), generator=generator)
    assert abs(evaluation.linear_probe(h[:200], y[:200], h[200:], y[200:]) - 0.5) < 5 * 0.5 / 1000**0.5


def test_the_probe_is_fitted_on_train_alone_even_where_it_could_learn_any_labels_by_heart(generator):
    h, y = torch.randn(400, 300, generator=generator), torch.randint(2, (400,), generator=generator)
    assert evaluation.linear_probe(h[:200], y[:200], h[:200], y[:200]) == 1  # more columns than rows
    assert abs(evaluation.linear_probe(h[:200], y[:200], h[200:], y[200:]) - 0.5) < 5 * 0.5 / 200**0.5


def test_the_scaler_of_the_probe_is_not_moved_by_test_rows_far_out(generator):
    y = torch.arange(120) % 2
    h = torch.randn(120, 2, generator=generator) * torch.tensor([0.01, 1.0])
    h[:, 0] += 0.06 * y
    far = h[60:].clone()
    far[::2, 0] += 1e4 * (2 * y[60::2] - 1)  # still on their own side
    assert evaluation.linear_probe(h[:60], y[:60], far, y[60:]) > 0.95


def test_the_probe_does_not_see_the_test_rows(generator):
    y = torch.arange(60) % 2
    h = torch.randn(60, 4, generator=generator) + 6 * y[:, None]
    alone = [evaluation.linear_probe(h, y, row[None], label[None]) for row, label in zip(h, y, strict=True)]
    assert evaluation.linear_probe(h, y, h, y) == pytest.approx(sum(alone) / 60)


def test_the_probe_refuses_nan_and_labels_that_do_not_match():
    h, y = torch.ones(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="NaN"):
        evaluation.linear_probe(h / 0 * 0, y, h, y)
    with pytest.raises(ValueError, match="one label a row"):
        evaluation.linear_probe(h, y[:3], h, y)


def test_a_factor_that_is_a_linear_map_of_h_has_r2_1_and_noise_has_none(generator):
    h, noise = torch.randn(400, 150, generator=generator), torch.randn(400, generator=generator)
    read = h[:, :6] @ torch.randn(6, 2, generator=generator)
    assert evaluation.factor_r2(h[:200], read[:200], h[200:], read[200:]) > 0.99
    assert evaluation.factor_r2(h[:200], noise[:200], h[:200], noise[:200]) > 0.5  # by heart, of so many columns
    assert evaluation.factor_r2(h[:200], noise[:200], h[200:], noise[200:]) < 0


def test_r2_takes_rows_in_bfloat16_that_carry_gradients(generator):
    h = torch.randn(200, 4, generator=generator)
    rows = h.bfloat16().requires_grad_()
    assert evaluation.factor_r2(rows[:100], h[:100, 0], rows[100:], h[100:, 0]) > 0.99


def test_almost_a_whole_turn_is_next_to_no_turn():
    points = evaluation.on_circle(torch.tensor([0.0, 0.999, 0.5]))
    assert (points[0] - points[1]).norm() < 0.01
    assert torch.allclose(points[2], torch.tensor([-1.0, 0.0]), atol=1e-6)


# alignment and uniformity


def test_alignment_is_2_minus_twice_the_mean_cosine(generator):
    z_a, z_b = torch.randn(2, 30, 5, generator=generator, dtype=torch.float64)
    cosine = nn.functional.cosine_similarity(z_a, z_b)
    assert evaluation.alignment(z_a, z_b).item() == pytest.approx((2 - 2 * cosine).mean().item())


def test_uniformity_is_the_log_of_the_mean_kernel_over_distinct_pairs(generator):
    z = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    u = (z / z.norm(dim=1, keepdim=True)).numpy()
    kernel = [math.exp(-2 * ((u[i] - u[j]) ** 2).sum()) for i in range(9) for j in range(9) if i != j]
    assert evaluation.uniformity(z).item() == pytest.approx(math.log(sum(kernel) / len(kernel)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_float32(dtype, generator):
    z_a, z_b = torch.randn(2, 40, 5, generator=generator).to(dtype)
    assert evaluation.alignment(z_a, z_b) == evaluation.alignment(z_a.float(), z_b.float())
    assert evaluation.uniformity(z_a) == evaluation.uniformity(z_a.float())
    labels = torch.arange(40) % 2
    half, whole = ((h.requires_grad_(), labels, h, labels) for h in (z_a, z_a.float()))
    assert evaluation.linear_probe(*half) == evaluation.linear_probe(*whole)


def test_equal_rows_are_aligned_and_not_uniform():
    z = torch.ones(5, 3)
    assert evaluation.alignment(z, 2 * z).item() == 0
    assert evaluation.uniformity(z).item() == 0


def test_uniformity_stays_in_its_range_where_every_potential_is_nearly_0():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    value = evaluation.uniformity(z, t=30)
    value.backward()
    assert value.item() == -120 and z.grad.isfinite().all()


def test_alignment_and_uniformity_refuse_impossible_input_with_a_sentence():
    with pytest.raises(ValueError, match="one shape"):
        evaluation.alignment(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="at least two rows"):
        evaluation.uniformity(torch.ones(1, 2))
    with pytest.raises(ValueError, match="NaN"):
        evaluation.uniformity(torch.full((3, 2), float("nan")))


# controls


def test_chance_is_how_often_test_has_the_most_frequent_class_of_train():
    assert controls.chance(torch.tensor([2, 2, 1]), torch.tensor([0, 1, 1, 2])) == 0.25


def test_a_random_encoder_depends_on_its_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (controls.random_encoder("resnet8", True, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_each_image_is_shifted_and_flipped_in_its_own_way(generator):
    picture = torch.arange(3 * 12 * 12).reshape(1, 3, 12, 12).repeat(40, 1, 1, 1)
    moved = controls.shift_and_flip(picture, generator)
    assert moved.shape == picture.shape
    assert len({tuple(image.flatten().tolist()) for image in moved}) > 20


def test_a_shifted_image_is_the_image_moved_with_its_edges_repeated(generator):
    row = torch.arange(8)
    picture = row.repeat(30, 3, 8, 1)  # every row reads 0 .. 7
    for image in controls.shift_and_flip(picture, generator, most=3):
        steps = {(row + right).clamp(0, 7).tolist().__str__() for right in range(-3, 4)}
        steps |= {str(eval(text)[::-1]) for text in steps}
        assert str(image[0, 0].tolist()) in steps


def test_a_classifier_fitted_with_labels_learns_them_and_leaves_the_encoder_alone(generator):
    y = torch.arange(60) % 2
    images = (torch.rand(60, 3, 16, 16, generator=generator) * 100 + 150 * y[:, None, None, None]).to(torch.uint8)
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for weight in encoder.parameters():
        weight.data.normal_(0, 0.3, generator=generator)
    before = encoder[0].weight.clone()
    classifier = controls.fit_classifier(encoder, images, y, num_classes=2, steps=60, base_lr=0.02)
    assert controls.accuracy(classifier, images, y) > 0.95
    assert torch.equal(encoder[0].weight, before)
    assert not classifier.training


def test_a_fitted_classifier_depends_on_its_seed_alone(generator, images, encoder):
    y = torch.arange(11) % 3
    fits = [controls.fit_classifier(encoder[:3], images, y, 3, steps=3, seed=seed)[1].weight for seed in (5, 5, 6)]
    assert torch.equal(fits[0], fits[1]) and not torch.equal(fits[0], fits[2])


# maps


@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # umap looks for it
@pytest.mark.parametrize("method", ["t-SNE", "UMAP"])
def test_a_map_keeps_two_far_groups_apart(method, generator):
    h = torch.randn(60, 10, generator=generator) + 20 * torch.eye(10)[torch.arange(60) % 2]
    points = latent_space.project(h, method)
    assert points.shape == (60, 2) and points.min() == 0 and points.max() == 1
    nearest = torch.cdist(points, points).fill_diagonal_(9).argmin(dim=1)
    assert (nearest % 2 == torch.arange(60) % 2).all()


def test_the_accuracy_on_a_map_is_that_of_each_image_asked_of_all_others(generator):
    h, labels = torch.randn(60, 4, generator=generator, dtype=torch.float64), torch.arange(60) % 3
    right = 0
    for i in range(60):
        others = torch.arange(60) != i
        right += evaluation.knn_accuracy(h[others], labels[others], h[i : i + 1], labels[i : i + 1], k=20)
    assert latent_space.embedding_map(h, labels).knn == pytest.approx(right / 60)


@pytest.mark.parametrize("start", [torch.zeros(20, 2), torch.rand(19, 2), torch.full((20, 2), float("nan"))])
def test_a_map_does_not_begin_at_one_point_or_elsewhere_than_its_rows(generator, start):
    with pytest.raises(ValueError, match="start"):
        latent_space.project(torch.randn(20, 4, generator=generator), "t-SNE", start=start)


def test_an_unknown_map_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="t-SNE"):
        latent_space.project(torch.ones(20, 3), "PCA")


# the encoder that comes with the course


def test_the_encoder_that_comes_with_the_course_is_the_one_its_results_file_tells_of():
    told = json.loads((ROOT / "data/results/encoder.json").read_text(encoding="utf-8"))
    _, recipe = checkpoints.load_model(ROOT / "data/encoder.safetensors")
    assert json.loads(json.dumps(recipe)) == told["recipe"]
    assert (ROOT / "data/encoder.safetensors").stat().st_size < 1_000_000


def test_the_encoder_that_comes_with_the_course_finds_neighbours_where_a_random_one_does_not():
    model, recipe = checkpoints.load_model(ROOT / "data/encoder.safetensors")
    images, labels, _ = shapes.render(1200, seed=77)
    found = []
    for encoder in (model.encoder, controls.random_encoder(recipe["arch"], recipe["small_images"], 0)):
        h = evaluation.extract_features(encoder, images)
        found.append(evaluation.knn_accuracy(h[:900], labels[:900], h[900:], labels[900:]))
    assert found[0] > 0.8 > 0.5 > found[1]


def test_the_encoder_that_comes_with_the_course_beats_its_controls():
    rows = json.loads((ROOT / "data/results/encoder.json").read_text(encoding="utf-8"))["test_accuracy"]
    for control in ("chance", "pixels, 16 × 16", "random encoder, h"):
        for measure in ("knn", "probe"):
            assert rows["this checkpoint, h"][measure] > rows[control][measure], (control, measure)


# the command line


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    encoder, feature_dim = build_encoder("resnet8", small_images=True)
    recipe = {"arch": "resnet8", "small_images": True, "hidden_dim": 16, "out_dim": 8}
    model = SimCLR(encoder, ProjectionHead(feature_dim, 16, 8))
    checkpoints.save_checkpoint(tmp_path / "checkpoint.pt", {"model": model.state_dict(), "recipe": recipe})
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def folder(tmp_path):
    """Two classes, dark and light, 24 pictures each; the dark ones alone; and pictures without a class."""
    from PIL import Image

    numbers = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(24):
            pixels = numbers.integers(100, size=(32, 32, 3)) + 150 * label
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "own" / name / f"{index:02}.png")
    shutil.copytree(tmp_path / "own" / "dark", tmp_path / "one" / "dark")
    (tmp_path / "loose").mkdir()
    for index in range(10):
        Image.new("RGB", (32, 32), (20 * index, 0, 0)).save(tmp_path / "loose" / f"{index}.png")
    return tmp_path


def test_the_command_line_prints_every_control_and_h_and_z(checkpoint, folder, capsys):
    exit_code = evaluation.main([str(checkpoint), "--data", f"folder:{folder / 'own'}", "--supervised", "1"])
    printed = capsys.readouterr().out
    assert exit_code == 0
    for name in (
        "chance",
        "pixels, 16 × 16",
        "random encoder, h",
        "this checkpoint, z",
        "this checkpoint, h",
        "supervised from scratch",
    ):
        assert name in printed
    lines = printed.splitlines()
    assert lines[1].split()[:3] == ["k-NN", "white", "probe"]
    assert all(line.count("%") == 3 for line in lines[2:])
    assert next(line for line in lines if line.startswith("pixels")).endswith("100.0%")


def test_a_row_of_the_table_holds_the_accuracies_of_test_rows_asked_of_train_rows(checkpoint):
    pictures, labels, _ = shapes.render(160, seed=4)
    train = data.ImageSet(pictures[:120], labels[:120], shapes.CLASSES)
    test = data.ImageSet(pictures[120:], labels[120:], shapes.CLASSES)
    model, recipe = checkpoints.load_model(checkpoint)
    rows = {name: numbers for name, *numbers in evaluation.table(model, recipe, train, test, None)}
    flat = {"pixels, 16 × 16": torch.nn.functional.avg_pool2d(pictures / 255, 2).flatten(1)}
    h = evaluation.extract_features(model.encoder, pictures)
    for name, both in (flat | {"this checkpoint, h": h, "this checkpoint, z": model.head(h).detach()}).items():
        known, asked = both[:120].numpy(), both[120:].numpy()
        assert rows[name][1] == evaluation.knn_plain_and_white(both[:120], train.labels, both[120:], test.labels)[1]
        voters = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1))
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        for measured, model_of_it in ((rows[name][0], voters), (rows[name][2], probe)):
            wanted = model_of_it.fit(known, train.labels).score(asked, test.labels)
            assert abs(measured - wanted) <= 1 / 40, name  # one query, on the edge of two classes


def test_the_controls_of_an_encoder_with_group_norm_have_group_norm(monkeypatch):
    recipe = Recipe(arch="resnet8", group_norm=True)
    pictures, labels, _ = shapes.render(40, seed=4)
    images, normed = data.ImageSet(pictures, labels, shapes.CLASSES), []
    extract = evaluation.extract_features

    def seen(encoder, images):
        normed.append(any(isinstance(part, torch.nn.GroupNorm) for part in encoder.modules()))
        return extract(encoder, images)

    monkeypatch.setattr(evaluation, "extract_features", seen)
    list(evaluation.table(build_model(recipe), asdict(recipe), images, images, 1))
    assert normed == [False, False] + [True] * 8  # pixels; then two calls a row


def test_the_command_line_measures_pictures_of_the_size_it_is_given(checkpoint, folder, monkeypatch):
    sizes = set()
    monkeypatch.setattr(
        evaluation, "table", lambda model, recipe, *sets: sizes.update(x.images.shape for x in sets[:2]) or []
    )
    evaluation.main([str(checkpoint), "--data", f"folder:{folder / 'own'}", "--image-size", "48"])
    assert {shape[2:] for shape in sizes} == {(48, 48)}


@pytest.mark.parametrize(
    "file, images, words",
    [
        ("missing.pt", "shapes", "There is no checkpoint"),
        ("short.pt", "shapes", "cut short"),
        ("foreign.pt", "shapes", "not a checkpoint of this course"),
        ("checkpoint.pt", "folder:loose", "no labels"),
        ("checkpoint.pt", "folder:one", "has one class, 'dark'; an accuracy needs two"),
        ("checkpoint.pt", "nowhere", "There is no data set"),
    ],
)
def test_the_command_line_says_in_one_sentence_what_is_wrong(
    file, images, words, checkpoint, folder, capsys, monkeypatch
):
    monkeypatch.chdir(folder)
    whole = checkpoint.read_bytes()
    (folder / "short.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"weights": torch.ones(3)}, folder / "foreign.pt")
    exit_code = evaluation.main([file, "--data", images])
    told = capsys.readouterr().err
    assert exit_code == 1
    assert words in told and len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "problem, code, words",
    [(KeyboardInterrupt(), 130, "Stopped."), (torch.OutOfMemoryError("CUDA out of memory"), 1, "too little memory")],
)
def test_what_ends_the_command_early_is_told_in_a_sentence(checkpoint, capsys, monkeypatch, problem, code, words):
    def table(*_):
        raise problem

    monkeypatch.setattr(evaluation, "table", table)
    assert evaluation.main([str(checkpoint)]) == code
    assert words in capsys.readouterr().err


def test_the_module_runs_from_the_command_line(tmp_path):
    command = [sys.executable, "-m", "helpers.evaluation", str(tmp_path / "missing.pt")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "There is no checkpoint" in done.stderr and "Traceback" not in done.stderr
