import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from images import encode_label_map
from models import labelsets
from models.training.dataset import DataError, SegmentationFolder
from tests.conftest import in_colours
from tests.photos import jpeg, png, street

CAMVID = labelsets.load("camvid11")


def test_photos_come_by_name_with_their_class_ids(dataset_dir: Path) -> None:
    dataset = SegmentationFolder(dataset_dir, "train", CAMVID)
    assert [path.name for path in dataset.photos] == ["a-0.png", "a-1.png", "b-0.png", "b-1.png"]
    assert len(dataset) == 4
    for photo, labels in dataset:
        assert photo.shape == (48, 64, 3)
        assert labels.shape == (48, 64)
        assert photo.dtype == labels.dtype == np.uint8
        assert (labels[46:] == 255).all()
        assert np.abs(in_colours(labels)[:46].astype(int) - photo[:46]).max() <= 3


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (("a-*",), ["b-0.png", "b-1.png"]),
        (("a-*", "*-1.png"), ["b-0.png"]),
        (("c-*",), ["a-0.png", "a-1.png", "b-0.png", "b-1.png"]),
    ],
)
def test_photos_can_be_left_out_by_pattern(dataset_dir: Path, patterns: tuple[str, ...], left: list[str]) -> None:
    dataset = SegmentationFolder(dataset_dir, "train", CAMVID, exclude=patterns)
    assert [path.name for path in dataset.photos] == left
    assert [path.name for path in dataset.labels] == left


def test_jpegs_count_and_other_files_do_not(dataset_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset_dir / "val", tmp_path / "val")
    (tmp_path / "val/images/c-2.JPG").write_bytes(jpeg(street(48, 64)))
    shutil.copy(tmp_path / "val/labels/c-0.png", tmp_path / "val/labels/c-2.png")
    (tmp_path / "val/images/notes.txt").write_text("none")
    assert [path.name for path in SegmentationFolder(tmp_path, "val", CAMVID).photos] == [
        "c-0.png",
        "c-1.png",
        "c-2.JPG",
    ]


def test_files_that_cannot_be_read_are_named(dataset_dir: Path, tmp_path: Path) -> None:
    for folder, name in (("images", "c-0.png"), ("labels", "c-1.png")):
        root = tmp_path / folder
        shutil.copytree(dataset_dir / "val", root / "val")
        dataset = SegmentationFolder(root, "val", CAMVID)
        (root / "val" / folder / name).unlink()
        with pytest.raises(DataError, match=rf"{folder}/{name}: .*No such file"):
            list(dataset)


def test_pixels_are_counted_by_photo_and_class(dataset_dir: Path) -> None:
    dataset = SegmentationFolder(dataset_dir, "train", CAMVID)
    expected = [[np.sum(labels == c) for c in range(11)] for _, labels in dataset]
    assert dataset.class_pixels().tolist() == expected


def no_photos(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


def no_labels(folder: Path) -> None:
    (folder / "labels/c-1.png").unlink()


def damaged_photo(folder: Path) -> None:
    path = folder / "images/c-1.png"
    path.write_bytes(path.read_bytes()[:100])


def colour_labels(folder: Path) -> None:
    (folder / "labels/c-1.png").write_bytes(png(street(48, 64)))


def another_sets_labels(folder: Path) -> None:
    (folder / "labels/c-1.png").write_bytes(encode_label_map(np.full((48, 64), 77, np.uint8), CAMVID.palette))


def another_size(folder: Path) -> None:
    (folder / "labels/c-1.png").write_bytes(encode_label_map(np.zeros((48, 63), np.uint8), CAMVID.palette))


@pytest.mark.parametrize(
    ("spoil", "file", "reason"),
    [
        (no_photos, "images", "no photos for the split 'val' in the layout 'plain'"),
        (no_labels, "labels/c-1.png", "no label map"),
        (damaged_photo, "images/c-1.png", ""),
        (colour_labels, "labels/c-1.png", "indexed or 8-bit grey PNG"),
        (another_sets_labels, "labels/c-1.png", "77"),
        (another_size, "labels/c-1.png", "is 48 x 63 pixels, its photo 48 x 64"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    spoil: Callable[[Path], None], file: str, reason: str, dataset_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset_dir / "val", tmp_path / "val")
    spoil(tmp_path / "val")
    with pytest.raises(DataError) as caught:
        list(SegmentationFolder(tmp_path, "val", CAMVID))
    assert str(tmp_path / "val" / file) in str(caught.value)
    assert reason in str(caught.value)


def test_a_split_without_a_labelled_pixel_is_refused(dataset_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset_dir / "val", tmp_path / "val")
    for path in (tmp_path / "val/labels").iterdir():
        path.write_bytes(encode_label_map(np.full((48, 64), 11, np.uint8), CAMVID.palette))
    with pytest.raises(DataError, match="all are ignored"):
        SegmentationFolder(tmp_path, "val", CAMVID).class_pixels()


def test_leaving_out_everything_is_told_apart_from_an_empty_folder(dataset_dir: Path) -> None:
    with pytest.raises(DataError, match="but those excluded"):
        SegmentationFolder(dataset_dir, "train", CAMVID, exclude=("*",))
