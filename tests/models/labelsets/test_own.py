"""Label sets of the user's own, in the folder that SEGSERVE_LABEL_SET_DIR names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import labelsets
from models.labelsets import LabelClass, LabelSetError, UnknownLabelSetError

CLASSES = [
    {"id": 0, "name": "rail", "color": [200, 0, 0], "dataset_id": 7},
    {"id": 1, "name": "platform", "color": [0, 0, 200], "dataset_id": 9},
]
RAILWAY = {"title": "Railway", "source": "ours", "ignored_dataset_ids": [0], "classes": CLASSES}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", str(tmp_path))

    def write(name: str = "railway.json", **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(RAILWAY | changes))
        return path

    return write


def test_a_set_of_ones_own_is_beside_those_that_ship(write: Callable[..., Path]) -> None:
    write()
    assert labelsets.names() == ("ade20k150", "camvid11", "cityscapes19", "pascal_voc21", "railway")
    railway = labelsets.load("railway")
    assert (railway.name, railway.title) == ("railway", "Railway")
    assert railway.classes[1] == LabelClass(1, "platform", (0, 0, 200), 9)
    assert railway.from_dataset_ids(np.array([7, 9, 0, 255], np.uint8)).tolist() == [0, 1, 255, 255]


def test_without_the_variable_it_is_unknown(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    monkeypatch.delenv("SEGSERVE_LABEL_SET_DIR")
    with pytest.raises(UnknownLabelSetError, match=r"'railway': there are ade.*SEGSERVE_LABEL_SET_DIR names your own"):
        labelsets.load("railway")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": CLASSES[::-1]}, r"the ids of the classes must be 0, 1, 2"),
        ({"classes": [CLASSES[0], CLASSES[1] | {"name": "rail"}]}, r"name 'rail' is there twice"),
        ({"classes": [CLASSES[0], CLASSES[1] | {"dataset_id": 7}]}, r"dataset_id 7 is there twice"),
        ({"ignored_dataset_ids": [9]}, r"dataset_id 9 is there twice"),
        ({"classes": [CLASSES[0], CLASSES[1] | {"dataset_id": 255}]}, r"classes: 1: dataset_id: .*less than 255"),
        ({"classes": [CLASSES[0], CLASSES[1] | {"color": [0, 0, 256]}]}, r"classes: 1: color: 2: [^;]*255$"),
        ({"classes": [CLASSES[0], CLASSES[1] | {"colour": [0, 0, 0]}]}, r"colour: Extra inputs"),
        ({"classes": CLASSES[:1]}, r"a set has 2 to 255 classes, not 1"),
        ({"title": " "}, r"title: "),
    ],
)
def test_a_mistake_in_it_is_told(write: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    path = write(**changes)
    with pytest.raises(LabelSetError, match=rf"{path} is not a label set: .*{message}"):
        labelsets.load("railway")


def test_what_is_no_json_is_told(write: Callable[..., Path]) -> None:
    write().write_text("{")
    with pytest.raises(LabelSetError, match=r"is not a label set: .*JSON"):
        labelsets.load("railway")


def test_a_name_that_ships_is_taken(write: Callable[..., Path]) -> None:
    write("camvid11.json")
    with pytest.raises(LabelSetError, match=r"camvid11\.json: a label set of this name ships with segserve"):
        labelsets.load("camvid11")


def test_a_name_is_plain(write: Callable[..., Path]) -> None:
    write("My Railway.json")
    with pytest.raises(LabelSetError, match="a label set is called NAME"):
        labelsets.names()


def test_a_folder_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", "/nowhere")
    with pytest.raises(LabelSetError, match="there is no folder /nowhere, which SEGSERVE_LABEL_SET_DIR names"):
        labelsets.load("camvid11")
