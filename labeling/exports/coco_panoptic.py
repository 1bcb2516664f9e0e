"""COCO panoptic: segment ids as colours (R + 256 G + 65536 B), one segment a class, all of them stuff."""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.exports.coco import bounding_box, categories, image
from labeling.exports.photos import ShardPhotos
from labeling.names import file_name


def export_coco_panoptic(photos: ShardPhotos) -> None:
    """part-NNNNN.json and the PNGs in part-NNNNN/. A segment's id is its category's: class id + 1; 0 is void."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for photo in photos:
        name = f"{file_name(photo.image_id)}.png"
        segments = []
        for label in np.unique(photo.labels).tolist():
            mask = photo.labels == label
            segments.append(
                {
                    "id": label + 1,
                    "category_id": label + 1,
                    "area": int(mask.sum()),
                    "bbox": bounding_box(mask),
                    "iscrowd": 0,
                }
            )
        images.append(image(photo))
        annotations.append({"image_id": photo.number, "file_name": name, "segments_info": segments})
        photos.write(f"{photos.part}/{name}", _png(photo.labels))
    document = {"images": images, "annotations": annotations, "categories": categories(photos.label_set)}
    photos.write(f"{photos.part}.json", json.dumps(document, ensure_ascii=False).encode())


def _png(labels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    # At most 255 classes: an id never needs the green or blue of its pixel.
    red = Image.fromarray(labels + np.uint8(1))
    nothing = Image.new("L", red.size)
    Image.merge("RGB", (red, nothing, nothing)).save(file, "PNG", compress_level=1)
    return file.getvalue()
