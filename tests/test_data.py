"""helpers/data.py: what is loaded is what was stored, and whatever cannot be loaded is told in one sentence."""

import dataclasses
import functools
import hashlib
import http.server
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import tracemalloc
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from helpers import data, shapes, training
from helpers import folder as own_folder
from helpers.cache import write_arrays
from helpers.data import DataError, ImageSet, load_images

REPOSITORY = Path(__file__).resolve().parent.parent
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A root in which the built-in set has been rendered once."""
    root = tmp_path_factory.mktemp("rendered")
    load_images("shapes", "train", root=root)
    load_images("shapes", "test", root=root)
    return root


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path: Path, picture: Image.Image | np.ndarray, **options) -> Path:
    """Write a picture, making the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
    return path


def plain(color, size=(32, 32), mode="RGB") -> Image.Image:
    return Image.new(mode, size, color)


def load_folder(path: Path, split="train", **options) -> ImageSet:
    """A folder's split, with its cache beside the folder."""
    return load_images(f"folder:{path}", split, root=path.parent / "root", **options)


def color_of(image: torch.Tensor) -> tuple[int, ...]:
    """The colour in the middle of a (3, H, W) image."""
    height, width = image.shape[1:]
    return tuple(image[:, height // 2, width // 2].tolist())


def near(color, wanted, tolerance=6) -> bool:
    return max(abs(a - b) for a, b in zip(color, wanted, strict=True)) <= tolerance


@contextmanager
def files_limited_to(size: int):
    """No file may grow beyond `size` bytes: the write fails as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="a full disk is imitated with Unix limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def open_to_all():
    """A folder that other users than this one reach, too."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_another_user():
    """Without root's right to read whatever there is."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    try:
        root and os.seteuid(65534)
        yield
    finally:
        root and os.seteuid(0)


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob("*.part"))


# ImageSet


def test_an_image_set_knows_its_length_and_says_what_is_in_it():
    images = ImageSet(torch.zeros(1200, 3, 32, 32, dtype=torch.uint8), torch.zeros(1200).long(), ("cat", "dog"))
    assert len(images) == 1200
    assert repr(images) == "ImageSet(1,200 images, 32 × 32, 2 classes: cat, dog)"


def test_an_image_set_cannot_be_changed():
    images = ImageSet(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.labels = torch.zeros(1).long()


def test_a_subset_keeps_images_labels_and_factors_together():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    whole = ImageSet(images, torch.arange(5), tuple("abcde"), {"hue": torch.arange(5) / 5.0})
    part = whole.subset(torch.tensor([3, 1]))
    assert part.images[:, 0, 0, 0].tolist() == [3, 1]
    assert part.labels.tolist() == [3, 1]
    assert torch.equal(part.factors["hue"], torch.tensor([0.6, 0.2]))


@pytest.mark.parametrize(
    ("images", "labels", "factors", "words"),
    [
        (torch.zeros(2, 3, 4, 4), None, {}, "uint8 (M, 3, H, W) is wanted"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), None, {}, "uint8 (M, 3, H, W) is wanted"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3).long(), {}, "labels has 3 rows for 2 images"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2), {}, "int64 (M,) is wanted"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), None, {"hue": torch.zeros(1)}, "hue has 1 rows for 2 images"),
    ],
)
def test_an_image_set_of_parts_that_do_not_fit_is_refused(images, labels, factors, words):
    with pytest.raises(DataError) as told:
        ImageSet(images, labels, ("a",), factors)
    assert words in str(told.value)


def test_a_data_error_is_one_line_in_a_notebook():
    assert DataError("there is none.")._render_traceback_() == ["No data: there is none."]


# Bad names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("imagenet", "train"), 'there are "shapes", "cifar10", "stl10" and "folder:PATH"'),
        ((None, "train"), "There is no data set None"),
        (("shapes", "validation"), 'splits are "pretrain", "train" and "test"'),
        (("shapes", "test", data.DATA, None, 0), "image_size is a side in pixels"),
        (("shapes", "test", data.DATA, None, (32, 32)), "image_size is a side in pixels"),
    ],
)
def test_a_wrong_argument_is_told_with_the_right_ones(arguments, words):
    with pytest.raises(DataError) as told:
        load_images(*arguments)
    assert words in str(told.value)


# Built in


def test_shapes_has_twenty_thousand_images_to_train_on_and_four_thousand_to_test_on(rendered):
    train, test = load_images("shapes", "train", root=rendered), load_images("shapes", "test", root=rendered)
    assert train.images.shape == (20_000, 3, 32, 32) and test.images.shape == (4_000, 3, 32, 32)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.classes == tuple(shapes.CLASSES) and len(set(train.labels.tolist())) == 10
    assert all(len(values) == 20_000 for values in train.factors.values()) and train.factors


def test_shapes_pretrains_on_its_train_images(rendered):
    pretrain, train = load_images("shapes", "pretrain", root=rendered), load_images("shapes", "train", root=rendered)
    assert torch.equal(pretrain.images, train.images) and torch.equal(pretrain.labels, train.labels)


def test_no_image_of_shapes_is_in_both_train_and_test(rendered):
    train, test = load_images("shapes", "train", root=rendered), load_images("shapes", "test", root=rendered)
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


def test_shapes_from_the_cache_is_what_was_rendered(rendered):
    images, labels, factors = shapes.render(4_000, 1)
    read = load_images("shapes", "test", root=rendered)
    assert torch.equal(read.images, images) and torch.equal(read.labels, labels)
    assert list(read.factors) == list(factors)
    for name, values in factors.items():
        assert torch.equal(read.factors[name], values) and read.factors[name].dtype == values.dtype


class Trap:
    """Makes a file when a pickle of it is opened."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def damage(path: Path, how: str, trap: Path) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one bit flipped":
        content[len(content) // 3] ^= 4
        path.write_bytes(content)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not an archive\n")
    elif how == "a pickle":
        path.write_bytes(pickle.dumps(Trap(trap)))
    elif how == "a pickle inside":
        with np.load(path) as file:
            arrays = dict(file)
        with open(path, "wb") as file:
            np.savez(file, **(arrays | {"images": np.array([Trap(trap)], dtype=object)}))
    elif how == "arrays that do not fit":
        with np.load(path) as file:
            arrays = dict(file)
        with open(path, "wb") as file:
            np.savez(file, **(arrays | {"labels": arrays["labels"][:7]}))


@pytest.mark.parametrize(
    "how",
    ["cut short", "one bit flipped", "empty", "text", "a pickle", "a pickle inside", "arrays that do not fit"],
)
def test_a_damaged_cache_is_rendered_anew(how, rendered, tmp_path):
    good = next((rendered / "cache").glob("shapes-test-*.npz"))
    cache = tmp_path / "cache" / good.name
    cache.parent.mkdir()
    cache.write_bytes(good.read_bytes())
    damage(cache, how, tmp_path / "trapped")
    assert cache.read_bytes() != good.read_bytes()
    read = load_images("shapes", "test", root=tmp_path)
    assert torch.equal(read.images, load_images("shapes", "test", root=rendered).images)
    assert cache.read_bytes() != b"" and cache.stat().st_size == good.stat().st_size  # whole again
    assert not (tmp_path / "trapped").exists()


def test_the_cache_of_another_renderer_is_not_read(rendered, tmp_path, monkeypatch):
    good = next((rendered / "cache").glob("shapes-test-*.npz"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / good.name).write_bytes(good.read_bytes())
    monkeypatch.setattr(data, "RENDERER", "another" * 4)
    monkeypatch.setattr(shapes, "render", lambda count, seed: (torch.full((count, 3, 32, 32), 7).byte(), None, {}))
    assert load_images("shapes", "test", root=tmp_path).images.unique().tolist() == [7]


def test_a_new_cache_of_shapes_replaces_those_of_other_renderers_and_nothing_else(rendered, tmp_path, monkeypatch):
    good, cache = next((rendered / "cache").glob("shapes-test-*.npz")), tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(data, "RENDERER", "another" * 4)
    for name in (good.name, "shapes-train-0123456789ab.npz", "shapes-train-anotheranoth.npz", "folder-0123.npz"):
        (cache / name).write_bytes(good.read_bytes())
    monkeypatch.setattr(shapes, "render", lambda count, seed: (torch.full((count, 3, 32, 32), 7).byte(), None, {}))
    load_images("shapes", "test", root=tmp_path)
    left = {path.name for path in cache.iterdir()}
    assert left == {"shapes-test-anotheranoth.npz", "shapes-train-anotheranoth.npz", "folder-0123.npz"}


def test_a_disk_too_full_for_the_cache_costs_only_a_warning(tmp_path):
    with files_limited_to(1_000_000), pytest.warns(UserWarning, match="could not be written .* made again next time"):
        images = load_images("shapes", "test", root=tmp_path)
    assert len(images) == 4_000
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_root_that_cannot_be_written_costs_only_a_warning(tmp_path):
    (tmp_path / "root").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="could not be written"):
        assert len(load_images("shapes", "test", root=tmp_path / "root")) == 4_000


def test_a_write_that_fails_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"numbers": np.arange(10)})
    before = path.read_bytes()
    with files_limited_to(10_000), pytest.raises(OSError):
        write_arrays(path, {"numbers": np.arange(100_000)})
    assert path.read_bytes() == before and not leftovers(tmp_path)


class Interrupted:
    """An array that never comes: asked for it, the user has pressed Ctrl-C."""

    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_ctrl_c_while_writing_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"numbers": np.arange(10)})
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_arrays(path, {"numbers": np.arange(100_000), "late": Interrupted()})
    assert path.read_bytes() == before and not leftovers(tmp_path)


# Classes and sizes


def test_chosen_classes_are_numbered_in_the_order_given(rendered):
    whole = load_images("shapes", "test", root=rendered)
    first, second = shapes.CLASSES[7], shapes.CLASSES[2]
    chosen = load_images("shapes", "test", root=rendered, classes=(first, second))
    rows = (whole.labels == 7) | (whole.labels == 2)
    assert chosen.classes == (first, second)
    assert torch.equal(chosen.images, whole.images[rows])
    assert chosen.labels.tolist() == [{7: 0, 2: 1}[label] for label in whole.labels[rows].tolist()]
    for name, values in whole.factors.items():
        assert torch.equal(chosen.factors[name], values[rows])


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("star", "zebra"), "has no class 'zebra'; its classes are " + ", ".join(shapes.CLASSES)),
        ("star", 'such as ("cat", "dog")'),
        ((), 'such as ("cat", "dog")'),
        (("star", "star"), 'such as ("cat", "dog")'),
    ],
)
def test_a_wrong_choice_of_classes_is_told(classes, words, rendered):
    with pytest.raises(DataError) as told:
        load_images("shapes", "test", root=rendered, classes=classes)
    assert words in str(told.value)


@pytest.mark.parametrize("size", [20, 48])
def test_another_image_size_is_what_pillow_makes_of_it(size, rendered):
    whole = load_images("shapes", "test", root=rendered)
    resized = load_images("shapes", "test", root=rendered, image_size=size)
    assert resized.images.shape == (4_000, 3, size, size) and torch.equal(resized.labels, whole.labels)
    for row in (0, 300, 3_999):  # a batch border lies between them
        image = Image.fromarray(whole.images[row].permute(1, 2, 0).numpy())
        wanted = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)
        assert np.abs(resized.images[row].numpy().astype(int) - wanted).max() <= 2


# A folder: what is a split


def in_classes(folder: Path, counts: dict[str, int], color=RED) -> Path:
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{number:04}.png", plain(color))
    return folder


def test_train_and_test_folders_are_the_splits(tmp_path):
    folder = tmp_path / "own"
    in_classes(folder / "train", {"cat": 3, "dog": 4}, RED)
    in_classes(folder / "test", {"dog": 2, "ant": 1}, BLUE)
    train, test = load_folder(folder), load_folder(folder, "test")
    assert train.classes == test.classes == ("ant", "cat", "dog")
    assert train.labels.tolist() == [1, 1, 1, 2, 2, 2, 2] and test.labels.tolist() == [0, 2, 2]
    assert train.labels.dtype == torch.int64
    assert {color_of(image) for image in train.images} == {RED}
    assert {color_of(image) for image in test.images} == {BLUE}
    assert torch.equal(load_folder(folder, "pretrain").images, train.images)


def test_val_serves_where_there_is_no_test(tmp_path):
    folder = in_classes(tmp_path / "own", {"Train/cat": 3, "val/cat": 2})
    assert len(load_folder(folder)) == 3 and len(load_folder(folder, "test")) == 2
    assert load_folder(folder).classes == ("cat",)


def test_val_beside_test_is_passed_over(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat": 3, "test/cat": 2, "val/cat": 4})
    for split, count in (("train", 3), ("test", 2)):
        with pytest.warns(UserWarning, match=r"4 of \d images .*val/cat/0000.png \(beside train\)"):
            assert len(load_folder(folder, split)) == count


def test_what_stands_beside_train_and_test_is_left_out_with_a_warning(tmp_path):
    folder = in_classes(tmp_path / "own", {"Train/cat": 3, "test/cat": 2, "spare/dog": 5})
    with pytest.warns(UserWarning, match=r"5 of 8 images .*spare/dog/0000.png \(beside Train\)"):
        assert load_folder(folder).classes == ("cat",)


def test_trains_may_be_a_class_among_others(tmp_path):
    folder = in_classes(tmp_path / "own", {"train": 10, "bus": 10, "car": 10})
    assert load_folder(folder).classes == ("bus", "car", "train")
    assert len(load_folder(folder)) == 24 and len(load_folder(folder, "test")) == 6


def test_a_test_folder_without_train_is_told(tmp_path):
    in_classes(tmp_path / "own", {"test/cat": 3})
    with pytest.raises(DataError, match="has a folder test but none named train"):
        load_folder(tmp_path / "own")


@pytest.mark.parametrize("inside", ["", "train"])
def test_class_folders_alone_are_split_four_to_one_in_every_class(inside, tmp_path):
    folder = tmp_path / "own"
    for name, count, red in (("cat", 10, 0), ("dog", 20, 100)):
        for number in range(count):
            save(folder / inside / name / f"{number}.png", plain((red + number, 0, 0)))
    train, test = load_folder(folder), load_folder(folder, "test")
    assert train.labels.bincount().tolist() == [8, 16] and test.labels.bincount().tolist() == [2, 4]
    red = [color_of(image)[0] for images in (train, test) for image in images.images]
    assert sorted(red) == [*range(10), *range(100, 120)]  # every image in exactly one of them


def test_the_split_depends_on_the_names_alone(tmp_path):
    names = [f"{number}.png" for number in range(30)]
    for folder, order in (("one", names), ("two", names[::-1])):
        for name in order:
            save(tmp_path / folder / name, plain((int(name[:-4]), 0, 0)))
    one, two = load_folder(tmp_path / "one", "test"), load_folder(tmp_path / "two", "test")
    assert torch.equal(one.images, two.images)
    red = [color_of(image)[0] for image in one.images]
    assert len(red) == 6 and len({b - a for a, b in zip(red, red[1:], strict=False)}) > 1  # not every fifth


def test_a_flat_folder_has_no_labels(tmp_path):
    in_classes(tmp_path / "own", {".": 10})
    images = load_folder(tmp_path / "own")
    assert len(images) == 8 and images.labels is None and images.classes == () and images.factors == {}
    assert repr(images) == "ImageSet(8 images, 32 × 32, no labels)"


def test_a_single_image_is_for_training_and_too_few_to_test_with(tmp_path):
    in_classes(tmp_path / "own", {".": 1})
    assert len(load_folder(tmp_path / "own")) == 1
    with pytest.raises(DataError, match="too few to set a fifth aside"):
        load_folder(tmp_path / "own", "test")


def test_classes_chosen_of_a_folder_without_labels_are_a_warning(tmp_path):
    in_classes(tmp_path / "own", {".": 10})
    with pytest.warns(UserWarning, match="has no labels to choose classes by: all 8 images are kept"):
        assert len(load_folder(tmp_path / "own", classes=("cat",))) == 8


def test_classes_chosen_of_a_folder_with_labels(tmp_path):
    in_classes(tmp_path / "own", {"train/ant": 2, "train/bee": 3, "train/cat": 4, "test/cat": 1})
    chosen = load_folder(tmp_path / "own", classes=("cat", "ant"))
    assert chosen.classes == ("cat", "ant") and chosen.labels.tolist() == [1, 1, 0, 0, 0, 0]
    with pytest.raises(DataError, match="has no images of ant"):
        load_folder(tmp_path / "own", "test", classes=("ant",))


def test_sub_folders_of_a_class_belong_to_it_and_hidden_or_foreign_files_do_not(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat/monday": 2, "train/cat": 1, "train/dog": 1, "test/cat": 1})
    in_classes(folder / "train", {".hidden": 3, "cat/__MACOSX": 2, "cat/.ipynb_checkpoints": 1})
    save(folder / "train" / "cat" / "._0000.png", plain(RED))
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    assert load_folder(folder).labels.tolist() == [0, 0, 0, 1]


def test_a_link_that_leads_back_is_not_followed_and_one_that_leads_on_is(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat": 2, "test/cat": 1})
    elsewhere = in_classes(tmp_path / "elsewhere", {"dogs": 3})
    try:
        (folder / "train" / "dog").symlink_to(elsewhere / "dogs", target_is_directory=True)
        (folder / "train" / "cat" / "round").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert load_folder(folder).labels.tolist() == [0, 0, 1, 1, 1]


def test_links_from_folder_to_folder_and_back_end(tmp_path):
    folder = in_classes(tmp_path / "own", {"a": 2, "b": 3})
    try:
        (folder / "a" / "x").symlink_to(folder / "b", target_is_directory=True)
        (folder / "b" / "y").symlink_to(folder / "a", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert len(own_folder.find_images(folder)) == 2 * (2 + 3)  # each class, and the other one through its link


def test_a_class_that_may_not_be_opened_is_told_and_not_left_out(open_to_all):
    in_classes(open_to_all, {"cat": 2, "dog": 2})
    (open_to_all / "dog").chmod(0)
    with as_another_user(), pytest.raises(DataError, match=r"dog cannot be opened: .*\. Change its rights"):
        own_folder.find_images(open_to_all)


@pytest.mark.parametrize(
    "name, words", [("folder:", "names no folder"), ("folder:~nobody-of-that-name/x", "no folder")]
)
def test_a_name_that_leads_nowhere_is_told(name, words):
    with pytest.raises(DataError, match=words):
        load_images(name, "train")


def test_a_folder_larger_than_the_memory_is_told_before_it_is_read(tmp_path, monkeypatch):
    folder = in_classes(tmp_path / "own", {"cat": 5})
    monkeypatch.setattr(own_folder, "usable_memory", lambda free: 4 * 3 * 32 * 32 - 1)
    with pytest.raises(DataError, match="GB of memory at image_size=32, and 0.0 are free; choose a smaller one"):
        load_folder(folder)


def test_a_large_picture_is_measured_without_a_word(tmp_path, monkeypatch):
    for number in range(5):
        save(tmp_path / "own" / f"{number}.png", plain(RED, size=(40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # more, and Pillow warns
    assert load_folder(tmp_path / "own").images.shape[2:] == (64, 64)


def test_an_iphones_picture_that_cannot_be_read_is_told_how_to_be_saved(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat": 2, "test/cat": 1})
    (folder / "train" / "cat" / "IMG_1.HEIC").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"IMG_1\.HEIC \(not a readable image; save it as JPEG\)"):
        load_folder(folder)


@pytest.mark.parametrize("ending", ["jfif", "jpe"])
def test_other_names_for_jpeg_are_known(tmp_path, ending):
    for number in range(5):
        save(tmp_path / "own" / f"{number}.{ending}", plain(GREEN), format="JPEG")
    assert len(load_folder(tmp_path / "own")) == 4


def test_a_missing_folder_a_file_and_a_folder_without_images_are_told(tmp_path):
    with pytest.raises(DataError, match="There is no folder .*nowhere: check the path"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="it is a file; unpack it first"):
        load_folder(tmp_path / "images.zip")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="There are no images in .*PATH/<class>/"):
        load_folder(tmp_path / "own")


# A folder: what becomes of a file


def png_of_16_bits(path: Path, value: int) -> None:
    save(path, Image.fromarray(np.full((32, 32), value, dtype=np.uint16)))


def animation(path: Path) -> None:
    save(path, plain(RED), save_all=True, append_images=[plain(BLUE)])


def half_transparent_palette(path: Path) -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([*RED, *GREEN])
    save(path, image, transparency=1)


FILES = [  # name, writer, colour it must have in the middle
    ("rgb.png", lambda path: save(path, plain(GREEN)), GREEN),
    ("rgb.JPG", lambda path: save(path, plain(GREEN), format="JPEG", quality=95), GREEN),
    ("rgb.webp", lambda path: save(path, plain(GREEN), lossless=True), GREEN),
    ("rgb.bmp", lambda path: save(path, plain(GREEN)), GREEN),
    ("rgb.tiff", lambda path: save(path, plain(GREEN)), GREEN),
    ("grey.png", lambda path: save(path, plain(90, mode="L")), (90, 90, 90)),
    ("grey.jpg", lambda path: save(path, plain(90, mode="L")), (90, 90, 90)),
    ("bits.png", lambda path: save(path, plain(1, mode="1")), (255, 255, 255)),
    ("grey16.png", lambda path: png_of_16_bits(path, 90 * 256 + 17), (90, 90, 90)),
    ("grey16.tiff", lambda path: png_of_16_bits(path, 200 * 256), (200, 200, 200)),
    ("grey16.pgm", lambda path: png_of_16_bits(path, 30 * 256), (30, 30, 30)),
    ("cmyk.jpg", lambda path: save(path, plain((0, 255, 255, 0), mode="CMYK"), quality=95), RED),
    ("opaque.png", lambda path: save(path, plain((*RED, 255), mode="RGBA")), RED),
    ("clear.png", lambda path: save(path, plain((*RED, 0), mode="RGBA")), (255, 255, 255)),
    ("half.png", lambda path: save(path, plain((*RED, 128), mode="RGBA")), (255, 127, 127)),
    ("grey_clear.png", lambda path: save(path, plain((0, 0), mode="LA")), (255, 255, 255)),
    ("palette.png", lambda path: save(path, plain(BLUE).quantize(4)), BLUE),
    ("palette_clear.png", half_transparent_palette, (255, 255, 255)),
    ("animated.gif", animation, RED),
    ("animated.webp", lambda path: animation(path), RED),
    ("strip.png", lambda path: save(path, plain(GREEN, size=(500, 1))), GREEN),
]


@pytest.mark.parametrize(("name", "write", "wanted"), FILES, ids=[name for name, _, _ in FILES])
def test_every_kind_of_image_becomes_rgb(name, write, wanted, tmp_path):
    (tmp_path / "own").mkdir()
    write(tmp_path / "own" / name)
    images = load_folder(tmp_path / "own").images
    assert images.shape == (1, 3, 32, 32) and images.dtype == torch.uint8
    assert near(color_of(images[0]), wanted), color_of(images[0])


def halves(top, bottom, size=(40, 40)) -> Image.Image:
    image = plain(top, size)
    image.paste(plain(bottom, (size[0], size[1] // 2)), (0, size[1] - size[1] // 2))
    return image


@pytest.mark.parametrize(
    ("orientation", "wanted"),  # where the stored picture's upper half is to be seen
    [(1, "top"), (2, "top"), (3, "bottom"), (4, "bottom"), (5, "left"), (6, "right"), (7, "right"), (8, "left")],
)
def test_a_photo_is_turned_upright(orientation, wanted, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "own" / "photo.jpg", halves(RED, BLUE), exif=exif, quality=95)
    image = load_folder(tmp_path / "own", image_size=32).images[0]
    at = {"top": (4, 16), "bottom": (27, 16), "left": (16, 4), "right": (16, 27)}[wanted]
    assert near(tuple(image[:, at[0], at[1]].tolist()), RED, 12)
    assert near(tuple(image[:, 31 - at[0], 31 - at[1]].tolist()), BLUE, 12)


def test_damaged_exif_does_not_cost_the_image(tmp_path):
    save(
        tmp_path / "own" / "photo.jpg",
        plain(GREEN),
        exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12",
        quality=95,
    )
    assert near(color_of(load_folder(tmp_path / "own").images[0]), GREEN)


def test_small_images_are_kept_to_the_pixel(tmp_path, rng):
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save(tmp_path / "own" / "a.png", pixels)
    assert np.array_equal(load_folder(tmp_path / "own").images[0].numpy(), pixels.transpose(2, 0, 1))


def test_the_middle_square_is_kept(tmp_path):
    image = plain(GREEN, (120, 40))
    image.paste(plain(RED, (40, 40)), (0, 0))
    image.paste(plain(BLUE, (40, 40)), (80, 0))
    save(tmp_path / "own" / "wide.png", image)
    save(tmp_path / "own" / "tall.png", image.transpose(Image.Transpose.ROTATE_90))
    for kept in load_folder(tmp_path / "own", image_size=40).images:
        assert (kept == torch.tensor(GREEN).view(3, 1, 1)).all()


def test_a_large_photo_is_what_pillow_makes_of_it(tmp_path, rng):
    rough = Image.fromarray(rng.integers(60, 190, (24, 24, 3), dtype=np.uint8))
    photo = rough.resize((400, 400), Image.Resampling.BICUBIC)
    save(tmp_path / "own" / "photo.jpg", photo, quality=95)
    wanted = np.asarray(photo.resize((96, 96), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)
    read = load_folder(tmp_path / "own").images[0].numpy().astype(int)
    assert np.abs(read - wanted).max() <= 8


@pytest.mark.parametrize(
    ("sides", "wanted"), [((28, 32, 30), 32), ((64, 64, 500), 64), ((40, 70, 300), 96), ((9, 9, 500), 32)]
)
def test_the_size_follows_the_median_shorter_side(sides, wanted, tmp_path):
    for number, side in enumerate(sides):
        save(tmp_path / "own" / "train" / f"{number}.png", plain(RED, (side, side + 30)))
    save(tmp_path / "own" / "test" / "a.png", plain(RED, (sides[1], sides[1])))
    assert load_folder(tmp_path / "own").images.shape == (3, 3, wanted, wanted)
    assert load_folder(tmp_path / "own", "test").images.shape == (1, 3, wanted, wanted)


def spoil(folder: Path) -> list[str]:
    """Put five unreadable files among the images; returns their names."""
    photo = save(folder / "cat" / "cut.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    photo.write_bytes(photo.read_bytes()[:900])
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    (folder / "cat" / "page.png").write_text("<html>404</html>")
    header = struct.pack(">IIBBBBB", 70_000, 70_000, 8, 2, 0, 0, 0)  # a picture of 4.9 thousand million pixels
    (folder / "dog" / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + header + b"\x00" * 40)
    save(folder / "dog" / "float.tiff", Image.fromarray(np.ones((8, 8), dtype=np.float32)))
    return ["cat/cut.jpg", "cat/empty.jpg", "cat/page.png", "dog/huge.png", "dog/float.tiff"]


def test_unreadable_files_are_left_out_with_one_warning_that_names_the_first_and_counts_them(tmp_path):
    folder = tmp_path / "own"
    in_classes(folder, {"train/cat": 3, "train/dog": 2, "test/cat": 1})
    spoil(folder / "train")
    with pytest.warns(UserWarning) as told:
        images = load_folder(folder)
    assert len(told) == 1 and told[0].filename == __file__
    message = str(told[0].message)
    assert message.startswith("5 of 10 images in ")
    assert "train/cat/cut.jpg (image file is truncated" in message
    assert "train/cat/empty.jpg (empty file), train/cat/page.png (not a readable image) and 2 more." in message
    assert images.labels.tolist() == [0, 0, 0, 1, 1] and len(images) == 5
    assert {color_of(image) for image in images.images} == {RED}


def test_the_warning_comes_again_when_the_cache_is_read(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat": 3, "test/cat": 1})
    (folder / "train" / "cat" / "empty.jpg").write_bytes(b"")
    with pytest.warns(UserWarning) as first:
        load_folder(folder)
    with pytest.warns(UserWarning) as second:
        load_folder(folder)
    assert str(first[0].message) == str(second[0].message)


def test_images_beside_the_class_folders_are_left_out_with_a_warning(tmp_path):
    folder = in_classes(tmp_path / "own", {"train/cat": 2, "train": 1, "test/cat": 1})
    with pytest.warns(UserWarning, match=r"1 of 3 images .*train/0000.png \(beside the class folders\)"):
        assert load_folder(folder).labels.tolist() == [0, 0]


def test_a_folder_of_unreadable_files_is_told(tmp_path):
    for name in spoil(in_classes(tmp_path / "own", {"train/cat": 1, "train/dog": 1, "test/cat": 1}) / "train"):
        assert (tmp_path / "own" / "train" / name).exists()
    for name in ("cat", "dog"):
        (tmp_path / "own" / "train" / name / "0000.png").unlink()
    with pytest.raises(DataError, match=r"None of the 5 images .* could be read: .*cut\.jpg"):
        load_folder(tmp_path / "own")


def test_a_changed_folder_is_read_again_and_an_unchanged_one_from_the_cache(tmp_path):
    folder = in_classes(tmp_path / "own", {"train": 3, "test": 1})
    load_folder(folder)
    cache = next((tmp_path / "root" / "cache").iterdir())
    written = cache.stat().st_mtime_ns
    assert len(load_folder(folder)) == 3 and cache.stat().st_mtime_ns == written
    save(folder / "train" / "new.png", plain(BLUE))
    assert len(load_folder(folder)) == 4
    save(folder / "train" / "new.png", plain(GREEN))
    os.utime(folder / "train" / "new.png", ns=(1, 1))
    assert color_of(load_folder(folder).images[3]) == GREEN
    (folder / "train" / "new.png").unlink()
    assert len(load_folder(folder)) == 3
    assert len(list((tmp_path / "root" / "cache").iterdir())) == 1  # one file, however often the folder changes


def test_each_size_and_split_has_a_cache_of_its_own(tmp_path):
    folder = in_classes(tmp_path / "own", {"train": 3, "test": 1})
    for _ in range(2):
        assert load_folder(folder).images.shape == (3, 3, 32, 32)
        assert load_folder(folder, image_size=20).images.shape == (3, 3, 20, 20)
        assert load_folder(folder, "test").images.shape == (1, 3, 32, 32)
    assert len(list((tmp_path / "root" / "cache").iterdir())) == 3


def test_what_is_kept_of_a_folder_goes_when_another_is_read_and_it_is_no_longer_there(tmp_path):
    old, here, new = (in_classes(tmp_path / name, {"train": 3, "test": 1}) for name in ("old", "here", "new"))
    load_folder(old), load_folder(here)
    shutil.rmtree(old)
    kept = set((tmp_path / "root" / "cache").iterdir())
    load_folder(new)
    left = set((tmp_path / "root" / "cache").iterdir())
    assert len(kept - left) == 1 and len(left - kept) == 1
    (written,) = left & kept
    before = written.stat().st_mtime_ns
    assert len(load_folder(here)) == 3 and written.stat().st_mtime_ns == before


def test_a_folder_with_a_name_beyond_ascii_is_read(tmp_path):
    folder = in_classes(tmp_path / "mes images, été", {"forêt noire": 5, "Žluťoučký kůň": 5})
    for _ in range(2):
        assert load_folder(folder).classes == ("forêt noire", "Žluťoučký kůň")


def test_a_path_may_start_with_a_tilde_or_be_relative(tmp_path, monkeypatch):
    in_classes(tmp_path / "own", {".": 5})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("folder:~/own", "folder:own"):
        assert len(load_images(name, "train", root=tmp_path / "root")) == 4


def peak_of(work) -> int:
    """Most bytes that Python and NumPy held at once while work() ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_folder_is_read_without_a_second_copy(tmp_path):
    folder = in_classes(tmp_path / "own", {"train": 80, "test": 1})
    size, chunk = 80 * 3 * 512 * 512, 16 * 2**20  # NumPy writes and reads its archives in chunks of 16 MiB
    for _ in range(2):  # from the files, from the cache
        assert size < peak_of(lambda: load_folder(folder, image_size=512)) < 1.1 * size + chunk


# Downloads


@pytest.fixture
def server(tmp_path):
    """A web server for the files in tmp_path/web; under /cut/ it hangs up half-way. Its address."""
    web = tmp_path / "web"
    web.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = web / Path(self.path).name
            if not path.exists():
                return self.send_error(404)
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if "/cut/" in self.path else content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def no_server():
    """An address at which nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def old_pickle(content: dict) -> bytes:
    """A pickle as the files of CIFAR-10 have it: protocol 2, NumPy's old names, 0 and 1 for False and True."""
    new = pickle.dumps(content, protocol=2)
    return new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pack(web: Path, name: str, folder: str, files: dict[str, bytes], scratch: Path) -> str:
    """Put files into web/name as a .tar.gz; its checksum."""
    with tarfile.open(web / name, "w:gz") as archive:
        for file, content in files.items():
            (scratch / "member").write_bytes(content)
            archive.add(scratch / "member", f"{folder}/{file}")
    return md5((web / name).read_bytes())


CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def tiny_cifar10(tmp_path, server, monkeypatch, rng):
    """CIFAR-10 in its own format with 10 images a file, on the server. Returns {split: (images, labels)}."""
    batches, wanted = {}, {"train": [], "test": []}
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        pixels, labels = rng.integers(0, 256, (10, 3072), dtype=np.uint8), rng.permutation(10).tolist()
        batches[name] = old_pickle({"data": pixels, "labels": labels, "batch_label": name})
        wanted["test" if name == "test_batch" else "train"].append((pixels.reshape(10, 3, 32, 32), labels))
    batches["batches.meta"] = old_pickle({"label_names": CIFAR_CLASSES, "num_vis": 3072})
    checksum = pack(tmp_path / "web", "cifar-10-python.tar.gz", "cifar-10-batches-py", batches, tmp_path)
    sums = [[name, md5(content)] for name, content in batches.items()]
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server}/cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", checksum)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": sums[6][1]})
    return {
        split: (np.concatenate([images for images, _ in parts]), sum([labels for _, labels in parts], []))
        for split, parts in wanted.items()
    }


@pytest.fixture
def tiny_stl10(tmp_path, server, monkeypatch, rng):
    """STL-10 in its own format (columns first, labels from 1), on the server. Returns {split: (images, labels)}."""
    wanted, files = {}, {}
    for name, split, count in (("train", "train", 300), ("test", "test", 20), ("unlabeled", "pretrain", 30)):
        images = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        labels = np.arange(count) % 10
        files[f"{name}_X.bin"] = b"".join(plane.tobytes(order="F") for image in images for plane in image)
        if split != "pretrain":
            files[f"{name}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
        wanted[split] = (images, labels.tolist())
    sums = {name: [name, md5(content)] for name, content in files.items()}
    files["class_names.txt"] = b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n"
    files["fold_indices.txt"] = b"0 1 2\n" * 10
    checksum = pack(tmp_path / "web", "stl10_binary.tar.gz", "stl10_binary", files, tmp_path)
    monkeypatch.setattr(datasets.STL10, "url", f"{server}/stl10_binary.tar.gz")
    monkeypatch.setattr(datasets.STL10, "tgz_md5", checksum)
    monkeypatch.setattr(datasets.STL10, "train_list", [sums[f"{n}.bin"] for n in ("train_X", "train_y", "unlabeled_X")])
    monkeypatch.setattr(datasets.STL10, "test_list", [sums[f"{n}.bin"] for n in ("test_X", "test_y")])
    return wanted


@pytest.mark.parametrize("split", ["train", "test", "pretrain"])
def test_cifar10_is_fetched_and_read_as_it_is(split, tiny_cifar10, tmp_path):
    images, labels = tiny_cifar10["test" if split == "test" else "train"]
    read = load_images("cifar10", split, root=tmp_path / "root")
    assert np.array_equal(read.images.numpy(), images) and read.labels.tolist() == labels
    assert read.classes == tuple(CIFAR_CLASSES) and read.labels.dtype == torch.int64
    assert read.images.is_contiguous()


@pytest.mark.parametrize("split", ["train", "test", "pretrain"])
def test_stl10_is_fetched_and_read_upright(split, tiny_stl10, tmp_path):
    images, labels = tiny_stl10[split]
    read = load_images("stl10", split, root=tmp_path / "root")
    assert np.array_equal(read.images.numpy(), images) and read.images.is_contiguous()
    assert read.labels is None if split == "pretrain" else read.labels.tolist() == labels
    assert read.classes == ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def test_four_of_the_ten_classes_of_stl10(tiny_stl10, tmp_path):
    images, labels = tiny_stl10["train"]
    read = load_images("stl10", "train", root=tmp_path / "root", classes=("cat", "dog", "ship", "truck"))
    rows = [row for row, label in enumerate(labels) if label in (3, 5, 8, 9)]
    assert np.array_equal(read.images.numpy(), images[rows])
    assert read.labels.tolist() == [{3: 0, 5: 1, 8: 2, 9: 3}[labels[row]] for row in rows]


def test_a_run_on_stl10_sees_the_unlabelled_split_and_is_watched_on_the_labelled_one(tiny_stl10, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load_images", functools.partial(load_images, root=tmp_path / "root"))
    words = ["--data", "stl10", "--arch", "resnet8", "--image-size", "16", "--batch-size", "8", "--epochs", "1"]
    assert training.main([*words, "--out", str(tmp_path / "run")]) == 0
    history = json.loads((tmp_path / "run" / "result.json").read_text())["history"]
    assert len(history["loss"]) == 30 // 8 and 0 <= history["epochs"][0]["knn"] <= 1


def test_the_unlabelled_split_of_stl10_is_kept_whole_when_classes_are_chosen(tiny_stl10, tmp_path):
    with pytest.warns(UserWarning, match=r"stl10 \(pretrain\) has no labels .* all 30 images are kept"):
        read = load_images("stl10", "pretrain", root=tmp_path / "root", classes=("cat", "dog"), image_size=32)
    assert read.images.shape == (30, 3, 32, 32) and read.labels is None and read.classes == ("cat", "dog")
    with pytest.raises(DataError, match="has no class 'frog'; its classes are airplane, bird, car"):
        load_images("stl10", "pretrain", root=tmp_path / "root", classes=("frog",))


def test_stl10_is_turned_upright_without_a_second_copy(tiny_stl10, tmp_path):
    load_images("stl10", "test", root=tmp_path / "root")
    size = tiny_stl10["train"][0].nbytes
    assert peak_of(lambda: load_images("stl10", "train", root=tmp_path / "root")) < 2 * size  # 256 of its 300 at a time


@pytest.mark.parametrize("name", ["cifar10", "stl10"])
def test_what_has_been_fetched_is_read_without_the_network(
    name, tiny_cifar10, tiny_stl10, no_server, tmp_path, monkeypatch
):
    first = load_images(name, "test", root=tmp_path / "root")
    monkeypatch.setattr(datasets.CIFAR10, "url", no_server)
    monkeypatch.setattr(datasets.STL10, "url", no_server)
    assert torch.equal(load_images(name, "test", root=tmp_path / "root").images, first.images)


def test_an_archive_put_there_by_hand_is_used(tiny_cifar10, no_server, tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    name = "cifar-10-python.tar.gz"
    (tmp_path / "root" / name).write_bytes((tmp_path / "web" / name).read_bytes())
    monkeypatch.setattr(datasets.CIFAR10, "url", no_server)
    assert len(load_images("cifar10", "train", root=tmp_path / "root")) == 50


def test_without_a_connection_the_sentence_names_the_file_the_place_and_the_built_in_set(
    tiny_cifar10, no_server, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{no_server}/cifar-10-python.tar.gz")
    with pytest.raises(DataError) as told:
        load_images("cifar10", "train", root=tmp_path / "root")
    message = str(told.value)
    assert (
        f"could not be fetched from {no_server}/cifar-10-python.tar.gz" in message and "Connection refused" in message
    )
    assert f"put it into {tmp_path / 'root'}" in message and 'load_images("shapes", "train")' in message


def test_a_server_that_has_not_got_the_file_is_told(tiny_cifar10, server, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server}/gone.tar.gz")
    with pytest.raises(DataError, match="the server answered 404 Not Found to .*gone.tar.gz"):
        load_images("cifar10", "train", root=tmp_path / "root")


@pytest.mark.parametrize(("name", "dataset"), [("cifar10", datasets.CIFAR10), ("stl10", datasets.STL10)])
def test_a_download_cut_short_is_told_and_the_next_try_mends_it(
    name, dataset, tiny_cifar10, tiny_stl10, server, tmp_path, monkeypatch
):
    good = dataset.url
    monkeypatch.setattr(dataset, "url", f"{server}/cut/{dataset.filename}")
    with pytest.raises(DataError, match=f"{name}.* Run it again|{name}.*Try again"):
        load_images(name, "test", root=tmp_path / "root")
    assert not (tmp_path / "root" / dataset.filename).exists()
    monkeypatch.setattr(dataset, "url", good)
    assert len(load_images(name, "test", root=tmp_path / "root")) in (10, 20)


def test_another_file_than_expected_is_told_and_never_unpacked(tiny_cifar10, tmp_path):
    pack(
        tmp_path / "web", "cifar-10-python.tar.gz", "cifar-10-batches-py", {"data_batch_1": b"something else"}, tmp_path
    )
    with pytest.raises(DataError, match="its checksum is wrong.*Run it again"):
        load_images("cifar10", "train", root=tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_an_unpacked_file_that_was_damaged_is_unpacked_again(tiny_cifar10, tmp_path):
    load_images("cifar10", "train", root=tmp_path / "root")
    (tmp_path / "root" / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"damaged")
    images, _ = tiny_cifar10["train"]
    assert np.array_equal(load_images("cifar10", "train", root=tmp_path / "root").images.numpy(), images)


@pytest.mark.parametrize("room", [100_000, 2_000_000])  # for less than the archive; for the archive, not for its files
def test_a_full_disk_is_told_with_the_room_needed_and_the_next_try_mends_it(room, tiny_cifar10, tiny_stl10, tmp_path):
    name = "cifar10" if room == 100_000 else "stl10"
    if name == "stl10":  # all images alike: a small archive of large files
        files = {"train_X.bin": bytes(300 * 27_648), "train_y.bin": bytes(300), "unlabeled_X.bin": bytes(27_648)}
        files |= {"test_X.bin": bytes(27_648), "test_y.bin": b"\x01"}
        datasets.STL10.tgz_md5 = pack(tmp_path / "web", "stl10_binary.tar.gz", "stl10_binary", files, tmp_path)
        datasets.STL10.train_list = [[n, md5(files[n])] for n in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")]
        datasets.STL10.test_list = [[n, md5(files[n])] for n in ("test_X.bin", "test_y.bin")]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mine.txt").write_text("kept")
    with files_limited_to(room), pytest.raises(DataError, match=f"{name} needs about {data.DISK_GB[name]} GB there"):
        load_images(name, "test", root=tmp_path / "root")
    assert (tmp_path / "root" / "mine.txt").read_text() == "kept"
    assert not (name == "cifar10" and (tmp_path / "root" / "cifar-10-python.tar.gz").exists())
    assert len(load_images(name, "test", root=tmp_path / "root")) in (1, 10)


def test_a_root_that_is_a_file_is_told(tiny_cifar10, tmp_path):
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(DataError, match="cifar10 could not be written to"):
        load_images("cifar10", "train", root=tmp_path / "root")


def test_a_download_leaves_the_settings_of_the_program_alone(tiny_cifar10, tmp_path):
    before, filters = socket.getdefaulttimeout(), list(warnings.filters)
    socket.setdefaulttimeout(77)
    try:
        load_images("cifar10", "train", root=tmp_path / "root")
        assert socket.getdefaulttimeout() == 77 and warnings.filters == filters
    finally:
        socket.setdefaulttimeout(before)


# The command line


def test_the_command_line_prints_one_line_a_split(tmp_path):
    folder = in_classes(tmp_path / "own", {"cat": 5, "dog": 5})
    command = [sys.executable, "-m", "helpers.data", f"folder:{folder}", "--root", str(tmp_path / "root")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        f"folder:{folder} train: ImageSet(8 images, 32 × 32, 2 classes: cat, dog)",
        f"folder:{folder} test: ImageSet(2 images, 32 × 32, 2 classes: cat, dog)",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_the_command_line_prints_a_name_that_is_not_utf_8(tmp_path):
    folder = in_classes(tmp_path / "own", {"cat": 5})
    os.rename(folder / "cat", os.fsencode(folder) + b"/caf\xe9")
    command = [sys.executable, "-m", "helpers.data", f"folder:{folder}", "--root", str(tmp_path / "root")]
    env = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0 and r"caf\udce9" in done.stdout and "Traceback" not in done.stderr


def test_the_command_line_says_in_one_sentence_what_is_missing_and_exits_with_1(capsys):
    assert data.main(["folder:nowhere-at-all"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("There is no folder ") and told.err.count("\n") == 1


# Real images


@pytest.fixture(scope="session")
def real() -> Path:
    """CIFAR-10 as files train/CLASS/*.jpg and test/CLASS/*.jpg, in the folder that TWO_VIEWS_CIFAR names."""
    folder = os.environ.get("TWO_VIEWS_CIFAR")
    if not folder or not (Path(folder) / "train").is_dir():
        pytest.skip("TWO_VIEWS_CIFAR names no folder of CIFAR-10 images")
    return Path(folder)


def test_ten_thousand_real_images_are_read(real, tmp_path):
    read = load_images(f"folder:{real}", "test", root=tmp_path)
    assert read.images.shape == (10_000, 3, 32, 32) and read.classes == tuple(CIFAR_CLASSES)
    assert read.labels.bincount().tolist() == [1_000] * 10
    again = load_images(f"folder:{real}", "test", root=tmp_path)
    assert torch.equal(again.images, read.images) and torch.equal(again.labels, read.labels)
    files = sorted((real / "test" / "ship").iterdir())
    ships = read.images[read.labels == CIFAR_CLASSES.index("ship")]
    for row in (0, 7, len(files) - 1):
        with Image.open(files[row]) as image:
            assert np.array_equal(ships[row].numpy(), np.asarray(image.convert("RGB")).transpose(2, 0, 1))
