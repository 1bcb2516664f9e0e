import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import cli.evaluate
from cli.main import main
from models import labelsets
from models.engine.engine import Engine
from models.engine.loading import find, load_engine
from models.training import evaluation
from models.training.dataset import SegmentationFolder
from models.training.evaluation import Scores


def evaluate(checkpoint_dir: Path, data: Path, *arguments: str) -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL": "tiny", "SEGSERVE_MODEL_DIR": str(checkpoint_dir)})
    return runner.invoke(main, ["evaluate", "--data", str(data), *arguments])


def test_json_stands_alone_on_stdout(checkpoint_dir: Path, dataset_dir: Path) -> None:
    result = evaluate(checkpoint_dir, dataset_dir, "--split", "val", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores.keys() == {"miou", "pixel_accuracy", "ece", "per_class", "images"}
    assert "photo" in result.stderr


def test_scores_are_those_of_the_engines_own_labels(checkpoint_dir: Path, dataset_dir: Path) -> None:
    scores = json.loads(evaluate(checkpoint_dir, dataset_dir, "--split", "train", "--json").stdout)
    label_set = labelsets.load("camvid11")
    pairs = list(SegmentationFolder(dataset_dir, "train", label_set))
    engine = load_engine(find("tiny", checkpoint_dir))
    labels = np.stack([labels for _, labels in pairs])
    predicted = np.stack([engine.run([photo])[0].labels for photo, _ in pairs])
    counted = labels != 255
    assert scores["images"] == 4
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(labels[counted] == predicted[counted]))
    expected = {}
    for label in label_set.classes:
        true, found = (labels == label.id) & counted, (predicted == label.id) & counted
        if (true | found).any():
            expected[label.name] = (true & found).sum() / (true | found).sum()
    assert scores["per_class"] == pytest.approx(expected)
    assert scores["miou"] == pytest.approx(np.mean(list(expected.values())))


def test_people_get_a_table_in_percent(checkpoint_dir: Path, dataset_dir: Path) -> None:
    scores = json.loads(evaluate(checkpoint_dir, dataset_dir, "--split", "val", "--json").stdout)
    lines = evaluate(checkpoint_dir, dataset_dir, "--split", "val").stdout.splitlines()
    assert lines[0].split() == ["CLASS", "IOU"]
    assert lines[1].split()[-1] == f"{next(iter(scores['per_class'].values())):.1%}"
    assert lines[-4].endswith("OF 2 PHOTOS")
    assert lines[-3].split() == ["mean", "IoU", f"{scores['miou']:.1%}"]
    assert lines[-2].split() == ["pixel", "accuracy", f"{scores['pixel_accuracy']:.1%}"]
    assert lines[-1].split() == ["calibration", "error", f"{scores['ece']:.1%}"]


def test_the_layout_says_where_photos_and_labels_lie(checkpoint_dir: Path, dataset_dir: Path, tmp_path: Path) -> None:
    for kind, folder in (("images", "images/validation"), ("labels", "annotations/validation")):
        for source in (dataset_dir / "val" / kind).iterdir():
            path = tmp_path / folder / (f"{source.stem}.jpg" if kind == "images" else source.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    laid_out = evaluate(checkpoint_dir, tmp_path, "--split", "validation", "--layout", "ade20k", "--json")
    assert laid_out.exit_code == 0, laid_out.output
    plain = evaluate(checkpoint_dir, dataset_dir, "--split", "val", "--json")
    assert json.loads(laid_out.stdout) == json.loads(plain.stdout)


def test_the_format_is_the_one_asked_for(
    checkpoint_dir: Path, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed_in = []

    def noted(engine: Engine, *arguments: Any) -> Scores:
        computed_in.append(engine.network.dtype)
        return evaluation.evaluate(engine, *arguments)

    monkeypatch.setattr(cli.evaluate, "evaluate", noted)
    for dtype in ("float32", "bfloat16"):
        assert evaluate(checkpoint_dir, dataset_dir, "--split", "val", "--dtype", dtype).exit_code == 0
    assert computed_in == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--split", "val", "--dtype", "int8"], "tiny does not run in int8 here"),
        (["--split", "test"], "no photos for the split 'test'"),
        (["--split", "val", "--model", "lane"], "there are no weights for model 'lane'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], reason: str, checkpoint_dir: Path, dataset_dir: Path
) -> None:
    result = evaluate(checkpoint_dir, dataset_dir, *arguments, "--json")
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stdout == ""
