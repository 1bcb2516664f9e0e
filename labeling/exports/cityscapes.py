"""Cityscapes' file names and label ids (mcordts/cityscapesScripts): what its evaluation and viewers expect."""

import csv
import io
import re

import numpy as np

from images import encode_grey
from labeling.errors import JobError
from labeling.exports.photos import LabelledPhoto, ShardPhotos
from labeling.names import file_name

LABEL_SET = "cityscapes19"

_NAMED = re.compile(r"(?P<folder>.*/)?(?P<city>[^/_]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})(?P<kind>[_.][^/]*)")
_PHOTO = "_leftImg8bit.png"


def check_label_set(name: str) -> None:
    """Raises JobError for labels that Cityscapes' ids cannot express."""
    if name != LABEL_SET:
        raise JobError(f"--export cityscapes needs a model with the label set {LABEL_SET}: this job's has {name}")


def export_cityscapes(photos: ShardPhotos) -> None:
    """CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png: 8 bits, grey, values are labelIds and not trainIds.

    A photo whose id is named as Cityscapes' own keeps city, sequence and frame, and the folders before the city's, as
    the same names may occur in several; what follows the frame stays where it is not _leftImg8bit.png, as there may be
    several photos of a frame. Another becomes photos_SHARD_ROW. names/part-NNNNN.csv says which file belongs to which
    photo.
    """
    check_label_set(photos.label_set.name)
    label_ids = np.zeros(256, np.uint8)  # 0 is "unlabeled"
    for label in photos.label_set.classes:
        label_ids[label.id] = label.dataset_id
    names = io.StringIO()
    table = csv.writer(names)
    table.writerow(("image_id", "file"))
    for photo in photos:
        path = f"{_stem(photo, photos.job.shard_rows)}_gtFine_labelIds.png"
        photos.write(path, encode_grey(label_ids[photo.labels]))
        table.writerow((photo.image_id, path))
    photos.write(f"names/{photos.part}.csv", names.getvalue().encode())


def _stem(photo: LabelledPhoto, shard_rows: int) -> str:
    named = _NAMED.fullmatch(photo.image_id)
    if not named:
        shard, row = divmod(photo.number - 1, shard_rows)
        return f"photos/photos_{shard:06}_{row:06}"
    city = named["city"]
    folders = (named["folder"] or "").rstrip("/")
    if folders.rpartition("/")[2] != city:
        folders = f"{folders}/{city}" if folders else city
    kind = "" if named["kind"] == _PHOTO else named["kind"]
    return file_name(f"{folders}/{city}_{named['sequence']}_{named['frame']}{kind}")
