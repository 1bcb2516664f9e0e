"""Against the Label Studio SDK: its validator of predictions, and the pixels of its masks."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.exports.label_studio import config
from models import labelsets
from tests.labeling.exports.judges import judge
from tests.labeling.exports.results import exported, label_maps

VALIDATE = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
interface = LabelInterface(open(sys.argv[1]).read())
tasks = [task for path in sys.argv[2:] for task in json.load(open(path))]
errors = [interface.validate_prediction(p, return_errors=True) for task in tasks for p in task["predictions"]]
broken = dict(tasks[0]["predictions"][0])
broken["result"] = [dict(broken["result"][0], value={"bitmasklabels": ["no such class"]})]
errors_of_a_broken_one = interface.validate_prediction(broken, return_errors=True)
print(json.dumps([len(tasks), sum(errors, []), bool(errors_of_a_broken_one)]))
"""


def test_label_studios_validator_has_no_complaint(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "label-studio")
    folder = tmp_path / "out/exports/label-studio"
    assert judge(VALIDATE, folder / "config.xml", *sorted(folder.glob("*.json"))) == [7, [], True]


def test_masks_are_black_where_the_class_is(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "label-studio", shard_rows=3)
    expected = label_maps(tmp_path / "out")
    names = [label.name for label in labelsets.load("camvid11").classes]
    seen = []
    for part in sorted((tmp_path / "out/exports/label-studio").glob("*.json")):
        for task in json.loads(part.read_text()):
            name = task["data"]["image_id"]
            assert task["data"]["image"] == str(photos / name)
            [prediction] = task["predictions"]
            assert prediction["model_version"] == "brightness@1"
            read = np.full(expected[name].shape, 255, np.uint8)
            for region in prediction["result"]:
                assert [region["original_height"], region["original_width"]] == list(read.shape)
                data = base64.b64decode(region["value"]["imageDataURL"].removeprefix("data:image/png;base64,"))
                with Image.open(io.BytesIO(data)) as picture:
                    rgba = np.array(picture.convert("RGBA"))
                assert not rgba[..., :3].any()
                assert set(np.unique(rgba[..., 3])) <= {0, 255}
                [label] = region["value"]["bitmasklabels"]
                read[rgba[..., 3] == 255] = names.index(label)
            assert np.array_equal(read, expected[name])
            seen.append(name)
    assert seen == list(expected)


@pytest.mark.parametrize("name", labelsets.names())
def test_every_label_set_has_an_interface(name: str) -> None:
    label_set = labelsets.load(name)
    assert config(label_set).count("<Label ") == len(label_set.classes)
