"""What became of a job, added up from its status tables, one shard in memory at a time."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from labeling import status
from labeling.counts import Counts
from labeling.job import Job
from labeling.store import Store
from models import labelsets

_BINS = 1000


@dataclass(slots=True)
class Summary:
    """`histogram` has the photos by mean confidence, in bins of 1/1000."""

    shards_done: int = 0
    counts: Counts = field(default_factory=Counts)
    engines: Counter[str] = field(default_factory=Counter)
    """Labelled photos by engine; none of those that a service labelled."""
    class_pixels: list[float] = field(default_factory=list)
    confidence_sum: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * (_BINS + 1))

    @property
    def mean_confidence(self) -> float | None:
        return self.confidence_sum / self.counts.ok if self.counts.ok else None

    @property
    def median_confidence(self) -> float | None:
        """To 1/1000."""
        seen = 0
        for index, count in enumerate(self.histogram):
            seen += count
            if count and 2 * seen >= self.counts.ok:
                return index / _BINS
        return None


def summarise(job: Job, store: Store) -> Summary:
    """Of all shards that are done."""
    shares = status.share_columns(labelsets.load(job.labels.label_set))
    summary = Summary(class_pixels=[0.0] * len(shares))
    columns = ["status", "error_code", "width", "height", "confidence", "seconds", "engine", *shares]
    for _, rows in status.all_rows(store, columns):
        summary.shards_done += 1
        for row in rows:
            pixels = row["width"] * row["height"] if row["status"] == "ok" else 0
            summary.counts.add(row["error_code"], pixels, row["seconds"])
            if row["status"] == "ok":
                if row["engine"]:
                    summary.engines[row["engine"]] += 1
                for index, name in enumerate(shares):
                    summary.class_pixels[index] += row[name] * pixels
                summary.confidence_sum += row["confidence"]
                summary.histogram[round(row["confidence"] * _BINS)] += 1
    return summary


def describe(job: Job, summary: Summary) -> dict[str, Any]:
    """What summary.json holds and `--status --json` prints."""
    label_set = labelsets.load(job.labels.label_set)
    return {
        "job_key": job.key,
        "manifest": job.source,
        "model_version": job.labels.model,
        "weights_sha256": job.labels.sha256,
        "label_set": job.labels.label_set,
        "long_side": job.labels.long_side,
        "photos": job.rows,
        "shards": len(job.shards),
        "shards_done": summary.shards_done,
        "complete": summary.shards_done == len(job.shards),
        "engines": dict(summary.engines.most_common()),
        "ok": summary.counts.ok,
        "errors": dict(Counter(summary.counts.errors).most_common()),
        "mean_confidence": summary.mean_confidence,
        "median_confidence": summary.median_confidence,
        "class_shares": {
            label.name: summary.class_pixels[label.id] / summary.counts.pixels if summary.counts.pixels else 0.0
            for label in label_set.classes
        },
        "photo_seconds": round(summary.counts.seconds, 3),
    }
