"""A finished job of brightness with every export, for the judges of its formats."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from images import decode_label_map
from labeling.run import export
from labeling.store import Store
from labeling.worker import WorkerSettings
from tests.labeling.jobs import RunHere, label_all, planned, results


def exported(photos: Path, out: Path, *formats: str, shard_rows: int = 5, **changes: object) -> Store:
    from dataclasses import replace

    from tests.labeling.brightness import LABELS

    labels = replace(LABELS, **changes)  # type: ignore[arg-type]
    job, store = planned(photos, out, shard_rows=shard_rows, labels=labels)
    label_all(job, store)
    export(job, store, RunHere(), WorkerSettings(), shards=job.shards, formats=formats)
    return store


def label_maps(out: Path) -> dict[str, NDArray[np.uint8]]:
    """image_id -> class ids, of the photos that have labels, in the manifest's order."""
    return {image_id: decode_label_map(png) for image_id, (_, png) in results(out).items() if png is not None}
