"""URIs of photos, manifests and results: local paths, or SCHEME://BUCKET/KEY, the key not percent-encoded."""

import os
from pathlib import Path
from typing import NamedTuple

BUCKET_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")
HTTP_SCHEMES = ("http", "https")


class BucketLocation(NamedTuple):
    """root: what a store is opened with, such as s3://bucket. key: the rest, without a slash at its start."""

    root: str
    key: str


def scheme(uri: str) -> str:
    """The scheme in lower case, or "" for a path of this machine (which file:// is, too)."""
    name, separator, _ = uri.partition("://")
    found = name.lower() if separator and name.isalnum() else ""
    return "" if found == "file" else found


def local_path(uri: str) -> Path:
    """The path that a URI without a scheme, or with file://, names; absolute."""
    return Path(os.path.abspath(uri.removeprefix("file://")))


def bucket_location(uri: str) -> BucketLocation:
    head, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return BucketLocation(f"{head}://{bucket}", key)


def lies_in(uri: str, folder: str) -> bool:
    """Whether it is that folder or prefix, or a place below it."""
    if scheme(uri) != scheme(folder):
        return False
    if not scheme(uri):
        return local_path(uri).resolve().is_relative_to(local_path(folder).resolve())
    place, prefix = (location.partition("://")[2].rstrip("/") + "/" for location in (uri, folder))
    return place.startswith(prefix)


def resolve(uri: str, base: str) -> str:
    """`uri`, or, where that is a relative path, its place under `base` (a folder or prefix)."""
    if scheme(uri) or uri.startswith(("/", "file://")):
        return uri
    return f"{base.rstrip('/')}/{uri}"
