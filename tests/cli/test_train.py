import json
import math
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import cli.evaluate
import cli.quantise
from cli.main import main
from models import labelsets
from models.engine import compilation
from models.engine.engine import Engine
from models.engine.loading import load_engine
from models.training.loop import Run
from models.weights.checkpoint import Checkpoint
from models.weights.library import find
from service.api.catalog import find_model
from service.backends.local import LocalBackend

RECIPE = """
source = "tests"
model = "eseg-lite-s"
label_set = "camvid11"
data = "drawn"
licence = "Free for tests"
epochs = 1
batch_size = 2
long_side = 64
crop = [48, 64]
optimiser = "adamw"
learning_rate = 1e-3
weight_decay = 0.01
ema_decay = 0.9
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def train(recipe: Path | str, data: Path, out: Path, *arguments: str) -> Result:
    options = ["--recipe", str(recipe), "--data", str(data), "--out", str(out), "--workers", "0", *arguments]
    return CliRunner().invoke(main, ["train", *options])


def test_training_leaves_weights_and_keeps_stdout_clean(recipe: Path, dataset_dir: Path, tmp_path: Path) -> None:
    result = train(recipe, dataset_dir, tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    card = Checkpoint.open(tmp_path / "run/best.safetensors").card
    assert f"best validation mIoU {card.scores['val_miou']:.4f}: {tmp_path / 'run/best.safetensors'}" in result.stderr


def test_an_interrupt_tells_how_to_go_on_and_the_run_does(
    recipe: Path, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Run.__init__

    def terminated(self: Run, *arguments: object, **options: object) -> None:
        validate(self, *arguments, **options)  # type: ignore[arg-type]
        self.loss.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGTERM))

    with monkeypatch.context() as patch:
        patch.setattr(Run, "__init__", terminated)
        result = train(recipe, dataset_dir, tmp_path / "run")
    assert result.exit_code == 1
    assert f"Error: stopped; continue with --resume and --out {tmp_path / 'run'}" in result.stderr
    assert not (tmp_path / "run/best.safetensors").exists()
    assert train(recipe, dataset_dir, tmp_path / "run", "--resume").exit_code == 0
    assert (tmp_path / "run/best.safetensors").exists()


def test_its_weights_are_those_that_every_command_takes_under_the_name_that_their_file_has(
    recipe: Path, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/training.md says, under the name of a model that ships in a later version."""
    assert find("eseg-lite-s").card.version > 1
    assert train(recipe, dataset_dir, tmp_path / "run").exit_code == 0
    scored: list[Path] = []

    def noted(checkpoint: Checkpoint, **options: Any) -> Engine:
        scored.append(checkpoint.path)
        return load_engine(checkpoint, **options)

    for module in (cli.evaluate, cli.quantise):
        monkeypatch.setattr(module, "load_engine", noted)
    monkeypatch.setattr(cli.quantise, "MOST_LOST", 1.0)
    monkeypatch.setattr(compilation, "QUANTISED_TOLERANCE", math.inf)
    weights = tmp_path / "weights"
    weights.mkdir()
    for version in (1, 7):
        mine = weights / f"eseg-lite-s@{version}.safetensors"
        shutil.copy(tmp_path / "run/best.safetensors", mine)
        which = ["--model", "eseg-lite-s", "--model-dir", str(weights)]
        evaluated = CliRunner().invoke(main, ["evaluate", *which, "--data", str(dataset_dir), "--split", "val"])
        assert evaluated.exit_code == 0, evaluated.output
        assert scored.pop() == mine
        listed = json.loads(CliRunner().invoke(main, ["models", "--json", *which[2:]]).stdout)
        assert [model["version"] for model in listed if model["name"] == "eseg-lite-s"] == [version]
        served = LocalBackend(weights).models
        assert find_model("eseg-lite-s", served).id == f"eseg-lite-s@{version}"
    quantised = CliRunner().invoke(main, ["quantise", *which, "--data", str(dataset_dir)])
    assert quantised.exit_code == 0, quantised.output
    assert set(scored) == {mine}
    assert quantised.stdout.endswith(f"{weights / 'eseg-lite-s@7.int8.zip'}\n")


def test_init_says_what_was_taken_and_model_overrides_the_recipes(
    recipe: Path, checkpoint_dir: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    recipe.write_text(RECIPE.replace("eseg-lite-s", "eseg-lite-l"), encoding="utf-8")
    init = checkpoint_dir / "tiny@1.safetensors"
    result = train(recipe, dataset_dir, tmp_path / "run", "--model", "eseg-lite-s", "--init", str(init))
    assert result.exit_code == 0, result.output
    assert "not taken: none" in result.stderr
    assert Checkpoint.open(tmp_path / "run/best.safetensors").card.architecture == "eseg-lite-s"


def test_a_batch_can_go_through_in_parts(recipe: Path, dataset_dir: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("batch_size = 2", "batch_size = 4"), encoding="utf-8")
    assert train(recipe, dataset_dir, tmp_path / "run", "--accumulate", "2").exit_code == 0
    assert torch.load(tmp_path / "run/state.pt")["recipe"]["accumulate"] == 2


def test_mistakes_are_told_in_a_sentence(recipe: Path, dataset_dir: Path, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.safetensors"
    nonsense.write_text("no")
    optioned = tmp_path / "optioned.toml"
    optioned.write_text(f"{RECIPE}options = {{decoder = 'dense'}}", encoding="utf-8")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text(RECIPE.replace("eseg-lite-s", "resnet"), encoding="utf-8")
    for result, reason in (
        (train("dream", dataset_dir, tmp_path / "run"), "no recipe 'dream'"),
        (train(unknown, dataset_dir, tmp_path / "run"), "no architecture 'resnet'"),
        (train(optioned, dataset_dir, tmp_path / "run"), "eseg-lite-s has no option decoder; it has none"),
        (train(recipe, dataset_dir, nonsense / "run"), "nonsense.safetensors/run cannot be written: "),
        (train(recipe, tmp_path, tmp_path / "run"), "no photos for the split 'train'"),
        (train(recipe, dataset_dir, tmp_path / "run", "--resume"), "nothing to resume"),
        (train(recipe, dataset_dir, tmp_path / "run", "--exclude", "*"), "but those excluded"),
        (train(recipe, dataset_dir, tmp_path / "run", "--model", "ESeg-Lite-S"), "no architecture 'ESeg-Lite-S'"),
        (train(recipe, dataset_dir, tmp_path / "run", "--init", str(nonsense)), "cannot be read as safetensors"),
    ):
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert reason in result.stderr


def test_a_photo_that_a_loaders_process_cannot_read_is_named_in_a_sentence(
    recipe: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    for photo in (data / "train/images").iterdir():
        photo.write_bytes(photo.read_bytes()[:-100])
    result = train(recipe, data, tmp_path / "run", "--workers", "1")
    assert result.exit_code == 1
    assert re.search(r"^Error: .*train/images/\w-\d\.png: [^\n]+\n\Z", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr


def test_a_label_set_of_ones_own_serves_whoever_has_its_folder(
    recipe: Path, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here CamVid's, with names and colours of another."""
    railway = json.loads((Path(labelsets.__file__).parent / "camvid11.json").read_text())
    railway["classes"] = [c | {"name": f"thing {c['id']}", "color": [c["id"], 7, 7]} for c in railway["classes"]]
    sets = tmp_path / "label sets"
    sets.mkdir()
    (sets / "railway.json").write_text(json.dumps(railway))
    recipe.write_text(RECIPE.replace("camvid11", "railway"))
    unknown = train(recipe, dataset_dir, tmp_path / "run")
    assert unknown.exit_code == 1
    assert "no label set 'railway'" in unknown.stderr

    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", str(sets))
    assert train(recipe, dataset_dir, tmp_path / "run").exit_code == 0
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(tmp_path / "run/last.safetensors", models / "rails@1.safetensors")
    photo = next((dataset_dir / "val/images").iterdir())
    arguments = ["--model", "rails", "--model-dir", str(models), "--out", str(tmp_path / "out"), str(photo)]
    told = CliRunner().invoke(main, ["segment", *arguments])
    assert told.exit_code == 0, told.output
    assert "thing " in told.output
    palette = Image.open(tmp_path / "out" / f"{photo.stem}.png").getpalette()
    assert palette is not None
    assert palette[:6] == [0, 7, 7, 1, 7, 7]

    monkeypatch.delenv("SEGSERVE_LABEL_SET_DIR")
    lost = CliRunner().invoke(main, ["segment", *arguments])
    assert lost.exit_code == 1
    assert "no label set 'railway'" in lost.stderr
    assert "SEGSERVE_LABEL_SET_DIR" in lost.stderr
