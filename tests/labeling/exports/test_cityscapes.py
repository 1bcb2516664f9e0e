"""Against cityscapesScripts: its label table, and its evaluation of our files as predictions."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.errors import JobError
from models import labelsets
from tests.labeling.drawings import draw
from tests.labeling.exports.judges import judge
from tests.labeling.exports.results import exported, label_maps

LABEL_IDS = """
import json
from cityscapesscripts.helpers.labels import labels
print(json.dumps({label.name: label.id for label in labels if 0 <= label.trainId < 255}))
"""

EVALUATE = """
import json, os, sys
os.environ["CITYSCAPES_RESULTS"] = sys.argv[1]
import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as evaluation
args = evaluation.args
args.JSONOutput = args.quiet = True
args.evalInstLevelScore = False
args.exportFile = sys.argv[1] + "/scores.json"
args.predictionPath, args.predictionWalk = sys.argv[1], None
truth = sys.argv[2:]
predictions = [evaluation.getPrediction(args, path) for path in truth]
scores = evaluation.evaluateImgLists(predictions, truth, args)
print(json.dumps({"pixels": sum(map(sum, scores["confMatrix"])), "right": scores["averageScoreClasses"]}))
"""


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(
        ["ulm/ulm_000001_000019_leftImg8bit.png", "ulm/ulm_000002_000019.jpg", "own photo.jpg"]
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw(number))
    return folder


def test_files_hold_label_ids_under_cityscapes_names(frames: Path, tmp_path: Path) -> None:
    exported(frames, tmp_path / "out", "cityscapes", label_set="cityscapes19")
    folder = tmp_path / "out/exports/cityscapes"
    with (folder / "names/part-00000.csv").open() as file:
        names = {row["image_id"]: row["file"] for row in csv.DictReader(file)}
    assert names == {
        "own photo.jpg": "photos/photos_000000_000000_gtFine_labelIds.png",
        "ulm/ulm_000001_000019_leftImg8bit.png": "ulm/ulm_000001_000019_gtFine_labelIds.png",
        "ulm/ulm_000002_000019.jpg": "ulm/ulm_000002_000019.jpg_gtFine_labelIds.png",
    }
    ids = judge(LABEL_IDS)
    classes = labelsets.load("cityscapes19").classes
    for image_id, labels in label_maps(tmp_path / "out").items():
        with Image.open(folder / names[image_id]) as picture:
            assert picture.mode == "L"
            assert np.array_equal(np.array(picture), np.array([ids[label.name] for label in classes])[labels])


def test_photos_of_one_frame_stay_apart(tmp_path: Path) -> None:
    names = [
        *(
            "left/ulm_000001_000019.png",
            "right/ulm_000001_000019.png",
            "ulm_000001_000019.png",
            "ulm_000001_000019.jpg",
        ),
        *("ulm_000001_000019_leftImg8bit.png", "ulm_000001_000019_rightImg8bit.png"),
        *("leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png", "../ulm/ulm_000001_000019.png"),
    ]
    (tmp_path / "a.jpg").write_bytes(draw(0))
    manifest = tmp_path / "m.csv"
    manifest.write_text("image_id,uri\n" + "".join(f"{name},a.jpg\n" for name in names))
    exported(manifest, tmp_path / "out", "cityscapes", label_set="cityscapes19", shard_rows=2)
    folder = tmp_path / "out/exports/cityscapes"
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert found == [
        "%2E%2E/ulm/ulm_000001_000019.png_gtFine_labelIds.png",
        "left/ulm/ulm_000001_000019.png_gtFine_labelIds.png",
        "leftImg8bit/train/ulm/ulm_000001_000019_gtFine_labelIds.png",
        "right/ulm/ulm_000001_000019.png_gtFine_labelIds.png",
        "ulm/ulm_000001_000019.jpg_gtFine_labelIds.png",
        "ulm/ulm_000001_000019.png_gtFine_labelIds.png",
        "ulm/ulm_000001_000019_gtFine_labelIds.png",
        "ulm/ulm_000001_000019_rightImg8bit.png_gtFine_labelIds.png",
    ]


def test_cityscapes_own_evaluation_finds_and_reads_them(frames: Path, tmp_path: Path) -> None:
    exported(frames, tmp_path / "out", "cityscapes", label_set="cityscapes19")
    folder = tmp_path / "out/exports/cityscapes"
    truth = sorted(folder.glob("ulm/*.png"))
    ground = tmp_path / "gtFine"
    ground.mkdir()
    for path in truth:
        (ground / path.name).write_bytes(path.read_bytes())
    scores = judge(EVALUATE, folder / "ulm", *sorted(ground.glob("*.png")))
    assert scores == {"pixels": 96 * 128 + 64 * 96, "right": 1.0}


def test_another_label_set_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="needs a model with the label set cityscapes19: this job's has camvid11"):
        exported(photos, tmp_path / "out", "cityscapes")
