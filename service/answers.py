"""From labels to the bytes of an answer."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from images import encode_grey, encode_label_map, encode_overlay
from models.labelsets import LabelSet
from service.backends.base import ModelInfo, Photo, Segmentation

Output = Literal["json", "labels", "overlay"]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What the caller wants back. overlay and confidence: parts that a json answer carries besides the label map."""

    output: Output
    overlay_type: str
    alpha: float
    overlay: bool = False
    confidence: bool = False

    @property
    def media_type(self) -> str:
        return {"json": "application/json", "labels": "image/png", "overlay": self.overlay_type}[self.output]

    @property
    def parts(self) -> str:
        """What it is made of; answers of equal parts take equally long a pixel."""
        overlay = self.overlay_type if self.shows_photo else ""
        return " ".join(filter(None, (self.output, overlay, "confidence" if self.confidence else "")))

    @property
    def shows_photo(self) -> bool:
        """Whether the answer is made of the photo's pixels too, not of its labels alone."""
        return self.overlay or self.output == "overlay"


def encode_answer(
    form: AnswerFormat,
    model: ModelInfo,
    label_set: LabelSet,
    photo: Photo | None,
    segmentation: Segmentation,
    timing: Mapping[str, float],
) -> bytes:
    """The body of the answer. photo: needed where `form.shows_photo`.

    timing: seconds by stage; json adds the seconds that its pictures took as "encode".
    """
    if form.output == "labels":
        return encode_label_map(segmentation.labels, label_set.palette)
    if form.output == "overlay":
        return _overlay(form, label_set, photo, segmentation)
    started = time.perf_counter()
    answer: dict[str, object] = {
        "model": model.name,
        "model_version": str(model.version),
        "label_set": label_set.name,
        "width": segmentation.labels.shape[1],
        "height": segmentation.labels.shape[0],
        "classes": _classes(label_set, segmentation),
        "label_map": _picture("image/png", encode_label_map(segmentation.labels, label_set.palette)),
        "overlay": None,
    }
    if form.overlay:
        answer["overlay"] = _picture(form.overlay_type, _overlay(form, label_set, photo, segmentation))
    if segmentation.confidence is not None:
        answer["confidence"] = _picture("image/png", encode_grey(segmentation.confidence))
    stages = {**timing, "encode": time.perf_counter() - started}
    answer["timing_ms"] = {stage: round(seconds * 1000, 2) for stage, seconds in stages.items()}
    return json.dumps(answer, separators=(",", ":")).encode()


def _classes(label_set: LabelSet, segmentation: Segmentation) -> list[dict[str, object]]:
    """Those present, largest first."""
    total = segmentation.labels.size
    present = []
    for label in label_set.classes:
        pixels = int(segmentation.pixels[label.id])
        if pixels == 0:
            continue
        entry: dict[str, object] = {
            "id": label.id,
            "name": label.name,
            "color": list(label.color),
            "pixels": pixels,
            "fraction": pixels / total,
        }
        if segmentation.confidence is not None:
            mean = segmentation.confidence[segmentation.labels == label.id].mean(dtype=float)
            entry["confidence"] = round(float(mean) / 255, 4)
        present.append((pixels, entry))
    return [entry for _, entry in sorted(present, key=lambda pair: -pair[0])]


def _overlay(form: AnswerFormat, label_set: LabelSet, photo: Photo | None, segmentation: Segmentation) -> bytes:
    assert photo is not None
    return encode_overlay(photo, segmentation.labels, label_set.palette, alpha=form.alpha, media_type=form.overlay_type)


def _picture(media_type: str, data: bytes) -> dict[str, str]:
    return {"media_type": media_type, "data": base64.b64encode(data).decode("ascii")}
