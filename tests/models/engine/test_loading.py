import shutil
import sys
from pathlib import Path

import pytest
import torch

from models.engine.cache import graph_path
from models.engine.loading import Checkpoint, CheckpointError, compilable, compiled, find, load_engine
from models.weights.checkpoint import save
from models.zoo.registry import build
from tests.photos import street


def test_an_engine_has_the_checkpoints_preprocessing_and_precision(checkpoint_dir: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    engine = load_engine(checkpoint, device=torch.device("cpu"), dtype=torch.float32)
    assert (engine.preprocessing, engine.network.dtype) == (checkpoint.card.preprocessing, torch.float32)
    [segmentation] = engine.run([street(60, 80)])
    assert segmentation.labels.shape == (60, 80)
    assert len(segmentation.pixels) == 11


def test_two_engines_of_one_checkpoint_agree(checkpoint_dir: Path) -> None:
    checkpoint, photo = find("tiny", checkpoint_dir), street(60, 80)
    [one], [other] = load_engine(checkpoint).run([photo]), load_engine(checkpoint).run([photo])
    assert (one.labels == other.labels).all()


def test_an_architecture_that_is_not_known_is_named(checkpoint_dir: Path, tmp_path: Path) -> None:
    card = find("tiny", checkpoint_dir).card.model_copy(update={"architecture": "eseg-xxl"})
    save(torch.nn.Conv2d(3, 3, 1), card, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: no architecture 'eseg-xxl'"):
        load_engine(Checkpoint.open(tmp_path / "x.safetensors"))


def test_weights_of_another_architecture_do_not_load(checkpoint_dir: Path, tmp_path: Path) -> None:
    save(build("eseg-lite-m", 11), find("tiny", checkpoint_dir).card, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="does not fit eseg-lite-s with 11 classes"):
        load_engine(Checkpoint.open(tmp_path / "x.safetensors"))


def test_what_waits_is_compiled_and_what_does_not_is_eager_until_it_is(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    assert compiled(checkpoint, cache_dir=tmp_path, make=False) is None
    eager = load_engine(checkpoint, cache_dir=tmp_path, wait=False)
    assert (eager.network.kind, compilable(eager)) == ("eager", True)
    assert list(tmp_path.iterdir()) == []
    waited = load_engine(checkpoint, cache_dir=tmp_path)
    assert (waited.network.kind, compilable(waited)) == ("compiled", False)
    assert load_engine(checkpoint, cache_dir=tmp_path, wait=False).network.kind == "compiled"


@pytest.fixture(scope="module")
def cache(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the graph of tiny."""
    folder = tmp_path_factory.mktemp("cache")
    load_engine(find("tiny", checkpoint_dir), cache_dir=folder)
    return folder


@pytest.mark.parametrize(("part", "kept"), [(".bin", 1000), (".bin", None), (".xml", 1000), (".xml", None)])
def test_a_damaged_graph_is_made_again(
    part: str, kept: int | None, cache: Path, checkpoint_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    checkpoint = find("tiny", checkpoint_dir)
    file = graph_path(checkpoint, tmp_path).with_suffix(part)
    whole = file.read_bytes()
    file.unlink()
    if kept:
        file.write_bytes(whole[:kept])
    assert load_engine(checkpoint, cache_dir=tmp_path, wait=False).network.kind == "eager"
    assert load_engine(checkpoint, cache_dir=tmp_path).network.kind == "compiled"
    # Whole again: this call makes nothing.
    assert load_engine(checkpoint, cache_dir=tmp_path, wait=False).network.kind == "compiled"
    assert [path.name for path in tmp_path.iterdir()] == [file.parent.name]


def test_without_openvino_it_runs_eagerly_and_says_so(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("models.engine.compilation", "models.engine.compiled_network"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine = load_engine(find("tiny", checkpoint_dir), cache_dir=tmp_path)
    assert engine.network.kind == "eager"
    assert "tiny@1 runs on the eager engine, as it cannot be compiled: " in caplog.text
