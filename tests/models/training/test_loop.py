import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from models.engine.loading import load_network
from models.labelsets import UnknownLabelSetError
from models.training.dataset import DataError
from models.training.float32_convolutions import Float32Conv2d
from models.training.run_folder import RunError
from models.weights.checkpoint import Checkpoint
from models.zoo.options import Options
from models.zoo.registry import UnknownArchitectureError, build
from tests.models.training.runs import interrupt_in_step, log_of, make_recipe, start, state_of


def test_a_run_leaves_its_files(straight: Path) -> None:
    names = {path.name for path in straight.iterdir()}
    assert names == {"lock", "state.pt", "best.safetensors", "last.safetensors", "log.jsonl", "curve.png"}
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


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [None, 5.0])
def test_a_run_that_diverges_ends_before_the_step_and_says_what_to_do(
    where: str, clip: float | None, dataset_dir: Path, tmp_path: Path
) -> None:
    run = start(make_recipe(clip_gradient_norm=clip), dataset_dir, tmp_path, validate_every=1)

    def too_large(tensor: Tensor) -> Tensor:
        return tensor * math.inf if run.step == 2 else tensor

    if where == "loss":
        run.loss.register_forward_hook(lambda *arguments: too_large(arguments[-1]))
    else:
        next(run.network.parameters()).register_hook(too_large)  # type: ignore[no-untyped-call]
    with pytest.raises(RunError, match=r"diverged in step 3 .* lower learning_rate .* --init .*best\.safetensors"):
        run.train()
    assert run.step == state_of(tmp_path)["step"] == 2
    for kept in (run.network.parameters(), run.kept.network().parameters()):
        assert all(parameter.isfinite().all() for parameter in kept)


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(dataset_dir: Path, tmp_path: Path) -> None:
    gradients = []
    for parts in (1, 2):
        run = start(
            make_recipe(batch_size=4, accumulate=parts, steps=1, epochs=None), dataset_dir, tmp_path / str(parts)
        )
        # Statistics of a part are not those of the whole.
        run.network.register_forward_pre_hook(lambda network, _: freeze_batch_norms(network))
        seen: list[int] = []
        run.network.register_forward_pre_hook(lambda _, photos, seen=seen: seen.append(len(photos[0])))
        run.train()
        assert seen == [4 // parts] * parts
        gradients.append([p.grad.flatten() for p in run.network.parameters() if p.grad is not None])
    whole, in_parts = (torch.cat(each) for each in gradients)
    assert (in_parts - whole).norm() < 0.05 * whole.norm()


def freeze_batch_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def test_a_bad_label_map_of_val_is_told_before_the_first_step(dataset_dir: Path, tmp_path: Path) -> None:
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    labels = data / "val/labels/c-1.png"
    Image.fromarray(np.full_like(np.array(Image.open(labels)), 77)).save(labels)
    with pytest.raises(DataError, match=r"c-1\.png: .*77"):
        start(make_recipe(), data, tmp_path / "run")


@pytest.mark.parametrize(
    ("parts", "advice"),
    [
        (1, "4 crops of (48, 64) at a time: begin again with --accumulate 2, of a batch of 4, or a smaller crop"),
        (2, "2 crops of (48, 64) at a time: begin again with a smaller crop"),
    ],
)
def test_too_little_memory_says_how_to_need_less(parts: int, advice: str, dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(batch_size=4, accumulate=parts), dataset_dir, tmp_path)

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    run.network.register_forward_hook(exhausted)
    with pytest.raises(RunError, match=re.escape(f"memory is too short for {advice}; tried")):
        run.train()


def test_options_of_the_architecture_go_with_the_weights(dataset_dir: Path, tmp_path: Path) -> None:
    options = Options(output_stride=16, aspp_rates=(3, 6))
    run = start(make_recipe(model="mobile-spinenet-s49-minus", options=options, epochs=1), dataset_dir, tmp_path)
    assert any(isinstance(module, Float32Conv2d) for module in run.network.modules())
    run.train()
    checkpoint = Checkpoint.open(tmp_path / "last.safetensors")
    assert checkpoint.card.options == options
    network = load_network(checkpoint)
    assert network.stride == 16
    assert torch.equal(
        network.get_parameter("head.1.weight"), run.kept.average.module.get_parameter("head.1.weight").half()
    )


def test_steps_end_a_run_within_an_epoch(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(epochs=None, steps=3, learning_rate=1.0), dataset_dir, tmp_path)
    run.train()
    assert (run.step, run.plan.steps_per_epoch) == (3, 2)
    [row] = log_of(tmp_path)
    assert row["epoch"] == 1.5
    assert row["learning_rate"] == pytest.approx(0.25)


def test_statistics_are_kept_as_the_recipe_says(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(batch_norm_momentum=0.9997), dataset_dir, tmp_path)
    [replaced] = {m.momentum for m in run.network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert replaced == pytest.approx(0.0003)


def test_a_run_can_start_from_another_models_weights(
    checkpoint_dir: Path, dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = checkpoint_dir / "tiny@1.safetensors"
    given = build("eseg-lite-s", 11)
    Checkpoint.open(init).load_into(given)
    run = start(make_recipe(), dataset_dir, tmp_path, init=init)
    assert "not taken: none" in capsys.readouterr().err
    for name, tensor in given.named_parameters():
        assert torch.equal(run.network.get_parameter(name), tensor)
        assert torch.equal(run.kept.network().get_parameter(name), tensor)

    interrupt_in_step(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    capsys.readouterr()
    resumed = start(make_recipe(), dataset_dir, tmp_path, init=init, resume=True)
    assert "took" not in capsys.readouterr().err
    assert resumed.step == 1
    for same in (run, resumed):
        assert same.card.data == "drawn; started from tiny@1 (Nothing: random weights; licence: Free for tests)"


def test_it_learns(dataset_dir: Path, tmp_path: Path) -> None:
    lesson = make_recipe(epochs=12, scale=(1.0, 1.0), photometric=0.0, learning_rate=3e-3, ema_decay=0.5)
    start(lesson, dataset_dir, tmp_path, validate_every=4).train()
    first, *_, last = log_of(tmp_path)
    assert last["loss"] < 0.5 * first["loss"]
    assert last["miou"] > first["miou"]


def test_sgd_trains_too(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(optimiser="sgd", learning_rate=0.01, epochs=1), dataset_dir, tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.train()
    assert any(not torch.equal(p, before[name]) for name, p in run.network.named_parameters())


def test_excluded_photos_are_not_trained_on(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(), dataset_dir, tmp_path, exclude=("a-*",))
    assert [path.name for path in run.train_set.photos] == ["b-0.png", "b-1.png"]
    assert run.plan.steps_per_epoch == 1


def test_one_photo_is_too_few(dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        start(make_recipe(), dataset_dir, tmp_path, exclude=("a-*", "b-1*"))


def test_names_that_there_are_not_are_refused(dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitectureError, match="no architecture 'resnet'"):
        start(make_recipe(model="resnet"), dataset_dir, tmp_path)
    with pytest.raises(UnknownLabelSetError, match="no label set 'nowhere'"):
        start(make_recipe(label_set="nowhere"), dataset_dir, tmp_path)


def test_the_card_says_how_photos_are_prepared(dataset_dir: Path, tmp_path: Path) -> None:
    run = start(make_recipe(enlarge=1.5, long_side=512, brightness=0.4), dataset_dir, tmp_path)
    run.train()
    preprocessing = Checkpoint.open(tmp_path / "last.safetensors").card.preprocessing
    assert (preprocessing.long_side, preprocessing.enlarge, preprocessing.brightness) == (512, 1.5, 0.4)
