"""The findings: their loop is the course's, their measures are what they say, their verdicts follow from intervals."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from data import findings as command
from data import record
from helpers import findings, plots, training
from helpers.data import DataError, load_images
from helpers.findings import catalogue, core, notebook
from helpers.findings.catalogue import FINDINGS
from helpers.losses import sup_con
from helpers.projection_head import SimCLR


@pytest.fixture(scope="module")
def lab() -> core.Lab:
    images = load_images("shapes", "train")
    bank, queries = images.subset(torch.arange(64)), images.subset(torch.arange(64, 100))
    return core.Lab(bank, queries, training.Recipe(epochs=1, batch_size=16, hidden_dim=16, out_dim=12))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The catalogue --------------------------------------------------------------------------------------------------------


def test_there_are_fourteen_findings():
    assert len(FINDINGS) == len(catalogue.ALL) == 14


@pytest.mark.parametrize("finding", catalogue.ALL, ids=lambda finding: finding.name)
def test_a_finding_measures_every_number_its_claim_is_about(lab, finding):
    rows = {
        name: {key: [value] for key, value in numbers.items()}
        for name, numbers in finding.measure(lab, finding.conditions)
    }
    assert tuple(rows) == finding.conditions and set(finding.quick) <= set(finding.conditions)
    assert len({tuple(numbers) for numbers in rows.values()}) == 1
    assert all(math.isfinite(value) for numbers in rows.values() for [value] in numbers.values())
    assert len(core.judged(finding, rows)) == len(finding.contrasts) > 0


@pytest.fixture
def trained(lab, monkeypatch):
    """A function: finding, condition -> (recipe, loss, pictures, model) of each training it would do; nothing is trained."""
    calls = []

    def train(lab, two_views=None, loss=None, model=None, images=None):
        model = (model or training.build_model(lab.recipe)).eval()
        calls.append((lab.recipe, loss, len(images or lab.bank), model))
        return model

    def trainings(name, condition):
        calls.clear()
        list(FINDINGS[name].measure(lab, (condition,)))
        return list(calls)

    monkeypatch.setattr(catalogue, "train", train)
    return trainings


VARIED = {
    "temperature": lambda recipe, condition: {"temperature": float(condition)},
    "strength": lambda recipe, condition: {"strength": float(condition)},
    "stem": lambda recipe, condition: {"small_images": condition == "small-image stem"},
    "batch_size": lambda recipe, condition: {
        "batch_size": int(condition),
        "base_lr": recipe.base_lr * math.sqrt(int(condition) / recipe.batch_size),
    },
}


@pytest.mark.parametrize("name", VARIED)
def test_a_finding_about_a_setting_trains_with_what_its_conditions_say_and_all_else_alike(lab, trained, name):
    for condition in FINDINGS[name].conditions:
        wanted = replace(lab.recipe, **VARIED[name](lab.recipe, condition))
        pictures = [64, 6] if name == "strength" else [64]  # its classifier has a tenth of the labels
        assert [(recipe, count) for recipe, _, count, _ in trained(name, condition)] == [(wanted, n) for n in pictures]


def uniformity(z):
    return torch.pdist(nn.functional.normalize(z)).square().mul(-2).exp().mean().log()


@pytest.mark.parametrize("name", ["two_forces", "no_negatives", "sup_con"])
def test_a_finding_about_losses_trains_with_the_loss_its_condition_names(lab, trained, name):
    z_a, z_b = torch.randn(2, 6, 12, generator=seeded(4), dtype=torch.float64)
    labels, cosine = torch.tensor([0, 1, 2, 0, 1, 2]), nn.functional.cosine_similarity(z_a, z_b).mean()
    picked = torch.cat([z_a, z_b]).log_softmax(dim=1)[torch.arange(12), labels.repeat(2)]
    apart, tau = (uniformity(z_a) + uniformity(z_b)) / 2, lab.recipe.temperature
    wanted = {
        "alignment alone": 2 - 2 * cosine, "uniformity alone": apart, "both": 2 - 2 * cosine + apart,
        "positives alone": -cosine / tau, "cross-entropy": -picked.mean(), "SupCon": sup_con(z_a, z_b, labels, tau),
    }  # fmt: skip
    for condition in FINDINGS[name].conditions:
        [(recipe, loss, pictures, _)] = trained(name, condition)
        assert recipe == lab.recipe and pictures == (6 if name == "sup_con" else 64)
        assert (loss is None) == (condition in ("NT-Xent", "with negatives"))
        assert loss is None or loss(z_a, z_b, labels).item() == pytest.approx(wanted[condition].item())


@pytest.mark.parametrize("name", ["head", "spectrum"])
def test_a_finding_about_heads_trains_none_one_layer_and_two(trained, name):
    for layers, condition in enumerate(("none", "linear", "non-linear")):
        [(*_, model)] = trained(name, condition)
        assert sum(isinstance(part, nn.Linear) for part in model.head.modules()) == layers


@pytest.mark.parametrize("condition", [*catalogue.OPERATIONS, *catalogue.PAIRS])
def test_one_view_of_a_composition_goes_through_its_operations_and_the_other_is_the_image(lab, monkeypatch, condition):
    for place, name in enumerate(catalogue.OPERATIONS, start=1):
        monkeypatch.setitem(catalogue.OPERATIONS, name, lambda x, generator, place=place: 10 * x + place)

    def train(lab, two_views):
        x_a, x_b = two_views(lab.bank.images[:3], seeded())
        wanted = x = lab.bank.images[:3] / 255
        for name in condition.split(" + "):
            wanted = 10 * wanted + [*catalogue.OPERATIONS].index(name) + 1
        assert torch.allclose(x_a, wanted) and torch.allclose(x_b, x)
        return training.build_model(lab.recipe).eval()

    monkeypatch.setattr(catalogue, "train", train)
    assert len(list(catalogue.composition(lab, (condition,)))) == 1


@pytest.mark.parametrize("finding", catalogue.ALL, ids=lambda finding: finding.name)
def test_a_small_run_shows_some_contrast_and_its_choices_differ(finding):
    shown = [pair for pair in finding.contrasts if {pair[0][0], pair[1][0]} <= set(finding.quick)]
    assert shown and len(set(finding.choices)) == len(finding.choices) >= 3


def test_whole_and_large_numbers_of_a_finding_are_printed_without_a_fraction():
    assert [plots.number("directions", value) for value in (3.0, 1024.0, 20_000, 1234.5, 0.0)] == ["3", "1,024", "20,000", "1,234", "0"]  # fmt: skip
    assert [plots.number("directions", value) for value in (3.14159, 0.00123)] == ["3.14", "0.00123"]
    assert plots.number("knn", 1.0) == "100.0%"
    assert notebook.in_words({"ours": {"directions": [8, 8]}}) == "ours: directions 8"


# Training and measures ------------------------------------------------------------------------------------------------


def test_where_batches_divide_the_pictures_the_loop_gives_the_very_weights_of_pretrain(lab):
    recipe = replace(lab.recipe, epochs=2)
    ours = core.train(replace(lab, recipe=recipe))
    theirs = training.build_model(recipe)
    training.pretrain(theirs, lab.bank.images, training.views_of(recipe), recipe)
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("change", [{"views": 4}, {"decoupled": True}], ids=str)
def test_the_loop_refuses_settings_it_does_not_train_with(lab, change):
    with pytest.raises(ValueError, match="two views and NT-Xent"):
        core.train(replace(lab, recipe=replace(lab.recipe, **change)))


@pytest.mark.parametrize("norm", [False, True])
def test_the_heads_of_an_experiment_have_the_recipes_normalisation(lab, norm):
    recipe = replace(lab.recipe, head_norm=norm)
    [(_, model)] = catalogue.with_heads(replace(lab, recipe=recipe), ("non-linear",))
    assert any(isinstance(layer, torch.nn.BatchNorm1d) for layer in model.head.modules()) == norm


def test_the_recipe_of_an_experiment_on_photographs_can_be_trained_by_the_loop(photographs):
    recipe = command.laboratory(0, f"folder:{photographs / 'labelled'}").recipe
    assert (recipe.views, recipe.decoupled) == (2, False)


def test_fewer_pictures_are_seen_as_many_times_more_often(lab):
    seen = []

    def watched(images, generator):
        seen.append(len(images))
        return training.views_of(lab.recipe)(images, generator)

    core.train(lab, watched, images=lab.bank.subset(torch.arange(16)))
    assert seen == [16, 16, 16, 16]


def test_contrastive_accuracy_counts_anchors_whose_nearest_is_their_positive():
    z_a, z_b = torch.randn(2, 9, 4, generator=seeded(1))
    z_b = z_a + 0.7 * z_b
    z, right = torch.cat([z_a, z_b]), 0
    for i in range(18):
        others = [k for k in range(18) if k != i]
        right += max(others, key=lambda k: torch.cosine_similarity(z[i], z[k], dim=0)) == (i + 9) % 18
    assert core.contrastive_accuracy(z_a, z_b) == pytest.approx(right / 18)


@pytest.mark.parametrize("used", [1, 3, 8])
def test_effective_rank_of_equal_directions_is_their_number(used):
    directions = torch.linalg.qr(torch.randn(8, 8, generator=seeded(2)))[0][:used]
    rows = torch.cat([directions, -directions]) + 5
    assert core.effective_rank(rows) == pytest.approx(used, rel=1e-4)


def test_the_spectrum_has_singular_values_as_shares_of_the_first():
    directions = (
        torch.linalg.qr(torch.randn(8, 8, generator=seeded(2)))[0] * torch.tensor([8.0, 4, 2, 1, 1, 1, 1, 0.5])[:, None]
    )
    found = core.spectrum(torch.cat([directions, -directions]) + 5, 100)
    assert found == pytest.approx({1: 1, 2: 0.5, 4: 0.125, 8: 0.0625})


def test_a_spectrum_is_drawn_as_curves_a_panel_for_h_and_one_for_z():
    numbers = {f"σ{place} of {name}": [1 / place, 1.1 / place] for name in "hz" for place in (1, 2, 4)}
    figure = plots.finding({"none": numbers, "linear": numbers}, "spectrum", "projection head")
    assert [ax.get_title() for ax in figure.axes] == ["singular values of h", "singular values of z"]
    assert [len(ax.lines) for ax in figure.axes] == [6, 6]  # two seeds and a mean, twice
    assert notebook.in_words({"none": numbers | {"rank of h": [3.0, 3.0]}}) == "none: rank of h 3"


def test_spread_is_zero_in_a_point_and_one_all_around_the_sphere():
    assert core.spread(torch.ones(50, 16) * torch.arange(1.0, 51)[:, None]) == pytest.approx(0, abs=1e-5)
    assert core.spread(torch.randn(4000, 16, generator=seeded(3))) == pytest.approx(1, abs=0.01)


# Views ----------------------------------------------------------------------------------------------------------------


def test_bits_are_the_same_in_both_views_and_differ_between_images(lab):
    two_views = catalogue.with_bits(training.views_of(lab.recipe), 12)
    x_a, x_b = two_views(lab.bank.images, seeded(4))
    rows = [torch.cat([x[:, 0, 0, ::4], x[:, 0, 4, :16:4]], dim=1) for x in (x_a, x_b)]  # (N, 12)
    assert torch.equal(*rows) and set(rows[0].unique().tolist()) == {0.0, 1.0}
    assert len(rows[0].unique(dim=0)) > 55
    assert not torch.equal(x_a[:, :, 8:], x_b[:, :, 8:])


def test_cutout_covers_a_quarter_of_every_image_at_places_of_its_own():
    images = torch.zeros(40, 3, 16, 16)
    covered = catalogue.cutout(images, seeded(5)) == 0.5
    assert (covered.flatten(1).float().mean(dim=1) == 0.25).all() and len(covered.flatten(1).unique(dim=0)) > 25


def test_in_the_composition_one_view_is_the_image_itself(lab):
    x_a, x_b = catalogue.composed([catalogue.crop, catalogue.color])(lab.bank.images, seeded(6))
    assert torch.equal(x_b, lab.bank.images / 255) and not torch.equal(x_a, x_b)


# Verdicts -------------------------------------------------------------------------------------------------------------

ONE = replace(FINDINGS["stem"], contrasts=((("a", "knn"), ("b", "knn")),))


def test_the_interval_of_a_contrast_is_students_t_of_the_paired_differences():
    a, b = [0.5, 0.7, 0.6, 0.9], [0.4, 0.65, 0.3, 0.7]
    [found] = core.judged(ONE, {"a": {"knn": a}, "b": {"knn": b}})
    wanted = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found["low"], found["high"]) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


@pytest.mark.parametrize(
    "a, said",
    [
        ([0.8, 0.81, 0.82], "reproduced"),
        ([0.1, 0.11, 0.12], "not reproduced"),
        ([0.4, 0.6, 0.55], "unresolved"),
        ([0.8], "unresolved"),
    ],
)
def test_the_verdict_follows_from_where_the_intervals_lie(a, said):
    rows = {"a": {"knn": a}, "b": {"knn": [0.5, 0.5, 0.5][: len(a)]}}
    assert core.verdict(core.judged(ONE, rows)) == said


def test_conditions_without_a_contrast_among_them_say_nothing():
    assert core.verdict(core.judged(ONE, {"a": {"knn": [0.8, 0.9]}})) == "unresolved"


def test_one_contrast_the_wrong_way_is_enough_for_not_reproduced():
    assert core.verdict([{"low": 0.1, "high": 0.2}, {"low": -0.3, "high": -0.1}]) == "not reproduced"


# In a notebook, and as a command --------------------------------------------------------------------------------------


def test_without_a_guess_nothing_runs_and_the_choices_are_told(capsys, monkeypatch):
    monkeypatch.setattr(notebook, "small_lab", lambda *settings: pytest.fail("it ran"))
    findings.predict("temperature", None)
    said = capsys.readouterr().out
    assert all(choice in said for choice in FINDINGS["temperature"].choices)


@pytest.mark.parametrize("name", FINDINGS)
def test_the_reading_edition_shows_the_whole_run_and_trains_nothing(capsys, monkeypatch, name):
    monkeypatch.setenv("COURSE_READING", "1")
    monkeypatch.setattr(notebook, "small_lab", lambda *settings: pytest.fail("it ran"))
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(alt))
    findings.predict(name, None)
    said = capsys.readouterr().out
    assert FINDINGS[name].source in said and "Set guess" not in said
    assert " ".join(said.split()).startswith(FINDINGS[name].question)
    assert max(map(len, said.splitlines())) <= 130
    assert bool(shown) == (notebook.results_of(name) is not None)


def test_a_guess_runs_the_small_version_and_sets_it_beside_the_whole_and_the_paper(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_QUICK", "1")
    findings.predict("histogram", "hardly")
    said = capsys.readouterr().out
    assert 'You predicted: "hardly"' in said and "figure 6" in said and "The whole experiment" in said


def test_the_small_run_of_a_costly_finding_has_a_share_of_the_pictures(monkeypatch):
    monkeypatch.setenv("COURSE_QUICK", "1")
    whole, part = notebook.small_lab(0), notebook.small_lab(0, FINDINGS["stem"].share)
    assert len(part.bank) == len(whole.bank) / 4 and len(part.queries) == len(whole.queries)


def test_every_finding_has_one_cell_in_the_notebooks_that_asks_for_a_prediction():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((Path(__file__).parent.parent / "grading/source").glob("*.py"))
    )
    assert sorted(re.findall(r'^predict\("(\w+)", guess\)$', sources, re.MULTILINE)) == sorted(FINDINGS)


def test_a_verdict_on_some_of_the_contrasts_says_how_many():
    rows = {"crop": {"knn": [0.1, 0.2]}, "crop + color": {"knn": [0.3, 0.4]}}
    finding = FINDINGS["composition"]
    assert core.partly(finding, core.judged(finding, rows)) == " in the 1 of 9 differences that were asked"
    assert core.partly(ONE, core.judged(ONE, {"a": {"knn": [0.1]}, "b": {"knn": [0.3]}})) == ""


def test_what_was_found_on_photographs_stands_below_the_whole_run(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(notebook, "RESULTS", tmp_path)
    for name, value in (("head", 0.9), ("head-cifar10", 0.5)):
        found = {"seeds": [0, 1], "verdict": "unresolved", "rows": {"none": {"knn": [value, value]}}}
        found["contrasts"] = [{}] * len(FINDINGS["head"].contrasts)
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    notebook.tell_whole_run("head")
    said = capsys.readouterr().out
    assert "The whole experiment, 2 seeds: unresolved\n    none: knn 90.0%\n" in said
    assert "The same on photographs, CIFAR-10, 2 seeds: unresolved\n    none: knn 50.0%\n" in said


def test_few_labels_are_asked_of_a_frozen_a_fine_tuned_and_an_untrained_encoder(lab, monkeypatch):
    fits, real, probed = [], catalogue.controls.fit_classifier, []
    untrained = catalogue.controls.random_encoder(lab.recipe.arch, lab.recipe.small_images, lab.recipe.seed)
    pretrained, real_features = core.train(lab).encoder, catalogue.evaluation.extract_features

    def same(one, other):
        return all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )

    def features(encoder, images):
        probed.append((len(images), same(encoder, pretrained)))
        return real_features(encoder, images)

    def watched(encoder, images, labels, num_classes, steps, seed):
        fits.append((len(images), steps))
        assert same(encoder, pretrained if len(fits) % 2 else untrained)
        return real(encoder, images=images, labels=labels, num_classes=num_classes, steps=steps, seed=seed)

    monkeypatch.setattr(catalogue.controls, "fit_classifier", watched)
    monkeypatch.setattr(catalogue.evaluation, "extract_features", features)
    rows = dict(catalogue.few_labels(lab, ("1 %", "100 %")))
    assert all({"frozen", "fine-tuned", "from scratch", "gain"} == set(numbers) for numbers in rows.values())
    assert probed == [(20, True), (len(lab.queries), True), (64, True), (len(lab.queries), True)]  # frozen
    assert fits == [(20, 2), (20, 6), (64, 2), (64, 6)]  # from scratch as long as pretraining (4 steps) and fine-tuning


def test_an_unknown_finding_is_one_sentence(capsys):
    findings.predict("gravity", "down")
    assert command.main(["gravity"]) == 1
    out, err = capsys.readouterr()
    assert "no finding 'gravity'" in out and "no finding 'gravity'" in err


def test_the_command_writes_every_seeds_numbers_the_intervals_the_verdict_and_a_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path), monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert command.main(["histogram", "--seeds", "0", "1"]) == 0
    result = json.loads((tmp_path / "findings/histogram.json").read_text(encoding="utf-8"))
    assert result["seeds"] == [0, 1] and result["verdict"] in ("reproduced", "unresolved")
    assert all(len(numbers["identified"]) == 2 for numbers in result["rows"].values())
    assert {"command", "versions", "machine", "recipe", "contrasts"} <= result.keys()
    assert (tmp_path / "findings/histogram.png").stat().st_size > 5000
    assert "histogram" in capsys.readouterr().out
    page = (tmp_path / "findings/README.md").read_text(encoding="utf-8").splitlines()
    assert page[-1].startswith("| [histogram](histogram.png) |") and f"| {result['verdict']}, 2 seeds |" in page[-1]


def test_without_a_name_the_figures_are_drawn_from_the_results_that_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path), monkeypatch.setattr(command, "RESULTS", tmp_path)
    command.main(["histogram", "--seeds", "0", "1"])
    figure, page = tmp_path / "findings/histogram.png", tmp_path / "findings/README.md"
    drawn, written = figure.read_bytes(), page.read_text(encoding="utf-8")
    figure.unlink(), page.unlink()
    assert command.main([]) == 0
    assert figure.read_bytes() == drawn and page.read_text(encoding="utf-8") == written


def test_the_verdicts_the_table_and_the_spreads_in_the_repository_follow_from_the_numbers_of_the_seeds():
    for folder in ("findings", "findings/again"):
        for name, each in command.results(folder).items():
            follows = command.told(FINDINGS[each["finding"]["name"]], each["rows"], each["seeds"])
            assert json.loads(json.dumps(follows)) == {key: each[key] for key in follows}, f"{name}: {AFRESH}"
    assert set(FINDINGS) <= set(command.results()), "each of them was measured"
    page = record.RESULTS / "findings" / "README.md"
    assert page.read_text(encoding="utf-8") == command.page(), AFRESH


AFRESH = "run `python -m data.findings`"


def test_the_spread_of_a_number_is_its_standard_deviation_over_seeds():
    rows = {"a": {"knn": [0.5, 0.7, 0.6]}, "b": {"knn": [0.5, 0.5, 0.5]}}
    summary = command.told(ONE, rows, [0, 1, 2])["summary"]
    assert summary["a"]["knn"] == {"mean": 0.6, "spread": 0.1} and summary["b"]["knn"]["spread"] == 0


def test_controls_are_what_needs_no_training(lab):
    numbers = command.controls(lab)
    assert list(numbers) == ["chance", "raw pixels", "random encoder"]
    assert all(0 < value < 1 for value in numbers.values())


def test_a_run_has_only_the_conditions_it_is_asked_for():
    rows = command.run("histogram", ("1", "0"), 0, "shapes")
    assert list(rows) == ["1", "0"] and rows["0"]["identified"] > rows["1"]["identified"]


def test_every_small_run_was_measured_to_take_less_than_two_minutes():
    measured = json.loads((command.RESULTS / "timings.json").read_text(encoding="utf-8"))["predictions"]
    assert list(measured) == list(FINDINGS) and all(each["seconds"] < 120 for each in measured.values())


def test_a_finding_whose_encoders_learned_nothing_is_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    (tmp_path / "findings_controls.json").write_text('{"knn": {"random encoder": [0.3, 0.32]}}')
    for best, marked in ((0.3, True), (0.4, False)):
        summary = {"a": {"knn": {"mean": 0.2}}, "b": {"knn": {"mean": best}}}
        assert command.untaught({"data": "shapes", "summary": summary}) is marked
    assert not command.untaught({"data": "cifar10", "summary": summary})
    assert not command.untaught({"data": "shapes", "summary": {"a": {"probe": {"mean": 0.1}}}})


@pytest.fixture
def photographs(tmp_path):
    """A folder of two classes, and one without."""
    for name in ("labelled/cat", "labelled/dog", "loose"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (32, 32), (50 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_photographs_are_not_asked_for_factors(photographs, capsys):
    left = command.answerable(["head", "forgotten"], f"folder:{photographs / 'labelled'}")
    assert left == ["head"] and "forgotten is left out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["shapes", "cifar10", "stl10"])
def test_a_folder_named_like_a_data_set_takes_no_results_place(photographs, name):
    (photographs / "labelled").rename(photographs / name)
    with pytest.raises(DataError, match="no name of its own"):
        command.answerable(["head"], f"folder:{photographs / name}")


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["forgotten", "--data", "folder:labelled"], "nothing is left to measure"),
        (["head", "--data", "folder:loose"], "folder:loose has no labels"),
        (["head", "--data", "folder:nowhere"], "There is no folder"),
        (["--controls", "--data", "folder:nowhere"], "There is no folder"),
        (["--controls", "--data", "folder:loose"], "folder:loose has no labels"),
    ],
)
def test_pictures_that_cannot_answer_are_refused_in_a_sentence(photographs, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(photographs)
    assert command.main(words) == 1
    assert sentence in capsys.readouterr().err


def result(low: float, high: float, verdict: str) -> dict:
    middle = {"difference": (low + high) / 2, "low": low, "high": high}
    contrasts = [{"larger": ["a", "knn"], "smaller": ["b", "knn"]} | middle]
    return {"verdict": verdict, "seeds": [0, 1, 2, 3], "contrasts": contrasts}


def test_a_second_machine_is_told_which_differences_lie_within_the_first_ones_interval():
    first = {"x": result(0.1, 0.3, "reproduced"), "y": result(-0.1, 0.1, "unresolved"), "only first": {}}
    again = {"x": result(0.25, 0.45, "reproduced"), "y": result(-0.2, 0.3, "unresolved")}
    lines = command.compared(first, again)
    assert "1 of 2 differences lie within" in " ".join(lines)
    assert "2 would, on average" in " ".join(lines)  # 2 · 0.89
    assert lines[-2].startswith("| x | reproduced | reproduced |") and "+0.200 [+0.100, +0.300], again" in lines[-2]
    assert "(outside)" in lines[-2] and "(outside)" not in lines[-1]


@pytest.mark.parametrize("seeds", [3, 4, 8])
def test_how_many_differences_repeat_by_luck_is_what_draws_of_one_machine_say(seeds):
    draws = torch.randn(100_000, 2, seeds, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    interval = stats.ttest_1samp(draws[:, 0], 0, axis=1).confidence_interval(0.95)
    second = draws[:, 1].mean(axis=1)
    repeated = ((interval.low <= second) & (second <= interval.high)).mean()
    assert command.by_luck(seeds) == pytest.approx(repeated, abs=0.005)


def test_a_second_measurement_of_fewer_conditions_is_compared_by_what_both_asked():
    first, again = result(0.1, 0.3, "reproduced"), result(0.15, 0.35, "reproduced")
    first["contrasts"].insert(0, first["contrasts"][0] | {"smaller": ["c", "knn"]})
    assert "1 of 1 differences lie within" in " ".join(command.compared({"x": first}, {"x": again}))


def test_a_results_file_counts_the_pictures_that_there_were(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path), monkeypatch.setattr(command, "RESULTS", tmp_path)
    command.main(["histogram", "--seeds", "0", "--data", f"folder:{photographs / 'labelled'}"])
    written = json.loads((tmp_path / "findings/histogram-labelled.json").read_text(encoding="utf-8"))
    assert written["pictures"] == {"bank": 8, "queries": 2}


def test_a_second_measurement_keeps_the_first_and_the_page_sets_them_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path), monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert command.main(["histogram", "--seeds", "0", "1"]) == 0
    first = (tmp_path / "findings/histogram.json").read_bytes()
    assert command.main(["histogram", "--seeds", "0", "1", "--again"]) == 0
    assert (tmp_path / "findings/histogram.json").read_bytes() == first
    again = json.loads((tmp_path / "findings/again/histogram.json").read_text(encoding="utf-8"))
    assert again["command"] == "python -m data.findings histogram --seeds 0 1 --again"
    assert again["rows"] == json.loads(first)["rows"]  # no training in this one, so the very same
    assert "3 of 3 differences" in (tmp_path / "findings/README.md").read_text(encoding="utf-8")


def test_a_composition_that_was_not_measured_stays_empty_in_the_matrix():
    rows = {name: {"knn": [value]} for name, value in (("crop", 0.4), ("color", 0.3), ("crop + cutout", 0.5))}
    [axes] = plots.composition_matrix(rows).axes
    assert [text.get_text() for text in axes.texts] == ["40.0%", "–", "50.0%", "–", "30.0%", "–", "50.0%", "–", "–"]


def test_the_matrix_of_compositions_has_single_operations_on_the_diagonal():
    rows = {name: {"knn": [0.1 * place]} for place, name in enumerate(FINDINGS["composition"].conditions)}
    [axes] = plots.composition_matrix(rows).axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(written) == 16 and written[1, 1] == "10.0%"  # color
    assert written[1, 0] == written[0, 1] == "40.0%"  # crop + color


def test_a_head_made_for_the_encoder_takes_its_h(lab):
    model = catalogue.with_head(lab, lambda width: nn.Linear(width, 5))
    assert isinstance(model, SimCLR) and model(torch.rand(2, 3, 32, 32))[1].shape == (2, 5)


@pytest.mark.parametrize("folder", ["folder:/", "folder:/home/ada/shapes/"])
def test_a_folder_whose_results_would_be_called_like_others_is_refused(folder, capsys):
    assert command.main(["histogram", "--data", folder]) == 1
    assert "give it another" in capsys.readouterr().err


def test_a_seed_that_is_given_twice_is_run_once(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "measure", lambda finding, seeds, *_, **__: asked.append(seeds))
    command.main(["histogram", "--seeds", "3", "1", "3"])
    assert asked == [[3, 1]]
