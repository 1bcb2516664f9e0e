"""`segserve label` beside a bare loop of the same decode, engine and encode, on all cores, taking turns."""

import argparse
import json
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from images import decode, encode_label_map
from labeling import status
from labeling.counts import Counts
from labeling.labeler import MAX_PIXELS
from labeling.local_labeler import labels_of
from labeling.plan import plan
from labeling.progress import Progress
from labeling.runners.embedded import EmbeddedRunner
from labeling.shard import Unit
from labeling.store import open_store
from labeling.worker import WorkerSettings
from loadtests.street import street

DRAWINGS = 16
"""Different photos; the manifest names each many times."""
LEAST_RATIO = 0.9
"""Of the bare loop's photos a second."""


class Clock(Progress):
    """Photos a second between the first report and the last: what loading the engines takes is left out."""

    def __init__(self, total: int) -> None:
        super().__init__(total, shown=False)
        self._reports: list[tuple[float, int]] = []

    def advance(self, counts: Counts) -> None:
        super().advance(counts)
        self._reports.append((time.perf_counter(), self.counts.done))

    @property
    def rate(self) -> float:
        (began, first), (ended, last) = self._reports[0], self._reports[-1]
        return (last - first) / (ended - began)


def segserve_rate(
    folder: Path, manifest: Path, model: str, photos: int, workers: int, shard_rows: int
) -> tuple[float, float]:
    """Photos a second, and the mean bytes of a label map."""
    with TemporaryDirectory(dir=folder) as out:
        store = open_store(out)
        job = plan(store, str(manifest), labels_of(model, None, None), shard_rows)
        clock = Clock(photos)
        EmbeddedRunner(workers).run(job, out, WorkerSettings(), [Unit(shard) for shard in job.shards], clock)
        assert clock.counts.ok == photos
        return clock.rate, mean(row["png_size"] for _, rows in status.all_rows(store, ["png_size"]) for row in rows)


def bare_rate(paths: list[Path], model: str, photos: int, workers: int) -> float:
    """Every process has its share of the photos and nothing else to do."""
    context = multiprocessing.get_context("spawn")
    start, end = context.Barrier(workers + 1), context.Barrier(workers + 1)
    shares = [[paths[n % len(paths)] for n in range(first, photos, workers)] for first in range(workers)]
    processes = [context.Process(target=_bare, args=(model, share, start, end), daemon=True) for share in shares]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    end.wait()
    rate = photos / (time.perf_counter() - began)
    for process in processes:
        process.join()
    return rate


def _bare(model: str, share: list[Path], start: Barrier, end: Barrier) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from models import labelsets
    from models.engine.loading import find, load_engine

    torch.set_num_threads(1)
    checkpoint = find(model)
    engine = load_engine(checkpoint)
    palette = labelsets.load(checkpoint.card.label_set).palette
    engine.run([decode(share[0].read_bytes(), max_pixels=MAX_PIXELS)], confidence=True)
    start.wait()
    for path in share:
        [result] = engine.run([decode(path.read_bytes(), max_pixels=MAX_PIXELS)], confidence=True)
        encode_label_map(result.labels, palette)
    end.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="eseg-lite-s")
    parser.add_argument("--size", default="360x480", help="HxW of the drawn photos")
    parser.add_argument("--photos", type=int, default=1000, help="a run")
    parser.add_argument("--shard-rows", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    height, width = map(int, asked.size.split("x"))
    ours, bare = [], []
    with TemporaryDirectory() as folder:
        paths = _draw(Path(folder), height, width)
        manifest = Path(folder, "manifest.csv")
        rows = "".join(f"{number},{paths[number % DRAWINGS]}\n" for number in range(asked.photos))
        manifest.write_text(f"image_id,uri\n{rows}")
        for _ in range(asked.rounds):
            bare.append(bare_rate(paths, asked.model, asked.photos, asked.workers))
            rate, label_map_bytes = segserve_rate(
                Path(folder), manifest, asked.model, asked.photos, asked.workers, asked.shard_rows
            )
            ours.append(rate)
    ratio = median(o / b for o, b in zip(ours, bare, strict=True))
    result = {
        "model": asked.model,
        "size": asked.size,
        "workers": asked.workers,
        "segserve_photos_per_s": round(median(ours), 2),
        "bare_photos_per_s": round(median(bare), 2),
        "ratio": round(ratio, 3),
        "ratios": [round(o / b, 3) for o, b in zip(ours, bare, strict=True)],
        "label_map_bytes": round(label_map_bytes),
    }
    print(json.dumps(result))  # noqa: T201 (the report)
    if ratio < LEAST_RATIO:
        raise SystemExit(f"less than {LEAST_RATIO} of the bare loop's photos a second")


def _draw(folder: Path, height: int, width: int) -> list[Path]:
    from PIL import Image

    paths = [folder / f"{number}.jpg" for number in range(DRAWINGS)]
    for number, path in enumerate(paths):
        Image.fromarray(street(height, width, number)).save(path, quality=90)
    return paths


if __name__ == "__main__":
    main()
