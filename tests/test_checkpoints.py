"""Checkpoints: what goes in comes out, a file is whole or not there, and what cannot be read is said in a sentence."""

import errno
import os
import signal
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from helpers import checkpoints, files, training
from helpers.projection_head import SimCLR

RECIPE = training.Recipe(hidden_dim=16, out_dim=8)


@pytest.fixture
def model() -> SimCLR:
    return training.build_model(RECIPE)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_saved_is_loaded(tmp_path):
    state = {
        "weights": torch.arange(6.0).view(2, 3),
        "history": {"loss": [1.5, 2.5], "epochs": [{"epoch": 1}]},
        "area": (0.2, 1.0),
    }
    checkpoints.save_checkpoint(tmp_path / "runs" / "a.pt", state)
    loaded = checkpoints.load_checkpoint(str(tmp_path / "runs" / "a.pt"))
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state


def test_numbers_of_numpy_are_kept_as_plain_ones(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"lr": [np.float64(0.5), np.int32(3)]})
    loaded = checkpoints.load_checkpoint(tmp_path / "a.pt")
    assert loaded == {"lr": [0.5, 3]} and [type(value) for value in loaded["lr"]] == [float, int]


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(
        TypeError, match=r"state\['recipe'\] is a Recipe, which a checkpoint does not keep. Take asdict"
    ):
        checkpoints.save_checkpoint(tmp_path / "a.pt", {"recipe": RECIPE})
    with pytest.raises(TypeError, match=r"state\['history'\]\['lr'\]\[1\] is a ndarray"):
        checkpoints.save_checkpoint(tmp_path / "a.pt", {"history": {"lr": [0.1, np.zeros(2)]}})
    assert not list(tmp_path.iterdir())


def test_saving_leaves_no_other_file_behind(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 1})
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 2})
    assert os.listdir(tmp_path) == ["a.pt"]
    assert checkpoints.load_checkpoint(tmp_path / "a.pt") == {"step": 2}


def test_saving_does_not_change_the_state(tmp_path):
    state = {"step": 1}
    checkpoints.save_checkpoint(tmp_path / "a.pt", state)
    assert state == {"step": 1}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_in_a_sentence_and_the_earlier_checkpoint_stays(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 1})
    unfinished = tmp_path / f"a.pt.{files.HOST}.{os.getpid()}.part"
    unfinished.symlink_to("/dev/full")  # every write there fails as on a full disk
    with pytest.raises(OSError, match=r"could not be written: the disk is full .* The earlier a\.pt is intact\.$"):
        checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 2, "weights": torch.zeros(1000)})
    assert checkpoints.load_checkpoint(tmp_path / "a.pt") == {"step": 1}
    assert os.listdir(tmp_path) == ["a.pt"]


def test_what_a_killed_process_left_unfinished_is_cleared_away_and_a_living_ones_is_not(tmp_path):
    names = (f"{files.HOST}.4194304", f"{files.HOST}.{os.getppid()}", "elsewhere.4194304")  # none has 2^22
    for name in ("a[1].pt", "a.pt"):  # a name may look like a pattern
        gone, alive, foreign = (tmp_path / f"{name}.{each}.part" for each in names)
        gone.touch(), alive.touch(), foreign.touch()
        checkpoints.save_checkpoint(tmp_path / name, {"x": 1})
        assert {part for part in (gone, alive, foreign) if part.exists()} == {alive, foreign}


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        OSError, match=f"could not be written: {os.strerror(errno.ENOTDIR)}|{os.strerror(errno.EEXIST)}"
    ):
        checkpoints.save_checkpoint(tmp_path / "file" / "a.pt", {"step": 1})


def test_a_process_killed_while_it_saves_again_and_again_leaves_a_whole_file(tmp_path):
    code = (
        "import sys, torch; from helpers.checkpoints import save_checkpoint\n"
        "for step in range(10**6):\n"
        "    save_checkpoint(sys.argv[1], {'step': step, 'weights': torch.full((200_000,), float(step))})\n"
        "    print(step, flush=True)"
    )
    saver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.pt")], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        saver.stdout.readline()
    saver.send_signal(signal.SIGKILL)
    saver.wait(), saver.stdout.close()
    loaded = checkpoints.load_checkpoint(tmp_path / "a.pt")
    assert loaded["step"] >= 4
    assert (loaded["weights"] == loaded["step"]).all()


def test_a_missing_file_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint .* makes one"):
        checkpoints.load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_said_in_a_sentence(tmp_path, share):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"weights": torch.zeros(1000)})
    whole = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="cut short"):
        checkpoints.load_checkpoint(tmp_path / "a.pt")


def test_a_foreign_file_is_said_in_a_sentence(tmp_path):
    torch.save({"model": {}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="not a checkpoint of this course"):
        checkpoints.load_checkpoint(tmp_path / "a.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"format": checkpoints.FORMAT, "model": nn.Linear(2, 2)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        checkpoints.load_checkpoint(tmp_path / "a.pt")


def test_a_model_is_built_again_from_its_checkpoint(tmp_path, model):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": model.state_dict(), "recipe": asdict(RECIPE)})
    loaded, recipe = checkpoints.load_model(tmp_path / "a.pt")
    assert same(loaded.state_dict(), model.state_dict())
    assert recipe == asdict(RECIPE)
    assert not loaded.training


def test_a_model_with_a_norm_in_its_head_is_built_again(tmp_path):
    recipe = replace(RECIPE, head_norm=True)
    model = training.build_model(recipe)
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in model.head)
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": model.state_dict(), "recipe": asdict(recipe)})
    assert same(checkpoints.load_model(tmp_path / "a.pt")[0].state_dict(), model.state_dict())


def test_weights_of_your_own_parts_fit_whatever_their_layers_are_called(tmp_path, model):
    first, _, last = model.head.layers
    head = nn.ModuleDict({"one": first, "two": last})
    own = SimCLR(nn.Sequential(*list(model.encoder.children())[:-1], nn.Flatten()), head)
    assert own.state_dict().keys() != model.state_dict().keys()
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": own.state_dict(), "recipe": asdict(RECIPE)})
    assert same(checkpoints.load_model(tmp_path / "a.pt")[0].state_dict(), model.state_dict())


def test_weights_of_another_architecture_are_said_in_a_sentence(tmp_path, model):
    recipe = asdict(RECIPE)
    for wrong, words in (({"arch": "resnet18"}, "tensors are stored"), ({"hidden_dim": 17}, "head.layers.0.weight is")):
        checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": model.state_dict(), "recipe": recipe | wrong})
        with pytest.raises(ValueError, match=f"does not fit .*{words}"):
            checkpoints.load_model(tmp_path / "a.pt")


def test_a_recipe_that_builds_no_model_is_said_in_a_sentence(tmp_path, model):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": model.state_dict(), "recipe": {"arch": "resnet8"}})
    with pytest.raises(ValueError, match="a.pt does not say hidden_dim, out_dim, small_images"):
        checkpoints.load_model(tmp_path / "a.pt")


def test_a_checkpoint_without_a_model_is_said_in_a_sentence(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 1})
    with pytest.raises(ValueError, match="a model needs 'model' and 'recipe'"):
        checkpoints.load_model(tmp_path / "a.pt")


# a model to hand on


def test_a_model_handed_on_is_the_same_but_for_half_precision(tmp_path, model):
    checkpoints.save_model(tmp_path / "a.safetensors", model.to(memory_format=torch.channels_last), asdict(RECIPE))
    loaded, recipe = checkpoints.load_model(tmp_path / "a.safetensors")
    assert recipe == asdict(RECIPE) and not loaded.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-7, rtol=1e-3)


def test_a_model_handed_on_is_read_by_the_library_of_its_format(tmp_path, model):
    checkpoints.save_model(tmp_path / "a.safetensors", model, asdict(RECIPE))
    weights = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert weights.keys() == model.state_dict().keys()
    assert {value.dtype for value in weights.values()} == {torch.float16, torch.int64}


@pytest.mark.parametrize("content", [b"", b"no weights", safetensors.torch.save({"a": torch.zeros(2)}), None])
def test_another_file_than_a_model_is_said_in_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="There is no file" if content is None else "cannot be read as a model"):
        checkpoints.load_model(tmp_path / "a.safetensors")


def test_the_command_line_takes_the_model_out_of_a_run(tmp_path, model, capsys):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": model.state_dict(), "recipe": asdict(RECIPE)})
    assert checkpoints.main([str(tmp_path / "a.pt"), str(tmp_path / "new" / "b.safetensors")]) == 0
    assert checkpoints.load_model(tmp_path / "new" / "b.safetensors")[1] == asdict(RECIPE)
    assert checkpoints.main([str(tmp_path / "none.pt"), str(tmp_path / "c.safetensors")]) == 1
    assert checkpoints.main([str(tmp_path / "a.pt")]) == 1
    assert "There is no checkpoint" in (said := capsys.readouterr().err) and "Give two files" in said


def test_one_byte_of_the_last_picture_makes_other_images():
    images = torch.zeros(4100, 3, 2, 2, dtype=torch.uint8)  # more than are read at once
    other = images.clone()
    other[-1, 2, 1, 1] = 1
    assert checkpoints.fingerprint(images) == checkpoints.fingerprint(images.clone())
    assert checkpoints.fingerprint(images) != checkpoints.fingerprint(other)


def test_a_run_named_by_its_folder_is_told_where_the_checkpoint_is(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1})
    with pytest.raises(ValueError, match=r"is a folder; its checkpoint is .*checkpoint\.pt"):
        checkpoints.load_checkpoint(tmp_path)


def test_a_checkpoint_that_may_not_be_opened_is_no_damaged_one(tmp_path, monkeypatch):
    checkpoints.save_checkpoint(tmp_path / "a.pt", {"step": 1})
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(OSError, match="Permission denied"):
        checkpoints.load_checkpoint(tmp_path / "a.pt")


def test_a_number_beyond_float16_is_kept_as_its_largest(model, tmp_path):
    with torch.no_grad():
        model.encoder.bn1.running_var.fill_(1e6)
    checkpoints.save_model(tmp_path / "M.SAFETENSORS", model, asdict(RECIPE))
    loaded, _ = checkpoints.load_model(tmp_path / "M.SAFETENSORS")
    assert (loaded.encoder.bn1.running_var == 65504).all()


def test_a_second_process_is_kept_out_of_a_folder_while_the_first_is_in(tmp_path):
    code = (
        "import sys; from pathlib import Path; from helpers.files import alone_in\n"
        "with alone_in(Path(sys.argv[1])):\n    print('in', flush=True); sys.stdin.read()"
    )
    start = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "in\n"
    with (
        pytest.raises(ValueError, match=f"process {first.pid} is at work in .*: wait for it"),
        files.alone_in(tmp_path),
    ):
        pass
    first.kill(), first.wait(), first.stdin.close(), first.stdout.close()
    assert list(tmp_path.glob("running.*"))
    with files.alone_in(tmp_path):  # the first one is gone, and what it left with it
        assert [path.name for path in tmp_path.iterdir()] == [f"running.{files.HOST}.{os.getpid()}"]
    assert not list(tmp_path.iterdir())


def test_a_mark_whose_number_has_gone_to_a_younger_process_keeps_nobody_out(tmp_path):
    mark = tmp_path / f"running.{files.HOST}.{os.getppid()}"
    mark.touch()
    os.utime(mark, (1e9, 1e9))  # long before that process began
    with files.alone_in(tmp_path):
        assert not mark.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folder")
def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_name_soon_after(tmp_path, monkeypatch):
    steps, flush, rename = [], os.fsync, Path.replace

    def flushed(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        flush(handle)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", lambda path, other: steps.append("renamed") or rename(path, other))
    checkpoints.write_whole(tmp_path / "a.json", b"{}")
    assert steps == ["file", "renamed", "folder"]


def test_a_model_with_group_norm_or_a_norm_in_its_head_comes_back_as_it_was(tmp_path):
    for change in ({"group_norm": True}, {"head_norm": True}):
        recipe = replace(RECIPE, **change)
        built = training.build_model(recipe).eval()
        checkpoints.save_checkpoint(tmp_path / "a.pt", {"model": built.state_dict(), "recipe": asdict(recipe)})
        loaded, kept = checkpoints.load_model(tmp_path / "a.pt")
        x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        assert training.Recipe(**kept) == recipe
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded(x), built(x), strict=True))
