"""CVAT's "Segmentation mask 1.1": a zip in PASCAL VOC's layout, to be imported as annotations of a task."""

import zipfile
from collections.abc import Sequence

from images import encode_label_map
from labeling.exports.photos import ShardPhotos
from labeling.names import file_name
from models.labelsets import LabelSet

_BACKGROUND = "background:0,0,0::"
# Zip files hold no earlier date: what the tars' zero is, for equal bytes from equal labels.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def export_cvat(photos: ShardPhotos) -> None:
    """part-NNNNN.zip. CVAT finds a mask's frame by its name without the extension."""
    with photos.new_file(f"{photos.part}.zip") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        palette = b"".join(map(bytes, colours(photos.label_set))).ljust(256 * 3, b"\0")
        stems: list[str] = []
        for photo in photos:
            stems.append(_stem(photo.image_id, stems))
            _add(archive, f"SegmentationClass/{stems[-1]}.png", encode_label_map(photo.labels, palette))
        _add(archive, "ImageSets/Segmentation/default.txt", "".join(f"{stem}\n" for stem in stems).encode())
        _add(archive, "labelmap.txt", labelmap(photos.label_set).encode())


def labelmap(label_set: LabelSet) -> str:
    """labelmap.txt: label:red,green,blue:parts:actions. Names must be those of the task's labels."""
    own = colours(label_set)
    lines = [f"{label.name}:{','.join(map(str, own[label.id]))}::" for label in label_set.classes]
    if (0, 0, 0) not in own:
        # Readers take black for what has no label, and want it in the list.
        lines.append(_BACKGROUND)
    return "# label:color_rgb:parts:actions\n" + "".join(f"{line}\n" for line in lines)


def colours(label_set: LabelSet) -> list[tuple[int, int, int]]:
    """Of the classes, by id, made unique: ADE20K gives two of its classes one colour, and CVAT goes by colours."""
    found: list[tuple[int, int, int]] = []
    for label in label_set.classes:
        red, green, blue = label.color
        while (red, green, blue) in found:
            blue = (blue + 1) % 256
        found.append((red, green, blue))
    return found


def _stem(image_id: str, taken: Sequence[str]) -> str:
    name = file_name(image_id)
    folder, slash, last = name.rpartition("/")
    stem = f"{folder}{slash}{last.rpartition('.')[0] or last}"
    # Two photos that differ in their extension alone: the second one keeps it.
    return name if stem in taken else stem


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _NO_DATE), data)
