import re
import resource
import shutil
from pathlib import Path

import pytest
import torch

from models.training.dataset import DataError
from models.training.run_folder import RunError
from tests.models.training.runs import four_steps, interrupt_in_step, log_of, start, state_of


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_ends_where_a_straight_one_does(
    stop: int, straight: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    interrupted = start(four_steps(), dataset_dir, tmp_path, validate_every=1)
    interrupt_in_step(interrupted, stop)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    assert state_of(tmp_path)["step"] == stop

    resumed = start(four_steps(), dataset_dir, tmp_path, validate_every=1, resume=True)
    assert resumed.step == stop
    resumed.train()

    expected, found = state_of(straight), state_of(tmp_path)
    for part in ("network", "average"):
        assert expected[part].keys() == found[part].keys()
        for name, tensor in expected[part].items():
            assert torch.equal(found[part][name], tensor), f"{part} {name}"
    for index, moments in expected["optimiser"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(found["optimiser"]["state"][index][name], tensor), f"optimiser {index} {name}"
    for one, other in zip(log_of(straight), log_of(tmp_path), strict=True):
        assert one.pop("seconds") >= 0
        assert other.pop("seconds") >= 0
        assert one == other


def test_a_finished_run_resumes_to_its_end(straight: Path, dataset_dir: Path) -> None:
    before = (straight / "log.jsonl").read_bytes()
    best = start(four_steps(), dataset_dir, straight, resume=True).train()
    assert best == max(row["miou"] for row in log_of(straight))
    assert (straight / "log.jsonl").read_bytes() == before


def test_a_run_is_not_overwritten(straight: Path, dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="already holds a run: continue it with --resume"):
        start(four_steps(), dataset_dir, straight)
    with pytest.raises(RunError, match="nothing to resume"):
        start(four_steps(), dataset_dir, tmp_path, resume=True)


def test_a_run_is_not_continued_by_another_recipe(straight: Path, dataset_dir: Path) -> None:
    other = four_steps().model_copy(update={"learning_rate": 2e-3})
    with pytest.raises(RunError, match="made with another recipe"):
        start(other, dataset_dir, straight, resume=True)


def test_a_run_is_not_continued_on_other_photos(dataset_dir: Path, tmp_path: Path) -> None:
    out, moved, fewer = (tmp_path / name for name in ("run", "moved", "fewer"))
    run = start(four_steps(), dataset_dir, out, exclude=("b-1*",))
    interrupt_in_step(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    for folder in (moved, fewer):
        shutil.copytree(dataset_dir, folder)
    (fewer / "val/images/c-1.png").unlink()
    for data, exclude in ((dataset_dir, ()), (dataset_dir, ("b-0*",)), (fewer, ("b-1*",))):
        with pytest.raises(RunError, match="made with other photos: resume with the same --data and --exclude"):
            start(four_steps(), data, out, exclude=exclude, resume=True)
    assert start(four_steps(), moved, out, exclude=("b-1*",), resume=True).step == 1


def test_a_photo_of_val_that_cannot_be_read_costs_no_step(straight: Path, dataset_dir: Path, tmp_path: Path) -> None:
    data, out = shutil.copytree(dataset_dir, tmp_path / "data"), tmp_path / "run"
    bad = data / "val/images/c-1.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-100])
    for _ in range(2):
        with pytest.raises(DataError, match=r"c-1\.png"):
            start(four_steps(), data, out, validate_every=1, resume=(out / "state.pt").exists()).train()
        assert state_of(out)["step"] == 2
    bad.write_bytes(whole)
    start(four_steps(), data, out, validate_every=1, resume=True).train()
    assert [row | {"seconds": 0} for row in log_of(out)] == [row | {"seconds": 0} for row in log_of(straight)]
    assert state_of(out)["best"] == state_of(straight)["best"]


def test_a_photo_of_train_that_cannot_be_read_costs_no_step(dataset_dir: Path, tmp_path: Path) -> None:
    data, out = shutil.copytree(dataset_dir, tmp_path / "data"), tmp_path / "run"
    run = start(four_steps(), data, out)
    bad = data / "train/images" / run.train_set.photos[run.views.batches(1, 2)[0][0][1]].name
    whole = bad.read_bytes()

    def damage(*_: object) -> None:
        if run.step == 1:
            bad.write_bytes(whole[:-100])

    run.loss.register_forward_hook(damage)
    with pytest.raises(DataError, match=bad.name):
        run.train()
    assert state_of(out)["step"] == run.step >= 2
    bad.write_bytes(whole)
    resumed = start(four_steps(), data, out, resume=True)
    assert resumed.step == run.step
    resumed.train()


def test_a_damaged_state_says_how_to_go_on(dataset_dir: Path, straight: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes((straight / "state.pt").read_bytes()[:10_000])
    with pytest.raises(RunError, match=r"state\.pt cannot be read: .* --init .*last\.safetensors"):
        start(four_steps(), dataset_dir, tmp_path, resume=True)


def test_a_state_that_there_is_no_room_for_leaves_the_last_one(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(four_steps(), dataset_dir, tmp_path, validate_every=1)
    before = b""

    def fill_up(*_: object) -> None:
        nonlocal before
        if run.step == 2:
            before = (tmp_path / "state.pt").read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, unlimited))

    run.loss.register_forward_hook(fill_up)
    limit, unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(RunError, match=r"state\.pt cannot be written: .* --resume"):
            run.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not (tmp_path / "state.tmp").exists()
    assert start(four_steps(), dataset_dir, tmp_path, resume=True).step == 2


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors", "log.jsonl", "curve.png"])
def test_a_file_that_cannot_be_written_costs_no_step(
    name: str, dataset_dir: Path, straight: Path, tmp_path: Path
) -> None:
    run = start(four_steps(), dataset_dir, tmp_path, validate_every=1)
    in_the_way = (tmp_path / name).with_suffix(".tmp")
    in_the_way.mkdir()
    with pytest.raises(RunError, match=rf"{re.escape(name)} cannot be written: .* --resume"):
        run.train()
    in_the_way.rmdir()
    resumed = start(four_steps(), dataset_dir, tmp_path, resume=True, validate_every=1)
    assert resumed.step == run.step == 2
    resumed.train()
    assert [row["epoch"] for row in log_of(tmp_path)] == [1, 2]
    assert log_of(tmp_path)[-1]["miou"] == log_of(straight)[-1]["miou"]


def test_a_run_older_than_a_field_of_recipes_goes_on(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(four_steps(), dataset_dir, tmp_path)
    interrupt_in_step(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    state = state_of(tmp_path)
    for young in ("layout", "train_split", "val_split", "steps", "batch_norm_momentum"):
        del state["recipe"][young]
    del state["data"], state["photos"]
    torch.save(state, tmp_path / "state.pt")
    assert start(four_steps(), dataset_dir, tmp_path, resume=True).step == 1
