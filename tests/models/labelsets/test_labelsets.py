"""The label sets against the facts of the data sets they describe."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from models import labelsets
from models.labelsets import IGNORE_VALUE, LabelSet, UnknownLabelSetError

SIZES = {"ade20k150": 150, "camvid11": 11, "cityscapes19": 19, "pascal_voc21": 21}

# cityscapesScripts 2.3.0, cityscapesscripts/helpers/labels.py: the ids of trainId 0..18, and those of trainId 255.
CITYSCAPES_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
CITYSCAPES_VOID_IDS = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30]


@pytest.fixture(params=labelsets.names())
def label_set(request: pytest.FixtureRequest) -> LabelSet:
    return labelsets.load(request.param)


def voc_color(index: int) -> tuple[int, int, int]:
    """Entry `index` of PASCAL VOC's colour map: bits, lowest first, fill red, green, blue in turn, highest first."""
    bits = [index >> position & 1 for position in range(24)]
    red, green, blue = (sum(bit << (7 - place) for place, bit in enumerate(bits[channel::3])) for channel in range(3))
    return red, green, blue


def test_names_are_sorted_and_complete() -> None:
    assert labelsets.names() == tuple(SIZES)


def test_classes_are_numbered_in_order_and_named_once(label_set: LabelSet) -> None:
    size = SIZES[label_set.name]
    assert [label.id for label in label_set.classes] == list(range(size))
    assert len({label.name for label in label_set.classes}) == size
    assert all(label.name == label.name.strip() != "" for label in label_set.classes)
    assert all(len(label.color) == 3 and all(0 <= part <= 255 for part in label.color) for label in label_set.classes)


def test_dataset_ids_are_distinct_and_not_ignored(label_set: LabelSet) -> None:
    dataset_ids = {label.dataset_id for label in label_set.classes}
    assert len(dataset_ids) == len(label_set.classes)
    assert dataset_ids.isdisjoint({IGNORE_VALUE, *label_set.ignored_dataset_ids})


def test_a_set_says_where_it_comes_from(label_set: LabelSet) -> None:
    assert label_set.title
    assert len(label_set.source) > len(label_set.title)
    assert label_set.ignore_value == IGNORE_VALUE == 255


def test_sets_are_values(label_set: LabelSet) -> None:
    assert labelsets.load(label_set.name) is label_set
    assert hash(label_set) == hash(replace(label_set))


def test_colors_are_distinct(label_set: LabelSet) -> None:
    """ADE20K's own palette draws two classes alike, and users know these colours: the reference is kept."""
    drawn: dict[tuple[int, int, int], list[str]] = {}
    for label in label_set.classes:
        drawn.setdefault(label.color, []).append(label.name)
    alike = [names for names in drawn.values() if len(names) > 1]
    assert alike == ([["road", "skyscraper"]] if label_set.name == "ade20k150" else [])


def test_palette_holds_each_color_at_its_id_and_black_elsewhere(label_set: LabelSet) -> None:
    assert len(label_set.palette) == 256 * 3
    entries = np.frombuffer(label_set.palette, np.uint8).reshape(256, 3)
    assert [tuple(entry) for entry in entries[: len(label_set.classes)]] == [c.color for c in label_set.classes]
    assert not entries[len(label_set.classes) :].any()


def test_camvid() -> None:
    camvid = labelsets.load("camvid11")
    assert [(label.name, label.color) for label in camvid.classes] == [
        ("sky", (128, 128, 128)),
        ("building", (128, 0, 0)),
        ("pole", (192, 192, 128)),
        ("road", (128, 64, 128)),
        ("pavement", (0, 0, 192)),
        ("tree", (128, 128, 0)),
        ("sign symbol", (192, 128, 128)),
        ("fence", (64, 64, 128)),
        ("car", (64, 0, 128)),
        ("pedestrian", (64, 64, 0)),
        ("bicyclist", (0, 128, 192)),
    ]
    assert [label.dataset_id for label in camvid.classes] == list(range(11))
    assert camvid.ignored_dataset_ids == (11,)


def test_cityscapes() -> None:
    cityscapes = labelsets.load("cityscapes19")
    assert [label.dataset_id for label in cityscapes.classes] == CITYSCAPES_IDS
    assert list(cityscapes.ignored_dataset_ids) == CITYSCAPES_VOID_IDS
    assert sorted(CITYSCAPES_IDS + CITYSCAPES_VOID_IDS) == list(range(34))
    colors = {label.name: label.color for label in cityscapes.classes}
    assert list(colors)[:3] == ["road", "sidewalk", "building"]
    assert list(colors)[-3:] == ["train", "motorcycle", "bicycle"]
    assert colors["road"] == (128, 64, 128)
    assert colors["traffic light"] == (250, 170, 30)
    assert colors["rider"] == (255, 0, 0)
    assert colors["bicycle"] == (119, 11, 32)


def test_pascal_voc() -> None:
    voc = labelsets.load("pascal_voc21")
    assert [label.color for label in voc.classes] == [voc_color(index) for index in range(21)]
    assert voc_color(IGNORE_VALUE) == (224, 224, 192), "the known colour of VOC's border checks the algorithm itself"
    assert [label.name for label in voc.classes][:2] == ["background", "aeroplane"]
    assert [label.name for label in voc.classes][14:16] == ["motorbike", "person"]
    assert voc.classes[20].name == "tvmonitor"
    assert [label.dataset_id for label in voc.classes] == list(range(21))
    assert voc.ignored_dataset_ids == (255,)


def test_ade20k() -> None:
    ade = labelsets.load("ade20k150")
    assert [label.dataset_id for label in ade.classes] == list(range(1, 151))
    assert ade.ignored_dataset_ids == (0,)
    known = {0: "wall", 2: "sky", 6: "road", 7: "bed", 20: "car", 136: "traffic light", 149: "flag"}
    assert {id: ade.classes[id].name for id in known} == known
    assert ade.classes[0].color == (120, 120, 120)
    assert ade.classes[20].color == (0, 102, 200)
    assert ade.classes[74].name == "computer"
    assert ade.classes[74].color == (0, 255, 173)
    assert ade.classes[149].color == (92, 0, 255)


def test_dataset_ids_become_class_ids(label_set: LabelSet) -> None:
    dataset_ids = np.array([[label.dataset_id for label in label_set.classes]] * 2, np.uint8)
    before = dataset_ids.copy()
    class_ids = label_set.from_dataset_ids(dataset_ids)
    assert class_ids.dtype == np.uint8
    assert class_ids.tolist() == [list(range(len(label_set.classes)))] * 2
    assert (dataset_ids == before).all()


def test_ignored_values_become_the_ignore_value(label_set: LabelSet) -> None:
    void = np.array([*label_set.ignored_dataset_ids, IGNORE_VALUE], np.uint8)
    assert label_set.from_dataset_ids(void).tolist() == [IGNORE_VALUE] * len(void)


def test_every_other_value_is_refused(label_set: LabelSet) -> None:
    of_the_set = {label.dataset_id for label in label_set.classes} | {*label_set.ignored_dataset_ids, IGNORE_VALUE}
    for value in set(range(256)) - of_the_set:
        with pytest.raises(ValueError, match=rf"'{label_set.name}': {value};"):
            label_set.from_dataset_ids(np.array([IGNORE_VALUE, value], np.uint8))


def test_the_error_names_each_strange_value_once() -> None:
    with pytest.raises(ValueError, match=r"not of the set 'camvid11': 12, 254; is this a label file of another"):
        labelsets.load("camvid11").from_dataset_ids(np.array([[254, 3], [12, 254]], np.uint8))


@pytest.mark.parametrize("dtype", [np.bool_, np.int64])
def test_other_dtypes_are_refused(dtype: type[np.generic]) -> None:
    """-1 would count from the table's end, and booleans would select from it."""
    with pytest.raises(TypeError, match="must be uint8"):
        labelsets.load("camvid11").from_dataset_ids(np.array([-1], dtype))


def test_an_empty_label_map_stays_empty() -> None:
    assert labelsets.load("camvid11").from_dataset_ids(np.empty((0, 4), np.uint8)).shape == (0, 4)


@pytest.mark.parametrize("name", ["cityscapes", "", "../labelsets/camvid11", "camvid11.json"])
def test_an_unknown_name_is_answered_with_the_names(name: str) -> None:
    with pytest.raises(UnknownLabelSetError) as raised:
        labelsets.load(name)
    assert isinstance(raised.value, LookupError)
    assert str(raised.value).startswith(
        f"no label set {name!r}: there are ade20k150, camvid11, cityscapes19, pascal_voc21;"
    )


def test_imports_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from models import labelsets\n"
        "print([len(labelsets.load(name).classes) for name in labelsets.names()])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(list(SIZES.values())), "")
