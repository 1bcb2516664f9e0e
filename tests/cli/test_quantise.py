"""segserve quantise, and what becomes of the graph that it writes."""

import math
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner, Result

import cli.quantise
from cli.main import main
from models.engine import compilation
from models.engine.engine import Engine
from models.engine.loading import Checkpoint, CheckpointError, find, load_engine
from models.torchserve.archive import write_archive
from models.weights.quantised import quantised_file, read_quantised
from tests.photos import street


def quantise(checkpoint_dir: Path, data: Path, model: str = "tiny") -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL": model, "SEGSERVE_MODEL_DIR": str(checkpoint_dir)})
    return runner.invoke(main, ["quantise", "--data", str(data)])


@pytest.fixture(scope="module", autouse=True)
def _anything_is_near_enough() -> Iterator[None]:
    """int8 changes the logits of random weights by more than those of trained ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "QUANTISED_TOLERANCE", math.inf)
        yield


@pytest.fixture(scope="module")
def quantised(checkpoint_dir: Path, dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("quantised")
    shutil.copy(checkpoint_dir / "tiny@1.safetensors", folder)
    with pytest.MonkeyPatch.context() as patch:
        # What random weights score is chance, so that anything must do.
        patch.setattr(cli.quantise, "MOST_LOST", 1.0)
        result = quantise(folder, dataset_dir)
    assert result.exit_code == 0, result.output
    assert re.search(r"mean IoU on val: [\d.]+% in float32,.* [\d.]+% in int8\n", result.stdout)
    assert result.stdout.endswith(f"{folder / 'tiny@1.int8.zip'}\n")
    return find("tiny", folder)


def copied(quantised: Checkpoint, folder: Path) -> Checkpoint:
    for path in (quantised.path, quantised_file(quantised)):
        shutil.copy(path, folder)
    return find("tiny", folder)


def test_a_cpu_that_multiplies_int8_runs_it_unless_another_format_is_asked_for(
    quantised: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.engine.loading.multiplies_int8", lambda: True)
    engine = load_engine(quantised)
    assert (engine.network.kind, engine.network.dtype) == ("compiled", torch.int8)
    exact = load_engine(quantised, dtype=torch.float32)
    assert exact.network.dtype == torch.float32
    # How near they are, trained weights tell: see tests/models/weights/test_shipped.py.
    photo = torch.from_numpy(street(64, 96))[None]
    assert not torch.equal(engine.network(photo), exact.network(photo))
    assert [one.labels.shape for one in engine.run([street(60, 80), street(33, 7)])] == [(60, 80), (33, 7)]
    monkeypatch.setattr("models.engine.loading.multiplies_int8", lambda: False)
    assert load_engine(quantised).network.dtype in (torch.bfloat16, torch.float32)


def test_one_that_is_too_far_from_the_network_is_not_written(
    checkpoint_dir: Path, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "QUANTISED_TOLERANCE", 1e-6)
    result = quantise(checkpoint_dir, dataset_dir)
    assert result.exit_code == 1
    assert "calibrate with more --photos" in result.stderr
    assert not quantised_file(find("tiny", checkpoint_dir)).exists()


def test_new_weights_do_not_run_an_old_graph(
    quantised: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = copied(quantised, tmp_path)
    assert read_quantised(checkpoint)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1] + b"\x55")
    other = find("tiny", tmp_path)
    assert read_quantised(other) is None
    assert "was made of other weights" in caplog.text
    assert load_engine(other).network.dtype in (torch.bfloat16, torch.float32)


def test_a_damaged_graph_is_named(quantised: Checkpoint, tmp_path: Path) -> None:
    checkpoint = copied(quantised, tmp_path)
    quantised_file(checkpoint).write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"tiny@1\.int8\.zip cannot be read, remove it or make it again"):
        load_engine(checkpoint)


def test_an_archive_brings_it_along(quantised: Checkpoint, tmp_path: Path) -> None:
    write_archive(quantised, tmp_path / "tiny@1.mar")
    with zipfile.ZipFile(tmp_path / "tiny@1.mar") as archive:
        assert archive.read("tiny@1.int8.zip") == quantised_file(quantised).read_bytes()


def test_what_ships_is_never_written_over_from_a_folder_of_ones_own(
    checkpoint_dir: Path, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.quantise, "load_engine", None)
    result = quantise(checkpoint_dir, dataset_dir, "eseg-lite-s")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: eseg-lite-s is not in {checkpoint_dir}: what ships is quantised without")


@pytest.mark.parametrize("coarse", [torch.bfloat16, torch.int8])
def test_what_costs_more_than_a_fifth_of_a_point_beside_float32_is_refused(
    coarse: torch.dtype, checkpoint_dir: Path, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(engine: Engine, **_: object) -> SimpleNamespace:
        return SimpleNamespace(miou=0.7979 if engine.network.dtype is coarse else 0.8)

    monkeypatch.setattr(cli.quantise, "best_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(cli.quantise, "evaluate", scored)
    result = quantise(checkpoint_dir, dataset_dir)
    assert result.exit_code == 1
    name = str(coarse).removeprefix("torch.")
    assert f"Error: {name} costs more than 0.2 points: int8 is not written" in result.stderr
    assert not quantised_file(find("tiny", checkpoint_dir)).exists()
