"""From the last shard to _SUCCESS: what is swept, added up and shown."""

import json
import os
import re
from pathlib import Path

import pytest

from labeling import status
from labeling.counts import Counts
from labeling.errors import JobError
from labeling.locations import scheme
from labeling.progress import JUDGED_AFTER, Progress
from labeling.run import SUCCESS, export, finish, label, retry_failed
from labeling.shard import Unit
from labeling.store import Store
from labeling.summary import Summary, summarise
from labeling.worker import WorkerSettings
from tests.labeling.drawings import draw
from tests.labeling.jobs import RunHere, files, label_all, label_unit, planned, results, rows

HERE = (RunHere(), WorkerSettings())


def test_a_job_is_not_finished_before_its_last_shard(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label(job, store, *HERE, shards=[1], max_failure_rate=0.05)
    assert finish(job, store) == "1 of 2 shards are open"
    assert not (tmp_path / "out" / SUCCESS).exists()
    label(job, store, *HERE, shards=job.shards, max_failure_rate=0.05)
    assert isinstance(finish(job, store), Summary)
    assert (tmp_path / "out" / SUCCESS).exists()


def test_what_attempts_left_behind_is_swept(photos: Path, anywhere: str) -> None:
    job, store = planned(photos, anywhere)
    label_all(job, store)
    kept = {row["tar"] for row in rows(store)}
    for orphan in ("labels/part-00001.0ld.tar", "working/part-00001/0ld.json", "manifest/0ld/part-00000.parquet"):
        store.write(orphan, b"orphan")
    at_work = ("labels/part-00000.r1.ab.tar", "working/part-00000.r1/ab.json")
    for file in at_work:
        store.write(file, b"{}")
    if not scheme(anywhere):
        (Path(anywhere) / "labels/.temporary-ab-part-00001.cd.tar").write_bytes(b"half")
        (Path(anywhere) / "status/.temporary-ab-part-00001.parquet").write_bytes(b"half")
        (Path(anywhere) / "labels/.temporary-ab-part-00000.r1.cd.tar").write_bytes(b"half")
    finish(job, store)
    assert {entry.path for entry in store.list("labels")} == kept | {at_work[0]}
    assert [entry.path for entry in store.list("working")] == [at_work[1]]
    assert {entry.path.split("/")[1] for entry in store.list("manifest")} == {job.manifest.split("/")[1]}
    assert len(list(store.list("status"))) == len(job.shards)
    halves = [] if scheme(anywhere) else ["labels/part-00000.r1.cd.tar"]
    assert [wanted for _, wanted, _ in store.leftovers()] == halves


def test_what_killed_writers_left_in_other_folders_is_swept(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    out = tmp_path / "out"
    (out / "working/part-00000.r1").mkdir()
    for name in (
        "working/part-00001/.temporary-ab-cd.json",
        "exports/png/.temporary-ab-a.png",
        ".temporary-ab-summary.json",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"half")
    (out / "exports/png/.temporary-ef-b.png").write_bytes(b"half, by a writer who may live")
    for name in ("exports/png/.temporary-ab-a.png", ".temporary-ab-summary.json"):
        os.utime(out / name, (0, 0))
    finish(job, store)
    assert [wanted for _, wanted, _ in store.leftovers()] == ["exports/png/b.png"]
    # The retry's may be in use.
    assert [path.name for path in (out / "working").iterdir()] == ["part-00000.r1"]


def test_a_job_is_not_finished_before_the_last_export(photos: Path, tmp_path: Path) -> None:
    """The other index may have labelled all of its shards and be exporting them."""
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    export(job, store, *HERE, shards=[0], formats=("png",))
    assert finish(job, store, ("png",)) == "1 of 2 exports are open"
    assert not (tmp_path / "out" / SUCCESS).exists()
    export(job, store, *HERE, shards=[1], formats=("png",))
    assert isinstance(finish(job, store, ("png",)), Summary)
    assert (tmp_path / "out" / SUCCESS).exists()


def test_a_round_of_retries_in_parts_is_finished_with_its_last_part(photos: Path, tmp_path: Path) -> None:
    (photos / "cam1/5.jpg").write_bytes(b"no photo")
    job, store = planned(photos, tmp_path / "out", shard_rows=3)
    label_all(job, store)
    finish(job, store)
    failed = {0: ["cut.jpg"], 2: ["cam1/5.jpg"]}
    assert {shard: _errors(store, shard) for shard in job.shards if _errors(store, shard)} == failed

    def part(index: int) -> Summary | str:
        retry_failed(job, store, *HERE, shards=job.shards[index::2])
        return finish(job, store)

    # Shards 0 and 2 are of one part, the other has nothing to do.
    assert isinstance(part(1), Summary)
    retry_failed(job, store, *HERE, shards=[0])
    assert finish(job, store) == "1 of 3 shards wait for their turn in this round of --retry-failed"
    assert not (tmp_path / "out" / SUCCESS).exists()
    # A part that is run again, for it was killed, does no shard twice in a round.
    retry_failed(job, store, *HERE, shards=[0])
    assert status.committed(store) == {0: 1, 1: 0, 2: 0}
    assert isinstance(part(0), Summary)
    assert status.committed(store) == {0: 1, 1: 0, 2: 1}
    assert (tmp_path / "out" / SUCCESS).exists()
    # The next round.
    assert isinstance(part(0), Summary)
    assert status.committed(store) == {0: 2, 1: 0, 2: 2}


def _errors(store: Store, shard: int) -> list[str]:
    table = status.read(store, shard, 0, ["image_id", "status"]).to_pylist()
    return [row["image_id"] for row in table if row["status"] == "error"]


def test_the_summary_adds_up(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    finish(job, store)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    found = [row for row in rows(store) if row["status"] == "ok"]
    assert (summary["photos"], summary["ok"], summary["errors"]) == (8, 7, {"damaged-image": 1})
    pixels = sum(row["width"] * row["height"] for row in found)
    sky = sum(row["share_sky"] * row["width"] * row["height"] for row in found)
    assert summary["class_shares"]["sky"] == pytest.approx(sky / pixels)
    confidences = sorted(row["confidence"] for row in found)
    assert summary["mean_confidence"] == pytest.approx(sum(confidences) / 7)
    assert summary["median_confidence"] == pytest.approx(confidences[3], abs=1e-3)
    assert summary["job_key"] == job.key


def test_the_report_shows_the_worst_the_median_and_the_best(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    (photos / "cam0/0.jpg").unlink()  # Its labels can still be shown.
    finish(job, store)
    page = (tmp_path / "out/report.html").read_text()
    ranked = sorted((row["confidence"], row["image_id"]) for row in rows(store) if row["status"] == "ok")
    sections = dict(re.findall(r"<h2>(\w+) confidence</h2>(.*?)</div>", page))
    captions = {name: re.findall(r"<figcaption>(.*?): ", section) for name, section in sections.items()}
    assert captions["Worst"] == [name for _, name in ranked[:4]]
    assert captions["Best"] == [name for _, name in ranked[:-5:-1]]
    assert captions["Median"][0] == ranked[3][1]
    assert page.count("data:image/jpeg;base64,") == 12
    assert "damaged-image" in page
    assert "7 of 8 photos labelled" in page


def test_names_in_the_report_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(draw(0))
    (tmp_path / "m.jsonl").write_text('{"image_id": "<script>alert(1)</script>", "uri": "a.jpg"}')
    job, store = planned(tmp_path / "m.jsonl", tmp_path / "out")
    label_all(job, store)
    finish(job, store)
    assert "<script>" not in (tmp_path / "out/report.html").read_text()


def test_a_job_of_errors_alone_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image_id,uri\na,nothing.jpg\n")
    job, store = planned(tmp_path / "m.csv", tmp_path / "out")
    label_all(job, store)
    export(job, store, *HERE, shards=job.shards, formats=("png", "coco", "coco-panoptic", "cvat", "label-studio"))
    summary = finish(job, store)
    assert isinstance(summary, Summary)
    assert summary.median_confidence is None
    assert json.loads((tmp_path / "out/exports/label-studio/part-00000.json").read_text()) == []


def test_failed_rows_are_tried_again_and_the_newest_counts(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    finish(job, store)
    retry_failed(job, store, *HERE, shards=job.shards)
    assert not (tmp_path / "out" / SUCCESS).exists()
    assert summarise(job, store).counts.errors == {"damaged-image": 1}
    (photos / "cut.jpg").write_bytes(draw(3))
    retry_failed(job, store, *HERE, shards=job.shards)
    assert summarise(job, store).counts.ok == 8
    assert status.committed(store) == {0: 2, 1: 0}
    assert files(tmp_path / "out/status") == [
        "part-00000.parquet",
        "part-00000.r1.parquet",
        "part-00000.r2.parquet",
        "part-00001.parquet",
    ]
    finish(job, store)
    assert len([png for _, png in results(tmp_path / "out").values() if png]) == 8


def test_exports_follow_a_retry_and_are_not_made_twice(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_all(job, store)
    export(job, store, *HERE, shards=job.shards, formats=("coco",))
    parts = tmp_path / "out/exports/coco"
    (parts / "part-00001.json").write_text("not made again")
    (photos / "cut.jpg").write_bytes(draw(3))
    label_unit(job, store, Unit(0, retry=1))
    export(job, store, *HERE, shards=job.shards, formats=("coco",))
    assert len(json.loads((parts / "part-00000.json").read_text())["images"]) == 4
    assert (parts / "part-00001.json").read_text() == "not made again"


def test_a_bar_that_is_taken_back_counts_again(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(10, max_failure_rate=0)
    counts = Counts()
    for code in (None, "not-found", None):
        counts.add(code)
    progress.advance(counts)
    progress.take_back(counts)
    assert progress.counts.done == 0
    progress.advance(counts)
    progress.note("a message")
    progress.close()
    assert (progress.counts.ok, progress.counts.errors["not-found"]) == (2, 1)
    shown = capsys.readouterr().err
    assert "3/10" in shown
    assert "a message" in shown


def test_the_failure_rate_is_judged_after_a_hundred() -> None:
    progress = Progress(1000, max_failure_rate=0.05, shown=False)
    few, many = Counts(), Counts()
    for number in range(JUDGED_AFTER - 1):
        few.add("not-found" if number < 6 else None)
    many.add(None)
    progress.advance(few)
    with pytest.raises(JobError, match=r"6 of 100 photos failed \(6.0%"):
        progress.advance(many)
