import json
import math
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.loading import load_network
from models.labelsets import UnknownLabelSetError
from models.training.dataset import DataError
from models.training.loop import Run
from models.training.recipe import Recipe
from models.training.run_folder import RunError
from models.weights.checkpoint import Checkpoint
from models.zoo.options import Options
from models.zoo.registry import UnknownArchitectureError, build

MakeRecipe = Callable[..., Recipe]


def start(recipe: Recipe, data: Path, out: Path, **options: Any) -> Run:
    return Run(recipe, data, out, workers=0, device=torch.device("cpu"), **options)


def interrupt_in_step(run: Run, step: int) -> None:
    """Have SIGINT arrive in the middle of a step (from 1): after the forward pass, before the weights are changed."""

    def arrive(*_: object) -> None:
        if run.step == step - 1:
            signal.raise_signal(signal.SIGINT)

    run.loss.register_forward_hook(arrive)


def state_of(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "state.pt")
    return state


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def straight(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, two epochs, that nothing interrupted."""
    out = tmp_path_factory.mktemp("straight") / "run"
    start(four_steps(), dataset_dir, out, validate_every=1).train()
    return out


def four_steps() -> Recipe:
    return Recipe(
        source="tests",
        model="eseg-lite-s",
        label_set="camvid11",
        data="drawn",
        licence="Free for tests",
        epochs=2,
        batch_size=2,
        seed=3,
        long_side=64,
        crop=(40, 56),
        photometric=0.5,
        optimiser="adamw",
        learning_rate=1e-3,
        warmup_epochs=1,
        weight_decay=0.01,
        clip_gradient_norm=5,
        ema_decay=0.9,
        class_weights="inverse-log",
        ohem_threshold=0.9,
        ohem_kept=0.1,
        jaccard=0.5,
        level_dropout=0.3,
        channel_dropout=0.1,
    )


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


def test_a_run_leaves_its_files(straight: Path) -> None:
    names = {path.name for path in straight.iterdir()}
    assert names == {"state.pt", "best.safetensors", "last.safetensors", "log.jsonl", "curve.png"}
    rows = log_of(straight)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert {"miou", "pixel_accuracy", "ece", "per_class", "images", "learning_rate"} <= rows[0].keys()


def test_best_is_the_best_of_the_log_and_says_so_on_its_card(straight: Path) -> None:
    card = Checkpoint.open(straight / "best.safetensors").card
    best = max(log_of(straight), key=lambda row: row["miou"])
    assert card.scores["val_miou"] == round(best["miou"], 4)
    assert card.scores["val_pixel_accuracy"] == round(best["pixel_accuracy"], 4)
    assert card.scores["val_ece"] == round(best["ece"], 4)
    assert (card.name, card.version, card.label_set, card.num_classes) == ("eseg-lite-s", 1, "camvid11", 11)
    assert (card.input_size, card.preprocessing.long_side) == ((48, 64), 64)
    assert card.licence == "Free for tests"


def test_the_last_checkpoint_is_the_average_of_the_weights(straight: Path) -> None:
    network = build("eseg-lite-s", 11)
    Checkpoint.open(straight / "last.safetensors").load_into(network)
    average = state_of(straight)["average"]
    for name, tensor in network.state_dict().items():
        wanted = average[f"module.{name}"]
        assert torch.equal(tensor, wanted.half().float() if wanted.dim() > 1 else wanted), name
    assert not torch.equal(average["module.classifier.weight"], state_of(straight)["network"]["classifier.weight"])


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


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [None, 5.0])
def test_a_run_that_diverges_ends_before_the_step_and_says_what_to_do(
    where: str, clip: float | None, recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path
) -> None:
    run = start(recipe(clip_gradient_norm=clip), dataset_dir, tmp_path, validate_every=1)

    def too_large(tensor: Tensor) -> Tensor:
        return tensor * math.inf if run.step == 2 else tensor

    if where == "loss":
        run.loss.register_forward_hook(lambda *arguments: too_large(arguments[-1]))
    else:
        next(run.network.parameters()).register_hook(too_large)  # type: ignore[no-untyped-call]
    with pytest.raises(RunError, match=r"diverged in step 3 .* lower learning_rate .* --init .*best\.safetensors"):
        run.train()
    assert run.step == state_of(tmp_path)["step"] == 2
    for kept in (run.network.parameters(), run.average.parameters()):
        assert all(parameter.isfinite().all() for parameter in kept)


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(
    recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path
) -> None:
    gradients = []
    for parts in (1, 2):
        run = start(recipe(batch_size=4, accumulate=parts, steps=1, epochs=None), dataset_dir, tmp_path / str(parts))
        # Statistics of a part are not those of the whole.
        for norm in (module for module in run.network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.momentum = 0.0
            norm.forward = partial(with_running_statistics, norm)  # type: ignore[method-assign]
        seen: list[int] = []
        run.network.register_forward_pre_hook(lambda _, photos, seen=seen: seen.append(len(photos[0])))
        run.train()
        assert seen == [4 // parts] * parts
        gradients.append([p.grad.flatten() for p in run.network.parameters() if p.grad is not None])
    whole, in_parts = (torch.cat(each) for each in gradients)
    assert (in_parts - whole).norm() < 0.05 * whole.norm()


def with_running_statistics(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)


def test_too_little_memory_says_how_to_need_less(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(batch_size=4), dataset_dir, tmp_path)

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    run.network.register_forward_hook(exhausted)
    with pytest.raises(
        RunError, match=r"too short for 4 crops of \(48, 64\) at a time: .* --accumulate 2, of a batch of 4"
    ):
        run.train()


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


def test_options_of_the_architecture_go_with_the_weights(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    options = Options(output_stride=16, aspp_rates=(3, 6))
    run = start(recipe(model="mobile-spinenet-s49-minus", options=options, epochs=1), dataset_dir, tmp_path)
    run.train()
    checkpoint = Checkpoint.open(tmp_path / "last.safetensors")
    assert checkpoint.card.options == options
    network = load_network(checkpoint)
    assert network.stride == 16
    assert torch.equal(network.get_parameter("head.1.weight"), run.average.module.get_parameter("head.1.weight").half())


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


def test_steps_end_a_run_within_an_epoch(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(epochs=None, steps=3, learning_rate=1.0), dataset_dir, tmp_path)
    run.train()
    assert (run.step, run.steps_per_epoch) == (3, 2)
    [row] = log_of(tmp_path)
    assert row["epoch"] == 1.5
    assert row["learning_rate"] == pytest.approx(0.25)


def test_statistics_are_kept_as_the_recipe_says(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(batch_norm_momentum=0.9997), dataset_dir, tmp_path)
    [replaced] = {m.momentum for m in run.network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert replaced == pytest.approx(0.0003)


def test_a_run_can_start_from_another_models_weights(
    recipe: MakeRecipe, checkpoint_dir: Path, dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = checkpoint_dir / "tiny@1.safetensors"
    given = build("eseg-lite-s", 11)
    Checkpoint.open(init).load_into(given)
    run = start(recipe(), dataset_dir, tmp_path, init=init)
    assert "not taken: none" in capsys.readouterr().err
    for name, tensor in given.named_parameters():
        assert torch.equal(run.network.get_parameter(name), tensor)
        assert torch.equal(run.average.module.get_parameter(name), tensor)

    interrupt_in_step(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    capsys.readouterr()
    resumed = start(recipe(), dataset_dir, tmp_path, init=init, resume=True)
    assert "took" not in capsys.readouterr().err
    assert resumed.step == 1
    for same in (run, resumed):
        assert same.card.data == "drawn; started from tiny@1 (Nothing: random weights; licence: Free for tests)"


def test_it_learns(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    lesson = recipe(epochs=12, scale=(1.0, 1.0), photometric=0.0, learning_rate=3e-3, ema_decay=0.5)
    start(lesson, dataset_dir, tmp_path, validate_every=4).train()
    first, *_, last = log_of(tmp_path)
    assert last["loss"] < 0.5 * first["loss"]
    assert last["miou"] > first["miou"]


def test_sgd_trains_too(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(optimiser="sgd", learning_rate=0.01, epochs=1), dataset_dir, tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.train()
    assert any(not torch.equal(p, before[name]) for name, p in run.network.named_parameters())


def test_excluded_photos_are_not_trained_on(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(), dataset_dir, tmp_path, exclude=("a-*",))
    assert [path.name for path in run.train_set.photos] == ["b-0.png", "b-1.png"]
    assert run.steps_per_epoch == 1


def test_one_photo_is_too_few(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        start(recipe(), dataset_dir, tmp_path, exclude=("a-*", "b-1*"))


def test_names_that_there_are_not_are_refused(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitectureError, match="no architecture 'resnet'"):
        start(recipe(model="resnet"), dataset_dir, tmp_path)
    with pytest.raises(UnknownLabelSetError, match="no label set 'nowhere'"):
        start(recipe(label_set="nowhere"), dataset_dir, tmp_path)


def test_the_card_says_how_far_small_photos_are_enlarged(recipe: MakeRecipe, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(recipe(enlarge=1.5, long_side=512), dataset_dir, tmp_path)
    run.train()
    preprocessing = Checkpoint.open(tmp_path / "last.safetensors").card.preprocessing
    assert (preprocessing.long_side, preprocessing.enlarge) == (512, 1.5)
