from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeling.errors import JobError
from labeling.job import Job, Labels, load_job
from labeling.locations import lies_in
from labeling.store import open_store
from labeling.tables import from_parquet
from tests.labeling.brightness import LABELS
from tests.labeling.jobs import files, planned


def test_rows_are_laid_out_in_shards(photos: Path, tmp_path: Path) -> None:
    job, store = planned(photos, tmp_path / "out", shard_rows=3)
    assert (job.rows, list(job.shards)) == (8, [0, 1, 2])
    assert [job.shard_size(shard) for shard in job.shards] == [3, 3, 2]
    tables = [from_parquet(store.read(job.manifest_path(shard))) for shard in job.shards]
    assert [table.num_rows for table in tables] == [3, 3, 2]
    assert tables[0]["image_id"].to_pylist() == ["cut.jpg", "cam0/0.jpg", "cam0/2.jpg"]


def test_planned_again_it_is_the_same_job(photos: Path, tmp_path: Path) -> None:
    first, store = planned(photos, tmp_path / "out")
    before = files(tmp_path / "out")
    assert planned(photos, tmp_path / "out")[0] == first == load_job(store)
    assert files(tmp_path / "out") == before
    assert planned(photos, tmp_path / "other")[0].key == first.key


def _another_photo(photos: Path) -> None:
    (photos / "new.jpg").touch()


def _renamed(photos: Path) -> None:
    (photos / "cut.jpg").rename(photos / "cut2.jpg")


@pytest.mark.parametrize("change", [_another_photo, _renamed])
def test_another_manifest_does_not_mix_with_older_results(change, photos: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    planned(photos, tmp_path / "out")
    change(photos)
    with pytest.raises(JobError, match="holds another job"):
        planned(photos, tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value"), [("model", "other@2"), ("sha256", "1" * 64), ("label_set", "cityscapes19"), ("long_side", 99)]
)
def test_other_labels_do_not_mix_with_older_results(field: str, value: str | int, photos: Path, tmp_path: Path) -> None:
    planned(photos, tmp_path / "out")
    with pytest.raises(JobError, match=f"its {field} is .*, not {value}"):
        planned(photos, tmp_path / "out", labels=Labels(**(asdict(LABELS) | {field: value})))


def test_other_shards_do_not_mix_with_older_results(photos: Path, tmp_path: Path) -> None:
    planned(photos, tmp_path / "out", shard_rows=4)
    with pytest.raises(JobError, match="its shard_rows is 4, not 5"):
        planned(photos, tmp_path / "out", shard_rows=5)


def test_a_nanosecond_makes_another_job(tmp_path: Path) -> None:
    keys = set()
    for moment in (1_000_000_001, 1_000_000_002):
        table = pa.table({"image_id": ["a"], "uri": ["a"], "t": pa.array([[moment]], pa.list_(pa.timestamp("ns")))})
        pq.write_table(table, tmp_path / "m.parquet")
        keys |= {planned(tmp_path / "m.parquet", tmp_path / f"{moment}-{n}")[0].key for n in range(2)}
    assert len(keys) == 2


def test_the_key_of_a_manifest_stays(tmp_path: Path) -> None:
    """Else the same command would no longer go on with a job that an earlier version began."""
    table = pa.table(
        {"image_id": ["a", "b"], "uri": ["/a", "/b"], "x": [1.5, None], "t": [datetime(2024, 1, 2, tzinfo=UTC), None]}
    )
    pq.write_table(table, tmp_path / "m.parquet")
    assert planned(tmp_path / "m.parquet", tmp_path / "out")[0].key == "f95eb8cfb072d94e14f9224eed661ca7"


def test_an_id_that_occurs_twice_is_told(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("image_id,uri\n" + "".join(f"{n % 1200},a\n" for n in range(1201)))
    with pytest.raises(JobError, match="names the image_id '0' twice, in rows 1 and 1201"):
        planned(manifest, tmp_path / "out")
    assert load_job(open_store(str(tmp_path / "out"))) is None


@pytest.mark.parametrize("out", ["", "cam0", "new/labelled", "../photos/labelled"])
def test_results_do_not_go_among_the_photos(out: str, photos: Path) -> None:
    before = files(photos)
    with pytest.raises(JobError, match="choose another --out, outside of it"):
        planned(photos, photos / out)
    assert files(photos) == before


def test_results_may_go_beside_the_photos_and_beside_a_list_of_them(photos: Path) -> None:
    assert planned(photos, f"{photos}-labelled")[0].rows == 8
    (photos / "m.csv").write_text("image_id,uri\na,cut.jpg\n")
    assert planned(photos / "m.csv", photos / "labelled")[0].rows == 1


@pytest.mark.parametrize(
    ("out", "inside"), [("s3://b/photos/out", True), ("s3://b/photos", True), ("s3://b/photos2", False), ("/b", False)]
)
def test_a_prefix_has_an_inside_too(out: str, inside: bool) -> None:
    assert lies_in(out, "s3://b/photos/") == inside


def test_a_manifest_without_photos_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image_id,uri\n")
    with pytest.raises(JobError, match="names no photos"):
        planned(tmp_path / "m.csv", tmp_path / "out")


def test_a_stranger_in_the_place_of_the_job_is_told(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/job.json").write_text('{"name": "something else"}')
    with pytest.raises(JobError, match="not a job of this version: choose another --out"):
        planned(photos, tmp_path / "out")


def test_of_two_that_plan_at_once_one_wins_and_both_agree(photos: Path, tmp_path: Path) -> None:
    from labeling.plan import plan
    from labeling.store import DiskStore

    class Slow(DiskStore):
        """Another process plans the same job just before this one writes it down."""

        def create(self, path: str, data: bytes) -> bool:
            self.other: Job = planned(photos, tmp_path / "out")[0]
            return super().create(path, data)

    store = Slow(tmp_path / "out")
    job = plan(store, str(photos), LABELS, 4)
    assert job == store.other
    assert {name.split("/")[1] for name in files(tmp_path / "out/manifest/..") if "/" in name} == {
        job.manifest.split("/")[1]
    }
