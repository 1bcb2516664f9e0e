import shutil
from pathlib import Path

import pytest

from models.weights.checkpoint import Checkpoint
from worker import library
from worker.library import WatchedLibrary


@pytest.fixture(autouse=True)
def _nothing_ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "SHIPPED", tmp_path / "nothing")


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
    half.write_bytes(whole.replace(b'"version\\":1', b'"version\\":2', 1))
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
