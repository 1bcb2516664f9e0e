from pathlib import Path
from typing import Any

import pytest

from models import labelsets
from models.training.dataset import DataError, SegmentationFolder
from models.training.layouts import LAYOUTS, LayoutName
from tests.models.training.made_up import MAKERS, SIZE, cityscapes, grey

LABEL_SETS = {"cityscapes": "cityscapes19", "pascal-voc": "pascal_voc21", "ade20k": "ade20k150", "plain": "camvid11"}


def read(root: Path, layout: LayoutName, split: str, **options: Any) -> SegmentationFolder:
    return SegmentationFolder(root, split, labelsets.load(LABEL_SETS[layout]), layout=layout, **options)


def names(dataset: SegmentationFolder) -> dict[str, int]:
    """File name of each photo, in order, with the class of its last pixel."""
    return {path.name: int(labels[-1, -1]) for path, (_, labels) in zip(dataset.photos, dataset, strict=True)}


@pytest.mark.parametrize(
    ("layout", "split", "expected"),
    [
        (
            "cityscapes",
            "train",
            {
                "aachen_000000_000019_leftImg8bit.png": 13,
                "aachen_000001_000019_leftImg8bit.png": 255,
                "zurich_000001_000019_leftImg8bit.png": 0,
            },
        ),
        ("cityscapes", "val", {"lindau_000000_000019_leftImg8bit.png": 18}),
        ("pascal-voc", "train", {"2007_000032.jpg": 1, "2007_000039.jpg": 20}),
        ("pascal-voc", "trainaug", {"2007_000032.jpg": 1, "2008_000002.jpg": 15}),
        ("ade20k", "training", {"ADE_train_00000001.jpg": 255, "ADE_train_00000002.jpg": 149}),
        ("ade20k", "validation", {"ADE_val_00000001.jpg": 0}),
    ],
)
def test_a_split_has_its_photos_by_name_with_their_classes(
    layout: LayoutName, split: str, expected: dict[str, int], tmp_path: Path
) -> None:
    MAKERS[layout](tmp_path)
    dataset = read(tmp_path, layout, split)
    assert list(names(dataset).items()) == list(expected.items())
    assert all(photo.shape == (*SIZE, 3) for photo, _ in dataset)


def test_a_city_can_be_held_out(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    held_out = read(tmp_path, "cityscapes", "train", exclude=("aachen_*",))
    assert list(names(held_out)) == ["zurich_000001_000019_leftImg8bit.png"]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_folder_without_the_split_is_told_where_photos_were_looked_for(layout: LayoutName, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, layout, "extra")
    assert f"no photos for the split 'extra' in the layout '{layout}': they are looked for as" in str(caught.value)
    assert str(tmp_path / LAYOUTS[layout].photos.format(split="extra")) in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "split", "missing", "reason"),
    [
        ("cityscapes", "val", "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png", "no label map"),
        ("pascal-voc", "train", "SegmentationClass/2007_000039.png", "no label map"),
        ("pascal-voc", "train", "JPEGImages/2007_000039.jpg", "though the split 'train' lists it"),
        ("ade20k", "validation", "annotations/validation/ADE_val_00000001.png", "no label map"),
    ],
)
def test_a_missing_file_is_named(layout: LayoutName, split: str, missing: str, reason: str, tmp_path: Path) -> None:
    MAKERS[layout](tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError) as caught:
        read(tmp_path, layout, split)
    assert str(tmp_path / missing) in str(caught.value)
    assert reason in str(caught.value)


def test_label_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    path = tmp_path / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png"
    path.write_bytes(grey(19 + 100))
    with pytest.raises(DataError, match="119") as caught:
        list(read(tmp_path, "cityscapes", "val"))
    assert str(path) in str(caught.value)
