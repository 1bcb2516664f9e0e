"""How the folders of a dataset lie: each layout lists a split's photos, each with its label map."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LayoutName = Literal["plain", "cityscapes", "pascal-voc", "ade20k"]
Pair = tuple[Path, Path]
"""A photo and its label map. Listed is what should be there: whether both are is the reader's to check."""

_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
_CITYSCAPES_PHOTO = "_leftImg8bit.png"


@dataclass(frozen=True, slots=True)
class Layout:
    """`photos` says, for messages, where those of {split} are looked for; `pairs` lists them, given root and split."""

    photos: str
    pairs: Callable[[Path, str], list[Pair]]


def plain(root: Path, split: str) -> list[Pair]:
    """SPLIT/images/NAME.jpg or .png with SPLIT/labels/NAME.png."""
    folder = root / split
    photos = (path for path in (folder / "images").glob("*") if path.suffix.lower() in _PHOTO_SUFFIXES)
    return [(photo, folder / "labels" / f"{photo.stem}.png") for photo in photos]


def cityscapes(root: Path, split: str) -> list[Pair]:
    """leftImg8bit/SPLIT/CITY/*_leftImg8bit.png with gtFine/SPLIT/CITY/*_gtFine_labelIds.png (Cordts et al. 2016)."""
    labels = root / "gtFine" / split
    return [
        (photo, labels / photo.parent.name / f"{photo.name.removesuffix(_CITYSCAPES_PHOTO)}_gtFine_labelIds.png")
        for photo in (root / "leftImg8bit" / split).glob(f"*/*{_CITYSCAPES_PHOTO}")
    ]


def pascal_voc(root: Path, split: str) -> list[Pair]:
    """The names in ImageSets/Segmentation/SPLIT.txt: JPEGImages/NAME.jpg with SegmentationClass/NAME.png.

    A label map that is not in SegmentationClass is taken from SegmentationClassAug, where the extra ones of the
    augmented set (Hariharan et al. 2011) usually lie.
    """
    names = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not names.is_file():
        return []
    stems = names.read_text(encoding="utf-8").split()
    return [(root / "JPEGImages" / f"{stem}.jpg", _voc_label(root, f"{stem}.png")) for stem in stems]


def _voc_label(root: Path, name: str) -> Path:
    own, extra = root / "SegmentationClass" / name, root / "SegmentationClassAug" / name
    return extra if extra.is_file() and not own.is_file() else own


def ade20k(root: Path, split: str) -> list[Pair]:
    """images/SPLIT/NAME.jpg with annotations/SPLIT/NAME.png, SPLIT being training or validation (SceneParsing)."""
    labels = root / "annotations" / split
    return [(photo, labels / f"{photo.stem}.png") for photo in (root / "images" / split).glob("*.jpg")]


LAYOUTS: dict[LayoutName, Layout] = {
    "plain": Layout("{split}/images/*.jpg, .jpeg or .png", plain),
    "cityscapes": Layout(f"leftImg8bit/{{split}}/CITY/*{_CITYSCAPES_PHOTO}", cityscapes),
    "pascal-voc": Layout("ImageSets/Segmentation/{split}.txt, which lists them", pascal_voc),
    "ade20k": Layout("images/{split}/*.jpg", ade20k),
}
