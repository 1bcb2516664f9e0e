"""One shard: what is committed, and that it is committed once."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from images import decode, decode_label_map
from labeling import status
from labeling.exports.shard import ExportUnit, export_shard
from labeling.in_progress import InProgress
from labeling.photos import PhotoReader
from labeling.shard import Unit, label_shard
from labeling.status import Row
from labeling.store import Store, open_store
from tests.labeling.brightness import BrightnessLabeler
from tests.labeling.drawings import draw
from tests.labeling.jobs import files, label_all, label_unit, members, planned, results, rows
from tests.service.fakes import brightness_labels
from tests.service.gateway import eventually

FIRST = Unit(0)


def test_a_shard_becomes_a_tar_and_a_table(photos: Path, anywhere: str) -> None:
    job, store = planned(photos, anywhere)
    reported: list[Row] = []
    assert label_unit(job, store, FIRST, report=reported.append)
    assert [row.error_code for row in reported] == ["damaged-image", None, None, None]
    cut, *good = status.read(store, 0, 0).to_pylist()
    assert (cut["image_id"], cut["status"], cut["error_code"]) == ("cut.jpg", "error", "damaged-image")
    assert "send the whole file" in cut["message"]
    assert (cut["width"], cut["share_road"], cut["confidence"], cut["png_offset"]) == (None, None, None, None)
    [tar] = {row["tar"] for row in good}
    content = store.read(tar)
    assert {(row["tar_size"], row["tar_sha256"]) for row in good} == {
        (len(content), hashlib.sha256(content).hexdigest())
    }
    for row in good:
        photo = decode(Path(row["uri"]).read_bytes(), max_pixels=10**6)
        png = content[row["png_offset"] : row["png_offset"] + row["png_size"]]
        labels = decode_label_map(png)
        assert (labels == brightness_labels(photo)).all()
        assert (row["height"], row["width"]) == labels.shape
        assert row["share_sky"] == pytest.approx((labels == 0).mean())
        assert row["confidence"] == pytest.approx(photo[..., 0].mean() / 255)
        assert (row["status"], row["error_code"], row["model_version"]) == ("ok", None, "brightness@1")
        assert row["attempts"] == 1
        assert row["seconds"] > 0


def test_the_tar_is_a_webdataset_in_the_manifests_order(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    label_unit(job, store, FIRST)
    row = rows(store)[1]
    found = members(store, row["tar"])
    assert list(found) == [f"cam{n % 2}/{n}%2Ejpg.{kind}" for n in (0, 2, 4) for kind in ("png", "json")]
    facts = json.loads(found["cam0/0%2Ejpg.json"])
    assert facts["image_id"] == "cam0/0.jpg"
    assert sum(facts["pixels"].values()) == facts["width"] * facts["height"] == 96 * 128


def test_a_committed_shard_is_left_alone(photos: Path, anywhere: str) -> None:
    job, store = planned(photos, anywhere)
    label_unit(job, store, FIRST)
    before = rows(store)
    assert not label_unit(job, store, FIRST)
    assert rows(store) == before


def test_two_runs_of_a_shard_make_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    hashes = set()
    for name in ("one", "two"):
        job, store = planned(photos, tmp_path / name)
        label_all(job, store, BrightnessLabeler(window=1 if name == "one" else 8))
        hashes.add(tuple(row["tar_sha256"] for row in rows(store)))
    assert len(hashes) == 1


def test_of_two_runners_of_a_shard_one_wins_and_both_end_well(photos: Path, anywhere: str) -> None:
    job, store = planned(photos, anywhere)

    async def one() -> bool:
        reader = PhotoReader()
        try:
            labeler = BrightnessLabeler(seconds=0.05)
            return await label_shard(job, open_store(anywhere), FIRST, labeler, reader, lambda _: None)
        finally:
            await reader.close()

    async def race() -> list[bool]:
        return list(await asyncio.gather(one(), one(), one()))

    assert sorted(asyncio.run(race())) == [False, False, True]
    [tar] = [entry.path for entry in store.list("labels")]
    assert {row["tar"] for row in rows(store)} == {tar}
    assert list(store.list("working")) == []


def test_the_window_bounds_what_is_in_memory(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    (tmp_path / "a.jpg").write_bytes(draw(0))
    manifest.write_text("image_id,uri\n" + "".join(f"{n},a.jpg\n" for n in range(40)))
    job, store = planned(manifest, tmp_path / "out", shard_rows=40)
    labeler = BrightnessLabeler(window=6, seconds=0.002)
    label_all(job, store, labeler)
    assert 2 <= labeler.most_held <= 6
    assert [row["image_id"] for row in rows(store)] == [str(n) for n in range(40)]


def test_photos_share_batches_by_their_place_alone(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out", shard_rows=8)
    (photos / "cam0/2.jpg").unlink()
    labeler = BrightnessLabeler(batch=3, window=6)
    label_all(job, store, labeler)
    assert sorted(labeler.batches) == [2, 2, 3]
    assert [row["error_code"] for row in rows(store)] == ["damaged-image", None, "not-found", *[None] * 5]


def test_what_a_killed_attempt_had_in_flight_is_tried_in_ordinary_batches(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(draw(0))
    manifest = tmp_path / "m.csv"
    manifest.write_text("image_id,uri\n" + "".join(f"{n},a.jpg\n" for n in range(40)))
    job, store = planned(manifest, tmp_path / "out", shard_rows=40)
    InProgress(store, FIRST.name, "killed").enter((0, 32))
    labeler = BrightnessLabeler(batch=3, window=32, seconds=0.002)
    label_all(job, store, labeler)
    assert max(labeler.batches) == 3
    assert sum(labeler.batches) == 32 + 40
    # One half after the other.
    assert labeler.most_held <= 16


@pytest.mark.parametrize("deaths", [0, 1])
def test_a_shard_that_is_stopped_keeps_what_earlier_deaths_taught(deaths: int, photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    if deaths:
        InProgress(store, FIRST.name, "killed").enter((0, 2))

    async def stop_in_flight() -> None:
        labeler, reader = BrightnessLabeler(seconds=60), PhotoReader()
        labelling = asyncio.create_task(label_shard(job, store, FIRST, labeler, reader, print))
        await eventually(lambda: labeler.held > 0)
        labelling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await labelling
        await reader.close()

    asyncio.run(stop_in_flight())
    later = InProgress(store, FIRST.name, "later")
    later.recover()
    assert later.deaths == deaths
    assert {row for rows in later.suspects() for row in range(*rows)} == set(range(2 * deaths))
    later.end()
    assert files(tmp_path / "out/working") == files(tmp_path / "out/labels") == []


def test_the_manifests_further_columns_come_along(photos: Path, tmp_path: Path) -> None:
    manifest = photos / "m.csv"
    rows_of_it = "a,cut.jpg,Bonn,old\nb,cam0/0.jpg,Köln,new\n"
    manifest.write_text(f"image_id,uri,city,status\n{rows_of_it}")
    job, store = planned(manifest, tmp_path / "out")
    label_all(job, store)
    assert [(row["city"], row["manifest_status"], row["status"]) for row in rows(store)] == [
        ("Bonn", "old", "error"),
        ("Köln", "new", "ok"),
    ]


def test_further_columns_keep_what_python_has_no_value_for(photos: Path, tmp_path: Path) -> None:
    moments = pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC"))
    nested = pa.array([[1], [2, None]], pa.list_(pa.duration("ns")))
    far = pa.array([2**62, 0], pa.timestamp("us"))
    table = pa.table({"image_id": ["a", "b"], "uri": ["cut.jpg", "cam0/0.jpg"], "t": moments, "n": nested, "far": far})
    pq.write_table(table, photos / "m.parquet")
    job, store = planned(photos / "m.parquet", tmp_path / "out")
    label_all(job, store)
    assert label_unit(job, store, Unit(0, retry=1))
    first, again = status.read(store, 0, 0), status.read(store, 0, 1)
    for name in ("t", "n", "far"):
        assert first[name].combine_chunks().equals(table[name].combine_chunks())
        assert again[name].combine_chunks().equals(table[name].slice(0, 1).combine_chunks())
    export_shard(job, store, ExportUnit("label-studio", 0, 1))
    assert (tmp_path / "out/exports/label-studio/part-00000.json").exists()


def test_status_tables_are_manifests_again_and_again(photos: Path, tmp_path: Path) -> None:
    manifest = photos
    for round_number in range(4):
        job, store = planned(manifest, tmp_path / f"out{round_number}", shard_rows=8)
        label_all(job, store)
        table = status.read(store, 0, 0)
        manifest = tmp_path / f"out{round_number}/status/part-00000.parquet"
    assert len(set(table.column_names)) == len(table.column_names)
    assert {name for name in table.column_names if name.endswith("_status")} == {
        "manifest_status",
        "manifest_manifest_status",
        "manifest_manifest_manifest_status",
    }


def test_a_retry_adds_a_table_of_the_failed_rows_alone(photos: Path, anywhere: str) -> None:
    job, store = planned(photos, anywhere)
    label_all(job, store)
    before = results(anywhere)
    (photos / "cut.jpg").write_bytes(draw(0))
    assert label_unit(job, store, Unit(0, retry=1))
    assert status.read(store, 0, 1)["image_id"].to_pylist() == ["cut.jpg"]
    assert status.read(store, 0, 0)["status"].to_pylist()[0] == "error"
    after = results(anywhere)
    assert list(after) == list(before)
    assert after["cut.jpg"][0]["status"] == "ok"
    assert {name: after[name] for name in after if name != "cut.jpg"} == {
        name: before[name] for name in before if name != "cut.jpg"
    }
    assert after["cut.jpg"][1] == after["cam0/0.jpg"][1]


class _Failing:
    """A store that fails at the first call of one kind."""

    def __init__(self, store: Store, method: str) -> None:
        self._store, self._method = store, method

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            raise OSError("the disk is full")
        return getattr(self._store, name)


@pytest.mark.parametrize("method", ["new_file", "create", "read", "list"])
def test_a_store_that_fails_leaves_the_shard_for_later(method: str, photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out")
    failing: Any = _Failing(store, method)
    with pytest.raises(OSError, match="disk is full"):
        label_unit(job, failing, FIRST)
    assert rows(store) == []
    assert not any(name.startswith(("working", "status")) for name in files(tmp_path / "out"))
    assert label_unit(job, store, FIRST)


def test_an_error_of_the_job_itself_stops_it(photos: Path, tmp_path: Path) -> None:
    class Broken(BrightnessLabeler):
        async def label(self, photos: Any) -> Any:  # noqa: ARG002
            raise PermissionError("no longer allowed")

    job, store = planned(photos, tmp_path / "out")
    with pytest.raises(PermissionError):
        label_unit(job, store, FIRST, Broken())
    assert [name for name in files(tmp_path / "out") if name.startswith("labels")] == []
