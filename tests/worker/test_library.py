import hashlib
import shutil
from pathlib import Path

import pytest

from models.weights.checkpoint import Checkpoint
from worker import library
from worker.library import WatchedLibrary


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of what ships: nothing, until a test puts something there."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(library, "SHIPPED", folder)
    return folder


@pytest.fixture
def folder(checkpoint_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(checkpoint_dir, tmp_path / "models")
    return tmp_path / "models"


def test_what_comes_and_goes_is_seen(folder: Path) -> None:
    watched = WatchedLibrary(folder)
    assert watched.scan().keys() == {("tiny", 1)}
    (folder / "tiny@1.safetensors").rename(folder / "hidden")
    assert not watched.scan()
    (folder / "hidden").rename(folder / "tiny@1.safetensors")
    assert watched.scan().keys() == {("tiny", 1)}


def test_a_half_copied_file_is_left_out_told_once_and_taken_when_it_is_whole(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (folder / "tiny@1.safetensors").read_bytes()
    half = folder / "tiny@2.safetensors"
    half.write_bytes(whole[: len(whole) // 2])
    watched = WatchedLibrary(folder)
    for _ in range(3):
        assert watched.scan().keys() == {("tiny", 1)}
    assert caplog.text.count("tiny@2.safetensors is not served") == 1
    half.write_bytes(whole)
    assert watched.scan().keys() == {("tiny", 1), ("tiny", 2)}


def test_a_link_that_leads_nowhere_is_told_once_and_stops_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "tiny@3.safetensors").symlink_to(folder / "gone")
    watched = WatchedLibrary(folder)
    for _ in range(3):
        assert watched.scan().keys() == {("tiny", 1)}
    assert caplog.text.count("tiny@3.safetensors is not served") == 1


def test_an_unchanged_file_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = WatchedLibrary(folder)
    before = watched.scan()
    monkeypatch.setattr(Checkpoint, "open", None)
    assert watched.scan() == before


def test_a_name_in_the_folder_hides_every_shipped_version_of_it(
    folder: Path, shipped: Path, checkpoint_dir: Path
) -> None:
    for name in ("tiny@1", "tiny@3", "alley@2"):
        shutil.copy(checkpoint_dir / "tiny@1.safetensors", shipped / f"{name}.safetensors")
    watched = WatchedLibrary(folder)
    scanned = watched.scan()
    assert scanned.keys() == {("alley", 2), ("tiny", 1)}
    assert scanned["tiny", 1].path.parent == folder
    (folder / "tiny@1.safetensors").unlink()
    assert watched.scan().keys() == {("alley", 2), ("tiny", 1), ("tiny", 3)}


def test_weights_that_are_copied_over_others_are_served_as_before_until_they_are_whole(
    folder: Path, shipped: Path, checkpoint_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(checkpoint_dir / "tiny@1.safetensors", shipped)
    path = folder / "tiny@1.safetensors"
    watched = WatchedLibrary(folder)
    before = watched.scan()["tiny", 1]
    new = path.read_bytes()[:-1] + b"\x55"
    for size in (0, len(new) // 2):
        path.write_bytes(new[:size])
        for _ in range(2):
            assert watched.scan() == {("tiny", 1): before}
    assert caplog.text.count("tiny@1.safetensors is served as it was before") == 2
    path.write_bytes(new)
    after = watched.scan()["tiny", 1]
    assert (after.path, after.sha256) == (path, hashlib.sha256(new).hexdigest())


def test_what_ships_does_not_stand_in_for_a_file_that_was_never_whole(
    folder: Path, shipped: Path, checkpoint_dir: Path
) -> None:
    shutil.copy(checkpoint_dir / "tiny@1.safetensors", shipped)
    (folder / "tiny@1.safetensors").write_bytes(b"half")
    assert not WatchedLibrary(folder).scan()


def test_a_folder_that_is_gone_for_a_while_changes_nothing(folder: Path, shipped: Path, checkpoint_dir: Path) -> None:
    shutil.copy(checkpoint_dir / "tiny@1.safetensors", shipped)
    watched = WatchedLibrary(folder)
    before = watched.scan()
    folder.rename(folder.with_name("elsewhere"))
    assert watched.scan() == before
    folder.with_name("elsewhere").rename(folder)
    assert watched.scan() == before


def test_a_file_that_is_not_called_name_at_version_is_told_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(folder / "tiny@1.safetensors", folder / "best.safetensors")
    assert WatchedLibrary(folder).scan().keys() == {("tiny", 1)}
    assert "best.safetensors is not served" in caplog.text
