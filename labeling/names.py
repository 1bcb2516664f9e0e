"""Image ids as file names: an id may hold anything, a file name may not."""

import hashlib
from urllib.parse import quote

_LONGEST = 200
"""Bytes of one part of a path; file systems allow 255, and a suffix is still to come."""


def member_name(image_id: str) -> str:
    """The id as a WebDataset key, percent-encoded: readers take what follows the first dot for the kind of a file."""
    return "/".join(quote(part, safe="").replace(".", "%2E") for part in _parts(image_id))


def file_name(image_id: str) -> str:
    """The id as a relative path that stays below its folder: image ids with slashes become folders."""
    return "/".join(_shortened(_plain(part)) for part in _parts(image_id))


def _parts(image_id: str) -> list[str]:
    """Split at slashes, unless some part would be empty: an empty folder name would change or leave the path."""
    parts = image_id.split("/")
    return parts if all(parts) else [image_id]


def _plain(part: str) -> str:
    if part.strip(".") == "":
        return part.replace(".", "%2E")
    return "".join(c if c.isprintable() and c not in '/\\:*?"<>|%' else quote(c, safe="") for c in part)


def _shortened(part: str) -> str:
    data = part.encode()
    if len(data) <= _LONGEST:
        return part
    return f"{data[: _LONGEST - 17].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:16]}"
