"""COCO with run-length masks, as COCO-Stuff has them: one annotation a class and photo."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.exports.photos import LabelledPhoto, ShardPhotos
from labeling.exports.rle import class_runs, counts_string
from models.labelsets import LabelSet


def export_coco(photos: ShardPhotos) -> None:
    """part-NNNNN.json, each a dataset of its own. Category ids are class ids + 1, image ids places in the manifest."""
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": categories(photos.label_set),
    }
    classes = len(photos.label_set.classes)
    for photo in photos:
        document["images"].append(image(photo))
        height, width = photo.labels.shape
        for label, runs in class_runs(photo.labels).items():
            document["annotations"].append(
                {
                    "id": (photo.number - 1) * classes + label + 1,
                    "image_id": photo.number,
                    "category_id": label + 1,
                    "segmentation": {"size": [height, width], "counts": counts_string(runs)},
                    "area": int(runs[1::2].sum()),
                    "bbox": bounding_box(photo.labels == label),
                    "iscrowd": 0,
                    "score": round(photo.confidence, 4),
                }
            )
    photos.write(f"{photos.part}.json", json.dumps(document, ensure_ascii=False).encode())


def image(photo: LabelledPhoto) -> dict[str, Any]:
    """The entry of a photo. file_name is the image id; segserve_uri says where the photo lies."""
    return {
        "id": photo.number,
        "file_name": photo.image_id,
        "width": photo.width,
        "height": photo.height,
        "segserve_uri": photo.uri,
    }


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """[left, top, width, height] in pixels of what is set in `mask` (H x W; something must be)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def categories(label_set: LabelSet) -> list[dict[str, Any]]:
    return [
        {"id": label.id + 1, "name": label.name, "supercategory": "", "isthing": 0, "color": list(label.color)}
        for label in label_set.classes
    ]
