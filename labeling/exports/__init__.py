"""Finished labels in other tools' formats, one file or folder a shard, made from committed tars."""

from collections.abc import Callable

from labeling.exports.cityscapes import export_cityscapes
from labeling.exports.coco import export_coco
from labeling.exports.coco_panoptic import export_coco_panoptic
from labeling.exports.cvat import export_cvat
from labeling.exports.label_studio import export_label_studio
from labeling.exports.photos import ShardPhotos
from labeling.exports.png import export_png

FORMATS: dict[str, Callable[[ShardPhotos], None]] = {
    "png": export_png,
    "cityscapes": export_cityscapes,
    "coco": export_coco,
    "coco-panoptic": export_coco_panoptic,
    "cvat": export_cvat,
    "label-studio": export_label_studio,
}
"""By the name that --export takes. Each writes one shard's files, the same bytes however often it is called."""
