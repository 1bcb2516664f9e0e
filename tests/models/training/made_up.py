"""Small folders of the shape that each dataset comes in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from images import encode_label_map
from models import labelsets
from models.training.layouts import LayoutName
from tests.photos import jpeg, png, street

SIZE = (24, 32)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def grey(value: int) -> bytes:
    """A label map as Cityscapes and ADE20K have it: grey, every pixel of one value."""
    return png(np.full(SIZE, value, np.uint8))


def cityscapes(root: Path) -> None:
    """Two cities; beside the label maps the colours, instances and polygons that the download holds too."""
    for split, city, number, value in (
        ("train", "zurich", "000001_000019", 7),
        ("train", "aachen", "000000_000019", 26),
        ("train", "aachen", "000001_000019", 1),
        ("val", "lindau", "000000_000019", 33),
    ):
        name = f"{city}_{number}"
        put(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", png(street(*SIZE)))
        folder = root / f"gtFine/{split}/{city}"
        put(folder / f"{name}_gtFine_labelIds.png", grey(value))
        put(folder / f"{name}_gtFine_color.png", png(street(*SIZE)))
        put(folder / f"{name}_gtFine_instanceIds.png", png(np.full(SIZE, 26001, np.uint16)))
        put(folder / f"{name}_gtFine_polygons.json", b"{}")


def pascal_voc(root: Path) -> None:
    """Two photos of the set, one that only the augmented set labels, and one for detection alone."""
    palette = labelsets.load("pascal_voc21").palette
    for name, folder, value in (
        ("2007_000039", "SegmentationClass", 20),
        ("2007_000032", "SegmentationClass", 1),
        ("2008_000002", "SegmentationClassAug", 15),
        ("2007_000032", "SegmentationClassAug", 2),
    ):
        put(root / f"JPEGImages/{name}.jpg", jpeg(street(*SIZE)))
        labels = np.full(SIZE, value, np.uint8)
        labels[0] = 255
        put(root / folder / f"{name}.png", encode_label_map(labels, palette))
    put(root / "JPEGImages/2008_000001.jpg", jpeg(street(*SIZE)))
    put(root / "ImageSets/Segmentation/train.txt", b"2007_000039\n2007_000032\n")
    put(root / "ImageSets/Segmentation/trainaug.txt", b"2007_000032\n2008_000002\n")
    put(root / "ImageSets/Segmentation/val.txt", b"2007_000039\n")


def ade20k(root: Path) -> None:
    for split, name, value in (
        ("training", "ADE_train_00000002", 150),
        ("training", "ADE_train_00000001", 0),
        ("validation", "ADE_val_00000001", 1),
    ):
        put(root / f"images/{split}/{name}.jpg", jpeg(street(*SIZE)))
        put(root / f"annotations/{split}/{name}.png", grey(value))


MAKERS: dict[LayoutName, Callable[[Path], None]] = {
    "cityscapes": cityscapes,
    "pascal-voc": pascal_voc,
    "ade20k": ade20k,
}
