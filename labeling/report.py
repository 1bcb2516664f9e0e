"""report.html: what became of the job, with pictures of the worst, the median and the best, in one file."""

import asyncio
import base64
import heapq
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from images import ImageError, decode, decode_label_map, encode_overlay
from labeling import status
from labeling.counts import by_cause
from labeling.errors import PhotoError
from labeling.job import Job
from labeling.labeler import MAX_PIXELS
from labeling.photos import PhotoReader
from labeling.store import Store
from labeling.summary import Summary, describe
from models import labelsets
from models.labelsets import LabelSet

PICTURES = 4
"""Of each kind."""
ERRORS_SHOWN = 20
PICTURE_SIDE = 480

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; border-radius: 4px } figcaption { overflow-wrap: anywhere; font-size: 13px }
.swatch { display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin-right: .5em }
.bar { height: .8em; border-radius: 2px }
"""


def write_report(job: Job, store: Store, summary: Summary) -> None:
    """Photos that can no longer be read are shown by their labels alone."""
    label_set = labelsets.load(job.labels.label_set)
    worst, median, best, errors = _chosen(store, summary)
    facts = describe(job, summary)
    body = [
        f"<h1>{summary.counts.ok:,} of {job.rows:,} photos labelled</h1>",
        _facts(facts),
        "<h2>Classes</h2>",
        _classes(facts["class_shares"], label_set),
    ]
    if errors:
        body += ["<h2>Errors</h2>", _errors(facts["errors"], errors)]
    pictures = asyncio.run(_pictures(store, label_set, {"Worst": worst, "Median": median, "Best": best}))
    body += [f"<h2>{title} confidence</h2><div class=pictures>{found}</div>" for title, found in pictures if found]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>segserve: {escape(job.source)}</title>"
        f"<style>{_STYLE}</style>{''.join(body)}</html>\n"
    )
    store.write("report.html", page.encode())


def _chosen(store: Store, summary: Summary) -> tuple[list[dict[str, Any]], ...]:
    """Rows: the least confident first, those nearest to the median, the most confident first, some with errors."""
    middle = summary.median_confidence or 0.0
    worst: list[dict[str, Any]] = []
    best: list[dict[str, Any]] = []
    median: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    columns = ["uri", "status", "error_code", "message", "confidence", "tar", "png_offset", "png_size"]
    for _, rows in status.all_rows(store, columns):
        labelled = [row for row in rows if row["status"] == "ok"]
        errors += [row for row in rows if row["status"] == "error"][: ERRORS_SHOWN - len(errors)]
        worst = heapq.nsmallest(PICTURES, [*worst, *labelled], key=lambda row: row["confidence"])
        best = heapq.nlargest(PICTURES, [*best, *labelled], key=lambda row: row["confidence"])
        median = heapq.nsmallest(PICTURES, [*median, *labelled], key=lambda row: abs(row["confidence"] - middle))
    return worst, median, best, errors


def _facts(facts: dict[str, Any]) -> str:
    shown = {
        "Model": facts["model_version"],
        "Engines": by_cause(facts["engines"]) or "a service's",
        "Label set": facts["label_set"],
        "Manifest": facts["manifest"],
        "Shards": f"{facts['shards']:,}",
        "Errors": ", ".join(f"{code} {count:,}" for code, count in facts["errors"].items()) or "none",
        "Mean confidence": "-" if facts["mean_confidence"] is None else f"{facts['mean_confidence']:.1%}",
        "Job key": facts["job_key"],
    }
    return _table((escape(name), escape(str(value))) for name, value in shown.items())


def _classes(shares: dict[str, float], label_set: LabelSet) -> str:
    largest = max(shares.values(), default=0) or 1
    rows = []
    for label in sorted(label_set.classes, key=lambda label: -shares[label.name]):
        colour, share = "rgb({},{},{})".format(*label.color), shares[label.name]
        if share:
            bar = f"<div class=bar style='background:{colour};width:{share / largest * 20:.2f}rem'></div>"
            rows.append(
                (f"<span class=swatch style='background:{colour}'></span>{escape(label.name)}", f"{share:.2%}", bar)
            )
    return _table(rows)


def _errors(counts: dict[str, int], rows: Sequence[dict[str, Any]]) -> str:
    examples = _table((escape(r["image_id"]), escape(r["error_code"]), escape(r["message"])) for r in rows)
    more = sum(counts.values()) - len(rows)
    return examples + (f"<p>and {more:,} more: the status tables have them all.</p>" if more else "")


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}' for line in lines)}</table>"


async def _pictures(store: Store, label_set: LabelSet, kinds: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str]]:
    reader = PhotoReader()
    try:
        return [
            (title, "".join([await _figure(store, reader, label_set, row) for row in rows]))
            for title, rows in kinds.items()
        ]
    finally:
        await reader.close()


async def _figure(store: Store, reader: PhotoReader, label_set: LabelSet, row: dict[str, Any]) -> str:
    labels = decode_label_map(store.read(row["tar"], row["png_offset"], row["png_size"]))
    try:
        photo = decode(await reader.read(row["uri"]), max_pixels=MAX_PIXELS)
        alpha = 0.5
    except (PhotoError, ImageError):
        photo, alpha = np.zeros((*labels.shape, 3), np.uint8), 1.0
    step = -(-max(labels.shape) // PICTURE_SIDE)
    small, small_labels = (np.ascontiguousarray(picture[::step, ::step]) for picture in (photo, labels))
    overlay = encode_overlay(small, small_labels, label_set.palette, alpha=alpha, media_type="image/jpeg")
    source = f"data:image/jpeg;base64,{base64.b64encode(overlay).decode()}"
    name = escape(row["image_id"])
    return f"<figure><img src='{source}' alt='{name}'><figcaption>{name}: {row['confidence']:.1%}</figcaption></figure>"
