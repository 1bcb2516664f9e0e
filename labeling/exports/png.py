"""Loose indexed PNGs, by image id: the bytes of the tar, one file a photo."""

from labeling.exports.photos import ShardPhotos
from labeling.names import file_name


def export_png(photos: ShardPhotos) -> None:
    """IMAGE_ID.png; slashes of the id become folders."""
    for photo in photos:
        photos.write(f"{file_name(photo.image_id)}.png", photo.png)
