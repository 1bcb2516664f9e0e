from pathlib import Path

from tests.labeling.exports.results import exported
from tests.labeling.jobs import files, results


def test_loose_files_are_the_tars_bytes_by_id(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "png")
    expected = {f"{name}.png": png for name, (_, png) in results(tmp_path / "out").items() if png is not None}
    folder = tmp_path / "out/exports/png"
    assert files(folder) == sorted(expected)
    assert {name: (folder / name).read_bytes() for name in expected} == expected
