"""Label Studio's tasks with predictions: BitmaskLabels, one region a class and photo."""

import base64
import io
import json
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.exports.photos import LabelledPhoto, ShardPhotos
from models.labelsets import LabelSet

_FROM, _TO = "labels", "image"


def export_label_studio(photos: ShardPhotos) -> None:
    """part-NNNNN.json, to be imported into a project whose labeling interface is config.xml."""
    with photos.new_file(f"{photos.part}.json") as file:
        separator = "["
        for photo in photos:
            task = json.dumps(_task(photo, photos.job.labels.model, photos.label_set))
            file.write(f"{separator}{task}".encode())
            separator = ",\n"
        file.write(b"[]" if separator == "[" else b"]")
    photos.write("config.xml", config(photos.label_set).encode())


def config(label_set: LabelSet) -> str:
    """The labeling interface that the predictions are for."""
    labels = "\n".join(
        f"    <Label value={quoteattr(label.name)} background={quoteattr('#{:02x}{:02x}{:02x}'.format(*label.color))}/>"
        for label in label_set.classes
    )
    # Smoothing would put colours between the pixels of a mask.
    return (
        f'<View>\n  <Image name="{_TO}" value="${_TO}" zoom="true" smoothing="false"/>\n'
        f'  <BitmaskLabels name="{_FROM}" toName="{_TO}">\n{labels}\n  </BitmaskLabels>\n</View>\n'
    )


def _task(photo: LabelledPhoto, model: str, label_set: LabelSet) -> dict[str, Any]:
    regions = [
        {
            "id": f"{photo.number}-{label}",
            "from_name": _FROM,
            "to_name": _TO,
            "type": "bitmasklabels",
            "original_width": photo.width,
            "original_height": photo.height,
            "image_rotation": 0,
            "value": {
                "imageDataURL": "data:image/png;base64," + base64.b64encode(_mask(photo.labels == label)).decode(),
                "bitmasklabels": [label_set.classes[label].name],
            },
        }
        for label in np.unique(photo.labels).tolist()
    ]
    return {
        "data": {_TO: photo.uri, "image_id": photo.image_id},
        "predictions": [{"model_version": model, "score": round(photo.confidence, 4), "result": regions}],
    }


def _mask(mask: NDArray[np.bool_]) -> bytes:
    """A PNG of one bit a pixel, black where `mask` (H x W) is set, else transparent."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(bytes(6))
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, transparency=b"\x00\xff", compress_level=6)
    return file.getvalue()
