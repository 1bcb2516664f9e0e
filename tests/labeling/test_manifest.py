import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeling.errors import JobError
from labeling.manifest import read_manifest


def read(location: object) -> list[dict[str, object]]:
    return [row for batch in read_manifest(str(location)) for row in batch.to_pylist()]


def test_a_folder_is_a_manifest_of_its_photos(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/deep/c.jpeg", "sub/notes.txt", ".hidden.jpg", ".git/d.jpg", "e.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = read(tmp_path)
    assert [row["image_id"] for row in found] == ["a.PNG", "b.jpg", "e.tif", "sub/deep/c.jpeg"]
    assert found[3]["uri"] == str(tmp_path / "sub/deep/c.jpeg")


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [row["image_id"] for row in read(tmp_path)] == ["a.jpg"]


def test_linked_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.jpg").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/camera").symlink_to(tmp_path / "elsewhere")
    assert [row["image_id"] for row in read(tmp_path / "photos")] == ["camera/a.jpg"]


def test_csv_keeps_further_columns_as_text(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("image_id,lat,uri\n007,1.50,a.jpg\nb,,s3://bucket/b c.jpg\n")
    assert read(manifest) == [
        {"image_id": "007", "uri": f"{tmp_path}/a.jpg", "lat": "1.50"},
        {"image_id": "b", "uri": "s3://bucket/b c.jpg", "lat": ""},
    ]


def test_jsonl_keeps_further_columns(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    lines = [{"image_id": 7, "uri": "/x/a.jpg", "tags": ["a"]}, {"uri": "https://h/b.jpg?x=1", "image_id": "b"}]
    manifest.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert read(manifest) == [
        {"image_id": "7", "uri": "/x/a.jpg", "tags": '["a"]'},
        {"image_id": "b", "uri": "https://h/b.jpg?x=1", "tags": None},
    ]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    table = pa.table({"image_id": [1, 2], "uri": ["a.jpg", "file:///x/b.jpg"], "lat": [1.5, None]})
    pq.write_table(table, tmp_path / "m.parquet")
    assert read(tmp_path / "m.parquet") == [
        {"image_id": "1", "uri": f"{tmp_path}/a.jpg", "lat": 1.5},
        {"image_id": "2", "uri": "file:///x/b.jpg", "lat": None},
    ]


def test_many_rows_come_in_bounded_batches(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(f'{{"image_id": "{n}", "uri": "{n}.jpg"}}\n' for n in range(2500)))
    sizes = [batch.num_rows for batch in read_manifest(str(manifest))]
    assert sum(sizes) == 2500
    assert max(sizes) <= 1000


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.csv", "id,uri\n1,a\n", "lacks the columns image_id: it has id, uri"),
        ("m.csv", "image_id,uri\n1,a\n,b\n", "row 2: image_id and uri must not be empty"),
        ("m.csv", "image_id,uri\n1,a,b\n", "cannot be read"),
        ("m.csv", "", "cannot be read"),
        ("m.jsonl", '{"image_id": "1", "uri": ""}\n', "row 1: image_id and uri must not be empty"),
        ("m.jsonl", '{"image_id": "1"', "line 1: not JSON"),
        ("m.jsonl", "[1]", "line 1: a line is an object"),
        ("m.jsonl", "\xff\xfe", "not JSON"),
        ("m.parquet", "PAR1", "cannot be read"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_told(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(JobError, match=complaint):
        read(tmp_path / name)


def _twice(path: Path) -> None:
    names = ["image_id", "uri", "city", "city"]
    if path.suffix == ".csv":
        path.write_text(",".join(names) + "\n1,a,Bonn,Köln\n")
    else:
        pq.write_table(pa.table([["1"], ["a"], ["Bonn"], ["Köln"]], names=names), path)


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_column_that_comes_twice_is_told(name: str, tmp_path: Path) -> None:
    _twice(tmp_path / name)
    with pytest.raises(JobError, match="has more than one column named city: rename"):
        read(tmp_path / name)


def test_columns_that_begin_late_are_told(tmp_path: Path) -> None:
    rows = [{"image_id": str(n), "uri": "a"} | ({"late": 1} if n == 1500 else {}) for n in range(1600)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(JobError, match="late"):
        read(tmp_path / "m.jsonl")


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        """As the kernel does, for all but root."""
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(JobError, match=f"cannot be read: .*Permission denied: '{tmp_path}/locked'"):
        read(tmp_path)


def test_a_file_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))).touch()
    with pytest.raises(JobError, match=r"the file name b'\\xff.jpg' is not UTF-8: rename the file"):
        read(tmp_path)


def test_ids_that_are_no_text_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": [b"\xff"], "uri": ["a.jpg"]}), tmp_path / "m.parquet")
    with pytest.raises(JobError, match="the column image_id is of type binary: write it as strings"):
        read(tmp_path / "m.parquet")
    (tmp_path / "m.jsonl").write_text('{"image_id": "\\ud800", "uri": "a.jpg"}')
    with pytest.raises(JobError, match=r"m\.jsonl cannot be read"):
        read(tmp_path / "m.jsonl")


@pytest.mark.parametrize("location", ["https://host/photos.csv", "https://host/photos/"])
def test_a_manifest_on_a_web_server_is_told_where_it_may_be(location: str) -> None:
    with pytest.raises(JobError, match=rf"{location}: a manifest .* bucket"):
        read(location)


@pytest.mark.parametrize("location", ["nowhere", "nowhere.csv", "ftp://host/photos"])
def test_a_place_that_is_not_there_is_told(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match=location):
        read(location)
