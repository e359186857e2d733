"""The benchmark's own arithmetic: turns, ratios, memory, tables, figures. Nothing here says what is fast."""

import io
import sys

import pytest
import torch

from grading.bench import figures, loss, measure, profile, race, table, views
from helpers import training


def found(median: float, low: float | None = None, high: float | None = None) -> dict:
    return {"median": median, "spread": [median if low is None else low, median if high is None else high]}


NUMBERS = {
    "augment-exact/torchvision-pil": 6.5,
    "augment-exact/torchvision-pil/spread": [6.1, 7.0],
    "left_out": {"augment/kornia": "kornia is not there"},
    "peers": {"lightly": "1.6.0"},
    "views_seconds_an_image": {"32": {views.EXACT: found(1.5e-4, 1.4e-4, 1.7e-4), views.PIL: found(1e-3)}},
    "loss_seconds": {"64": {loss.OURS: found(1e-3), loss.LIGHTLY: found(2e-3)}, "4096": {loss.OURS: found(0.6)}},
    "loss_mib": {"64": {loss.OURS: found(2.0), loss.LIGHTLY: found(3.0)}, "4096": {loss.OURS: found(30.0)}},
    "step_seconds_an_image": {"Two Views": found(0.004), "lightly": found(0.02)},
    "seconds_by_cores": {"1": {"views": found(0.1)}, "2": {"views": found(0.06)}},
}


def test_every_runner_runs_in_every_round_and_whoever_began_a_round_ends_the_next():
    order = []
    runners = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = race.race(runners, rounds=3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"  # once to warm up
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_race_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    race.race({"a": lambda: None}, rounds=1, threads=before + 1)
    assert torch.get_num_threads() == before


def test_a_ratio_is_the_median_of_the_rounds_with_the_lowest_and_the_highest():
    assert race.ratio({"ours": [1.0, 2.0, 4.0], "theirs": [10.0, 10.0, 10.0]}, "ours", "theirs") == (5.0, [2.5, 10.0])


def test_seconds_are_summed_up_for_each_image():
    assert race.summary({"a": [2.0, 1.0, 6.0]}, per=2) == {"a": {"median": 1.0, "spread": [0.5, 3.0]}}


def test_ratios_come_first_and_nothing_that_was_left_out_is_forgotten():
    together = measure.merged([{"x": 1, "left_out": {"a/b": "why"}}, {"c/d": 2, "left_out": {"e/f": "because"}}])
    assert next(iter(together)) == "c/d" and together["left_out"] == {"a/b": "why", "e/f": "because"}


def test_torchvisions_views_are_as_many_as_large_and_as_bright_as_ours():
    images = views.pictures(5)
    x_a, x_b = views.torchvision_pil(images, 32)
    assert x_a.shape == x_b.shape == (5, 3, 32, 32) and x_a.dtype == torch.float32
    assert 0 <= x_a.min() and x_a.max() <= 1 and not torch.equal(x_a, x_b)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's record of a process's peak")
def test_the_measured_memory_of_the_loss_in_blocks_grows_as_n_and_of_the_matrix_as_n_squared():
    small, large = (loss.peak_mib(loss.OURS, n) for n in (1024, 4096))
    assert 0 < large < 8 * small  # four times, and the blocks
    matrix = 4 * 2048**2 / 2**20  # MiB of one for N = 1024
    assert loss.peak_mib(loss.PLAIN, 1024) > 2 * matrix


def test_the_encoders_share_of_a_step_is_a_share():
    recipe = training.Recipe(small_images=True, view_size=8, epochs=1, batch_size=8, hidden_dim=16, out_dim=8)
    model, images = training.build_model(recipe), views.pictures(32)
    run = lambda on_step: training.pretrain(model, images, training.views_of(recipe), recipe, on_step=on_step)  # noqa: E731
    inside, whole = profile.encoder_seconds(model.encoder, run)
    assert 0 < inside < whole
    assert not model.encoder._forward_hooks and not model.encoder._forward_pre_hooks


def test_the_table_shows_ratios_their_spread_and_why_one_is_missing():
    text = table.table(NUMBERS)
    assert "| augment-exact/torchvision-pil | 6.5 | 6.1 to 7 |" in text
    assert "| augment/kornia | not measured | kornia is not there |" in text
    assert "| Two Views | 150 (140–170) |" in text and "| lightly | 2 | – |" in text


@pytest.mark.parametrize("draw", [figures.memory, figures.speeds])
def test_a_figure_has_named_axes_and_is_the_same_file_for_the_same_numbers(draw):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        figure = draw(NUMBERS)
        assert all(ax.get_xlabel() for ax in figure.axes)
        figure.savefig(file, format="svg", metadata={"Date": None})
        figures.plt.close(figure)
    assert files[0].getvalue() == files[1].getvalue()
