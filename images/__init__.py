"""Photos: bytes to pixels and back."""

from images.decode import decode
from images.errors import DamagedImage, FormatNotAllowed, ImageError, NotAnImage, TooManyPixels
from images.formats import ALLOWED_FORMATS
from images.label_map import decode_label_map, encode_grey, encode_label_map
from images.overlay import OVERLAY_MEDIA_TYPES, blend, check_overlay_size, encode_overlay
from images.probe import ImageInfo, probe

__all__ = [
    "ALLOWED_FORMATS",
    "OVERLAY_MEDIA_TYPES",
    "DamagedImage",
    "FormatNotAllowed",
    "ImageError",
    "ImageInfo",
    "NotAnImage",
    "TooManyPixels",
    "blend",
    "check_overlay_size",
    "decode",
    "decode_label_map",
    "encode_grey",
    "encode_label_map",
    "encode_overlay",
    "probe",
]
